"""The outer shape of a text: its length, and shares of kinds of characters."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType

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
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """float64 `[n]`."""
        return _byte_share(batch.column(self.of), ord("0"), ord("9"))


def _byte_share(array: pa.Array, first: int, last: int) -> pa.Array:
    """Share of bytes in a range: exact, since UTF-8 has no ASCII byte within another character."""
    plain = pa.array(array.fill_null(""), pa.string()) if array.null_count else array
    offsets = np.frombuffer(plain.buffers()[1], np.int32)[plain.offset :][: len(plain) + 1]
    data = plain.buffers()[2]
    values = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    used = values[offsets[0] : offsets[-1]] if len(offsets) else values[:0]
    running = np.concatenate([[0], np.cumsum((used >= first) & (used <= last))])
    starts = offsets - offsets[0] if len(offsets) else offsets
    counts = np.diff(running[starts])
    lengths = pc.utf8_length(plain).to_numpy(zero_copy_only=False)
    share = counts / np.maximum(lengths, 1)
    null = array.is_null().to_numpy(zero_copy_only=False)
    return pa.array(share, mask=null)
