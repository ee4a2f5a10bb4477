"""Text made comparable: Unicode NFKC, casefold, and single spaces."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from typing import ClassVar

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.hashing import string_buffers
from transforms.text.forms import composing, normalize_form

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class NormalizeText:
    """NFKC, casefold, NFKC again (Unicode 15, section 3.13, D146), runs of white space as one.

    Characters that become the same in any text, which most are, take a compiled way.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["  WIN  \\uff26REE ", None, "Stra\\u00dfe"]})
    >>> NormalizeText("t").apply(batch).to_pylist()
    ['win free', None, 'strasse']
    """

    op: ClassVar[str] = "normalize_text"
    about: ClassVar[str] = "text in NFKC, case folded, with single spaces"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = frozenset({ColumnType.STRING})

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        offsets, data = string_buffers(array)
        ends = np.empty(len(array) + 1, offsets.dtype)
        tidy, plain = np.empty(offsets[-1] - offsets[0], np.uint8), np.empty(len(array), np.bool_)
        asked = np.empty(_ASKED, np.int32)
        size, count = _tidy(offsets, data, _table(), ends, tidy, plain, asked)
        made = pa.StringArray.from_buffers(
            len(array), pa.py_buffer(ends), pa.py_buffer(tidy[:size])
        )
        other = np.flatnonzero(~plain)
        if len(other):
            texts = [normalize(text) for text in array.take(pa.array(other)).to_pylist()]
            made = pc.replace_with_mask(made, pa.array(~plain), pa.array(texts, pa.string()))
        for code in asked[:count].tolist():  # for the next batch
            _table()[code] = _entry(chr(code))
        if array.null_count:
            made = pc.if_else(array.is_valid(), made, pa.scalar(None, pa.string()))
        return made


_ASKED = 256  # characters that one batch adds to the table at most
_UNKNOWN, _DEPENDS = 0, -1


@functools.cache
def _table() -> Int32s:
    """What becomes of each character, one more than its code: int32 `[2^21]`, as UTF-8 can say.

    `_DEPENDS`: that depends on its neighbours, or it becomes longer. Filled as characters come.
    """
    table = np.zeros(1 << 21, np.int32)  # of which the system gives only the pages that are used
    table[:0x80] = [_entry(chr(code)) for code in range(0x80)]
    return table


def _entry(character: str) -> int:
    made = fold_alone(character)
    if made is None or len(made) > 1 or len(made.encode()) > len(character.encode()):
        return _DEPENDS
    return ord(" " if made.isspace() else made) + 1


def fold_alone(character: str) -> str | None:
    """What `normalize` makes of a character in any text, white space aside; None: that depends.

    It does not where the decomposition begins with a starter (UAX #15) that no character before it
    composes with, before and after case is folded.

    >>> fold_alone("\u0416"), fold_alone("\uff26"), fold_alone("\u0301")
    ('\u0436', 'f', None)
    """
    folded = unicodedata.normalize("NFKC", character).casefold()
    for text in (character, folded):
        first = unicodedata.normalize("NFKD", text)[0]
        if unicodedata.combining(first) or first in composing():
            return None
    return unicodedata.normalize("NFKC", folded)


@numba.njit(cache=True, nogil=True)
def _tidy(
    offsets: Int32s, data: Bytes, table: Int32s, ends: Int32s, tidy: Bytes,
    plain: npt.NDArray[np.bool_], asked: Int32s,
) -> tuple[int, int]:  # fmt: skip
    """Writes texts of characters that stand alone, with single spaces; the others are left empty.

    Returns:
      bytes that were written, and characters that the table lacked: they are in `asked`.
    """
    size = ends[0] = count = 0
    for row in range(len(plain)):
        begin, gap, at, stop = size, False, offsets[row], offsets[row + 1]
        plain[row] = True
        while at < stop:
            code, width = np.int64(data[at]), 1
            if code >= 0x80:
                width = 2 if code < 0xE0 else 3 if code < 0xF0 else 4
                code &= 0x7F >> width
                for more in range(at + 1, min(at + width, stop)):
                    code = code << 6 | data[more] & 0x3F
            made = table[code]
            if made == _UNKNOWN and count < len(asked):
                table[code], asked[count], count = _DEPENDS, code, count + 1
            at, made = at + width, made - 1
            if made < 0 or at > stop:
                plain[row] = False
            if not plain[row]:
                continue  # for what else it asks
            if made == 0x20:
                gap = size > begin
                continue
            if gap:
                tidy[size] = 0x20
                size, gap = size + 1, False
            if made < 0x80:
                tidy[size] = made
                size += 1
                continue
            width = 2 if made < 0x800 else 3 if made < 0x10000 else 4
            for place in range(width - 1, 0, -1):
                tidy[size + place] = 0x80 | made & 0x3F
                made >>= 6
            tidy[size] = (0xF00 >> width) & 0xFF | made
            size += width
        ends[row + 1] = size = size if plain[row] else begin
    return size, count


def normalize(text: str) -> str:
    """One string as `NormalizeText` makes it.

    >>> normalize("A\\u00a0 B")
    'a b'
    """
    return " ".join(normalize_form("NFKC", normalize_form("NFKC", text).casefold()).split())
