"""The same bytes on every runner, for any number of workers, split of the input and arrival order.

`golden/digests.json` holds digests of what the release before batch was one Beam text made of the
same events (the commit is named there), of values in total order rather than of files.
"""

import dataclasses
import json
import random

import pytest
from backfill_world import tree_bytes
from conformance_world import CONFIGS, days_of, digests, golden, rows_of, spec_of, write_lines

from pipelines.backfill import BackfillRequest, backfill

RUNNERS = ("prism", "flink")


def made_on(flags, name, source, out, **changes):
    request = BackfillRequest(spec_of(name), str(source), out, days_of(name), flags=tuple(flags))
    backfill(dataclasses.replace(request, **changes))
    return tree_bytes(out)


def assert_same(actual, expected):
    """The files that differ, by name, rather than their bytes."""
    assert sorted(actual) == sorted(expected)
    assert [name for name in expected if actual[name] != expected[name]] == []


@pytest.mark.parametrize("name", CONFIGS)
def test_what_the_last_release_made(name, inputs, embedded):
    assert digests(embedded(name), inputs(name)) == golden()["made"][name]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.slow
def test_another_runner_gives_the_same_bytes(runner, name, request, tmp_path, inputs, embedded):
    flags = request.getfixturevalue(runner)
    actual = made_on(flags, name, inputs(name), tmp_path / "out")
    assert_same(actual, tree_bytes(embedded(name)))


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(tmp_path, inputs, embedded):
    actual = made_on((), "chat", inputs("chat"), tmp_path / "out", workers=2)
    assert_same(actual, tree_bytes(embedded("chat")))


def test_batches_through_the_engine_give_the_same_bytes(tmp_path, inputs, embedded):
    actual = made_on((), "chat", inputs("chat"), tmp_path / "out", exchange="engine")
    assert_same(actual, tree_bytes(embedded("chat")))


@pytest.mark.parametrize("runner", ["embedded", "prism", "flink_with_processes"])
@pytest.mark.slow
def test_another_split_and_order_give_the_same_values(runner, request, tmp_path, inputs, embedded):
    flags = () if runner == "embedded" else request.getfixturevalue(runner)
    rows = rows_of("chat")
    random.Random(5).shuffle(rows)
    source = write_lines(tmp_path / "in", rows, files=7)
    made_on(flags, "chat", source, tmp_path / "out")
    actual = digests(tmp_path / "out", source)
    expected = digests(embedded("chat"), inputs("chat"))
    # Dead letters name the record's file and line, which are others here.
    del actual["dead_letters"], expected["dead_letters"]
    assert actual == expected


def test_the_golden_file_names_what_made_it():
    assert json.dumps(golden()["of"]) and set(golden()["made"]) == set(CONFIGS)
