"""All families in one graph: velocity, language, near copies, features of accounts, and scores.

Snapshots of the social graph are files beside the bundles, and an engine's workers look accounts up
in them: in days as in the stream.
"""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
from backfill_world import tree_bytes
from families_world import DAYS, FAMILIES, make_world

from benchmarks.scripted import SCRIPTS, read_script, run_until
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.snapshots import GRAPH, Followed
from scoring.steps import ACTION, MODEL_INPUTS, SCORE, Score
from scoring.store import Store
from transforms.decode import decode_json
from transforms.inputs import numeric_names
from transforms.steps import Features
from transforms.ticks import SNAPSHOT, TickSettings

MINUTE = 60_000_000
BOUND = 30 * MINUTE
TICKS = TickSettings(tick_us=10 * MINUTE, snapshot_ticks=5, homes=2)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def embedded(world):
    """The days with scores, and how they were asked for."""
    bundle = Store(world.house / "bundles").path("serving")
    request = BackfillRequest(
        world.spec, str(world.source), world.house, Days(DAYS[0], DAYS[-1]), bundle=bundle
    )
    return request, backfill(request)


def rows_of(out):
    frame = pl.read_parquet(str(out / "features" / "**" / "*.parquet"))
    return frame.sort("event_time", "event_id")


def days_of(out):
    """Bytes of all files of a backfill, without the snapshots and bundles that it saw."""
    return {
        name: data
        for name, data in tree_bytes(out).items()
        if not name.startswith((GRAPH, "bundles"))
    }


def test_every_family_says_something(world, embedded):
    """Otherwise equality would show nothing."""
    frame = rows_of(world.house)
    for name, least in (*((name, 3) for name in FAMILIES), (SCORE, 10)):
        values = frame[name].to_numpy()
        assert len(np.unique(values[~np.isnan(values)])) >= least, name


@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_another_runner_gives_the_same_days(runner, request, world, embedded, tmp_path):
    flags, (asked, report) = tuple(request.getfixturevalue(runner)), embedded
    (tmp_path / GRAPH).symlink_to(world.house / GRAPH)
    there = backfill(dataclasses.replace(asked, out=tmp_path, flags=flags))
    actual, expected = days_of(tmp_path), days_of(world.house)
    assert sorted(actual) == sorted(expected)
    assert [name for name in expected if actual[name] != expected[name]] == []
    assert there.metrics == report.metrics


@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_a_stream_on_an_engine_gives_the_rows_of_the_days(runner, request, world, embedded):
    """Snapshots are followed by its workers; an event sees the one that its time says."""
    spec, bundles = world.spec, world.house / "bundles"
    SCRIPTS["families"] = script_of(spec, world.events)
    sees = Followed(str(world.house / GRAPH), spec)

    def build(pipeline):
        made = read_script(pipeline, "families") | Features(spec, ticks=TICKS, snapshots=sees)
        return {"rows": made.rows | Score(str(bundles))}

    expected = rows_of(world.house)
    enough = lambda found: sum(map(len, found.get("rows", []))) >= len(expected)  # noqa: E731
    found = run_until(build, request.getfixturevalue(runner), ("rows",), enough)
    frame = pl.concat([pl.from_arrow(batch) for batch in found["rows"]])
    frame = frame.sort("event_time", "event_id")
    assert frame["event_id"].to_list() == expected["event_id"].to_list()
    for name in (*numeric_names(spec), SCORE, MODEL_INPUTS):
        one, other = (np.stack(each[name].to_numpy()) for each in (frame, expected))
        assert one.tobytes() == other.tobytes(), name
    assert frame[ACTION].to_list() == expected[ACTION].to_list()
    assert frame[SNAPSHOT].n_unique() == len(DAYS) + 1, "none, and then each of the three"


def script_of(spec, events):
    """Batches of the events in order, each at the watermark that those before it allow."""
    made, watermark = [], events[0]["event_time"] - BOUND
    for first in range(0, len(events), 40):
        some = events[first : first + 40]
        records = [json.dumps(one).encode() for one in some]
        made.append((watermark, decode_json(spec, records, "", 0).batch))
        watermark = max(watermark, (some[-1]["event_time"] - BOUND) // 1000 * 1000)
        made.append((watermark, None))
    return [*made, (events[-1]["event_time"] + 1000 * BOUND, None)]
