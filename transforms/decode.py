"""The door: rows of a file or messages of a stream become typed events, or dead letters one by one.

What enters: JSON records as bytes, or a table as Parquet or CSV gave it. What leaves: `Decoded`, a
batch with the columns `event_id`, `event_time`, `kind` and those of the spec, in its order, and a
dead letter for every record that cannot be used; its neighbours go on. Both ways in give the same
batch for the same facts, because both end in `transforms.columns`.

A row becomes one event, or one event for each `ingest` rule of the spec.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Column, ColumnType, Ingest, Spec
from transforms.columns import ARROW_TYPES, type_column
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.expression import evaluate_mask
from transforms.json_records import read_json

Int64s = npt.NDArray[np.int64]

_MOST_ID_BYTES = 1024


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Typed events, where each came from, and what was lost.

    Attributes:
      batch: events `[n]`.
      positions: int64 `[n]`: the row, line or message of each event.
      dead: the records that cannot be used.
    """

    batch: pa.RecordBatch
    positions: Int64s
    dead: tuple[DeadLetter, ...]

    def renumbered(self, numbers: Sequence[int], more_dead: tuple[DeadLetter, ...] = ()) -> Decoded:
        """The same with position i, counted from 0, standing for `numbers[i]`."""
        index = np.asarray(numbers, np.int64)
        dead = tuple(
            dataclasses.replace(letter, position=int(index[letter.position]))
            for letter in self.dead
        )
        positions = index[self.positions] if len(index) else self.positions
        return Decoded(self.batch, positions, (*more_dead, *dead))


def no_events(spec: Spec) -> Decoded:
    """Nothing, typed."""
    batch = pa.RecordBatch.from_pylist([], event_schema(spec))
    return Decoded(batch, np.empty(0, np.int64), ())


def event_schema(spec: Spec) -> pa.Schema:
    """The Arrow schema of decoded events."""
    fields = {EVENT_ID: pa.string(), EVENT_TIME: pa.int64(), KIND: pa.string()}
    return pa.schema(
        fields | {name: ARROW_TYPES[column.type] for name, column in spec.columns.items()}
    )


def decode_json(
    spec: Spec, records: Sequence[bytes], source: str, first_position: int = 0
) -> Decoded:
    """Events of JSON objects.

    Args:
      spec: the use.
      records: one JSON object each, `[m]`.
      source: file or subscription, for dead letters.
      first_position: position of the first record.

    Returns:
      Events in the order of the records. Members that the spec does not name are ignored.
    """
    columns, rows, faults = read_json(records, source_columns(spec))
    dead = [
        DeadLetter(Stage.DECODE, reason, source, first_position + row, column, detail)
        for row, reason, column, detail in faults
    ]
    made = _events(spec, columns, first_position + rows, source)
    return Decoded(made.batch, made.positions, (*dead, *made.dead))


def decode_columns(
    spec: Spec, table: pa.Table | pa.RecordBatch, source: str, first_position: int = 0
) -> Decoded:
    """Events of a table.

    Args:
      spec: the use.
      table: `[m]` rows; columns of any type that can mean what the spec declares.
      source: the file, for dead letters.
      first_position: position of the first row.

    Returns:
      Events in the order of the rows. Columns that the spec does not name are ignored.
    """
    if isinstance(table, pa.Table):
        table = table.combine_chunks()
    wanted = source_columns(spec)
    columns = {}
    for index, name in enumerate(table.schema.names):
        if name in wanted and name not in columns:
            column = table.column(index)
            if isinstance(column, pa.ChunkedArray):
                column = column.combine_chunks()
                if isinstance(column, pa.ChunkedArray):
                    column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0)
            columns[name] = column
    rows = np.arange(first_position, first_position + table.num_rows)
    return _events(spec, columns, rows, source)


def concat_decoded(parts: Sequence[Decoded], schema: pa.Schema) -> Decoded:
    """Several as one; `schema` is that of an empty one."""
    batches = [part.batch for part in parts if part.batch.num_rows]
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    made = table.to_batches()
    batch = made[0] if made else pa.RecordBatch.from_pylist([], schema)
    positions = [part.positions for part in parts]
    return Decoded(
        batch,
        np.concatenate(positions) if positions else np.empty(0, np.int64),
        tuple(letter for part in parts for letter in part.dead),
    )


def _rules(spec: Spec) -> tuple[Ingest | None, ...]:
    return spec.ingest or (None,)


def source_columns(spec: Spec) -> frozenset[str]:
    """Every input column that some rule reads."""
    names: set[str] = set()
    for rule in _rules(spec):
        if rule is None:
            names |= {spec.events.id, spec.events.time, spec.events.kind or KIND, *spec.columns}
        else:
            names |= {rule.time, *([rule.id] if rule.id else [])}
            names |= {rule.columns.get(name, name) for name in spec.columns}
    return frozenset(names | {old for old, new in spec.events.aliases.items() if new in names})


def _events(spec: Spec, columns: Mapping[str, pa.Array], rows: Int64s, source: str) -> Decoded:
    columns = dict(columns)
    for old, new in spec.events.aliases.items():
        if old in columns and new not in columns:
            columns[new] = columns[old]
    parts = [_one_rule(spec, rule, columns, rows, source) for rule in _rules(spec)]
    if len(parts) == 1:
        return parts[0]
    made = concat_decoded(parts, event_schema(spec))
    # A faulty row is one dead letter, however many events it would have made.
    dead = {letter.position: letter for letter in reversed(made.dead)}
    return Decoded(made.batch, made.positions, tuple(dead[at] for at in sorted(dead)))


def _one_rule(
    spec: Spec,
    rule: Ingest | None,
    columns: Mapping[str, pa.Array],
    rows: Int64s,
    source: str,
) -> Decoded:
    """The events that one rule makes of some rows."""
    reader = _Reader(columns, rows, source)
    if rule is None:
        kinds = reader.typed(KIND, spec.events.kind or KIND, ColumnType.STRING)
        ids = reader.typed(EVENT_ID, spec.events.id, ColumnType.STRING)
        time_name, delay_us = spec.events.time, 0
    else:
        kinds = pa.repeat(pa.scalar(rule.kind, pa.string()), len(rows))
        ids = _ingest_ids(reader, rule, rows, source)
        time_name, delay_us = rule.time, rule.delay_us
    reader.require(KIND, kinds)
    known = pc.is_in(kinds, value_set=pa.array(list(spec.kinds), pa.string()))
    unknown = ~known.to_numpy(zero_copy_only=False)
    reader.bury(unknown, Reason.UNKNOWN_KIND, KIND, "expected a kind of the config")
    reader.require(EVENT_ID, ids)
    reader.require_text(EVENT_ID, ids)
    times = reader.typed(EVENT_TIME, time_name, ColumnType.TIMESTAMP, Reason.BAD_TIME)
    reader.require(EVENT_TIME, times)
    moments = times.fill_null(0).to_numpy(zero_copy_only=False)
    absurd = (moments < spec.events.earliest_us) | (moments > spec.events.latest_us)
    reader.bury(absurd, Reason.BAD_TIME, EVENT_TIME, "expected a time that the config allows")
    arrays = {EVENT_ID: ids, EVENT_TIME: pc.add(times, delay_us), KIND: kinds}
    for name, column in spec.columns.items():
        if rule is not None and rule.subject is not None and name == rule.subject[0]:
            arrays[name] = _prefixed(rule.subject[1], reader.ids_of(rule, rows, source))
            continue
        given = rule.columns.get(name, name) if rule is not None else name
        arrays[name] = reader.read(column, given)
    batch = pa.RecordBatch.from_arrays(
        [arrays[name] for name in event_schema(spec).names], schema=event_schema(spec)
    )
    chosen = np.ones(len(rows), np.bool_)
    if rule is not None and rule.where is not None:
        chosen = evaluate_mask(rule.where, batch)
    for kind in spec.kinds.values():
        if rule is not None and kind.name != rule.kind:
            continue
        of_kind = pc.fill_null(pc.equal(kinds, kind.name), False).to_numpy(zero_copy_only=False)
        of_kind = of_kind & chosen
        for name in kind.required:
            missing = of_kind & arrays[name].is_null().to_numpy(zero_copy_only=False)
            reader.bury(missing, Reason.MISSING_COLUMN, name, f"{kind.name} needs it")
    keep = chosen & ~reader.buried
    if not keep.all():
        batch, rows = batch.filter(pa.array(keep)), rows[keep]
    return Decoded(batch, rows, tuple(reader.dead))


def _ingest_ids(reader: _Reader, rule: Ingest, rows: Int64s, source: str) -> pa.Array:
    return _prefixed(rule.kind, reader.ids_of(rule, rows, source))


def _prefixed(kind: str, values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(f"{kind}:"), values, pa.scalar(""))


class _Reader:
    """Reads columns of some rows, and buries each faulty row once, with its first fault."""

    def __init__(self, columns: Mapping[str, pa.Array], rows: Int64s, source: str) -> None:
        self._columns, self._rows, self._source = columns, rows, source
        self.buried = np.zeros(len(rows), np.bool_)
        self.dead: list[DeadLetter] = []

    def bury(self, faulty: npt.NDArray[np.bool_], reason: Reason, column: str, detail: str) -> None:
        fresh = faulty & ~self.buried
        if not fresh.any():
            return
        self.buried |= fresh
        self.dead.extend(
            DeadLetter(Stage.DECODE, reason, self._source, int(row), column, detail)
            for row in self._rows[fresh]
        )

    def require(self, name: str, array: pa.Array) -> None:
        missing = array.is_null().to_numpy(zero_copy_only=False)
        self.bury(missing, Reason.MISSING_COLUMN, name, "every event needs it")

    def require_text(self, name: str, array: pa.Array) -> None:
        empty = pc.fill_null(pc.equal(pc.binary_length(array), 0), False)
        self.bury(empty.to_numpy(zero_copy_only=False), Reason.MISSING_COLUMN, name, "it is empty")

    def typed(
        self, name: str, given: str, type_: ColumnType, reason: Reason | None = None
    ) -> pa.Array:
        """A column that every event has; `reason` stands for all its faults, where given."""
        return self.read(Column(name, type_, max_bytes=_MOST_ID_BYTES), given, reason)

    def read(self, column: Column, given: str, reason: Reason | None = None) -> pa.Array:
        """The column of that name in the input, typed; all null if the input has none."""
        if given not in self._columns:
            return pa.nulls(len(self._rows), ARROW_TYPES[column.type])
        typed = type_column(self._columns[given], column)
        for fault in typed.faults:
            self.bury(fault.rows, reason or fault.reason, column.name, fault.detail)
        return typed.array

    def ids_of(self, rule: Ingest, rows: Int64s, source: str) -> pa.Array:
        """What names a row: its id column, or the file's name and the row's number."""
        if rule.id is not None:
            return self.typed(EVENT_ID, rule.id, ColumnType.STRING)
        numbers = pa.array(rows).cast(pa.string())
        name = os.path.basename(source)
        return pc.binary_join_element_wise(pa.scalar(f"{name}#"), numbers, pa.scalar(""))
