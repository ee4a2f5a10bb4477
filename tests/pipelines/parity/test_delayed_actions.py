"""The moments before which actions wait are in decisions, and parity finds one that is another."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from bundle_world import make_parts

from configs.loader import loads
from pipelines.parity import check_served
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.streaming import decisions
from pipelines.streaming.journal import Journal
from pipelines.streaming.service import Service
from scoring.action_delay import NOW
from scoring.bundle import load_bundle, write_bundle
from scoring.controls import NONE
from scoring.decision import DecisionPolicy, Threshold
from scoring.engine import DECISION, Engine, Resident
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json

HOUR = 3_600_000_000
SLOW = CONFIG.replace(
    "policy: {actions: {block: {min_precision: 0.8}}}",
    "policy: {hold_out: {share: 0.3, salt: a}, actions: "
    "{block: {min_precision: 0.8, delay: {least: 1m, most: 1h, salt: a}}}}",
)
POSTS = [one for one in make_events(60) if one["kind"] == "post"][:40]


@pytest.fixture
def world(tmp_path):
    """A scorer by a bundle that blocks all, after a while, and holds out a third."""
    spec = loads(SLOW, "slow.yaml", CATALOG)
    policy = DecisionPolicy((Threshold("block", 0.0, 0.8),), spec.policy.default)
    made = write_bundle(make_parts(config=SLOW, spec=spec, policy=policy), tmp_path / "bundles")
    store = Store(tmp_path / "bundles")
    store.promote(made.name)
    scorer = Scorer(load_bundle(made, CATALOG)).under(NONE)
    journal = Journal(tmp_path / "state")

    def run():
        published = SimpleNamespace(publish=lambda data: [])
        engine = Engine(spec, Resident.empty(spec), scorer)
        service = Service(engine, journal, 0, published, store=store)
        batch = decode_json(spec, [json.dumps(one).encode() for one in POSTS], "test").batch
        batch = batch.take(pa.array(np.argsort(batch.column("event_time"), kind="stable")))
        count = batch.num_rows
        late, times = np.zeros(count, bool), np.zeros(count, np.int64)
        service.process(MicroBatch(0, batch, late, (), times, (), None))
        service.close()
        steps = Journal(tmp_path / "state").steps()
        return [
            json.loads(one) for step in steps for one in step.batch.column(DECISION).to_pylist()
        ]

    return SimpleNamespace(run=run, check=lambda: check_served(tmp_path / "state", store.root))


def test_a_decision_says_when_its_action_is_carried_out_and_is_replayed(world):
    made = world.run()
    assert {one["action"] for one in made} == {"block", "allow"}
    for one in made:
        if one["action"] == "block":
            assert 60_000_000 <= one["act_after"] - one["event_time"] <= HOUR
        else:
            assert "act_after" not in one, "what is let through has nothing to wait for"
    assert world.check().clean


@pytest.mark.parametrize(
    "wrong", [lambda moments: moments + (moments != NOW), lambda m: m * 0 + NOW]
)
def test_another_moment_in_the_log_is_found(world, monkeypatch, wrong):
    right = decisions.act_after
    with monkeypatch.context() as fault:
        fault.setattr(decisions, "act_after", lambda *given: wrong(right(*given)))
        acted = sum(one["action"] == "block" for one in world.run())
    report = world.check()
    assert not report.clean and sum(report.by_cause.values()) == acted > 10
