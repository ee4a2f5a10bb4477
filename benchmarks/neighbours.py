"""What others take for parts of the same work: polars, DuckDB, Temporian (`temporian_windows`).

They compute the windowed features of the same config that are no distinct counts: the
same entities, kinds, filters and windows, strictly before the event; exact windows where ours are
tiled, and events of the same microsecond left out where ours go by id. What they read is prepared
for them, and not measured: decoded and derived events, with a column per key and per measure.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.schema import EVENT_TIME, KIND, Aggregate, Entity, Spec
from pipelines.sources import open_source, read_split
from transforms.derive import derive
from transforms.expression import evaluate_mask

_OPS = ("count", "sum", "mean", "min", "max", "rate")
AT = "sent"


@dataclasses.dataclass(frozen=True)
class Comparable:
    """A feature that the neighbours compute: an operation on a measure over a window."""

    name: str
    measure: str
    op: str
    window: str
    length_us: int


def comparable(spec: Spec) -> dict[str, list[Comparable]]:
    """Entity -> its windowed features that are no distinct counts."""
    found: dict[str, list[Comparable]] = {}
    for entity in spec.entities.values():
        for aggregate in entity.aggregates:
            for window in aggregate.windows:
                name = f"{entity.name}_{aggregate.name}_{window.name}"
                if aggregate.op in _OPS or aggregate.op == "ratio":
                    one = Comparable(
                        name,
                        f"{entity.name}_{aggregate.name}",
                        aggregate.op,
                        window.name,
                        window.length_us,
                    )
                    found.setdefault(entity.name, []).append(one)
    return found


def prepare(spec: Spec, source: Path, folder: Path) -> Path:
    """Writes the events with a key per entity, and a value per aggregate (null where it is not)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(open_source(str(source), spec)):
        tables = [
            _measures(spec, derive(spec, decoded.batch))
            for decoded in read_split(split, spec)
            if decoded.batch.num_rows
        ]
        if tables:
            pq.write_table(pa.concat_tables(tables), folder / f"{number:05d}.parquet")
    return folder


def _measures(spec: Spec, batch: pa.RecordBatch) -> pa.Table:
    columns = {AT: batch.column(EVENT_TIME).cast(pa.timestamp("us")), KIND: batch.column(KIND)}
    kind = batch.column(KIND)
    for entity in spec.entities.values():
        columns[entity.name] = _key(entity, batch)
        for aggregate in entity.aggregates:
            if aggregate.op in _OPS:
                mask = pc.is_in(kind, value_set=pa.array(aggregate.kinds))
                if aggregate.where is not None:
                    mask = pc.and_(mask, pa.array(evaluate_mask(aggregate.where, batch)))
                values = _values(aggregate, batch)
                null = pa.scalar(None, pa.float64())
                columns[f"{entity.name}_{aggregate.name}"] = pc.if_else(mask, values, null)
    return pa.table(columns)


def _key(entity: Entity, batch: pa.RecordBatch) -> pa.Array:
    key = pa.nulls(batch.num_rows, pa.string())
    for kind, (column, *_) in entity.keys.items():
        values = batch.column(column).cast(pa.string())
        key = pc.if_else(pc.equal(batch.column(KIND), kind), values, key)
    return key


def _values(aggregate: Aggregate, batch: pa.RecordBatch) -> pa.Array:
    column = aggregate.arguments.get("column")
    if column is None:
        return pa.array(np.ones(batch.num_rows))
    values = batch.column(column)
    return (
        values.cast(pa.int8()).cast(pa.float64())
        if pa.types.is_boolean(values.type)
        else values.cast(pa.float64())
    )


def polars_rolling(spec: Spec, prepared: Path) -> int:
    """All comparable features by polars' `rolling`, entity by entity, window by window."""
    frame = pl.read_parquet(str(prepared / "*.parquet")).sort(AT)
    for entity, features in comparable(spec).items():
        keyed = frame.filter(pl.col(entity).is_not_null())
        for window in dict.fromkeys(one.window for one in features):
            asked = [one for one in features if one.window == window and one.op != "ratio"]
            keyed.rolling(AT, period=window, closed="left", group_by=entity).agg(
                [_POLARS[one.op](pl.col(one.measure)).alias(one.name) for one in asked]
            )
    return len(frame)


_POLARS = {
    "count": pl.Expr.count,
    "rate": pl.Expr.count,
    "sum": pl.Expr.sum,
    "mean": pl.Expr.mean,
    "min": pl.Expr.min,
    "max": pl.Expr.max,
}
"""A ratio divides two of the others, and a rate one of them; neither takes a window of its own."""


def duckdb_windows(spec: Spec, prepared: Path) -> int:
    """The same by DuckDB's range windows, one query per entity."""
    connection = duckdb.connect()
    connection.execute(f"set threads to {len(os.sched_getaffinity(0))}")
    rows = 0
    for entity, features in comparable(spec).items():
        asked = [one for one in features if one.op != "ratio"]
        columns = ", ".join(
            f"{'count' if one.op == 'rate' else one.op}({one.measure}) over w{one.window} "
            f"as {one.name}"
            for one in asked
        )
        lengths = {one.window: one.length_us for one in features}
        windows = ", ".join(
            f"w{name} as (partition by {entity} order by {AT} range between interval "
            f"'{length} microseconds' preceding and interval '1 microsecond' preceding)"
            for name, length in lengths.items()
        )
        connection.execute(
            f"create or replace temp table made as select {columns} from "
            f"read_parquet('{prepared}/*.parquet') where {entity} is not null window {windows}"
        )
        [(found,)] = connection.sql("select count(*) from made").fetchall()
        rows = max(rows, int(found))
    return rows
