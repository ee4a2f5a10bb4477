"""Reads a split: bytes of a file to decoded events, a batch at a time.

Positions count from 0: rows of a Parquet file, lines of a text file (the first line, a CSV header
included, is 0), mails of an archive.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, TypeVar, cast

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError
from configs.input_names import header_needs
from configs.schema import SEPARATORS, Spec
from pipelines.sources.csv_rows import CsvHeader, Row, read_header, read_rows
from pipelines.sources.lines import each_line
from pipelines.sources.mail import each_mail, read_mails
from pipelines.sources.parquet import damaged_column, parquet_batches
from pipelines.sources.splits import Split, require_once
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.decode import (
    Decoded,
    decode_columns,
    decode_json,
    most_bytes,
    no_events,
    partitions,
    source_columns,
)

_T = TypeVar("_T")

BATCH_ROWS = 65_536
_CHECKSUM = "CRC checksum"  # of a page, in the words of Arrow
_BATCH_BYTES = 32 * 1024 * 1024
_A_HEADER = (
    "expected a record, as `events.header` gives the names of the columns; this is the file's own "
    "header: leave `events.header` out, or take the line out of the file"
)
_BEGINNING = 65_536


def read_split(split: Split, spec: Spec) -> Iterator[Decoded]:
    """Decodes a split, at most `BATCH_ROWS` rows at a time.

    Raises:
      InputError: the file is damaged, or has none of the columns that are needed.
    """
    if split.format == "parquet":
        yield from _read_parquet(split, spec)
    else:
        reader = {
            "jsonl": _read_lines,
            "csv": _read_csv,
            "tsv": _read_csv,
            "mail": _read_mails,
        }[split.format]
        with open_text(split, spec) as file:
            yield from reader(file, split, spec)


def _read_parquet(split: Split, spec: Spec) -> Iterator[Decoded]:
    position = split.first_row
    for batch in _parquet_batches(split, source_columns(spec)):
        if not batch.num_columns:
            raise _no_columns(split, spec)
        yield decode_columns(spec, batch, split.path, position)
        position += batch.num_rows


def _parquet_batches(split: Split, wanted: frozenset[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from parquet_batches(split, wanted, BATCH_ROWS, _BATCH_BYTES)
    except (pa.ArrowInvalid, OSError) as error:
        is_damage = isinstance(error, pa.ArrowInvalid) or _CHECKSUM in str(error)
        column = damaged_column(split, wanted) if is_damage else None  # it reads the file again
        raise _unreadable(split, error, column) from error


def _read_mails(file: IO[bytes], split: Split, spec: Spec) -> Iterator[Decoded]:
    return read_mails(_to_the_end(each_mail(file, split.path), split), split.path, spec)


def _read_lines(file: IO[bytes], split: Split, spec: Spec) -> Iterator[Decoded]:
    most = most_bytes(spec)
    lines = _one_a_line(_to_the_end(each_line(file, most), split), split, spec)
    for dead, numbers, records in _line_batches(lines, split.path, most):
        positions = np.array(numbers, np.int64)
        yield _with(decode_json(spec, records, split.path, positions=positions), dead)


def _one_a_line(
    lines: Iterator[tuple[int, bytes | None]], split: Split, spec: Spec
) -> Iterator[tuple[int, bytes | None]]:
    """The lines, if the file does not begin as one that has its objects otherwise.

    Raises:
      InputError: it is an array, or its first object goes over several lines.
    """
    held = []
    text = []
    for number, line in lines:
        held.append((number, line))
        if line is None or line.strip():
            text.append(line)
        if len(text) == 2:
            break
    first = text[0] if text else b""
    if first is None:  # too long for a line: an array may well be
        with _damage_of(split), open_text(split, spec) as file:
            first = file.read(_BEGINNING)
    first = first.strip()
    goes_on = len(text) == 2 and first.endswith(b",") and (text[1] or b"").lstrip()[:1] == b'"'
    if first == b"{" or (first.startswith(b"{") and goes_on):
        raise _not_lines(split, "an object that goes over several lines", "-c .")
    if re.match(rb"\[\s*(\{|$)", first) and (len(text) == 1 or not first.endswith(b"]")):
        raise _not_lines(split, "an array", "-c '.[]'")
    yield from held
    yield from lines


def _not_lines(split: Split, what: str, how: str) -> InputError:
    return InputError(
        f"{split.path}: this is {what}, and one JSON object a line is expected (JSON Lines); "
        f"convert it, such as with `jq {how}`"
    )


def _line_batches(
    source: Iterator[tuple[int, bytes | None]], path: str, most: int
) -> Iterator[tuple[list[DeadLetter], list[int], list[bytes]]]:
    dead: list[DeadLetter] = []
    numbers: list[int] = []
    lines: list[bytes] = []
    size = 0
    for number, line in source:
        if line is None:
            detail = f"expected at most {most} bytes"
            dead.append(DeadLetter(Stage.READ, Reason.TOO_LARGE, path, number, None, detail))
        elif line.strip():
            numbers.append(number)
            lines.append(line)
            size += len(line)
        if len(lines) >= BATCH_ROWS or len(dead) >= BATCH_ROWS or size >= _BATCH_BYTES:
            yield dead, numbers, lines
            dead, numbers, lines, size = [], [], [], 0
    if lines or dead:
        yield dead, numbers, lines


def _read_csv(file: IO[bytes], split: Split, spec: Spec) -> Iterator[Decoded]:
    delimiter = spec.events.separator or ("\t" if split.format == "tsv" else ",")
    given = spec.events.header
    with _damage_of(split):
        found = CsvHeader(list(given), 0) if given else read_header(file, split.path, delimiter)
    header = found.names
    if not header:
        return
    wanted = [i for i, name in enumerate(header) if name in source_columns(spec)]
    names = [header[i] for i in wanted]
    if not names:
        _require_separator(split, spec, header)
        raise _no_columns(split, spec)
    if given:
        _require_needed(split, spec, given)
    require_once(split.path, names)
    dead: list[DeadLetter] = []
    numbers: list[int] = []
    rows: list[Sequence[str]] = []
    size = 0
    records = read_rows(file, len(header), found.lines, delimiter)
    times = [i for i, name in enumerate(header) if given and name in _time_names(spec)]
    for number, row in enumerate(_to_the_end(records, split)):
        if not number and times and row.fields and all(_is_title(row.fields[i]) for i in times):
            row = Row(row.line, reason=Reason.BROKEN_ROW, detail=_A_HEADER)
        if row.reason is not None:
            dead.append(DeadLetter(Stage.READ, row.reason, split.path, row.line, None, row.detail))
        else:
            numbers.append(row.line)
            rows.append([row.fields[i] for i in wanted])
            size += sum(map(len, rows[-1]))
        if len(rows) >= BATCH_ROWS or len(dead) >= BATCH_ROWS or size >= _BATCH_BYTES:
            yield _with(_typed(split, spec, names, rows, numbers), dead)
            dead, numbers, rows, size = [], [], [], 0
    if rows or dead:
        yield _with(_typed(split, spec, names, rows, numbers), dead)


def _time_names(spec: Spec) -> set[str]:
    """Input columns with the times of events."""
    times = {rule.time for rule in spec.ingest} or {spec.events.time}
    return times | {other for other, name in spec.events.aliases.items() if name in times}


def _is_title(field: str) -> bool:
    """Whether a field in a time's place is a column's name, as no time is without a digit."""
    return bool(field.strip()) and not any(map(str.isdigit, field))


def _require_needed(split: Split, spec: Spec, header: Sequence[str]) -> None:
    """Refuses a file whose rows would all be dead letters, by `events.header` and its folders.

    Raises:
      InputError: a column that events need is in neither.
    """
    there = {*header, *partitions(spec, split.path)}
    there |= {spec.events.aliases.get(name, name) for name in there}
    for name, what in header_needs(spec.events, spec.ingest, spec.kinds).items():
        if name not in there:
            raise InputError(
                f"{split.path}: `events.header` has no {name!r}, {what}, and no folder of the file "
                f"gives it ({name}=…); it has {', '.join(header)}"
            )


def _require_separator(split: Split, spec: Spec, header: Sequence[str]) -> None:
    """Refuses a header that another separator would cut into the config's columns.

    Raises:
      InputError: it does.
    """
    for other in SEPARATORS:
        parts = {name.strip().strip('"') for one in header for name in one.split(other)}
        if len(parts) > len(header) and parts & source_columns(spec):
            said = json.dumps(other)
            raise InputError(
                f"{split.path}: its fields are separated by {said}; say `events: {{separator: "
                f"{said}}}` in the config, or save the file with commas"
            )


def _typed(
    split: Split, spec: Spec, names: list[str], rows: list[Sequence[str]], numbers: list[int]
) -> Decoded:
    """Rows of text as events; an empty field is an absent value, as CSV has no other."""
    if not rows:
        return no_events(spec)
    columns = [
        pa.array([value or None for value in one], pa.string()) for one in zip(*rows, strict=True)
    ]
    table = pa.RecordBatch.from_arrays(columns, names)
    return decode_columns(spec, table, split.path, positions=np.array(numbers, np.int64))


def _with(made: Decoded, dead: list[DeadLetter]) -> Decoded:
    every = sorted([*dead, *made.dead], key=lambda one: one.position)
    return dataclasses.replace(made, dead=tuple(every))


def _no_columns(split: Split, spec: Spec) -> InputError:
    names = sorted(source_columns(spec))
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    header = ""
    if split.format == "csv" and not spec.events.header:
        header = (
            " A file without a header needs its names in the config: `events: {header: [...]}`."
        )
    return InputError(
        f"{split.path} has none of the config's columns ({listed}); is it the right file, or does "
        f"the config need other names in `ingest`, `columns` or `aliases`?{header}"
    )


def _open(split: Split) -> IO[bytes]:
    try:
        raw = FileSystems.open(split.path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (BeamIOError, OSError) as error:
        raise _unreadable(split, error) from error
    if split.compression == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return cast("IO[bytes]", raw if hasattr(raw, "readline") else io.BufferedReader(raw))


def open_text(split: Split, spec: Spec) -> IO[bytes]:
    """A text file in UTF-8, whatever its encoding; what cannot be decoded is no UTF-8 then.

    Raises:
      InputError: it begins as one in UTF-16 or UTF-32, and the config does not say so.
    """
    file = _open(split)
    if split.format == "mail":
        return file
    if spec.events.encoding == "utf-8":
        _require_utf8(file, split)
        return file
    return cast("IO[bytes]", io.BufferedReader(_InUtf8(file, spec.events.encoding), _BEGINNING))


def _require_utf8(file: IO[bytes], split: Split) -> None:
    with _damage_of(split):
        start = file.peek(4)[:4] if hasattr(file, "peek") else b""
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        encoding = "utf-32"
    elif start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    elif b"\0" in start[:2] and start.strip(b"\0"):
        width = 32 if b"\0\0" in start else 16
        encoding = f"utf-{width}-{'be' if start[0] == 0 else 'le'}"
    else:
        return
    raise InputError(
        f"{split.path} begins as a file in {encoding} does, and UTF-8 is expected; say "
        f"`events: {{encoding: {encoding}}}` in the config, or save the file as UTF-8"
    )


class _InUtf8(io.RawIOBase):
    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._rest = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            data = self._file.read(_BEGINNING)
            self._ended = not data
            text = self._decoder.decode(data, final=self._ended)
            self._rest = text.encode("utf-8", "surrogatepass")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _to_the_end(items: Iterator[_T], split: Split) -> Iterator[_T]:
    with _damage_of(split):
        yield from items


@contextlib.contextmanager
def _damage_of(split: Split) -> Iterator[None]:
    """Damage of a file becomes an `InputError` (without text of the file)."""
    try:
        yield
    except (
        pa.ArrowInvalid,
        EOFError,
        OSError,
        UnicodeError,
        zlib.error,
        tarfile.TarError,
    ) as error:
        raise _unreadable(split, error) from error


def _unreadable(split: Split, error: Exception, column: str | None = None) -> InputError:
    if isinstance(error, UnicodeError):
        return InputError(f"{split.path} is not in the encoding that `events.encoding` says")
    return InputError(
        f"{split.path} cannot be read to its end ({_words(error)}"
        f"{f' in column {column!r}' if column is not None else ''}): it is damaged, "
        "truncated, encrypted or out of reach; write it anew, or leave it out of the input"
    )


def _words(error: Exception) -> str:
    """What went wrong, without what the file holds."""
    return "a page's checksum differs" if _CHECKSUM in str(error) else type(error).__name__
