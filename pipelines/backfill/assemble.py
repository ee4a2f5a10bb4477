"""Last step of a backfill: scored events and their features become Parquet parts of a day.

What enters: a day's pieces and its feature matrices. What leaves: `part-NNNNN.parquet` files in
total order, one float32 column per name of `transforms.inputs.numeric_names`, beside id, time,
kind and the columns that inputs are made of; with a bundle also the model's inputs and the score.
Cuts between parts lie at full minutes, chosen from the day's own histogram, so that the bytes of
a day depend on its events alone: not on workers, input files, or where a killed run went on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.fingerprint import dataset_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from pipelines.backfill.fold import DayPieces, duplicate_rows, open_matrix
from pipelines.backfill.stage import read_arrow
from pipelines.layout import write_parquet
from transforms.columns import ARROW_TYPES
from transforms.inputs import numeric_block, numeric_names
from transforms.selection import input_columns
from transforms.velocity import make_plan, total_order

if TYPE_CHECKING:
    from scoring.scorer import Scorer

PART_ROWS = 131_072
MINUTE_US = 60_000_000
_ROWS = 1024
SPEC_KEY = b"lockstep.spec"
SCORE, ACTION, MODEL_INPUTS = "score", "action", "model_inputs"


@dataclasses.dataclass(frozen=True)
class AssembleTask:
    """One part of a day.

    Attributes:
      start_us, end_us: the part's half-open range of event times.
      target: the Parquet file.
      computed: entities whose matrices are there; the features of others come from `reuse`.
      reuse: the same part as an earlier run published it, or None.
      bundle: a bundle's folder, to add model inputs and scores; or None.
    """

    spec: Spec
    day: DayPieces
    start_us: int
    end_us: int
    target: str
    computed: tuple[str, ...]
    reuse: str | None = None
    bundle: str | None = None


def part_ranges(
    times: Sequence[npt.NDArray[np.int64]], start_us: int, end_us: int
) -> list[tuple[int, int]]:
    """Cuts a day at full minutes into parts of about `PART_ROWS` events; at least one part.

    Args:
      times: event times of the day's scored events, piece by piece.
      start_us, end_us: the day.

    >>> part_ranges([], 0, 86_400_000_000)
    [(0, 86400000000)]
    """
    edges = np.arange(start_us, end_us + MINUTE_US, MINUTE_US)
    counts = np.zeros(len(edges) - 1, np.int64)
    for piece in times:
        counts += np.histogram(piece, edges)[0]
    cuts, held = [start_us], 0
    for minute, count in enumerate(counts.tolist()):
        if held and held + count > PART_ROWS:
            cuts.append(int(edges[minute]))
            held = 0
        held += count
    return list(zip(cuts, [*cuts[1:], end_us], strict=True))


def assemble_part(task: AssembleTask) -> dict[str, Any]:
    """Rejoins a part's events with their features and writes it.

    Returns:
      `events`: rows written.

    Raises:
      InputError: the published part that features are taken from holds other events.
    """
    spec = task.spec
    wide, features = _gather(task)
    reused = _read_reused(task, wide)
    for entity in spec.entities:
        if entity not in task.computed:
            features[entity] = _reused_features(spec, entity, reused)
    batch = _one_batch(wide)
    names = numeric_names(spec)
    block = numeric_block(spec, batch, features)
    columns = {name: wide.column(name) for name in (EVENT_ID, EVENT_TIME, KIND)}
    columns |= {name: pa.array(values) for name, values in zip(names, _columns(block), strict=True)}
    for name in input_columns(spec):
        columns.setdefault(name, wide.column(name))
    if task.bundle is not None:
        scored = _scorer(task.bundle).score(block, batch)
        columns[SCORE] = pa.array(scored.score)
        columns[ACTION] = scored.actions()
        columns[MODEL_INPUTS] = _vectors(scored.inputs)
    table = _table(columns, {SPEC_KEY: dataset_fingerprint(spec)})
    write_parquet(table, Path(task.target))
    return {"events": table.num_rows}


def _columns(block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The block's columns, each contiguous: float32 `[K, n]`."""
    columns = np.empty(block.shape[::-1], np.float32)
    for start in range(0, len(block), _ROWS):  # a part of both stays in the processor's cache
        columns[:, start : start + _ROWS] = block[start : start + _ROWS].T
    return columns


def _vectors(block: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Each row as one vector, without nulls."""
    item = pa.field("item", pa.float32(), nullable=False)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(block.ravel()), type=pa.list_(item, block.shape[1])
    )


def _table(columns: Mapping[str, pa.Array], metadata: Mapping[bytes, str]) -> pa.Table:
    """Features have no null (NaN stands for it); said in the schema, Parquet writes no levels."""
    fields = [
        pa.field(name, values.type, nullable=not pa.types.is_float32(values.type))
        for name, values in columns.items()
    ]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata=metadata))


def dataset_schema(spec: Spec) -> pa.Schema:
    """Columns of the dataset that a backfill writes, without scores."""
    columns = {EVENT_ID: pa.string(), EVENT_TIME: pa.int64(), KIND: pa.string()}
    columns |= {name: pa.float32() for name in numeric_names(spec)}
    for name in input_columns(spec):
        columns.setdefault(name, ARROW_TYPES[spec.column_type(name)])
    return pa.schema(columns, metadata={SPEC_KEY: dataset_fingerprint(spec)})


def _gather(task: AssembleTask) -> tuple[pa.Table, dict[str, npt.NDArray[np.float32]]]:
    """The part's events in total order, without duplicates, and the computed features."""
    day = task.day
    plans = {entity: make_plan(task.spec, entity) for entity in task.computed}
    dropped = duplicate_rows(day)
    tables, places = [], []
    for number, piece in enumerate(day.pieces):
        wide = read_arrow(Path(piece, "scored.arrow"))
        time = wide.column(EVENT_TIME).to_numpy()
        first, last = np.searchsorted(time, [task.start_us, task.end_us])
        rows = np.arange(first, last)
        if len(dropped[number]):
            scored = read_arrow(Path(piece, "events.arrow")).column("scored").to_numpy()
            rows = rows[~np.isin(rows, scored[dropped[number]])]
        if not len(rows):
            continue
        tables.append(
            wide.slice(first, last - first)
            if len(rows) == last - first
            else wide.take(pa.array(rows))
        )
        places.append(rows + day.bases[number])
    if not tables:
        empty = _empty_wide(task.spec)
        return empty, {
            entity: np.empty((0, len(plan.features)), np.float32) for entity, plan in plans.items()
        }
    table = pa.concat_tables(tables).combine_chunks()
    place = np.concatenate(places)
    ids = table.column(EVENT_ID).combine_chunks()
    order = total_order(table.column(EVENT_TIME).to_numpy(), ids)
    if not np.array_equal(order, np.arange(len(order))):
        table, place = table.take(pa.array(order)), place[order]
    features = {}
    for entity, plan in plans.items():
        matrix = open_matrix(day, entity, len(plan.features), "r")
        features[entity] = np.asarray(matrix[place])
    return table, features


def _empty_wide(spec: Spec) -> pa.Table:
    columns = {EVENT_ID: pa.string(), EVENT_TIME: pa.int64(), KIND: pa.string()}
    columns |= {name: ARROW_TYPES[spec.column_type(name)] for name in input_columns(spec)}
    return pa.schema(columns).empty_table()


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_pydict({f.name: pa.array([], f.type) for f in table.schema})


def _read_reused(task: AssembleTask, wide: pa.Table) -> pa.Table | None:
    if task.reuse is None:
        return None
    table = pq.read_table(task.reuse)
    table = table.filter(
        (pa.compute.field(EVENT_TIME) >= task.start_us)
        & (pa.compute.field(EVENT_TIME) < task.end_us)
    )
    if not table.column(EVENT_ID).combine_chunks().equals(wide.column(EVENT_ID).combine_chunks()):
        raise InputError(
            f"{task.reuse} holds other events than the input does now ({table.num_rows} against "
            f"{wide.num_rows}); run the backfill without --only-new-features into another --out"
        )
    return table


def _reused_features(spec: Spec, entity: str, reused: pa.Table | None) -> npt.NDArray[np.float32]:
    plan = make_plan(spec, entity)
    if reused is None:
        raise InputError(f"no published features of {entity!r} to reuse; run the whole backfill")
    columns = [
        reused.column(name).to_numpy()
        if name in reused.column_names
        else np.full(reused.num_rows, np.nan, np.float32)
        for name in plan.features
    ]
    if not columns:
        return np.empty((reused.num_rows, 0), np.float32)
    return np.stack(columns, axis=1)


@functools.lru_cache(maxsize=2)
def _scorer(bundle: str) -> Scorer:
    from scoring.bundle import load_bundle
    from scoring.scorer import Scorer
    from transforms.catalog import CATALOG

    return Scorer(load_bundle(Path(bundle), CATALOG))
