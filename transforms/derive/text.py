"""Text made comparable: Unicode NFKC, casefold, and single spaces."""

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
from transforms.hashing import string_buffers
from transforms.text.forms import normalize_form


@dataclasses.dataclass(frozen=True)
class NormalizeText:
    """NFKC, casefold, NFKC again (Unicode 15, section 3.13, D146), runs of white space as one.

    ASCII, which is most of it, takes a compiled way, on which lower case is the same.

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
        size = _tidy_ascii(offsets, data, ends, tidy, plain)
        made = pa.StringArray.from_buffers(
            len(array), pa.py_buffer(ends), pa.py_buffer(tidy[:size])
        )
        other = np.flatnonzero(~plain)
        if len(other):
            texts = [normalize(text) for text in array.take(pa.array(other)).to_pylist()]
            made = pc.replace_with_mask(made, pa.array(~plain), pa.array(texts, pa.string()))
        if array.null_count:
            made = pc.if_else(array.is_valid(), made, pa.scalar(None, pa.string()))
        return made


@numba.njit(cache=True, nogil=True)
def _tidy_ascii(
    offsets: npt.NDArray[np.int32],
    data: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int32],
    tidy: npt.NDArray[np.uint8],
    plain: npt.NDArray[np.bool_],
) -> int:
    """Writes the ASCII texts in lower case with single spaces; the others are left empty.

    White space is what `str.split()` takes for it within ASCII.
    """
    size = ends[0] = 0
    for row in range(len(plain)):
        begin, gap = size, False
        plain[row] = True
        for at in range(offsets[row], offsets[row + 1]):
            byte = data[at]
            if byte >= 0x80:
                plain[row], size = False, begin
                break
            if byte == 0x20 or 0x09 <= byte <= 0x0D or 0x1C <= byte <= 0x1F:
                gap = size > begin
                continue
            if gap:
                tidy[size] = 0x20
                size, gap = size + 1, False
            tidy[size] = byte + 0x20 if 0x41 <= byte <= 0x5A else byte
            size += 1
        ends[row + 1] = size
    return size


def normalize(text: str) -> str:
    """One string as `NormalizeText` makes it.

    >>> normalize("A\\u00a0 B")
    'a b'
    """
    return " ".join(normalize_form("NFKC", normalize_form("NFKC", text).casefold()).split())
