"""`AnalyzeGraph` and `ApplyGraph`: the graph of rows in memory, and what the executor gives."""

import numpy as np
import pyarrow as pa
import pytest
from bundle_world import ROWS, make_rows, spec_and_graph
from graph_world import as_batch
from steps_world import run_steps

from scoring.identity import graph_constants
from transforms.executor import Executor
from transforms.inputs import numeric_names
from transforms.steps import AnalyzeGraph, ApplyGraph


def featured(spec, numeric, table):
    for index, name in enumerate(numeric_names(spec)):
        table = table.append_column(name, pa.array(numeric[:, index]))
    return as_batch(table)


@pytest.fixture(scope="module")
def rows():
    spec, _ = spec_and_graph()
    return make_rows(spec, ROWS, seed=1)  # as the graph was analysed from


def test_the_graph_does_not_depend_on_the_order_of_batches(rows, tmp_path):
    spec, _ = spec_and_graph()
    whole = featured(spec, *rows)
    batches = [whole.slice(at, 90) for at in range(0, ROWS, 90)]
    made = []
    for number, order in enumerate([batches, batches[::-1], batches[2:] + batches[:2]]):
        folder = tmp_path / f"graph{number}"
        analysis = AnalyzeGraph(spec, str(folder), str(tmp_path / "scratch"))
        found, _ = run_steps(order, lambda given, one=analysis: {"folder": given | one})
        assert found["folder"] == [str(folder)]
        made.append(graph_constants(folder))
    assert made[0] == made[1] == made[2]


def test_it_is_the_graph_that_rows_in_memory_give(rows, tmp_path):
    spec, folder = spec_and_graph()
    analysis = AnalyzeGraph(spec, str(tmp_path / "graph"), str(tmp_path / "scratch"))
    _, pipeline = run_steps([featured(spec, *rows)], lambda given: {"folder": given | analysis})
    labels = [one.unique_name for one in pipeline.to_runner_api().components.transforms.values()]
    assert not [label for label in labels if "graph.py" in label], "a line's number is no label"
    assert graph_constants(tmp_path / "graph") == graph_constants(folder)
    one = Executor(tmp_path / "graph", spec).transform(rows[0], as_batch(rows[1]))
    other = Executor(folder, spec).transform(rows[0], as_batch(rows[1]))
    assert one.numeric.tobytes() == other.numeric.tobytes()
    assert one.categories.tobytes() == other.categories.tobytes()


def test_apply_gives_what_the_executor_gives(rows):
    spec, folder = spec_and_graph()
    numeric, table = rows
    expected = Executor(folder, spec).transform(numeric, as_batch(table))
    batch = featured(spec, numeric, table)
    found, _ = run_steps([batch, batch.slice(7, 9)], lambda given: {
        "made": given | ApplyGraph(spec, str(folder))
    })  # fmt: skip
    few, whole = sorted(found["made"], key=lambda one: one.num_rows)
    for made, where in ((whole, slice(None)), (few, slice(7, 16))):
        got = np.stack(made.column("numeric").to_numpy(zero_copy_only=False))
        assert got.tobytes() == expected.numeric[where].tobytes()
        ids = np.stack(made.column("categories").to_numpy(zero_copy_only=False))
        assert ids.tolist() == expected.categories[where].tolist()
        text = expected.text[where]
        assert made.column("text_ids").to_pylist() == [row.indices.tolist() for row in text]
