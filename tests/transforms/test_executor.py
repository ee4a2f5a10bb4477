"""The executor: a row's bits are its own, whatever the batch, its size, or where the row stands."""

import dataclasses
import shutil

import numpy as np
import pyarrow as pa
import pytest
from graph_world import SHIPPED, analysed, as_batch, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.constants import CONSTANTS, Transformed, apply_constants, same_bits
from transforms.executor import Executor
from transforms.saved_graph import CHUNK, SavedGraph, probes

GRAPHS = [(name, "zscore") for name in SHIPPED] + [("full", "zscore"), ("full", "quantile")]
ROWS = 300


@pytest.fixture(scope="module", params=GRAPHS, ids="-".join)
def world(request):
    """An executor, rows that the analysis did not see, and what becomes of them all at once."""
    name, scaling = request.param
    spec, folder = analysed(name, scaling)
    executor = Executor(folder, spec)
    numeric, table = make_rows(spec, ROWS, seed=2, width=3 if name == "full" else None)
    batch = as_batch(table)
    return executor, numeric, batch, executor.transform(numeric, batch)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=70))
def test_any_rows_in_any_order_give_the_bits_of_the_whole(world, rows):
    executor, numeric, batch, whole = world
    index = np.array(rows)
    made = executor.transform(numeric[index], batch.take(pa.array(index)))
    assert same_bits(made, whole.take(index))


@pytest.mark.parametrize("size", range(1, 71, 3))
def test_every_batch_size_gives_the_bits_of_the_whole(world, size):
    executor, numeric, batch, whole = world
    for start in (0, ROWS - size):
        rows = np.arange(start, start + size)
        made = executor.transform(numeric[rows], batch.slice(start, size))
        assert same_bits(made, whole.take(rows))


def test_no_rows(world):
    executor, numeric, batch, whole = world
    made = executor.transform(numeric[:0], batch.slice(0, 0))
    assert len(made) == 0
    assert made.numeric.shape == (0, numeric.shape[1])
    assert made.categories.shape == (0, whole.categories.shape[1])
    if whole.text is not None:
        assert made.text.shape == (0, whole.text.shape[1])


def test_more_rows_than_a_chunk():
    spec, folder = analysed("full", "zscore")
    executor = Executor(folder, spec)
    numeric, table = make_rows(spec, 50, seed=3, width=3)
    repeat = np.arange(CHUNK + 21) % 50
    made = executor.transform(numeric[repeat], as_batch(table).take(pa.array(repeat)))
    assert same_bits(made, executor.transform(numeric, as_batch(table)).take(repeat))


def test_two_loads_of_a_graph_agree(world):
    executor, numeric, batch, whole = world
    again = Executor(executor.folder, executor.spec)
    assert same_bits(again.transform(numeric, batch), whole)


def test_another_graph_in_the_same_folder_is_read_anew(tmp_path):
    folder = tmp_path / "graph"
    made = []
    for scaling in ("zscore", "quantile"):
        spec, source = analysed("full", scaling)
        numeric, table = make_rows(spec, 20, width=3)
        shutil.copytree(source, folder)
        made.append(Executor(folder, spec).transform(numeric, as_batch(table)).numeric)
        shutil.rmtree(folder)
    assert np.nanmin(made[0]) < 0 <= np.nanmin(made[1])


def test_rows_are_texts_of_length_one_with_ascending_ids(world):
    _, _, _, whole = world
    if whole.text is None:
        return
    for row in whole.text:
        assert (np.diff(row.indices) > 0).all()
        assert row.nnz == 0 or np.isclose((row.data.astype(float) ** 2).sum(), 1)


def test_rows_that_do_not_match_the_block_are_refused(world):
    executor, numeric, batch, _ = world
    with pytest.raises(ValueError, match=r"10 rows.*300 events"):
        executor.transform(numeric[:10], batch)
    with pytest.raises(ValueError, match="columns"):
        executor.transform(numeric[:, :1], batch)


def test_transformed_takes_an_index_or_a_mask():
    plain = Transformed(np.zeros((3, 1), np.float32), np.arange(3)[:, None], None)
    assert plain.take(np.array([2, 0])).categories.ravel().tolist() == [2, 0]
    assert plain.take(np.array([False, True, False])).categories.ravel().tolist() == [1]
    assert dataclasses.is_dataclass(plain)


def test_compiled_code_has_the_bits_of_the_graph_for_every_batch_size(world):
    executor, numeric, batch, whole = world
    assert (executor.folder / CONSTANTS).exists()
    graph = SavedGraph(executor.folder, executor.spec)
    assert same_bits(graph.transform(numeric, batch), whole)
    numeric = np.where(np.isnan(numeric), np.float32(-1e-39), numeric)  # not a normal number
    for size in range(1, 18):
        made = graph.transform(numeric[-size:], batch.slice(ROWS - size))
        assert same_bits(made, executor.transform(numeric[-size:], batch.slice(ROWS - size)))


def test_compiled_code_is_compared_with_the_graph_before_it_is_used(world):
    """Every scaling, the ends of float32, and texts and categories of many scripts."""
    executor, _, _, _ = world
    graph = SavedGraph(executor.folder, executor.spec)
    found = graph.constants()
    assert found is not None
    numeric, batch = probes(executor.spec, found)
    expected = graph.transform(numeric, batch)
    assert same_bits(executor.transform(numeric, batch), expected)
    other = dataclasses.replace(found, mean=found.mean + np.float32(1), bounds=found.bounds * 2)
    if executor.spec.inputs.scaling != "none":
        made = apply_constants(executor.spec, other, numeric, batch)
        assert not same_bits(made, expected)


def test_a_graph_without_constants_is_run_with_the_same_bits(world, tmp_path):
    """One of an earlier release."""
    executor, numeric, batch, whole = world
    shutil.copytree(executor.folder, tmp_path / "graph")
    (tmp_path / "graph" / CONSTANTS).unlink()
    assert same_bits(Executor(tmp_path / "graph", executor.spec).transform(numeric, batch), whole)


@pytest.mark.parametrize("how", [{"max_tokens": 2}, {"buckets": 1000}])
def test_a_graph_that_does_otherwise_is_left_to_tensorflow(how, tmp_path):
    """A graph of another build: its bits are what was trained on."""
    spec, folder = analysed("video_comments", "zscore")
    text = dataclasses.replace(spec.inputs.text, **how)
    other = dataclasses.replace(spec, inputs=dataclasses.replace(spec.inputs, text=text))
    assert SavedGraph(folder, other).constants() is None
    assert SavedGraph(folder, spec).constants() is not None
