"""Model inputs and scores on every runner, and days that start from the state of an earlier run."""

import datetime as dt
import json

import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, make_events, tree_bytes
from bundle_world import copy_bundle

from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import FEATURES, Days, Layout
from transforms.catalog import CATALOG

FIRST = dt.date(2026, 3, 1)
ALL, BEFORE = Days(FIRST, dt.date(2026, 3, 3)), Days(FIRST, dt.date(2026, 3, 2))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A function that makes days with scores somewhere; and what the embedded runner makes."""
    folder = tmp_path_factory.mktemp("scores")
    (folder / "bundles").mkdir()
    bundle = copy_bundle(folder / "bundles")
    (folder / "in").mkdir()
    lines = "".join(json.dumps(event) + "\n" for event in make_events(600))
    (folder / "in" / "events.jsonl").write_text(lines)
    spec = loads(CONFIG, "tiny.yaml", CATALOG)

    def make(out, days=ALL, **changes):
        made = BackfillRequest(spec, str(folder / "in"), out, days, bundle=bundle, **changes)
        backfill(made)
        return tree_bytes(out)

    return make, make(folder / "embedded")


def assert_same(actual, expected):
    assert sorted(actual) == sorted(expected)
    assert [name for name in expected if actual[name] != expected[name]] == []


def test_days_have_scores(world, tmp_path):
    make, _ = world
    make(tmp_path / "out", BEFORE)
    (part, *_) = Layout(tmp_path / "out").files(FIRST, FEATURES)
    scores = pq.read_table(part, partitioning=None).column("score").to_pylist()
    assert len(scores) > 100 and len(set(scores)) > 10


@pytest.mark.parametrize("runner", ["embedded", "prism", "flink"])
@pytest.mark.slow
def test_scores_are_the_same_bytes(runner, request, tmp_path, world):
    make, expected = world
    if runner == "embedded":
        actual = make(tmp_path / "out", workers=2)
    else:
        actual = make(tmp_path / "out", flags=request.getfixturevalue(runner))
    assert_same(actual, expected)


@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_going_on_from_state_gives_the_same_bytes(runner, request, tmp_path, world):
    """Two days embedded, the third on another runner, from the state that the first run left."""
    make, expected = world
    make(tmp_path / "out", BEFORE)
    assert_same(make(tmp_path / "out", flags=request.getfixturevalue(runner)), expected)
