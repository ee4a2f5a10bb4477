"""Parquet files as splits and batches: what is damaged, encrypted or beyond a format's range.

Page checksums are verified where a file has them. INT96 timestamps, which Spark writes unless told
otherwise, span more years than nanoseconds do, so they are read as microseconds. The metadata of an
encrypted column must not be touched: Arrow ends the process over it.
"""

from __future__ import annotations

import datetime as dt
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError
from configs.schema import Events, Spec
from pipelines.files import open_parquet
from pipelines.sources.splits import Split, require_once

_SPLIT_ROWS = 524_288  # row groups are taken together up to about so many rows
_CALENDAR_US = (-62_135_596_800_000_000, 253_370_764_800_000_000)  # the years 1 to 9998
_DAY_US = 86_400_000_000
_PER_UNIT = {"s": 1_000_000, "ms": 1000, "us": 1}
_SIGNATURE = 28  # bytes after a plain footer of a file with encrypted columns: nonce and tag


def parquet_splits(file: FileMetadata, spec: Spec) -> list[Split]:
    """Row groups of a file, together up to about `_SPLIT_ROWS` rows, with the days they may touch.

    Raises:
      InputError: see `open_parquet`.
    """
    opened = open_parquet(file.path)
    metadata = opened.metadata
    bounds = _Bounds(opened, file.path, spec)
    splits = []
    groups: list[int] = []
    first = rows = size = 0
    if not metadata.num_row_groups:  # a file that gives nothing, which is to be named
        return [_split(file)]
    for group in range(metadata.num_row_groups):
        groups.append(group)
        rows += metadata.row_group(group).num_rows
        size += metadata.row_group(group).total_byte_size
        if rows >= _SPLIT_ROWS or group == metadata.num_row_groups - 1:
            low, high = bounds.of(groups)
            splits.append(
                _split(
                    file,
                    row_groups=tuple(groups),
                    first_row=first,
                    rows=rows,
                    min_us=low,
                    max_us=high,
                    size=size,
                )
            )
            first, groups, rows, size = first + rows, [], 0, 0
    return splits


def _split(file: FileMetadata, rows: int = 0, **values: Any) -> Split:
    return Split(
        path=file.path,
        format="parquet",
        rows=rows,
        file_bytes=file.size_in_bytes,
        modified=file.last_updated_in_seconds,
        **values,
    )


def parquet_batches(
    split: Split, wanted: frozenset[str], most_rows: int, most_bytes: int
) -> Iterator[pa.RecordBatch]:
    """The wanted columns of a split, at most so many rows and about so many bytes at a time.

    Raises:
      InputError: see `open_parquet` and `require_once`.
      OSError, ArrowInvalid: a page is damaged, or a wanted column is encrypted.
    """
    file = open_parquet(split.path)
    names = [name for name in file.schema_arrow.names if name in wanted]
    require_once(split.path, names)
    groups = list(split.row_groups) or list(range(file.num_row_groups))
    size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    most = max(1, min(most_rows, most_bytes * rows // max(size, 1)))
    batches = file.iter_batches(most, row_groups=groups, columns=names)
    old = [name for name in names if name in _int96_columns(file)]  # moments, as Spark has them
    if not old:
        yield from batches
        return
    coarse = open_parquet(split.path, "ms").iter_batches(most, row_groups=groups, columns=old)
    for batch, other in zip(batches, coarse, strict=True):
        yield _exact(batch, other)


def damaged_column(split: Split, wanted: frozenset[str]) -> str | None:
    """The first of the wanted columns that cannot be read alone; None: there is none."""
    try:
        file = open_parquet(split.path)
        groups = list(split.row_groups) or list(range(file.num_row_groups))
    except (InputError, OSError):
        return None
    for name in file.schema_arrow.names:
        if name in wanted and not _is_readable(file, groups, name):
            return str(name)
    return None


def _is_readable(file: pq.ParquetFile, groups: Sequence[int], name: str) -> bool:
    try:
        for _ in file.iter_batches(row_groups=groups, columns=[name]):
            pass
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def _int96_columns(file: pq.ParquetFile) -> frozenset[str]:
    columns = (file.schema.column(i) for i in range(len(file.schema)))
    return frozenset(one.path for one in columns if one.physical_type == "INT96")


def _exact(batch: pa.RecordBatch, coarse: pa.RecordBatch) -> pa.RecordBatch:
    """Puts milliseconds, which hold every INT96 value, where microseconds have wrapped around."""
    for name in coarse.schema.names:
        fine = batch.column(name).cast(pa.timestamp("us", "UTC"))
        rough = coarse.column(name).cast(pa.timestamp("ms", "UTC"))
        at = batch.schema.get_field_index(name)
        ticks = rough.cast(pa.int64())
        bound = (2**63 - 1) // 1000
        wrapped = pc.or_(pc.greater(ticks, bound), pc.less(ticks, -bound)).fill_null(False)
        if pc.any(wrapped).as_py():
            place = pa.array(range(len(fine)), pa.int32())
            fine = pa.UnionArray.from_dense(wrapped.cast(pa.int8()), place, [fine, rough])
        batch = batch.set_column(at, name, fine)
    return batch


class _Bounds:
    """Ranges of the event times that row groups can make, by the statistics of the time columns."""

    def __init__(self, file: pq.ParquetFile, path: str, spec: Spec) -> None:
        self._metadata = file.metadata
        indices = {file.schema.column(i).path: i for i in range(len(file.schema))}
        signed = _is_signed(path, file)
        self._events = spec.events
        self._columns = [
            (None if signed and _is_encrypted(file, name) else indices.get(name), delay)
            for name, delay in _time_columns(spec)
        ]

    def of(self, groups: Sequence[int]) -> tuple[int | None, int | None]:
        """Closed range; None where it is not known."""
        low: list[int] = []
        high: list[int] = []
        for index, delay in self._columns:
            for group in groups:
                bounds = _group_bounds(self._metadata.row_group(group), index, self._events)
                if bounds is None or not self._may_be_taken(*bounds):
                    return None, None
                low.append(bounds[0] + delay)
                high.append(bounds[1] + delay)
        return min(low, default=None), max(high, default=None)

    def _may_be_taken(self, low: int, high: int) -> bool:
        """Whether some time of a range is accepted; else its rows are dead letters of any day."""
        return low <= self._events.latest_us and high >= self._events.earliest_us


def _is_signed(path: str, file: pq.ParquetFile) -> bool:
    """Whether something follows the footer's metadata, as it does where columns are encrypted."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
        raw.seek(-8, os.SEEK_END)
        (footer,) = struct.unpack("<I", raw.read(4))
    return bool(footer >= file.metadata.serialized_size + _SIGNATURE)


def _is_encrypted(file: pq.ParquetFile, name: str) -> bool:
    """Whether a column cannot be read without a key. Reading says so; its metadata aborts."""
    try:
        next(file.iter_batches(1, columns=[name]), None)
    except OSError:
        return True
    return False


def _time_columns(spec: Spec) -> list[tuple[str, int]]:
    if spec.ingest:
        return [(rule.time, rule.delay_us) for rule in spec.ingest]
    return [(spec.events.time, 0)]


def _group_bounds(
    group: pq.RowGroupMetaData, index: int | None, events: Events
) -> tuple[int, int] | None:
    if index is None:
        return None
    statistics = group.column(index).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    try:
        low, high = _microseconds(statistics.min, events), _microseconds(statistics.max, events)
    except (OverflowError, ValueError):
        return None  # a time that the calendar does not hold; its row is a dead letter
    if low is None or high is None or not _CALENDAR_US[0] <= low <= high < _CALENDAR_US[1]:
        return None
    slack = 0 if events.time_zone == "UTC" else _DAY_US  # what clocks of a zone may differ by
    return low - slack, high + 1 + slack


def _microseconds(value: object, events: Events) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        unit = events.time_unit
        return value // 1000 if unit == "ns" else value * _PER_UNIT[unit]
    if isinstance(value, dt.datetime):
        value = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        since = value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return None  # text has no order of time
