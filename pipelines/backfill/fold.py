"""Middle steps of a backfill: duplicates out, then one pure fold per entity, shard and day.

What enters: the pieces of consecutive days (`stage`) and the state at the end of the day before.
What leaves: per day, features of every scored event in one memory-mapped matrix per entity, whose
row is the event's place among the day's scored events (that is the rejoin: no join is needed),
and the state snapshot at each day's end.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill.stage import read_arrow, write_arrow
from transforms.dead_letter import DEAD_LETTER_SCHEMA, Reason, Stage
from transforms.duplicates import RecentIds
from transforms.velocity import (
    Rows,
    ShardState,
    concat_rows,
    finish,
    fold,
    make_plan,
    rows_from_batch,
    total_order,
)

RECENT_IDS = "recent-ids.arrow"

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class DayPieces:
    """One day of a chunk: its pieces in a fixed order, and where scored events of each begin.

    Attributes:
      day: "2026-03-01".
      end_us: the microsecond after the day.
      pieces: folders, ordered by split and number.
      sizes: events of each piece.
      bases: index of each piece's first scored event in the day's matrix.
      scored: how many scored events the day has, duplicates included.
      work: folder for matrices and duplicates.
      state: folder of the snapshot at the day's end; None: none is kept.
    """

    day: str
    end_us: int
    pieces: tuple[str, ...]
    sizes: tuple[int, ...]
    bases: tuple[int, ...]
    scored: int
    work: str
    state: str | None


@dataclasses.dataclass(frozen=True)
class DedupTask:
    """Finds the duplicates of consecutive days, given the ids seen lately before them."""

    spec: Spec
    days: tuple[DayPieces, ...]
    before: str | None


def drop_seen(task: DedupTask) -> dict[str, Any]:
    """Writes each day's duplicates (piece, row) and the ids that the next day must know.

    Returns:
      `duplicates`: day -> count.
    """
    recent = RecentIds(task.spec.events.dedup_us)
    if task.before is not None:
        recent = RecentIds.from_table(read_arrow(Path(task.before, RECENT_IDS)), recent.horizon_us)
    counts = {}
    for day in task.days:
        tables = [read_arrow(Path(piece, "events.arrow")) for piece in day.pieces]
        time = _gather(tables, EVENT_TIME, np.int64)
        hash_1 = _gather(tables, "hash_1", np.uint64)
        hash_2 = _gather(tables, "hash_2", np.uint64)
        order = np.argsort(time, kind="stable")
        keep = recent.take(hash_1[order], hash_2[order], time[order])
        dropped = np.sort(order[~keep])
        write_arrow(
            pa.table({"event": pa.array(dropped, pa.int64())}), Path(day.work, "duplicates.arrow")
        )
        recent.prune(day.end_us)
        if day.state is not None:
            write_arrow(recent.to_table(), Path(day.state, RECENT_IDS))
        counts[day.day] = len(dropped)
    return {"duplicates": counts}


def duplicate_rows(day: DayPieces) -> list[Integers]:
    """The rows of each piece that are duplicates: one int64 array per piece, ascending."""
    dropped = read_arrow(Path(day.work, "duplicates.arrow")).column("event").to_numpy()
    starts = np.concatenate([[0], np.cumsum(day.sizes)]).astype(np.int64)
    cuts = np.searchsorted(dropped, starts)
    return [dropped[cuts[i] : cuts[i + 1]] - starts[i] for i in range(len(day.sizes))]


def duplicate_letters(day: DayPieces) -> pa.Table:
    """The day's duplicates as dead letters (`DEAD_LETTER_SCHEMA`), by source and position."""
    tables = []
    for piece, dropped in zip(day.pieces, duplicate_rows(day), strict=True):
        if not len(dropped):
            continue
        events = read_arrow(Path(piece, "events.arrow"))
        values = {
            "stage": str(Stage.DEDUPLICATE),
            "reason": str(Reason.DUPLICATE_ID),
            "source": json.loads(events.schema.metadata[b"lockstep"])["source"],
            "column": EVENT_ID,
            "detail": "an event with this id was taken before, within the horizon of events.dedup",
        }
        columns = {name: pa.repeat(value, len(dropped)) for name, value in values.items()}
        columns["position"] = events.column("position").take(pa.array(dropped))
        tables.append(pa.table(columns).select(DEAD_LETTER_SCHEMA.names).cast(DEAD_LETTER_SCHEMA))
    if not tables:
        return DEAD_LETTER_SCHEMA.empty_table()
    order = [("source", "ascending"), ("position", "ascending")]
    return pa.concat_tables(tables).sort_by(order).combine_chunks()


@dataclasses.dataclass(frozen=True)
class FoldTask:
    """One shard of one entity over consecutive days.

    Attributes:
      before: folder of the snapshot at the end of the day before; None: state starts empty.
    """

    spec: Spec
    entity: str
    shard: int
    days: tuple[DayPieces, ...]
    before: str | None


def fold_shard(task: FoldTask) -> dict[str, Any]:
    """Folds a shard's rows day by day; scatters features and writes the snapshots.

    Returns:
      rows, keys (live at the end), state_bytes.
    """
    plan = make_plan(task.spec, task.entity)
    state = ShardState.empty(plan)
    name = state_file(task.entity, task.shard)
    if task.before is not None:
        state = ShardState.from_table(read_arrow(Path(task.before, name)), plan)
    folded_rows = 0
    for day in task.days:
        rows, places = _shard_rows(task, day)
        if len(rows):
            folded = fold(plan, state, rows)
            state.update(folded.delta)
            matrix = open_matrix(day, task.entity, len(plan.features))
            matrix[places[rows.query]] = finish(plan, folded.outputs)
            del matrix
            state.expire(day.end_us)
            folded_rows += len(rows)
        if day.state is not None:
            write_arrow(state.to_table(), Path(day.state, name))
    return {"rows": folded_rows, "keys": len(state), "state_bytes": state.nbytes}


def state_file(entity: str, shard: int) -> str:
    """The name of a shard's snapshot in a state folder.

    >>> state_file("author", 3)
    'author-003.arrow'
    """
    return f"{entity}-{shard:03d}.arrow"


def create_matrix(day: DayPieces, entity: str, width: int) -> None:
    """Makes the day's feature matrix of an entity, all null (NaN): float32 `[scored, width]`."""
    path = _matrix_path(day, entity)
    with open(path, "wb") as file:
        left = day.scored * width
        block = np.full(1 << 20, np.nan, np.float32)
        while left > 0:
            file.write(block[:left].tobytes())
            left -= len(block)


def open_matrix(day: DayPieces, entity: str, width: int, mode: str = "r+") -> Floats:
    """Maps the day's feature matrix of an entity: float32 `[scored, width]`."""
    if day.scored == 0 or width == 0:
        return np.empty((day.scored, width), np.float32)
    matrix: Floats = np.memmap(
        _matrix_path(day, entity),
        np.float32,
        mode,  # type: ignore[call-overload]
        shape=(day.scored, width),
    )
    return matrix


def _matrix_path(day: DayPieces, entity: str) -> str:
    return os.path.join(day.work, f"features-{entity}.f32")


def _shard_rows(task: FoldTask, day: DayPieces) -> tuple[Rows, Integers]:
    """The day's rows of a shard in total order, and each row's place among the scored (or -1)."""
    plan = make_plan(task.spec, task.entity)
    dropped = duplicate_rows(day)
    parts, places, origins = [], [], []
    for number, piece in enumerate(day.pieces):
        table = read_arrow(Path(piece, f"rows-{task.entity}.arrow"))
        starts = _starts(table)
        first, last = starts[task.shard], starts[task.shard + 1]
        if first == last:
            continue
        batch = table.slice(first, last - first).combine_chunks().to_batches()[0]
        rows, scored = rows_from_batch(plan, batch), batch.column("scored").to_numpy()
        if len(dropped[number]):
            kept = np.flatnonzero(~np.isin(rows.row, dropped[number]))
            rows, scored = rows.take(kept), scored[kept]
        parts.append(rows)
        places.append(np.where(scored >= 0, scored + day.bases[number], -1).astype(np.int64))
        origins.append(np.full(len(rows), number, np.int64))
    if not parts:
        return Rows.empty(plan), np.empty(0, np.int64)
    rows = concat_rows(parts)
    order = _order(day, rows, np.concatenate(origins))
    return rows.take(order), np.concatenate(places)[order]


def _order(day: DayPieces, rows: Rows, origins: Integers) -> Integers:
    """Total order of rows from several pieces; ids are looked up only where times are equal."""
    order = np.argsort(rows.time, kind="stable")
    times = rows.time[order]
    same = times[1:] == times[:-1]
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    if len(tied):
        which = order[tied]
        ids = _event_ids(day, origins[which], rows.row[which])
        order[tied] = which[total_order(times[tied], ids)]
    return order


def _event_ids(day: DayPieces, origins: Integers, rows: Integers) -> pa.StringArray:
    ids = np.empty(len(rows), object)
    for number in np.unique(origins):
        here = origins == number
        column = read_arrow(Path(day.pieces[number], "events.arrow")).column(EVENT_ID)
        ids[here] = column.take(pa.array(rows[here])).to_pylist()
    return pa.array(ids, pa.string())


def _starts(table: pa.Table) -> list[int]:
    starts: list[int] = json.loads(table.schema.metadata[b"starts"])
    return starts


def _gather(tables: list[pa.Table], column: str, dtype: type[Any]) -> npt.NDArray[Any]:
    if not tables:
        return np.empty(0, dtype)
    return np.concatenate([table.column(column).to_numpy() for table in tables])
