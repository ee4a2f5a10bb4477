"""Rows of CSV (RFC 4180), where a broken row costs that row alone.

A quote that is opened and never closed would swallow the rows after it up to the next quote, or the
end; so when a record of several lines turns out to be broken, only its first line is given up, and
reading goes on with the second.
"""

from __future__ import annotations

import csv
import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import IO

from configs.errors import InputError
from pipelines.sources.lines import each_line
from transforms.dead_letter import EXPECTED_UTF8, Reason

MOST_RECORD = 16 * 1024 * 1024
"""Bytes of the longest accepted record."""
_MOST_LINES = 10_000  # of one record


@dataclasses.dataclass(frozen=True)
class Row:
    """One record.

    Attributes:
      line: where it begins in the file, from 0.
      fields: as many as the header has; () if the row is broken.
      reason, detail: why it is broken; None if it is not.
    """

    line: int
    fields: tuple[str, ...] | list[str] = ()
    reason: Reason | None = None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class CsvHeader:
    """Names of the columns, [] of a file without any; and how many lines are before the rows."""

    names: list[str]
    lines: int


def read_header(file: IO[bytes], path: str, delimiter: str = ",") -> CsvHeader:
    """The first record that is not blank; a name may have line ends, within quotes.

    Raises:
      InputError: it is no record of CSV in UTF-8.
    """
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    try:
        for fields in reader:
            names = [name.strip() for name in fields]
            if lines.garbled:
                break
            if any(names):
                return CsvHeader(names, lines.last + 1)
        if not lines.garbled:
            return CsvHeader([], 0)
        reason = "not UTF-8"
    except csv.Error as error:
        reason = str(error)
    except _TooLongError:
        reason = "a quote that is not closed, or too long"
    raise InputError(
        f"{path}: its first line is no CSV header in UTF-8 with lines that end in \\n or \\r\\n "
        f"({reason}); save it so, convert it to Parquet, or say `events.encoding`"
    )


def read_rows(file: IO[bytes], width: int, first: int = 1, delimiter: str = ",") -> Iterator[Row]:
    """The records after the header, blank lines left out.

    Args:
      file: open after its header.
      width: number of fields in the header.
      first: number of the line that comes next.
      delimiter: what separates fields.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MOST_RECORD))
    lines = _Lines(file, first)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    while True:
        lines.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield from _broken(lines, Reason.BROKEN_ROW, "expected CSV (RFC 4180)")
            continue
        except _TooLongError:
            yield from _broken(lines, Reason.TOO_LARGE, f"expected at most {MOST_RECORD} bytes")
            continue
        if len(fields) == width:
            yield from _checked(lines, fields)
        elif fields:
            yield from _broken(lines, Reason.BROKEN_ROW, f"expected {width} fields")


def _broken(lines: _Lines, reason: Reason, detail: str) -> Iterator[Row]:
    yield Row(lines.first, reason=reason, detail=detail)
    lines.give_back()


def _checked(lines: _Lines, fields: list[str]) -> Iterator[Row]:
    if lines.garbled:
        yield Row(lines.first, reason=Reason.NOT_UTF8, detail=EXPECTED_UTF8)
    else:
        yield Row(lines.first, fields)


class _TooLongError(Exception):
    """A record beyond the bounds."""


class _Lines:
    """Lines as text for `csv.reader`; remembers those of the record that is being read."""

    def __init__(self, file: IO[bytes], first: int = 0) -> None:
        self._source = each_line(file, MOST_RECORD)
        self._first = first
        self._returned: deque[tuple[int, bytes | None]] = deque()
        self._taken: list[tuple[int, bytes | None]] = []
        self._size = 0
        self.garbled = False

    @property
    def first(self) -> int:
        """Number of the record's first line in the file."""
        return self._taken[0][0] + self._first

    @property
    def last(self) -> int:
        """Number of the line that was read last."""
        return self._taken[-1][0] + self._first

    def begin(self) -> None:
        self._taken, self._size, self.garbled = [], 0, False

    def give_back(self) -> None:
        """All lines of the record but the first are read again."""
        self._returned.extendleft(reversed(self._taken[1:]))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        number, line = self._returned.popleft() if self._returned else next(self._source)
        self._taken.append((number, line))
        self._size += len(line or b"")
        if line is None or self._size > MOST_RECORD or len(self._taken) > _MOST_LINES:
            raise _TooLongError
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.garbled = True
            return line.decode("utf-8", "replace")
