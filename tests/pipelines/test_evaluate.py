"""`evaluate` measures on every runner what the bundle's own scores of the same rows say."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from engines import running_prism
from nightly_world import copy_of

from configs.errors import InputError
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import FEATURES, Days, Layout
from pipelines.runners import check_flags
from scoring.bundle import load_bundle
from transforms.catalog import CATALOG

DAYS = Days.parse("2026-03-07..2026-03-08")


@pytest.fixture(scope="module")
def evaluated(night_house):
    """On the embedded runner, in this process."""
    _, out, outcome = night_house
    return evaluate_bundle(EvaluateRequest(out, outcome.bundle, DAYS))


def assert_same(actual, expected):
    assert actual.to_builtins() == expected.to_builtins()
    assert actual.scores.equals(expected.scores)


def test_the_scores_are_those_of_the_bundle_over_the_published_rows(night_house, evaluated):
    _, out, outcome = night_house
    parts = [part for day in DAYS for part in Layout(out).files(day, FEATURES)]
    rows = pq.read_table(parts, partitioning=None)
    expected = load_bundle(outcome.folder, CATALOG).score(rows)
    assert evaluated.scores.select(expected.column_names).equals(expected)
    assert evaluated.scores.column("event_time").equals(rows.column("event_time"))
    assert np.unique(evaluated.scores.column("raw")).size > 5


def test_two_workers_measure_the_same(night_house, evaluated):
    _, out, outcome = night_house
    assert_same(evaluate_bundle(EvaluateRequest(out, outcome.bundle, DAYS, workers=2)), evaluated)


@pytest.mark.slow
def test_another_runner_measures_the_same(night_house, evaluated, tmp_path):
    _, out, outcome = night_house
    with running_prism(tmp_path / "prism.log") as flags:
        request = EvaluateRequest(out, outcome.bundle, DAYS, flags=check_flags(flags))
        assert_same(evaluate_bundle(request), evaluated)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".score-")]


def test_a_day_that_is_damaged_is_named(night_house, tmp_path):
    outcome = night_house[2]
    _, copy = copy_of(night_house, tmp_path)
    part = Layout(copy).files(DAYS.first, FEATURES)[0]
    pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["where"]), part)
    with pytest.raises(InputError, match=r"has no column 'where'; it was made under another spec"):
        evaluate_bundle(EvaluateRequest(copy, outcome.bundle, DAYS))
