"""The scorer: a decision's bits depend on its event alone, through graph, model and calibration."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from bundle_world import copy_bundle
from graph_world import as_batch, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import InputError
from scoring.bundle import load_bundle
from scoring.models import TEXT_SCORE, input_names
from scoring.scorer import Scorer
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names

ROWS = 150


@pytest.fixture(scope="module", params=["booster", "linear", "text"])
def world(request, tmp_path_factory):
    folder = copy_bundle(tmp_path_factory.mktemp("store"), request.param)
    scorer = Scorer(load_bundle(folder, CATALOG))
    numeric, table = make_rows(scorer.bundle.spec, ROWS, seed=21)
    batch = as_batch(table)
    return scorer, numeric, batch, scorer.score(numeric, batch)


@settings(max_examples=30)
@given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=70))
def test_any_rows_in_any_order_score_the_same(world, rows):
    scorer, numeric, batch, whole = world
    index = np.array(rows)
    made = scorer.score(numeric[index], batch.take(pa.array(index)))
    for part in ("inputs", "raw", "score", "action"):
        assert getattr(made, part).tobytes() == getattr(whole, part)[index].tobytes()


def test_what_is_scored_has_the_shapes_and_types_that_it_says(world):
    scorer, _, _, whole = world
    width = len(input_names(scorer.bundle.spec))
    assert (whole.inputs.shape, whole.inputs.dtype) == ((ROWS, width), np.float32)
    assert (whole.raw.shape, whole.raw.dtype) == ((ROWS,), np.float32)
    assert (whole.score.shape, whole.score.dtype) == ((ROWS,), np.float64)
    assert (whole.action.shape, whole.action.dtype) == ((ROWS,), np.int8)
    assert np.isfinite(whole.score).all()
    threshold = scorer.bundle.policy.thresholds[0].value
    expected = ["block" if one >= threshold else "allow" for one in whole.score]
    assert whole.actions().to_pylist() == expected
    assert set(expected) == {"allow", "block"}


def test_a_bundle_scores_a_table_of_any_library_as_it_is_served(world):
    scorer, numeric, batch, whole = world
    bundle = scorer.bundle
    columns = dict(zip(numeric_names(bundle.spec), numeric.T.astype(np.float64), strict=True))
    table = pa.table({**columns, **{name: batch.column(name) for name in batch.schema.names}})
    table = table.select(sorted(table.column_names))
    assert "event_id" in table.column_names
    for other in (table, table.to_pandas(), pl.from_arrow(table)):
        made = bundle.score(other)
        assert made.column_names == ["event_id", "raw", "score", "action"]
        assert made["event_id"].to_pylist() == batch.column("event_id").to_pylist()
        assert made["score"].to_numpy().tobytes() == whole.score.tobytes()
        assert made["raw"].to_numpy().tobytes() == whole.raw.tobytes()
        assert made["action"].to_pylist() == whole.actions().to_pylist()
    assert bundle.score(table.slice(0, 0)).schema == made.schema.set(
        0, pa.field("event_id", table.schema.field("event_id").type)
    )


def test_a_table_that_lacks_an_input_is_refused(world):
    scorer, numeric, batch, _ = world
    names = numeric_names(scorer.bundle.spec)
    table = pa.table(dict(zip(names, numeric.T, strict=True)))
    with pytest.raises(InputError, match="the table has no column 'where' \\(2 are missing\\)"):
        scorer.bundle.score(table)
    table = table.append_column("where", batch.column("where"))
    wrong = table.append_column("clean", pa.array([[1]] * len(table)))
    with pytest.raises(InputError, match=r"the column 'clean' is list<.*>, expected string"):
        scorer.bundle.score(wrong)


def test_no_rows(world):
    scorer, numeric, batch, whole = world
    made = scorer.score(numeric[:0], batch.slice(0, 0))
    assert made.inputs.shape == (0, whole.inputs.shape[1])
    assert made.actions().equals(pa.array([], pa.string()))
    assert scorer.explain(made, np.empty(0, np.intp)) == []


def test_reasons_add_up_and_name_what_raised_the_score(world):
    scorer, numeric, _, whole = world
    rows = np.array([3, 77])
    reasons = scorer.explain(whole, rows, numeric)
    assert len(reasons) == 2
    if scorer.bundle.model == "text":
        assert reasons == [(), ()]
        return
    made = scorer.bundle.models.contributions(scorer.bundle.model, whole.inputs)
    np.testing.assert_allclose(made.sum(1), whole.raw, rtol=1e-3, atol=1e-3)
    assert made.shape[1] == len(scorer.names) + 1
    for row, told in zip(rows, reasons, strict=True):
        added = dict(zip(scorer.names, made[row], strict=False))
        best = max(added, key=lambda name: added[name])
        assert told[0].name == best
        assert [one.added for one in told] == sorted((one.added for one in told), reverse=True)
        for one in told:
            assert one.added == added[one.name] > 0
            if one.name in scorer.names[: numeric.shape[1]]:
                value = numeric[row, scorer.names.index(one.name)]
                assert one.value is None if np.isnan(value) else one.value == value
                assert ": " in one.about
            else:
                assert one.value is None
    plain = scorer.explain(whole, rows)
    assert [[one.name for one in told] for told in plain] == [
        [one.name for one in told] for told in reasons
    ]
    assert all(one.value is None for told in plain for one in told)


def test_the_text_score_is_the_last_input(world):
    scorer, _, _, whole = world
    assert scorer.names[-1] == TEXT_SCORE
    if scorer.bundle.model == "text":
        assert whole.inputs[:, -1].tobytes() == whole.raw.tobytes()


def test_a_model_that_is_not_there_is_refused(world):
    scorer = world[0]
    with pytest.raises(ValueError, match="no 'forest' model"):
        scorer.bundle.models.raw("forest", None, None)


def test_numbers_at_the_end_of_the_range_are_scored(world):
    scorer, numeric, batch, _ = world
    for value in (3.4e38, -3.4e38, 1e-45, -0.0):
        made = scorer.score(np.full_like(numeric, value), batch)
        assert np.isfinite(made.inputs).all()
        assert np.isfinite(made.raw).all()
        assert ((made.score >= 0) & (made.score <= 1)).all()
        assert len(scorer.explain(made, np.arange(3), np.full_like(numeric, value))) == 3
