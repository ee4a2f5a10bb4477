"""The door: rows of a file or messages of a stream become typed events, or dead letters one by one.

What enters: JSON records as bytes, or a table as Parquet or CSV gave it. What leaves: `Decoded`, a
batch with the columns `event_id`, `event_time`, `kind` and those of the spec, in its order, and a
dead letter for every record that cannot be used; its neighbours go on. Both ways in give the same
batch for the same facts, because both end in `transforms.columns`.

A row becomes one event, or one event for each `ingest` rule of the spec.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import InputError
from configs.labels import is_later, later_columns, shown_label
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Column, ColumnType, Ingest, Spec
from transforms.columns import ARROW_TYPES, true_mask, type_column, without_empty
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.expression import evaluate_mask
from transforms.json_records import MOST_BYTES, read_json
from transforms.time_hints import are_numbers, expected_time, in_other_units
from transforms.times import Reading

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MOST_ID_BYTES = 1024
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_MOST_FAILING = 8  # records of one call that may make this code fail before it is called broken


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Typed events, where each came from, and what was lost.

    Attributes:
      batch: events `[n]`.
      positions: int64 `[n]`: the row, line or message of each event.
      dead: the records that cannot be used.
      columns: input columns that were there; of JSON, that had a value.
    """

    batch: pa.RecordBatch
    positions: Int64s
    dead: tuple[DeadLetter, ...]
    columns: frozenset[str] = frozenset()


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
    spec: Spec,
    records: Sequence[bytes],
    source: str,
    first_position: int = 0,
    positions: Int64s | None = None,
) -> Decoded:
    """Events of JSON objects.

    Args:
      spec: the use.
      records: one JSON object each, `[m]`.
      source: file or subscription, for dead letters.
      first_position: position of the first record.
      positions: int64 `[m]`, positions of the records where they do not follow each other.

    Returns:
      Events in the order of the records (with several ingest rules: rule after rule). Members that
      the spec does not name are ignored. A record that makes this code fail is a dead letter too,
      alone, with the reason `internal_error`.

    Raises:
      Exception: more than a few records of one call make this code fail: then it is not theirs.
    """
    if positions is None:
        positions = np.arange(first_position, first_position + len(records))
    return _isolated(spec, records, source, positions, _Patience(_MOST_FAILING))


@dataclasses.dataclass
class _Patience:
    """How many more records of a call may make the code fail."""

    left: int


def _isolated(
    spec: Spec, records: Sequence[bytes], source: str, positions: Int64s, patience: _Patience
) -> Decoded:
    """Decodes; what fails is halved until the record is found that is the cause."""
    try:
        return _decode(spec, records, source, positions)
    except MemoryError:  # no record's fault
        raise
    except Exception as error:
        if len(records) > 1:
            half = len(records) // 2
            parts = [
                _isolated(spec, records[cut], source, positions[cut], patience)
                for cut in (slice(half), slice(half, None))
            ]
            return concat_decoded(parts, event_schema(spec))
        patience.left -= 1
        if patience.left < 0 or not records:
            raise
        detail = f"Lockstep itself failed on it, with {type(error).__name__}: please report it"
        at = int(positions[0])
        letter = DeadLetter(Stage.DECODE, Reason.INTERNAL_ERROR, source, at, None, detail)
        return dataclasses.replace(no_events(spec), dead=(letter,))


def _decode(spec: Spec, records: Sequence[bytes], source: str, positions: Int64s) -> Decoded:
    columns, rows, faults = read_json(
        records, spec.input_names, spec.events.aliases, most_bytes(spec), partitions(spec, source)
    )
    columns = {name: one for name, one in columns.items() if one.null_count < len(one)}
    dead = [
        DeadLetter(Stage.DECODE, reason, source, int(positions[row]), None, detail)
        for row, reason, detail in faults
    ]
    made = _events(spec, columns, positions[rows], source)
    return dataclasses.replace(made, dead=_in_order([*dead, *made.dead]))


def decode_columns(
    spec: Spec,
    table: pa.Table | pa.RecordBatch,
    source: str,
    first_position: int = 0,
    positions: Int64s | None = None,
) -> Decoded:
    """Events of a table.

    Args:
      spec: the use.
      table: `[m]` rows; columns of any type that can mean what the spec declares.
      source: the file, for dead letters.
      first_position: position of the first row.
      positions: int64 `[m]`, positions of the rows where they do not follow each other.

    Returns:
      Events in the order of the rows (with several ingest rules: rule after rule). Columns that
      the spec does not name are ignored; of two with one name, the first counts.
    """
    if positions is None:
        positions = np.arange(first_position, first_position + table.num_rows)
    wanted, columns = source_columns(spec), {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if name in wanted and name not in columns:
            columns[name] = _whole(column)
    for other, name in spec.events.aliases.items():
        if other in columns and name not in columns:
            columns[name] = columns[other]
    for name, value in partitions(spec, source).items():
        if name not in columns:
            columns[name] = pa.repeat(pa.scalar(value, pa.string()), table.num_rows)
    return _events(spec, columns, positions, source)


def partitions(spec: Spec, path: str) -> dict[str, str]:
    """Columns that a file's folders give (`day=2026-03-01`), as Hive, pyarrow and Spark write them.

    Only columns that the config reads; a file's own column of that name goes before it.

    Raises:
      InputError: a value is not UTF-8.
    """
    if "=" not in path:
        return {}
    wanted, found = source_columns(spec), {}
    for folder in path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name in wanted and value != _NO_PARTITION:
            try:
                found[name] = urllib.parse.unquote(value, errors="strict")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: the folder {folder!r} gives the column {name!r}, and what it encodes "
                    "by percent signs is no UTF-8; rename it"
                ) from error
    aliases = spec.events.aliases.items()
    return {**{name: found[old] for old, name in aliases if old in found}, **found}


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def most_bytes(spec: Spec) -> int:
    """Longest JSON record that such events may need: each byte of text may be escaped as six."""
    text = sum(c.max_bytes for c in spec.columns.values() if c.type is ColumnType.STRING)
    return max(MOST_BYTES, 6 * text)


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
        frozenset().union(*(part.columns for part in parts)),
    )


def _rules(spec: Spec) -> tuple[Ingest | None, ...]:
    return spec.ingest or (None,)


def source_columns(spec: Spec) -> frozenset[str]:
    """Every input column that some rule reads, under any of its names."""
    names = spec.input_names
    return names | {old for old, new in spec.events.aliases.items() if new in names}


def _events(spec: Spec, columns: Mapping[str, pa.Array], rows: Int64s, source: str) -> Decoded:
    reading = Reading(spec.events.time_unit, spec.events.time_zone)
    parts = [
        _one_rule(spec, rule, _Reader(columns, rows, source, reading)) for rule in _rules(spec)
    ]
    there = frozenset(columns)
    if len(parts) == 1:
        return dataclasses.replace(parts[0], columns=there)
    made = concat_decoded(parts, event_schema(spec))
    return Decoded(made.batch, made.positions, _in_order(made.dead), there)


def _in_order(dead: Iterable[DeadLetter]) -> tuple[DeadLetter, ...]:
    """By position; a faulty row is one dead letter, however many events it would have made."""
    first: dict[int, DeadLetter] = {}
    for letter in dead:
        first.setdefault(letter.position, letter)
    return tuple(first[at] for at in sorted(first))


def _one_rule(spec: Spec, rule: Ingest | None, reader: _Reader) -> Decoded:
    """The events that one rule makes of some rows."""
    arrays = {}
    if rule is None:
        kinds = reader.typed(KIND, spec.events.kind or KIND, ColumnType.STRING)
        ids = reader.typed(EVENT_ID, spec.events.id, ColumnType.STRING)
        times = reader.typed(EVENT_TIME, spec.events.time, ColumnType.TIMESTAMP)
    else:
        kinds = pa.repeat(pa.scalar(rule.kind, pa.string()), len(reader))
        names = reader.names(rule)
        ids = _prefixed(rule.kind, names)
        times = reader.typed(EVENT_TIME, rule.time, ColumnType.TIMESTAMP)
        if rule.subject is not None:
            arrays[rule.subject[0]] = _prefixed(rule.subject[1], names)
    known = pc.is_in(kinds, value_set=pa.array(list(spec.kinds), pa.string()))
    unknown = true_mask(kinds.is_valid()) & ~true_mask(known)
    reader.fault(unknown, Reason.UNKNOWN_KIND, KIND, "expected a kind of the config")
    moments = times.fill_null(spec.events.earliest_us).to_numpy(zero_copy_only=False)
    absurd = (moments < spec.events.earliest_us) | (moments > spec.events.latest_us)
    numbers = absurd & reader.numbers(rule.time if rule is not None else spec.events.time, absurd)
    for unit, fitting in in_other_units(spec, moments, numbers):
        reader.fault(fitting, Reason.BAD_TIME, EVENT_TIME, expected_time(spec, unit))
    reader.fault(absurd, Reason.BAD_TIME, EVENT_TIME, expected_time(spec))
    for name, array in ((KIND, kinds), (EVENT_ID, ids), (EVENT_TIME, times)):
        missing = true_mask(array.is_null())
        reader.fault(missing, Reason.MISSING_COLUMN, name, "every event needs it")
    times = pc.add(times, rule.delay_us if rule is not None else 0)
    if rule is not None:
        early, detail = _too_early(spec, rule, times, reader)
        reader.fault(early, Reason.BAD_TIME, EVENT_TIME, detail)
    arrays |= {EVENT_ID: ids, EVENT_TIME: times, KIND: kinds}
    later = later_columns(spec) if rule is not None else frozenset()
    for name, column in spec.columns.items():
        if name in arrays:
            continue
        if rule is not None and is_later(spec, rule, name, later):
            arrays[name] = pa.nulls(len(reader), ARROW_TYPES[column.type])
            continue
        given = rule.columns.get(name, name) if rule is not None else name
        arrays[name] = reader.read(column, given)
    schema = event_schema(spec)
    batch = pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)
    chosen = concerned = np.ones(len(reader), np.bool_)
    if rule is not None and rule.where is not None:
        # Where it cannot be told whether the rule is meant, the fault must be heard of.
        chosen = evaluate_mask(rule.where, batch)
        concerned = chosen | reader.faulty(rule.where.columns)
    for kind in spec.kinds.values():
        if kind.required and (rule is None or kind.name == rule.kind):
            of_kind = true_mask(pc.equal(kinds, kind.name))
            for name in kind.required:
                missing = of_kind & true_mask(arrays[name].is_null())
                reader.fault(missing, Reason.MISSING_COLUMN, name, f"{kind.name} needs it")
    dead_rows, dead = reader.dead_letter(concerned)
    keep, rows = chosen & ~dead_rows, reader.rows
    if not keep.all():
        batch, rows = batch.filter(pa.array(keep)), rows[keep]
    return Decoded(batch, rows, dead)


def _too_early(spec: Spec, rule: Ingest, times: pa.Array, reader: _Reader) -> tuple[Mask, str]:
    """Rows whose event is earlier than that by which it is known, and what was expected.

    A verdict comes after the event of the same row that it judges, and an event that shows what a
    verdict says no earlier than the verdict.
    """
    early = np.zeros(len(reader), np.bool_)
    verdict = spec.labels.kind if spec.labels is not None else None
    if rule.kind == verdict:
        detail = "a verdict is later than what it judges"
        judged = rule.subject[1] if rule.subject is not None else None
        before = [one for one in spec.ingest if one.kind == judged and one.id == rule.id]
    elif rule.kind not in spec.scored_kinds and (shown := shown_label(spec, rule)) is not None:
        detail = f"{shown!r} is what the {verdict} says: {rule.kind} is no earlier than that"
        before = [one for one in spec.ingest if one.kind == verdict]
    else:
        return early, ""
    for one in before:
        if one.time != rule.time:  # of one column the delays tell, which the loader compares
            moment = reader.typed(EVENT_TIME, one.time, ColumnType.TIMESTAMP)
            early |= true_mask(pc.less(times, pc.add(moment, one.delay_us)))
    return early, detail


def _prefixed(kind: str, values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(f"{kind}:"), values, pa.scalar(""))


class _Reader:
    """Reads columns of some rows, and remembers their faults in the order of the reading."""

    def __init__(
        self, columns: Mapping[str, pa.Array], rows: Int64s, source: str, reading: Reading
    ) -> None:
        self.rows, self._reading = rows, reading
        self._columns, self._source = columns, source
        self._faults: list[tuple[Mask, Reason, str, str]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def fault(self, rows: Mask, reason: Reason, column: str, detail: str) -> None:
        if rows.any():
            self._faults.append((rows, reason, column, detail))

    def faulty(self, columns: Sequence[str]) -> Mask:
        """Rows at fault in one of some columns."""
        mask = np.zeros(len(self), np.bool_)
        for rows, _, column, _ in self._faults:
            if column in columns:
                mask |= rows
        return mask

    def dead_letter(self, concerned: Mask) -> tuple[Mask, tuple[DeadLetter, ...]]:
        """The faulty rows among some, and a dead letter for the first fault of each."""
        dead_rows = np.zeros(len(self), np.bool_)
        dead: list[DeadLetter] = []
        for rows, reason, column, detail in self._faults:
            fresh = rows & concerned & ~dead_rows
            dead_rows |= fresh
            dead.extend(
                DeadLetter(Stage.DECODE, reason, self._source, int(row), column, detail)
                for row in self.rows[fresh]
            )
        return dead_rows, _in_order(dead)

    def typed(self, name: str, given: str, type_: ColumnType) -> pa.Array:
        """A column that every event has; an empty text counts as absent."""
        return without_empty(self.read(Column(name, type_, max_bytes=_MOST_ID_BYTES), given))

    def read(self, column: Column, given: str) -> pa.Array:
        """The column of that name in the input, typed; all null if the input has none."""
        if given not in self._columns:
            return pa.nulls(len(self), ARROW_TYPES[column.type])
        typed = type_column(self._columns[given], column, self._reading)
        for fault in typed.faults:
            # A time that is no time is absurd, whatever its type is.
            reason = Reason.BAD_TIME if column.name == EVENT_TIME else fault.reason
            self.fault(fault.rows, reason, column.name, fault.detail)
        return typed.array

    def numbers(self, given: str, asked: Mask) -> Mask:
        """Which of some rows of a column are numbers, as they are or in words."""
        column = self._columns.get(given)
        if column is None or not asked.any():
            return np.zeros(len(self), np.bool_)
        return are_numbers(column)

    def names(self, rule: Ingest) -> pa.Array:
        """What names a row: its id column, or the file's name and the row's position."""
        if rule.id is not None:
            return self.typed(EVENT_ID, rule.id, ColumnType.STRING)
        numbers = pa.array(self.rows).cast(pa.string())
        return pc.binary_join_element_wise(pa.scalar(file_label(self._source)), numbers, "#")


def file_label(path: str) -> str:
    """A file's name that stays the same where its folder moves: with its Hive partitions.

    >>> file_label("/data/events/date=2026-03-01/part-0.parquet"), file_label("/data/a.csv")
    ('date=2026-03-01/part-0.parquet', 'a.csv')
    """
    *folders, name = path.split("/")
    while folders and "=" in folders[-1]:
        name = f"{folders.pop()}/{name}"
    return name
