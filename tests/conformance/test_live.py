"""One text, unbounded: on every runner the bits that the ordered step makes, however events arrive.

What the embedded scorer folds and scores event by event (`scoring.engine`), and a backfill by days,
an unbounded pipeline folds by ticks on Prism and Flink, with real event-time timers. `FnApiRunner`
has none that wait, so there the same steps are run over bounded input.
"""

import json
import random

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from bundle_world import copy_bundle
from engines import at_parallelism
from limited_world import bundle as limited_bundle
from limited_world import limited
from live_world import assert_as_expected, expected_rows, in_fold_order
from serving_world import make_store
from steps_world import run_steps, states_of

from benchmarks.scripted import FOUND, SCRIPTS, read_script, run_until
from configs.loader import loads
from pipelines.parity import check_served
from pipelines.streaming.decide import Decide
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.limited import LimitActions
from pipelines.streaming.sinks import segment_bytes, write_file
from scoring.bundle import load_bundle
from scoring.controls import NONE
from scoring.engine import BUNDLE as DECIDED_BY
from scoring.engine import DECISION, STEP, WITHHELD
from scoring.limits import LIMITED
from scoring.scorer import Scorer
from scoring.steps import ACTION, BUNDLE, MODEL_INPUTS, SCORE, Score, score_batch
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.inputs import numeric_names
from transforms.steps import Decode, Features
from transforms.steps.shards import Keyed
from transforms.ticks import LIVE_COLUMNS, TickSettings

SPEC = loads(CONFIG, "tiny.yaml", CATALOG)
MINUTE, DAY = 60_000_000, 86_400_000_000
FIRST = 1_772_323_200_000_000  # 2026-03-01
END = FIRST + 40 * DAY
BOUND = 30 * MINUTE
TICKS = TickSettings(tick_us=10 * MINUTE, snapshot_ticks=5, homes=2)
NAMES = ("rows", "others", "dead_letters", "undecoded")
PLANTED_LATE, POISON = 12, 5
STATES: list = []


def time_of(event):
    text = event["at"].replace("+00:00", "")
    return int(np.datetime64(text, "us").astype(np.int64))


def shuffled(events, seed, jitter=20 * MINUTE, every=9):
    """Arrival: within the disorder bound, some events twice."""
    rng = random.Random(seed)
    twice = events + events[::every]
    return sorted(twice, key=lambda event: time_of(event) + rng.random() * jitter)


def script_of(arrivals, late=(), poison=0, sizes=(20,)):
    """(watermark, records): bursts and trickles, pauses in which only the watermark moves."""
    script, watermark, at, number = [], FIRST - BOUND, 0, 0
    while at < len(arrivals):
        size = sizes[number % len(sizes)]
        part = arrivals[at : at + size]
        at, number = at + size, number + 1
        script.append((watermark, [json.dumps(event).encode() for event in part]))
        latest = max(map(time_of, part)) - BOUND
        if latest > watermark:
            watermark = latest // 1000 * 1000
            script.append((watermark, None))
    pieces = [n for n, (_, records) in enumerate(script) if records]
    for n, event in enumerate(late):
        place = pieces[len(pieces) // 2 + n % (len(pieces) // 3)]
        script[place][1].append(json.dumps(event).encode())
    for n in range(poison):
        script[pieces[n]][1].insert(0, [b"{", b"\xff", b"[1]", b'{"id": 1}', b"null"][n % 5])
    return [*script, (END, None)]


def as_batches(script):
    return [
        (watermark, records if not isinstance(records, list)
         else pa.RecordBatch.from_pydict({"record": pa.array(records, pa.binary())}))
        for watermark, records in script
    ]  # fmt: skip


def decoded(script):
    """What the pipeline decodes, with the watermark of each batch."""
    return [
        (watermark, decode_json(SPEC, records, "", 0).batch)
        for watermark, records in script
        if isinstance(records, list)
    ]


class GiveState(beam.DoFn):
    def process(self, number):
        yield STATES[number]


def text(read, bundles, initial_state=None, poll_seconds=10.0, ticks=TICKS):
    """The job."""

    def build(pipeline):
        events = read(pipeline) | Decode(SPEC)
        state = initial_state(pipeline) if initial_state is not None else None
        made = events["events"] | Features(SPEC, state, ticks=ticks)
        return {
            "rows": made.rows | Score(str(bundles), poll_seconds),
            "others": made.others,
            "dead_letters": made.dead_letters,
            "undecoded": events["dead_letters"],
        }

    return build


def count(found, *names):
    return sum(batch.num_rows for name in names for batch in found.get(name, []))


def run_live(flags, script, build, wanted):
    SCRIPTS["events"] = as_batches(script)
    enough = lambda found: count(found, "rows", "others") >= wanted  # noqa: E731
    return run_until(build, flags, NAMES, enough)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return copy_bundle(tmp_path_factory.mktemp("live"))


class Found:
    """What a run gave, by name."""

    def __init__(self, found):
        self.rows, self.others = found.get("rows", []), found.get("others", [])
        self.letters, self.undecoded = found.get("dead_letters", []), found.get("undecoded", [])


def assert_scores(found, outcome):
    table = in_fold_order(found.rows)
    assert np.array_equal(
        table.column(SCORE).to_numpy().view(np.int64), outcome.scored.score.view(np.int64)
    )
    assert table.column(ACTION).to_pylist() == outcome.scored.actions().to_pylist()
    inputs = table.column(MODEL_INPUTS).combine_chunks().flatten().to_numpy()
    assert np.array_equal(inputs.view(np.int32), outcome.scored.inputs.ravel().view(np.int32))


@pytest.mark.parametrize("runner", ["embedded", "prism", "flink"])
@pytest.mark.slow
def test_what_arrives_anyhow_is_scored_as_by_the_ordered_step(runner, request, bundle):
    events = sorted(make_events(400, days=1), key=time_of)
    late = events[30 : 30 + 2 * PLANTED_LATE : 2]
    arrivals = shuffled([event for event in events if event not in late], seed=3)
    script = script_of(arrivals, late, POISON, sizes=(3, 20, 150, 1))
    given = decoded(script)
    if runner == "embedded":
        given = [(-END, batch) for _, batch in given]
        batches = [batch for _, batch in as_batches(script) if batch is not None]
        found, _ = run_steps(
            batches, lambda read: text(lambda pipeline: read, bundle)(read.pipeline)
        )
    scorer = Scorer(load_bundle(bundle))
    outcome = expected_rows(SPEC, given, TICKS.tick_us, scorer=scorer)
    if runner != "embedded":
        flags = request.getfixturevalue(runner)
        build = text(lambda pipeline: read_script(pipeline, "events"), bundle)
        found = run_live(flags, script, build, outcome.events.num_rows)
        late_there = outcome.events.column("lockstep_late").to_pylist()
        assert sum(late_there) == PLANTED_LATE
    found = Found(found)
    assert_as_expected(SPEC, found, outcome, numeric_names(SPEC))
    assert_scores(found, outcome)
    assert sum(batch.num_rows for batch in found.undecoded) == POISON


@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_a_stream_that_starts_from_a_night_is_the_backfill(runner, request, bundle):
    """A day as a backfill, the second one live from its states: both days as one backfill."""
    events = sorted(make_events(500, days=2), key=time_of)
    records = [json.dumps(event).encode() for event in [*events, *events[::9]]]
    whole, _ = run_steps(
        [decode_json(SPEC, records, "all", 0).batch],
        lambda read: {"rows": (read | Features(SPEC, days=[FIRST, FIRST + DAY])).rows
                      | Score(str(bundle))},
    )  # fmt: skip
    first = [json.dumps(event).encode() for event in events if time_of(event) < FIRST + DAY]
    night, _ = run_steps(
        [decode_json(SPEC, first, "first", 0).batch],
        lambda read: {"states": states_of(read | Features(SPEC, moments=[FIRST + DAY]))},
    )
    STATES[:] = night["states"]

    def state(pipeline):
        numbers = pipeline | "Shards" >> beam.Create(range(len(STATES)), reshuffle=False)
        return numbers | "State" >> beam.ParDo(GiveState()).with_output_types(Keyed)

    second = [event for event in events if time_of(event) >= FIRST + DAY]
    again = events[events.index(second[0]) - 20 : events.index(second[0])]  # sought back
    arrivals = again + shuffled(second, seed=4)
    build = text(lambda pipeline: read_script(pipeline, "events"), bundle, state)
    script = script_of(arrivals)
    found = run_live(request.getfixturevalue(runner), script, build, len(second))
    table = in_fold_order(found["rows"]).drop_columns(list(LIVE_COLUMNS))
    expected = pa.Table.from_batches([one.replace_schema_metadata(None) for one in whole["rows"]])
    expected = expected.filter(pa.compute.greater_equal(expected["event_time"], FIRST + DAY))
    assert table.column_names == expected.column_names
    for name in table.column_names:
        one, other = (t.column(name).combine_chunks() for t in (table, expected))
        assert bits(one) == bits(other), name
    posts = sum(event["kind"] == "post" for event in second)
    assert table.num_rows == posts, "what the night holds already is dropped"


def swapping(script, store, name):
    """In the middle of the script a bundle is promoted, once rows have come out."""
    half = len(script) // 2
    swapped = []

    def swap():
        if len(FOUND.get("rows", [])) > 3 and not swapped:
            swapped.append(store.promote(name))
        return bool(swapped)

    return [*script[:half], (script[half - 1][0], swap), *script[half:]]


@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_a_swap_takes_effect_between_two_batches(runner, request, tmp_path):
    store, names = make_store(tmp_path)
    store.promote(names[0])
    events = sorted(make_events(200, days=1), key=time_of)
    script = swapping(script_of(events), store, names[1])
    build = text(lambda pipeline: read_script(pipeline, "events"), tmp_path, poll_seconds=0.0)
    found = run_live(request.getfixturevalue(runner), script, build, len(events))
    scorers = {name: Scorer(load_bundle(tmp_path / name)) for name in names}
    named = [batch.schema.metadata[BUNDLE].decode() for batch in found["rows"]]
    assert set(named) == set(names)
    for name, batch in zip(named, found["rows"], strict=True):
        given = batch.select(
            [n for n in batch.schema.names if n not in (SCORE, ACTION, MODEL_INPUTS)]
        )
        assert score_batch(scorers[name], given).column(SCORE).equals(batch.column(SCORE))


LIMITS = loads(limited(), "limited.yaml", CATALOG)


def limited_text(read, bundles, poll_seconds=10.0):
    """The job where the bundle has limits of actions, up to its log."""

    def build(pipeline):
        events = read(pipeline) | Decode(LIMITS)
        made = events["events"] | Features(LIMITS, ticks=TICKS)
        decided = [
            made.rows | Decide(LIMITS, str(bundles), True, poll_seconds, limits=True),
            made.others | "Pass" >> Decide(LIMITS, str(bundles), False, poll_seconds, limits=True),
        ]
        steps = decided | beam.Flatten() | LimitActions(TICKS)
        log = steps | "Log" >> beam.Map(lambda step: step[1]).with_output_types(pa.RecordBatch)
        return {"rows": log}

    return build


def run_limited(flags, script, build, wanted):
    """The steps of a job's log, in order."""
    SCRIPTS["events"] = as_batches(script)
    found = run_until(build, flags, ["rows"], lambda found: count(found, "rows") >= wanted)
    steps = sorted(found["rows"], key=lambda step: step.column(STEP)[0].as_py())
    assert [step.column(STEP)[0].as_py() for step in steps] == list(range(len(steps)))
    return steps


def assert_replayed(steps, folder, bundles):
    for step in steps:
        name = f"segment-{step.column(STEP)[0].as_py():012d}.arrows"
        write_file(str(folder / "log" / "date=2026-03-01" / name), segment_bytes(step))
    report = check_served(folder, bundles)
    assert report.clean and report.events > 100


def values(steps, name):
    return [one for step in steps for one in step.column(name).to_pylist()]


@pytest.mark.parametrize("runner", ["prism", "flink-1", "flink-2"])
@pytest.mark.slow
def test_limited_actions_are_given_as_by_the_embedded_scorer(runner, request, tmp_path):
    store = Store(tmp_path / "bundles")
    store.promote(limited_bundle(store.root, limited()))
    events = sorted(make_events(300, days=1), key=time_of)
    late = events[30 : 30 + 2 * PLANTED_LATE : 2]
    arrivals = shuffled([event for event in events if event not in late], seed=3)
    script = script_of(arrivals, late, POISON, sizes=(3, 20, 150, 1))
    scorer = Scorer(load_bundle(store.path(store.serving()))).under(NONE)
    outcome = expected_rows(LIMITS, decoded(script), TICKS.tick_us, scorer=scorer)
    flags = request.getfixturevalue(runner.partition("-")[0])
    if runner != "prism":
        flags = at_parallelism(flags, runner[-1])
    build = limited_text(lambda pipeline: read_script(pipeline, "events"), store.root)
    steps = run_limited(flags, script, build, outcome.events.num_rows)
    assert values(steps, "event_id") == outcome.events.column("event_id").to_pylist()
    assert sum(values(steps, "lockstep_late")) == PLANTED_LATE
    decisions = [one for one in values(steps, DECISION) if one is not None]
    assert decisions == encode_decisions(LIMITS, outcome, scorer)
    assert values(steps, WITHHELD).count(LIMITED) == len(outcome.scored.withheld) > 10
    assert_replayed(steps, tmp_path / "state", store.root)


@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_counts_of_equal_limits_go_on_over_a_swap(runner, request, tmp_path):
    store = Store(tmp_path / "bundles")
    names = [limited_bundle(store.root, limited(), scores) for scores in ((0.0, 0.0), (-1.0, 0.0))]
    store.promote(names[0])
    events = sorted(make_events(200, days=1), key=time_of)
    script = swapping(script_of(events), store, names[1])
    build = limited_text(lambda pipeline: read_script(pipeline, "events"), store.root, 0.0)
    steps = run_limited(request.getfixturevalue(runner), script, build, len(events))
    assert set(values(steps, DECIDED_BY)) == set(names)
    blocked = [json.loads(one)["event_id"] for one in values(steps, DECISION)
               if one is not None and json.loads(one)["action"] == "block"]  # fmt: skip
    who = [event["who"] for event in events if event["id"] in blocked]
    assert len(who) == len(set(who)) > 10, "once a day each, whichever bundle decided"
    assert_replayed(steps, tmp_path / "state", store.root)


def bits(array):
    if pa.types.is_floating(array.type):
        return array.to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_fixed_size_list(array.type):
        return array.flatten().to_numpy().tobytes()
    return array.to_pylist()
