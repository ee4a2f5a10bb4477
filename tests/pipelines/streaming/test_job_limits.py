"""Limits of actions under a job of an engine: the decisions of the embedded scorer, bit for bit."""

import copy
import itertools
import json
import random
from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from limited_world import BLOCK, bundle, limited
from live_world import World, expected_rows
from steps_world import run_steps

from configs.errors import BundleError
from configs.loader import loads
from pipelines.parity import check_served
from pipelines.pubsub.session import ReaderSettings
from pipelines.streaming.build import Job, build
from pipelines.streaming.decide import _Decide
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.job import serving_bundle
from pipelines.streaming.journal import read_steps
from pipelines.streaming.limited import LimitActions
from pipelines.streaming.sinks import WriteSteps
from scoring.bundle import load_bundle
from scoring.controls import NONE
from scoring.engine import ACTION, BUNDLE, DECISION, WITHHELD
from scoring.hold_out import HELD_OUT
from scoring.limit_log import CHOICES
from scoring.limits import LIMITED, LIMITS
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.batches import ShardKey
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.steps.shards import Keyed
from transforms.ticks import LATE, TickSettings

HOUR = 3_600_000_000
TICKS = TickSettings(tick_us=3 * HOUR, snapshot_ticks=5, homes=2)
HELD = limited(hold_out="hold_out: {share: 0.3, salt: a}, ")
SPEC = loads(HELD, "limited.yaml", CATALOG)
PIECES = 8


def arrivals():
    """(watermark, events): in pieces of time; of each some come when the next one has passed."""
    records = [json.dumps(one).encode() for one in make_events(240)]
    whole = decode_json(SPEC, records, "s", 0).batch
    times, numbers = whole.column("event_time").to_numpy(), np.arange(whole.num_rows)
    bounds = np.linspace(times.min(), times.max() + 1, PIECES + 1).astype(np.int64).tolist()
    given = []
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        inside = (times >= start) & (times < end)
        late = inside & (numbers % 7 == 3) & (number < PIECES - 2)
        given.append((start, whole.filter(pa.array(inside & ~late))))
        if late.any():
            given.append((bounds[number + 2], whole.filter(pa.array(late))))
    return sorted(given, key=lambda one: one[0])


@pytest.fixture(scope="module")
def folded():
    return World(SPEC, TICKS).fold(arrivals())


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "bundles")
    made.promote(bundle(made.root, HELD))
    return made


def run_job(store, folded, state, between=lambda number: None):
    """From `Features` on, to decisions and a log: both of what is published and what is logged."""
    decides = [_Decide(SPEC, str(store.root), scored, 0.0, limits=True) for scored in (False, True)]
    decided = []
    for one in decides:
        one.setup()
    for number, (scored, batch) in enumerate(folded):
        between(number)
        decided += [rows for _, rows in decides[scored].process(batch)]
    random.Random(1).shuffle(decided)

    def text(read):
        keyed = read | "Key" >> beam.Map(lambda rows: (ShardKey("log", 1), rows)).with_output_types(
            Keyed
        )
        steps = keyed | LimitActions(TICKS)
        _ = steps | WriteSteps(str(state), stable=False)
        return {"steps": steps}

    found, pipeline = run_steps(decided, text)
    published = [one for _, step in found["steps"] for one in step.column(DECISION).to_pylist()]
    counters = pipeline.result.metrics().query()["counters"]
    counted = {one.key.metric.name: one.committed for one in counters}
    return published, [step.batch for step in read_steps(state)], counted


def values(steps, name):
    return [one for step in steps for one in step.column(name).to_pylist()]


def test_a_job_gives_what_the_embedded_scorer_gives(store, folded, tmp_path):
    published, steps, counted = run_job(store, folded, tmp_path / "state")
    scorer = Scorer(load_bundle(store.path(store.serving()), CATALOG)).under(NONE)
    outcome = expected_rows(SPEC, arrivals(), TICKS.tick_us, scorer=scorer)
    decisions = encode_decisions(SPEC, outcome, scorer)
    assert values(steps, "event_id") == outcome.events.column("event_id").to_pylist()
    logged = [one for one in values(steps, DECISION) if one is not None]
    assert logged == decisions
    assert sorted(one for one in published if one is not None) == sorted(decisions)
    held = [one for one, there in zip(values(steps, WITHHELD), values(steps, ACTION), strict=True)
            if there is not None]  # fmt: skip
    names = outcome.scored.actions().to_pylist()
    assert [one for one in values(steps, ACTION) if one is not None] == names
    assert held == [outcome.scored.withheld[row].by if row in outcome.scored.withheld else None
                    for row in range(len(held))]  # fmt: skip
    assert sum(values(steps, LATE)) > 10
    assert set(Counter(zip(names, held, strict=True))) == {
        ("block", None), ("hide", LIMITED), ("allow", LIMITED), ("allow", HELD_OUT),
    }  # fmt: skip
    assert counted["actions_over_limit"] == held.count(LIMITED)
    assert not counted["limits_rebuilt"], "what the worker holds is used"
    report = check_served(tmp_path / "state", store.root)
    assert report.clean and report.events == len(names)


class Killed(dict):
    """What a worker holds that is another one at each tick."""

    def __setitem__(self, step, resident):
        self.folds = getattr(self, "folds", 0) + 1


class Outdated(Killed):
    """What a worker holds that has folded the first tick only: the others were another's."""

    def __setitem__(self, step, resident):
        super().__setitem__(step, resident)
        self.first = getattr(self, "first", copy.deepcopy(resident))

    def pop(self, step, default=None):
        return copy.deepcopy(getattr(self, "first", default))


@pytest.mark.parametrize("held", [Killed, Outdated])
def test_counts_are_made_anew_of_the_runners_state(held, store, folded, tmp_path, monkeypatch):
    _, expected, _ = run_job(store, folded, tmp_path / "whole")
    residents = held()
    monkeypatch.setattr("pipelines.streaming.limited._RESIDENTS", residents)
    _, steps, counted = run_job(store, folded, tmp_path / "state")
    for name in ("event_id", DECISION, ACTION, WITHHELD):
        assert values(steps, name) == values(expected, name)
    assert values(steps, WITHHELD).count(LIMITED) > 10
    current = held is Outdated  # the second fold finds what the first has left
    assert counted["limits_rebuilt"] == residents.folds - 1 - current > 1


def test_a_swap_keeps_counts_of_equal_limits_and_is_replayed(store, folded, tmp_path):
    """Also a bundle without any limit, whose rows count nothing, and which forgets."""
    others = [
        bundle(store.root, HELD.replace("hold_out: {share: 0.3, salt: a}, ", "")),
        bundle(store.root, limited(hide="hide: {min_precision: 0.8}")),
        bundle(store.root, limited("block: {min_precision: 0.9}", "hide: {min_precision: 0.8}")),
    ]
    names = [store.serving(), *others]
    part = len(folded) // 4

    def promote(number):
        if number % part == 0 and number // part < 4:
            store.promote(names[number // part])

    _, steps, _ = run_job(store, folded, tmp_path / "state", promote)
    by = {name: [one for one in steps if one.column(BUNDLE)[0].as_py() == name] for name in names}
    assert all(by.values()), "all of them decided"
    for name, some in by.items():
        assert all((LIMITS in one.schema.names) == (name != names[3]) for one in some)
        assert all(CHOICES not in one.schema.names for one in some)
    assert LIMITED in values(by[names[1]][:3], WITHHELD), "it finds what the one before has given"
    assert LIMITED not in values(by[names[3]], WITHHELD)
    assert check_served(tmp_path / "state", store.root).clean


def test_a_job_that_was_started_without_limits_takes_no_bundle_with_them(tmp_path):
    store = Store(tmp_path / "bundles")
    plain = bundle(store.root, limited("block: {min_precision: 0.9}", "hide: {min_precision: 0.8}"))
    with_limits = bundle(store.root, limited())
    store.promote(with_limits)
    assert serving_bundle(str(store.root)).fingerprint == with_limits
    store.promote(plain)
    decide = _Decide(SPEC, str(store.root), True, 0.0)
    decide.setup()
    store.promote(with_limits)
    assert decide._serving.current().bundle.fingerprint == plain
    assert decide._serving.refusals == 1
    store.promote(with_limits)
    with pytest.raises(BundleError, match=r"limits how often 'block' .* counts no actions"):
        _Decide(SPEC, str(store.root), True, 1.0).setup()


def test_a_limit_by_a_column_that_the_job_does_not_read_is_not_taken(tmp_path):
    store = Store(tmp_path / "bundles")
    config = limited(BLOCK.replace("per: who", "per: other")).replace(
        "columns:\n", "columns:\n  other: {type: string}\n"
    )
    store.promote(bundle(store.root, config))
    with pytest.raises(BundleError, match="does not read 'other'"):
        _Decide(SPEC, str(store.root), True, 2.0, limits=True).setup()


@pytest.mark.parametrize("config", [CONFIG, HELD], ids=["without", "with"])
def test_there_is_a_stage_where_there_are_limits_only(config, monkeypatch):
    began = []

    def limit_actions(ticks, begins_us):
        began.append(begins_us)
        return "LimitActions" >> LimitActions(ticks, begins_us)

    monkeypatch.setattr("pipelines.streaming.build.LimitActions", limit_actions)
    job = Job(
        spec=loads(config, "a.yaml", CATALOG),
        reader=ReaderSettings("projects/p/subscriptions/s"),
        bundles="bundles", decisions="projects/p/topics/t", state="state",
        first_us=5 * HOUR,
    )  # fmt: skip
    pipeline = beam.Pipeline()
    build(pipeline, job)
    proto = pipeline.to_runner_api()
    root = proto.components.transforms[proto.root_transform_ids[0]]
    steps = [proto.components.transforms[child].unique_name for child in root.subtransforms]
    last = ["WriteDecisions", "Rows", "WriteLog"]
    if config == HELD:
        last = ["Rows", "LimitActions", "WriteDecisions", "WriteSteps"]
    assert steps == [
        "ReadSubscription", "Features", "Decide", "Decided", "Pass", "Passed", *last,
        "WriteDeadLetters",
    ]  # fmt: skip
    assert began == ([5 * HOUR + SPEC.events.dedup_us] if config == HELD else []), "a night's end"
