"""What a scorer makes of another bundle: a bad or unfit one is refused, once."""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from backfill_world import CONFIG
from stream_world import NIGHT, after_night

from configs.errors import StateError
from configs.loader import loads
from pipelines.pubsub.intake import MicroBatch
from pipelines.streaming.engine import BUNDLE, Engine, Resident, check_fits
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import from_night, restore, snapshot_files
from pipelines.streaming.service import Service
from scoring.bundle import load_bundle
from scoring.manifest import BOOSTER
from scoring.scorer import Scorer
from scoring.store import POINTER, Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json

PEOPLE = "      people: {op: distinct, of: post, column: who}\n"
MORE = CONFIG.replace(PEOPLE, PEOPLE + "      money: {op: sum, of: post, column: amount}\n")


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

    def decide(self):
        """The bundle that decided the next event."""
        self.sequence += 1
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


@pytest.fixture
def scoring(stream_house, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    return Scoring(
        folder, [e for e in after_night(events) if e["kind"] == "post"], tiny_spec, tmp_path
    )


def test_a_damaged_bundle_is_refused_once_and_the_old_one_serves_on(scoring, caplog):
    assert scoring.decide() == scoring.first
    name = scoring.twin("0123456789abcdef")
    path = scoring.store.root / name / BOOSTER
    path.write_bytes(path.read_bytes()[:-9])
    scoring.point_at(name)
    with caplog.at_level(logging.ERROR):
        assert [scoring.decide() for _ in range(3)] == [scoring.first] * 3
    assert scoring.service.counts["refused bundles"] == 1
    [said] = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert name in said
    assert BOOSTER in said
    assert scoring.store.rollback() == scoring.first
    assert scoring.decide() == scoring.first
    assert scoring.service.counts["swaps"] == 0


def test_a_pointer_that_is_damaged_is_told_of_once(scoring, caplog):
    (scoring.store.root / POINTER).write_text("{")
    with caplog.at_level(logging.ERROR):
        assert [scoring.decide() for _ in range(3)] == [scoring.first] * 3
    assert scoring.service.counts["refused bundles"] == 1


def test_a_bundle_that_needs_other_state_is_refused(tiny_spec):
    other = loads(MORE, "tiny.yaml", CATALOG)
    with pytest.raises(StateError, match=r"entity 'place'.*--from-night"):
        check_fits(tiny_spec, other)
    one_more = CONFIG.replace(
        "inputs:\n", "  other:\n    key: {post: [text]}\n    windows: [1h]\n"
        "    aggregates:\n      n: {op: count, of: post}\ninputs:\n", 1
    )  # fmt: skip
    with pytest.raises(StateError, match=r"entity 'other'.*--from-night"):
        check_fits(tiny_spec, loads(one_more, "tiny.yaml", CATALOG))
    check_fits(tiny_spec, loads(CONFIG.replace("rounds: 20", "rounds: 7"), "tiny.yaml", CATALOG))


def test_a_scorers_own_state_of_another_spec_is_refused(tiny_spec, tmp_path):
    save_snapshot(tmp_path, -1, snapshot_files(tiny_spec, Resident.empty(tiny_spec), -1))
    Journal(tmp_path)
    with pytest.raises(StateError, match=r"entity 'place'.*aggregates or windows changed"):
        restore(loads(MORE, "tiny.yaml", CATALOG), Journal(tmp_path))


def test_a_nights_state_of_another_spec_is_refused(stream_house):
    folder = stream_house[0]
    with pytest.raises(StateError, match=r"entity 'place'.*aggregates or windows changed"):
        from_night(loads(MORE, "tiny.yaml", CATALOG), folder / "house", NIGHT)
