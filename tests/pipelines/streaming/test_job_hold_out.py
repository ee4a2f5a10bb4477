"""The hold-out under a job of an engine: as the embedded scorer lets through, with its chance."""

import json
from types import SimpleNamespace

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that
from backfill_world import CONFIG, make_events
from bundle_world import make_parts
from live_world import World

from configs.loader import loads
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.streaming.decide import Decide, _Decide
from pipelines.streaming.journal import Journal
from pipelines.streaming.service import Service
from scoring.bundle import load_bundle, write_bundle
from scoring.controls import NONE
from scoring.engine import ACTION, DECISION, WITHHELD, Engine, Resident
from scoring.hold_out import HELD_OUT, is_held_out
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.ticks import TickSettings

HELD = CONFIG.replace("policy: {", "policy: {hold_out: {share: 0.4, salt: here}, ")
SPEC = loads(HELD, "held.yaml", CATALOG)
RECORDS = [json.dumps(one).encode() for one in make_events(400) if one["kind"] == "post"]


@pytest.fixture(scope="module")
def folded():
    """Batches as `Features` gives them, a tick each."""
    world = World(SPEC, TickSettings(tick_us=3_600_000_000, homes=1))
    given = decode_json(SPEC, RECORDS, "s", 0).batch
    return [one for scored, one in world.fold([(0, given)]) if scored]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A bundle that blocks some, under a hold-out, serves."""
    root = tmp_path_factory.mktemp("held") / "bundles"
    made = write_bundle(make_parts(config=HELD, spec=SPEC), root)
    store = Store(root)
    store.promote(made.name)
    return store


@pytest.fixture(scope="module")
def embedded(store, tmp_path_factory):
    """What the embedded scorer logs of the same events, by id."""
    scorer = Scorer(load_bundle(store.path(store.serving()), CATALOG)).under(NONE)
    journal = Journal(tmp_path_factory.mktemp("embedded"))
    service = Service(
        Engine(SPEC, Resident.empty(SPEC), scorer), journal, 0,
        SimpleNamespace(publish=lambda data: []), store=store,
    )  # fmt: skip
    batch = decode_json(SPEC, RECORDS, "s", 0).batch
    batch = batch.take(pa.array(np.argsort(batch.column("event_time"), kind="stable")))
    count = batch.num_rows
    late, times = np.zeros(count, bool), np.zeros(count, np.int64)
    service.process(MicroBatch(0, batch, late, (), times, (), None))
    service.close()
    return decided([step.batch for step in Journal(journal.root).steps()])


def decided(batches):
    """event -> action, by what it is withheld, and the decision as it is published."""
    return {
        event: (action, by, json.loads(decision))
        for batch in batches
        for event, action, by, decision in zip(
            *(batch.column(n).to_pylist() for n in ("event_id", ACTION, WITHHELD, DECISION)),
            strict=True,
        )
    }


def test_a_job_lets_through_what_the_embedded_scorer_does(folded, store, embedded):
    decide = _Decide(SPEC, str(store.root), scored=True, poll_seconds=0.0)
    decide.setup()
    made = decided([rows for batch in folded for _, rows in decide.process(batch)])
    assert made == embedded
    ids = list(made)
    drawn = dict(zip(ids, is_held_out(pa.array(ids), 0.4, "here").tolist(), strict=True))
    seen = set()
    for event, (action, by, decision) in made.items():
        due = action == "block" or by == HELD_OUT
        assert decision["propensity"] == (0.4 if due else 1.0)
        assert (by == HELD_OUT) == (due and drawn[event])
        held = {"action": "block", "by": HELD_OUT} if by else None
        assert decision.get("withheld") == held
        seen.add((action, by))
    assert seen == {("block", None), ("allow", HELD_OUT), ("allow", None)}


def test_and_so_does_the_transform_in_a_pipeline(folded, store, embedded):
    def same(found):
        assert decided([rows for _, rows in found]) == embedded

    with test_pipeline.TestPipeline() as pipeline:
        batches = pipeline | beam.Create(folded)
        assert_that(batches | Decide(SPEC, str(store.root), poll_seconds=0.0), same)
