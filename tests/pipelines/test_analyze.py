"""The analysis: the same rows give the same graph, and what it finds is what numpy finds."""

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from graph_world import as_batch, full_inputs, make_rows, shipped_spec, spec_with
from nightly_world import request

from configs.errors import InputError
from configs.schema import Categorical, Inputs
from pipelines import analyze as module
from pipelines.analyze import analyze, analyze_days, sample_rows
from pipelines.dataset import load_dataset, published_parts
from pipelines.layout import Days, Layout
from pipelines.read_days import sample_hashes, sample_limit
from pipelines.runners import Running
from scoring.identity import graph_constants
from transforms.batches import RecordBatchCoder
from transforms.executor import Executor
from transforms.steps.graph import tensor_rows


def apply(folder, spec, numeric, table):
    return Executor(folder, spec).transform(numeric, as_batch(table))


def test_moments_over_several_batches_are_those_of_numpy(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 64)
    spec = spec_with(Inputs(categorical=(Categorical("terminal", 3, 2, 2),)))
    numeric, table = make_rows(spec, 500, width=4)
    numeric[:, 1] /= 1e6
    numeric[:, 2] = np.nan  # a column that is always null
    numeric[:, 3] = 0.1  # and one that never varies
    analyze(spec, numeric, table, tmp_path / "graph")
    made = apply(tmp_path / "graph", spec, numeric, table)
    plain = numeric[:, :2].astype(np.float64)
    expected = (plain - np.nanmean(plain, 0)) / np.nanstd(plain, 0)
    np.testing.assert_allclose(made.numeric[:, :2], expected, rtol=1e-4, atol=1e-5)
    huge = np.array([[3e38] * 4, [-3e38] * 4], np.float32)
    overflown = apply(tmp_path / "graph", spec, huge, table.slice(0, 2)).numeric[:, 1]
    assert overflown.tolist() == [np.finfo(np.float32).max, np.finfo(np.float32).min]
    assert np.isnan(made.numeric[:, 2]).all()
    assert (made.numeric[:, 3] == made.numeric[0, 3]).all()
    assert abs(made.numeric[0, 3]) < 1e-6
    top = table.column("terminal").fill_null("").value_counts().to_pylist()
    top = sorted(top, key=lambda one: (-one["counts"], one["values"]))[:3]
    values = table.column("terminal").fill_null("").to_pylist()
    for place, one in enumerate(top):
        assert {made.categories[i, 0] for i, v in enumerate(values) if v == one["values"]} == {
            place
        }
    assert set(made.categories.ravel().tolist()) == {0, 1, 2, 3, 4}


def test_the_same_rows_make_the_same_constants_and_others_do_not(tmp_path):
    spec = spec_with(Inputs(categorical=(Categorical("terminal"),)))
    numeric, table = make_rows(spec, 300, width=3)
    analyze(spec, numeric, table, tmp_path / "one")
    analyze(spec, numeric, table, tmp_path / "two")
    assert graph_constants(tmp_path / "one") == graph_constants(tmp_path / "two")
    index = table.schema.get_field_index("terminal")
    changed = table.set_column(index, "terminal", pa.array(["new"] * 300))
    analyze(spec, numeric, changed, tmp_path / "three")
    assert graph_constants(tmp_path / "one") != graph_constants(tmp_path / "three")


def test_texts_are_never_passed_on():
    spec = spec_with(full_inputs())
    numeric, table = make_rows(spec, 20, width=3)
    batch = tensor_rows(spec, numeric, as_batch(table))
    content = RecordBatchCoder().encode(batch)
    assert b"money" not in content and b"terminal-" in content


def test_rows_beyond_the_bound_are_chosen_by_their_id(tmp_path):
    ids = pa.array([f"e{number}" for number in range(1000)])
    chosen = sample_rows(ids, 100)
    assert len(chosen) == 100 and (np.diff(chosen) > 0).all()
    order = np.random.default_rng(0).permutation(1000)
    again = sample_rows(ids.take(pa.array(order)), 100)
    assert sorted(order[again].tolist()) == chosen.tolist()
    assert sample_rows(pa.chunked_array([ids]), 100).tolist() == chosen.tolist()
    assert set(sample_rows(ids, 10).tolist()) < set(chosen.tolist())


def test_one_row_of_nulls(tmp_path):
    spec = spec_with(Inputs(scaling="quantile"))
    _, table = make_rows(spec, 1, width=3)
    numeric = np.full((1, 3), np.nan, np.float32)
    analyze(spec, numeric, table, tmp_path / "graph")
    made = apply(tmp_path / "graph", spec, numeric, table)
    assert np.isnan(made.numeric).all()


def test_a_spec_without_numbers(tmp_path):
    spec = spec_with(Inputs(categorical=(Categorical("terminal", 3, 1, 1),)))
    numeric, table = make_rows(spec, 30, width=0)
    analyze(spec, numeric, table, tmp_path / "graph")
    made = apply(tmp_path / "graph", spec, numeric, table)
    assert made.numeric.shape == (30, 0)
    assert made.categories.max() <= 3


def test_what_cannot_be_analysed_is_refused_and_leaves_nothing(tmp_path):
    spec = shipped_spec("card_fraud")
    numeric, table = make_rows(spec, 10)
    with pytest.raises(InputError, match="no rows to analyse"):
        analyze(spec, numeric[:0], table.slice(0, 0), tmp_path / "graph")
    with pytest.raises(ValueError, match="9 rows for 10 events"):
        analyze(spec, numeric[:9], table, tmp_path / "graph")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="there already"):
        analyze(spec, numeric, table, tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_bound_of_the_spec_is_kept(tmp_path):
    spec = shipped_spec("card_fraud")
    bounded = dataclasses.replace(
        spec, training=dataclasses.replace(spec.training, analyse_rows=50)
    )
    numeric, table = make_rows(spec, 400)
    chosen = sample_rows(table.column("event_id"), 50)
    analyze(bounded, numeric, table, tmp_path / "bounded")
    analyze(spec, numeric[chosen], table.take(pa.array(chosen)), tmp_path / "chosen")
    assert graph_constants(tmp_path / "bounded") == graph_constants(tmp_path / "chosen")


@pytest.mark.parametrize("limit", [None, 40])
def test_the_nightly_analyses_what_is_published_wherever_workers_are(night_house, tmp_path, limit):
    """The graph of the published days is the graph of the same rows read into memory."""
    source, out, _ = night_house
    spec, layout = request(source, out).spec, Layout(out)
    days = Days(dt.date(2026, 3, 4), dt.date(2026, 3, 5))
    start, end = days.start_us + 3_600_000_000, days.end_us
    data = load_dataset(spec, layout, start, end, end, limit)
    every = load_dataset(spec, layout, start, end, end)
    assert len(data) == (limit or len(every)) <= len(every)
    chosen = sample_hashes(data.events.column("event_id"))
    parts = published_parts(layout, start, end)
    for workers in (1, 2) if limit else (1,):
        analyze_days(
            spec, parts, start, end, sample_limit(chosen, len(chosen)),
            tmp_path / f"days{workers}", Running(workers),
        )  # fmt: skip
    analyze(spec, data.numeric, data.events, tmp_path / "memory")
    # The moments' batches are cut at files: their sums differ in the last bits, nothing else does.
    one = Executor(tmp_path / "days1", spec).transform(data.numeric, data.batch())
    other = Executor(tmp_path / "memory", spec).transform(data.numeric, data.batch())
    np.testing.assert_allclose(one.numeric, other.numeric, rtol=1e-5, atol=1e-6)
    assert one.categories.tobytes() == other.categories.tobytes()
    if limit:
        assert graph_constants(tmp_path / "days2") == graph_constants(tmp_path / "days1")
