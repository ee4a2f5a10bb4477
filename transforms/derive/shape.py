"""The outer shape of a text: its length, and shares of kinds of characters."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.hashing import string_buffers, valid_mask

_STRINGS = frozenset({ColumnType.STRING})


@dataclasses.dataclass(frozen=True)
class TextLength:
    """Length in Unicode code points.

    >>> TextLength("t").apply(pa.RecordBatch.from_pydict({"t": ["\\u00e4b", None]})).to_pylist()
    [2, None]
    """

    op: ClassVar[str] = "text_length"
    about: ClassVar[str] = "length in code points"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    least: ClassVar[int] = 0
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        return pc.utf8_length(batch.column(self.of)).cast(pa.int64())


@dataclasses.dataclass(frozen=True)
class UppercaseShare:
    """Share of ASCII capitals among the code points; 0 for an empty text.

    >>> UppercaseShare("t").apply(pa.RecordBatch.from_pydict({"t": ["ABcd", ""]})).to_pylist()
    [0.5, 0.0]
    """

    op: ClassVar[str] = "uppercase_share"
    about: ClassVar[str] = "share of capitals A to Z"
    returns: ClassVar[ColumnType] = ColumnType.NUMBER
    least: ClassVar[int] = 0
    most: ClassVar[int] = 1
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """float64 `[n]`."""
        return _byte_share(batch.column(self.of), ord("A"), ord("Z"))


@dataclasses.dataclass(frozen=True)
class DigitShare:
    """Share of ASCII digits among the code points; 0 for an empty text.

    >>> DigitShare("t").apply(pa.RecordBatch.from_pydict({"t": ["a1", None]})).to_pylist()
    [0.5, None]
    """

    op: ClassVar[str] = "digit_share"
    about: ClassVar[str] = "share of digits 0 to 9"
    returns: ClassVar[ColumnType] = ColumnType.NUMBER
    least: ClassVar[int] = 0
    most: ClassVar[int] = 1
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """float64 `[n]`."""
        return _byte_share(batch.column(self.of), ord("0"), ord("9"))


def _byte_share(array: pa.Array, first: int, last: int) -> pa.Array:
    """Share of code points in a range of ASCII; UTF-8 has no ASCII byte in any other one."""
    counts, lengths = _count(*string_buffers(array), first, last)
    return pa.array(counts / np.maximum(lengths, 1), mask=~valid_mask(array))


@numba.njit(cache=True, nogil=True)
def _count(
    offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], first: int, last: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Per text: bytes within a range, and code points (bytes that do not continue one)."""
    rows = len(offsets) - 1
    counts, lengths = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for row in range(rows):
        inside = points = 0
        for at in range(offsets[row], offsets[row + 1]):
            byte = data[at]
            inside += first <= byte <= last
            points += (byte & 0xC0) != 0x80
        counts[row], lengths[row] = inside, points
    return counts, lengths
