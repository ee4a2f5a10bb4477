"""As served: the scorer's log, replayed in the order in which it was folded, in large batches.

What enters: a scorer's state folder and the bundles that it used. What leaves: a `ParityReport`
that must have no difference. The replay starts from the state that the scorer started from, and
runs derive, fold, graph and model of this installation over other cuts of the same events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError
from configs.schema import Spec
from pipelines.parity.compare import (
    UNEXPLAINED,
    VERSION,
    Difference,
    ParityReport,
    differing_columns,
    gather,
    hints_for,
)
from pipelines.streaming.engine import (
    BUNDLE,
    INPUTS,
    LATE,
    NUMERIC,
    SCORE,
    SCORED,
    SEQUENCE,
    Engine,
    Resident,
)
from pipelines.streaming.journal import Journal
from pipelines.streaming.restore import read_snapshot
from scoring.bundle import Bundle, load_bundle
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.inputs import numeric_names

BATCH_EVENTS = 16_384


def check_served(state: Path, bundles: Path) -> ParityReport:
    """Replays a scorer's log and compares numeric block, model inputs, score and sequences.

    Args:
      state: the scorer's folder.
      bundles: the store that holds every bundle that the log names.

    Raises:
      InputError: there is no log.
      BundleError: a bundle is gone or damaged.
      StateError: the log lacks a step.
    """
    store = Store(bundles)
    engine: Engine | None = None
    bundle: Bundle | None = None
    differences: list[Difference] = []
    features: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    seen = 0
    names: tuple[str, ...] = ()
    for table, name in logged_batches(state):
        if bundle is None or bundle.fingerprint != name:
            bundle = load_bundle(store.path(name), CATALOG)
            scorer = Scorer(bundle)
            if engine is None:
                engine = Engine(bundle.spec, start_state(bundle.spec, state), scorer)
            else:
                engine.swap(scorer)
            names = numeric_names(bundle.spec)
        if engine is None:
            continue
        found = _compare(engine, table, names, seen)
        differences += found
        features.update(feature for one in found for feature in one.features)
        asked = int(np.count_nonzero(table.column(SCORED).to_numpy(zero_copy_only=False)))
        seen += asked
        versions[name] += asked
    if engine is None:
        raise InputError(f"{state} holds no log of a scorer; give the --state of `lockstep stream`")
    hints = hints_for(features, names) if differences else []
    return gather("as served", seen, differences, versions, hints)


def start_state(spec: Spec, state: Path) -> Resident:
    """The state that the scorer began with."""
    folder = state / "start"
    return read_snapshot(spec, folder) if folder.is_dir() else Resident.empty(spec)


def logged_batches(state: Path, most: int = BATCH_EVENTS) -> Iterator[tuple[pa.RecordBatch, str]]:
    """The log in fold order, steps of one bundle taken together up to `most` events."""
    held: list[pa.RecordBatch] = []
    bundle, rows = "", 0
    for step in Journal(state).steps():
        name = step.batch.column(BUNDLE)[0].as_py()
        if held and (name != bundle or rows >= most):
            yield _one(held), bundle
            held, rows = [], 0
        bundle = name
        held.append(step.batch)
        rows += step.batch.num_rows
    if held:
        yield _one(held), bundle


def matrix(column: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """The lists of a column that are there, as rows: `[s, width]`."""
    lists = column.drop_null()
    count = len(lists)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(dtype)
    return flat.reshape(count, -1) if count else np.empty((0, 0), dtype)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _compare(
    engine: Engine, batch: pa.RecordBatch, names: tuple[str, ...], first: int
) -> list[Difference]:
    late = batch.column(LATE).to_numpy(zero_copy_only=False)
    events = batch.select(event_schema(engine.spec).names)
    outcome = engine.step(events, late, accepted=True)
    logged = matrix(batch.column(NUMERIC), np.float32)
    if outcome.scored is None or len(logged) != len(outcome.numeric):
        count = max(len(logged), len(outcome.numeric))
        return [Difference(first + i, UNEXPLAINED, (), 0.0) for i in range(count)]
    columns = differing_columns(outcome.numeric, np.asarray(logged, np.float32))
    inputs = np.asarray(matrix(batch.column(INPUTS), np.float32), np.float32)
    if inputs.shape == outcome.scored.inputs.shape:
        other = differing_columns(outcome.scored.inputs, inputs).any(1)
    else:
        other = np.ones(len(columns), np.bool_)
    scores = batch.column(SCORE).drop_null().to_numpy()
    effect = np.abs(scores - outcome.scored.score)
    sequences = matrix(batch.column(SEQUENCE), np.int64) != outcome.sequences
    differ = columns.any(1) | other | (effect != 0) | sequences.any(1)
    found = []
    for row in np.flatnonzero(differ):
        features = tuple(names[i] for i in np.flatnonzero(columns[row]))
        cause = UNEXPLAINED if features or sequences[row].any() else VERSION
        found.append(Difference(first + int(row), cause, features, float(effect[row])))
    return found
