"""Reads a split: bytes of a file to decoded events, a batch at a time."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError
from configs.schema import Spec
from pipelines.sources.files import open_file
from pipelines.sources.mail import read_mails
from pipelines.sources.splits import Split
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.decode import (
    Decoded,
    decode_columns,
    decode_json,
    no_events,
    source_columns,
)

BATCH_ROWS = 65_536
_BATCH_BYTES = 32 * 1024 * 1024
_MOST_FIELD = 16 * 1024 * 1024


def read_split(split: Split, spec: Spec) -> Iterator[Decoded]:
    """Decodes a split, at most `BATCH_ROWS` rows at a time.

    Raises:
      InputError: the file is damaged, or has none of the columns that are needed.
    """
    try:
        if split.format == "parquet":
            yield from _read_parquet(split, spec)
        elif split.format == "jsonl":
            yield from _read_lines(split, spec)
        elif split.format == "csv":
            yield from _read_csv(split, spec)
        else:
            yield from read_mails(split.path, spec)
    except (pa.ArrowInvalid, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{split.path} is damaged: {error}") from error


def _read_parquet(split: Split, spec: Spec) -> Iterator[Decoded]:
    file = pq.ParquetFile(open_file(split.path), memory_map=True)
    wanted = source_columns(spec)
    names = [name for name in file.schema_arrow.names if name in wanted]
    if not names:
        raise InputError(
            f"{split.path} has none of the config's columns ({', '.join(sorted(wanted)[:8])}, …); "
            "is it the right file, or does the config need ingest.columns?"
        )
    position = split.first_row
    groups = list(split.row_groups)
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=names):
        yield decode_columns(spec, batch, split.path, position)
        position += batch.num_rows


def _read_lines(split: Split, spec: Spec) -> Iterator[Decoded]:
    lines: list[bytes] = []
    size = seen = 0
    numbers: list[int] = []
    with _open(split) as file:
        for line in file:
            seen += 1
            if not line.strip():
                continue
            lines.append(line)
            numbers.append(seen - 1)
            size += len(line)
            if len(lines) >= BATCH_ROWS or size >= _BATCH_BYTES:
                yield _lines(spec, lines, split.path, numbers)
                lines, numbers, size = [], [], 0
    if lines:
        yield _lines(spec, lines, split.path, numbers)


def _lines(spec: Spec, lines: list[bytes], path: str, numbers: list[int]) -> Decoded:
    """Decodes lines; positions are numbers of lines of the file, blank ones included."""
    return decode_json(spec, lines, path).renumbered(numbers)


def _read_csv(split: Split, spec: Spec) -> Iterator[Decoded]:
    """Reads CSV (RFC 4180) row by row; a row with another number of fields is a dead letter."""
    limit = csv.field_size_limit(_MOST_FIELD)
    try:
        with _open(split) as raw:
            text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
            rows = csv.reader(text, strict=False)
            try:
                header = [name.strip() for name in next(rows)]
            except StopIteration:
                return
            wanted = [i for i, name in enumerate(header) if name in source_columns(spec)]
            if not wanted:
                raise InputError(
                    f"{split.path} has none of the config's columns in its first line; CSV needs "
                    "a header"
                )
            yield from _csv_batches(split.path, spec, rows, header, wanted)
    finally:
        csv.field_size_limit(limit)


def _csv_batches(
    path: str,
    spec: Spec,
    rows: Iterator[list[str]],
    header: list[str],
    wanted: list[int],
) -> Iterator[Decoded]:
    good: list[list[str]] = []
    numbers: list[int] = []
    dead: list[DeadLetter] = []
    for number, row in _numbered(rows, path, dead):
        if not row:
            continue
        if len(row) != len(header):
            detail = f"expected {len(header)} fields"
            dead.append(DeadLetter(Stage.READ, Reason.BROKEN_ROW, path, number, None, detail))
            continue
        if any("\udc80" <= c <= "\udcff" for i in wanted for c in row[i] if c >= "\ud800"):
            dead.append(DeadLetter(Stage.READ, Reason.NOT_UTF8, path, number))
            continue
        good.append(row)
        numbers.append(number)
        if len(good) >= BATCH_ROWS:
            yield _csv_decoded(path, spec, good, numbers, header, wanted, dead)
            good, numbers, dead = [], [], []
    if good or dead:
        yield _csv_decoded(path, spec, good, numbers, header, wanted, dead)


def _numbered(
    rows: Iterator[list[str]], path: str, dead: list[DeadLetter]
) -> Iterator[tuple[int, list[str]]]:
    number = -1
    while True:
        number += 1
        try:
            yield number, next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            detail = "expected CSV (RFC 4180)" if "limit" not in str(error) else "a field too long"
            dead.append(DeadLetter(Stage.READ, Reason.BROKEN_ROW, path, number, None, detail))


def _csv_decoded(
    path: str,
    spec: Spec,
    rows: list[list[str]],
    numbers: list[int],
    header: list[str],
    wanted: list[int],
    dead: list[DeadLetter],
) -> Decoded:
    columns = {
        header[i]: pa.array([row[i] if row[i] != "" else None for row in rows], pa.string())
        for i in wanted
    }
    made = decode_columns(spec, pa.table(columns), path) if rows else no_events(spec)
    return made.renumbered(numbers, tuple(dead))


def _open(split: Split) -> IO[bytes]:
    raw = FileSystems.open(split.path, compression_type=CompressionTypes.UNCOMPRESSED)
    if split.compression == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return cast("IO[bytes]", io.BufferedReader(raw) if not hasattr(raw, "readline") else raw)
