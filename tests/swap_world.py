"""A scorer's service over a store of its own, for tests of what the store's pointers name."""

import dataclasses
import json
import shutil
import time
from types import SimpleNamespace

import numpy as np

from configs.loader import loads
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.streaming.journal import Journal
from pipelines.streaming.service import Service
from scoring.bundle import BundleParts, load_bundle, write_bundle
from scoring.decision import DecisionPolicy, Threshold
from scoring.engine import BUNDLE, Engine, Resident
from scoring.manifest import SPEC
from scoring.scorer import BundleContents, Scorer
from scoring.store import POINTER, Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json


class Scoring:
    """A service over a store of its own, fed one event at a time."""

    def __init__(self, folder, events, spec, root):
        self.store = Store(root / "bundles")
        shutil.copytree(folder / "house" / "bundles", self.store.root)
        self.first = self.store.serving()
        scorer = Scorer(load_bundle(self.store.path(self.first), CATALOG))
        self.journal = Journal(root / "state")
        self.events, self.spec, self.sequence = events, spec, -1
        self.service = Service(
            Engine(spec, Resident.empty(spec), scorer),
            self.journal,
            0,
            SimpleNamespace(publish=lambda data: []),
            store=self.store,
        )

    def decide(self, look=True):
        """The bundle that decided the next event; `look`: the thread has looked before."""
        self.sequence += 1
        if look:
            self.service.watch.look()
        payload = json.dumps(self.events[self.sequence]).encode()
        batch = decode_json(self.spec, [payload], "test").batch
        self.service.process(
            MicroBatch(self.sequence, batch, np.zeros(1, bool), (), np.zeros(1, np.int64), (), None)
        )
        return list(self.journal.steps())[-1].batch.column(BUNDLE)[0].as_py()

    def twin(self, name):
        """The same bundle under another name: good, but not what its name says."""
        shutil.copytree(self.store.path(self.first), self.store.root / name)
        return name

    def point_at(self, name):
        """As `promote` does, which would refuse a bad one at once."""
        (self.store.root / POINTER).write_text(
            f'{{"serving": "{name}", "history": ["{self.first}"]}}'
        )


def fires_always(scoring, hold_out=""):
    """A bundle of the same models that blocks every event, and serves; `hold_out` for its YAML."""
    folder = scoring.store.path(scoring.first)
    bundle = load_bundle(folder, CATALOG)
    same = {field.name: getattr(bundle, field.name) for field in dataclasses.fields(BundleContents)}
    policy = DecisionPolicy((Threshold("block", 0.0, 0.8),), bundle.policy.default)
    config = (folder / SPEC).read_text()
    if hold_out:
        config = config.replace("policy: {", f"policy: {{hold_out: {hold_out}, ")
        same["spec"] = loads(config, "held_out.yaml", CATALOG)
    made = write_bundle(
        BundleParts(**{**same, "policy": policy}, config=config), scoring.store.root
    )
    return scoring.store.promote(made.name)


def until(what, seconds=60.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
