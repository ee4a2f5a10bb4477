"""What the hold-out let through at arrival: replayed, and a log that says otherwise is found."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from bundle_world import make_parts

from configs.loader import loads
from pipelines.parity import check_served
from pipelines.parity.first_check import check_firsts
from pipelines.parity.log import find_base
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.streaming import at_arrival
from pipelines.streaming.at_arrival import AtArrival, read_looks
from pipelines.streaming.journal import Journal
from pipelines.streaming.service import Service
from scoring.bundle import load_bundle, write_bundle
from scoring.controls import NONE, Withheld
from scoring.decision import DecisionPolicy, Threshold
from scoring.engine import WITHHELD, Engine, Resident
from scoring.hold_out import HELD_OUT
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json

HELD = CONFIG.replace("policy: {", "policy: {hold_out: {share: 0.5, salt: here}, ")
POSTS = [one for one in make_events(60) if one["kind"] == "post"][:20]


@pytest.fixture
def world(tmp_path):
    """A scorer that decides at arrival by a bundle that blocks all, and holds out half."""
    spec = loads(HELD, "held.yaml", CATALOG)
    policy = DecisionPolicy((Threshold("block", 0.0, 0.8),), spec.policy.default)
    made = write_bundle(make_parts(config=HELD, spec=spec, policy=policy), tmp_path / "bundles")
    store = Store(tmp_path / "bundles")
    store.promote(made.name)
    scorer = Scorer(load_bundle(made, CATALOG)).under(NONE)
    state = tmp_path / "state"

    def run():
        first = AtArrival(state, lambda data: None, lambda what, write: write())
        service = Service(
            Engine(spec, Resident.empty(spec), scorer), Journal(state), 0,
            SimpleNamespace(publish=lambda data: []), store=store, first=first,
        )  # fmt: skip
        batch = decode_json(spec, [json.dumps(one).encode() for one in POSTS], "test").batch
        batch = batch.take(pa.array(np.argsort(batch.column("event_time"), kind="stable")))
        count = batch.num_rows
        late, times = np.zeros(count, bool), np.zeros(count, np.int64)
        service.process(MicroBatch(0, batch, late, (), times, (), None, arrived=(batch,)))
        service.close()

    def firsts():
        return check_firsts(state, spec, find_base(state, None), lambda name: scorer)

    return SimpleNamespace(run=run, firsts=firsts, state=state, store=store)


def held_by(state):
    return [one for step in read_looks(state) for one in step.batch.column(WITHHELD).to_pylist()]


def test_first_decisions_under_a_hold_out_are_replayed(world):
    world.run()
    assert {HELD_OUT, None} == set(held_by(world.state))
    report = check_served(world.state, world.store.root)
    assert report.clean and report.events == 2 * len(POSTS)


@pytest.mark.parametrize("wrong", [None, Withheld("block", "allow list"), Withheld("", HELD_OUT)])
def test_what_was_withheld_at_arrival_is_compared(world, monkeypatch, wrong):
    right = at_arrival.look

    def look(*given):
        outcome, arrived = right(*given)
        held = {row: wrong for row in outcome.scored.withheld if wrong is not None}
        scored = dataclasses.replace(outcome.scored, withheld=held)
        return dataclasses.replace(outcome, scored=scored), arrived

    with monkeypatch.context() as fault:
        fault.setattr(at_arrival, "look", look)
        world.run()
    again = world.firsts()
    assert 0 < len(again.differences) < len(POSTS)
