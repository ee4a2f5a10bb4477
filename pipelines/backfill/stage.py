"""First step of a backfill: source splits become typed, derived, sharded pieces on disk.

What enters: a split of the input. What leaves: pieces, each the events of one day from one split,
in total order, as Arrow files that the later steps map into memory:

- `events.arrow`   every event: id, its 128-bit hash, time, source position, index among the scored
- `scored.arrow`   scored events only: id, time, kind and the columns that become model inputs
- `verdicts.arrow` events of the label's kind: id, time, subject, positive
- `rows-E.arrow`   entity E's narrow rows and their index among the scored, ordered by shard; where
                   each shard begins is in the schema's metadata: a fold reads its slice only

This is the shuffle: wide columns never leave their piece, and a step can be run again. A decision
record says why it is files and not a GroupByKey (docs/decisions/0002-file-shuffle.md).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from pipelines.backfill.origin import count_days
from pipelines.layout import DAY_US, day_of, day_us, write_parquet
from pipelines.sources import Split, read_split
from transforms.dead_letter import DeadLetter, dead_letter_table
from transforms.derive import derive
from transforms.duplicates import hash_ids
from transforms.expression import evaluate_mask
from transforms.selection import input_columns, scored_mask
from transforms.velocity import (
    Plan,
    entity_rows,
    make_plan,
    rows_to_batch,
    shard_of,
    total_order,
)

PIECE_ROWS = 65_536
_HELD_ROWS = 4 * PIECE_ROWS  # rows held for days that have not filled a piece yet


@dataclasses.dataclass(frozen=True)
class StageTask:
    """One split, the time range that is wanted of it, and where its pieces go.

    Attributes:
      number: unique among the run's splits; names the pieces.
      start_us, end_us: half-open range of event times.
      entities: those whose rows are needed (all, unless only some features are computed).
      folder: pieces go to ``folder/date=D/{number}-{n}/``.
      dead_letters: the Parquet file for what could not be read.
    """

    number: int
    split: Split
    spec: Spec
    start_us: int
    end_us: int
    entities: tuple[str, ...]
    folder: str
    dead_letters: str


def stage_split(task: StageTask) -> dict[str, Any]:
    """Reads, decodes and derives one split, and writes its pieces and dead letters.

    Returns:
      counts: read, dead (stage -> reason -> count), staged, outside (of the range); `seen`: day ->
      events, wanted or not; `days`: day -> pieces.
    """
    writer = _PieceWriter(task)
    dead: list[DeadLetter] = []
    read = outside = 0
    seen: Counter[str] = Counter()
    for decoded in read_split(task.split, task.spec):
        dead.extend(decoded.dead)
        batch, positions = decoded.batch, decoded.positions
        read += batch.num_rows
        times = batch.column(EVENT_TIME).to_numpy()
        seen.update(count_days(times))
        wanted = (times >= task.start_us) & (times < task.end_us)
        if not wanted.all():
            outside += int(len(wanted) - wanted.sum())
            batch, positions = batch.filter(pa.array(wanted)), positions[wanted]
        if batch.num_rows:
            writer.add(derive(task.spec, batch), positions)
    days = writer.close()
    write_dead_letters(dead_letter_table(dead), Path(task.dead_letters))
    return {
        "read": read + len(dead),
        "outside": outside,
        "staged": read - outside,
        "seen": dict(seen),
        "dead": {
            stage: dict(Counter(str(one.reason) for one in dead if one.stage == stage))
            for stage in sorted({str(one.stage) for one in dead})
        },
        "days": days,
    }


def write_dead_letters(letters: pa.Table, path: Path) -> None:
    """Seen whole or not at all; where there is none any more, no file of an earlier run is left."""
    if not letters.num_rows:
        path.unlink(missing_ok=True)
        return
    aside = path.with_name(f".{path.name}.tmp")
    try:
        write_parquet(letters, aside)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def verdict_table(spec: Spec, batch: pa.RecordBatch) -> pa.Table:
    """The verdicts among a batch's events: event_id, event_time, subject, positive, index.

    `index` is the row in the batch; a verdict without subject judges nothing and is left out.
    """
    labels = spec.labels
    if labels is None:
        chosen = np.zeros(batch.num_rows, np.bool_)
        subject = pa.nulls(batch.num_rows, pa.string())
        positive = chosen
    else:
        subject = batch.column(labels.subject)
        is_verdict = pc.equal(batch.column(KIND), labels.kind).to_numpy(zero_copy_only=False)
        chosen = is_verdict & subject.is_valid().to_numpy(zero_copy_only=False)
        positive = evaluate_mask(labels.positive, batch)
    table = pa.table(
        {
            EVENT_ID: batch.column(EVENT_ID),
            EVENT_TIME: batch.column(EVENT_TIME),
            "subject": subject,
            "positive": pa.array(positive),
            "index": np.arange(batch.num_rows, dtype=np.int32),
        }
    )
    return table.filter(pa.array(chosen))


def kind_counts(folder: str) -> dict[str, int]:
    """How many events of each kind a piece holds, duplicates included."""
    schema = read_arrow(Path(folder, "events.arrow")).schema
    counts: dict[str, int] = json.loads(schema.metadata[b"lockstep"])["kinds"]
    return counts


def write_arrow(table: pa.Table | pa.RecordBatch, path: Path) -> None:
    """Writes an uncompressed Arrow file, which `read_arrow` maps without copying."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write(table)


def read_arrow(path: Path) -> pa.Table:
    """Maps an Arrow file into memory."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


class _PieceWriter:
    """Gathers derived events by day and writes a piece whenever one is full."""

    def __init__(self, task: StageTask) -> None:
        self._task = task
        self._plans = [make_plan(task.spec, entity) for entity in task.entities]
        self._held: dict[dt.date, list[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]] = {}
        self._rows: dict[dt.date, int] = {}
        self._pieces: dict[str, int] = {}

    def add(self, batch: pa.RecordBatch, positions: npt.NDArray[np.int64]) -> None:
        times = batch.column(EVENT_TIME).to_numpy()
        first, last = day_of(times.min()), day_of(times.max())
        day = first
        while day <= last:
            if first == last:
                self._hold(day, batch, positions)
                break
            start = day_us(day)
            inside = (times >= start) & (times < start + DAY_US)
            if inside.any():
                self._hold(day, batch.filter(pa.array(inside)), positions[inside])
            day += dt.timedelta(days=1)
        while sum(self._rows.values()) > _HELD_ROWS:
            self._flush(max(self._rows, key=lambda day: (self._rows[day], day)))

    def close(self) -> dict[str, int]:
        for day in sorted(self._held):
            self._flush(day)
        return self._pieces

    def _hold(self, day: dt.date, batch: pa.RecordBatch, positions: npt.NDArray[np.int64]) -> None:
        self._held.setdefault(day, []).append((batch, positions))
        self._rows[day] = self._rows.get(day, 0) + batch.num_rows
        if self._rows[day] >= PIECE_ROWS:
            self._flush(day)

    def _flush(self, day: dt.date) -> None:
        held = self._held.pop(day, [])
        self._rows.pop(day, None)
        if not held:
            return
        number = self._pieces.get(str(day), 0)
        self._pieces[str(day)] = number + 1
        batch = held[0][0]
        if len(held) > 1:
            batch = pa.Table.from_batches([b for b, _ in held]).combine_chunks().to_batches()[0]
        positions = np.concatenate([p for _, p in held])
        order = total_order(batch.column(EVENT_TIME).to_numpy(), batch.column(EVENT_ID))
        if not np.array_equal(order, np.arange(len(order))):
            batch, positions = batch.take(pa.array(order)), positions[order]
        folder = Path(self._task.folder, f"date={day}", f"{self._task.number:06d}-{number:04d}")
        _write_piece(folder, self._task, self._plans, batch, positions)


def _write_piece(
    folder: Path,
    task: StageTask,
    plans: list[Plan],
    batch: pa.RecordBatch,
    positions: npt.NDArray[np.int64],
) -> None:
    spec = task.spec
    scored = scored_mask(spec, batch)
    ids = batch.column(EVENT_ID)
    hash_1, hash_2 = hash_ids(ids)
    places = np.where(scored, np.cumsum(scored) - 1, -1).astype(np.int32)
    events = pa.table(
        {
            EVENT_ID: ids,
            EVENT_TIME: batch.column(EVENT_TIME),
            "hash_1": hash_1,
            "hash_2": hash_2,
            "position": positions,
            "scored": places,
        }
    )
    kinds = {one["values"]: one["counts"] for one in batch.column(KIND).value_counts().to_pylist()}
    facts = json.dumps({"source": task.split.path, "kinds": kinds})
    write_arrow(events.replace_schema_metadata({"lockstep": facts}), folder / "events.arrow")
    columns = [EVENT_ID, EVENT_TIME, KIND, *input_columns(spec)]
    wide = pa.Table.from_batches([batch]).select(columns).filter(pa.array(scored))
    write_arrow(wide.combine_chunks(), folder / "scored.arrow")
    verdicts = verdict_table(spec, batch)
    if verdicts.num_rows:
        write_arrow(verdicts.combine_chunks(), folder / "verdicts.arrow")
    for plan in plans:
        rows = entity_rows(plan, batch)
        shards = shard_of(rows.key, spec.shards)
        order = np.argsort(shards.astype(np.int16), kind="stable")  # 16 bits: a radix sort
        starts = np.concatenate([[0], np.cumsum(np.bincount(shards, minlength=spec.shards))])
        rows = rows.take(order)
        narrow = rows_to_batch(rows).append_column("scored", pa.array(places[rows.row]))
        metadata = {**(narrow.schema.metadata or {}), b"starts": json.dumps(starts.tolist())}
        write_arrow(narrow.replace_schema_metadata(metadata), folder / f"rows-{plan.entity}.arrow")
