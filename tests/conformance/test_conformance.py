"""The same bytes on every runner, for any number of workers, split of the input and arrival order.

Compared are features, model inputs, scores, verdicts, states, markers and dead letters of every
shipped config. `golden/digests.json` holds digests of what the release before batch was one Beam
text made of the same events with the same bundles (the commit is named there), of values in total
order rather than of files.
"""

import dataclasses
import random

import pyarrow.parquet as pq
import pytest
from backfill_world import tree_bytes
from conformance_world import (
    CONFIGS,
    assert_golden,
    bundle_of,
    days_of,
    digests,
    golden,
    rows_of,
    spec_of,
    write_lines,
)
from engines import at_parallelism

from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import FEATURES, Days, Layout

RUNNERS = ("prism", "flink")


def made_on(flags, name, source, out, **changes):
    """What a run reports; its files are in `out`."""
    request = BackfillRequest(
        spec_of(name), str(source), out, days_of(name), bundle=bundle_of(name), flags=tuple(flags)
    )
    return backfill(dataclasses.replace(request, **changes))


def assert_same_made(flags, name, inputs, embedded, out, **changes):
    report = made_on(flags, name, inputs(name), out, **changes)
    assert_same(tree_bytes(out), tree_bytes(embedded(name)))
    return report


def assert_same(actual, expected):
    """The files that differ, by name, rather than their bytes."""
    assert sorted(actual) == sorted(expected)
    assert [name for name in expected if actual[name] != expected[name]] == []


@pytest.mark.parametrize("name", CONFIGS)
def test_what_the_last_release_made(name, inputs, embedded):
    assert_golden(digests(embedded(name), inputs(name)), golden()["made"][name])


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_differ_from_event_to_event(name, embedded):
    """Otherwise their equality would show nothing."""
    parts = Layout(embedded(name)).files(days_of(name).first, FEATURES)
    scores = [pq.read_table(part, columns=["score"], partitioning=None) for part in parts]
    assert len({value for table in scores for value in table.column("score").to_pylist()}) > 5


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.slow
def test_another_runner_gives_the_same_bytes_and_metrics(
    runner, name, request, tmp_path, inputs, embedded, reports
):
    flags = request.getfixturevalue(runner)
    report = assert_same_made(flags, name, inputs, embedded, tmp_path / "out")
    assert report.metrics == reports[name].metrics


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.slow
def test_two_workers_give_the_same_bytes_and_metrics(name, tmp_path, inputs, embedded, reports):
    report = assert_same_made((), name, inputs, embedded, tmp_path / "out", workers=2)
    assert report.metrics == reports[name].metrics


@pytest.mark.slow
def test_another_parallelism_gives_the_same_bytes(flink, tmp_path, inputs, embedded):
    assert_same_made(at_parallelism(flink, 1), "chat", inputs, embedded, tmp_path / "out")


def test_batches_through_the_engine_give_the_same_bytes(tmp_path, inputs, embedded):
    assert_same_made((), "chat", inputs, embedded, tmp_path / "out", exchange="engine")


@pytest.mark.parametrize("name", CONFIGS)
def test_another_split_and_order_give_the_same_values(name, tmp_path, inputs, embedded):
    assert_same_values_shuffled((), name, tmp_path, inputs, embedded)


@pytest.mark.parametrize("runner", ["prism", "flink_with_processes"])
@pytest.mark.slow
def test_engines_give_the_same_values_of_another_split_and_order(
    runner, request, tmp_path, inputs, embedded
):
    flags = request.getfixturevalue(runner)
    assert_same_values_shuffled(flags, "chat", tmp_path, inputs, embedded)


def assert_same_values_shuffled(flags, name, tmp_path, inputs, embedded):
    rows = rows_of(name)
    random.Random(5).shuffle(rows)
    source = write_lines(tmp_path / "in", rows, files=7)
    made_on(flags, name, source, tmp_path / "out")
    actual = digests(tmp_path / "out", source)
    expected = digests(embedded(name), inputs(name))
    # Dead letters name the record's file and line, which are others here.
    del actual["dead_letters"], expected["dead_letters"]
    assert actual == expected


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.slow
def test_going_on_from_state_gives_the_same_bytes(runner, request, tmp_path, inputs, embedded):
    """Two days embedded, the others on another runner, from the state that the first run left."""
    flags, days = request.getfixturevalue(runner), days_of("chat")
    before = Days(days.first, list(days)[1])
    made_on((), "chat", inputs("chat"), tmp_path / "out", days=before)
    assert_same_made(flags, "chat", inputs, embedded, tmp_path / "out")


@pytest.mark.parametrize("name", CONFIGS)
def test_metrics_say_what_the_report_does(name, embedded, reports):
    embedded(name)
    report, counted = reports[name], reports[name].metrics.counters
    dead = {
        f"dead_letters_{stage}_{reason}": count
        for stage, reasons in report.dead_stages.items()
        for reason, count in reasons.items()
    }
    assert dead and {key: counted.get(key) for key in dead} == dead
    assert counted["duplicate_events"] == report.duplicates > 0
    assert counted["events"] == report.events + report.duplicates
    assert counted["features_rows_written"] == counted["events_scored_by_model"] == report.scored
    rows = report.metrics.distributions["rows_per_shard"]
    size = report.metrics.distributions["state_bytes_per_shard"]
    spec = spec_of(name)
    assert rows.count == size.count and 0 < size.count <= len(spec.entities) * spec.shards
    assert rows.sum >= report.events and size.max > 0


def test_the_golden_file_names_what_made_it():
    assert "d71b2f2" in golden()["of"] and set(golden()["made"]) == set(CONFIGS)
