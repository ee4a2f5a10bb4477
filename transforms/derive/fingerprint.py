"""A content fingerprint: equal for texts that differ only in digits and link paths."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.hashing import hash_column

_SEED = 0x66707274  # of this derivation alone, so that a fingerprint is no other hash


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """XXH64 of a text with link paths cut and runs of digits as one, in 16 hex digits.

    Campaigns vary order numbers and tracking codes first; this looks past both. Near duplicates
    of any other sort are later work. Null for a null or empty text.

    >>> texts = ["pay 10 at http://x.example/a1", "pay 25 at http://x.example/zz?q", ""]
    >>> one, two, none = Fingerprint("t").apply(
    ...     pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    >>> one == two, len(one), none
    (True, 16, None)
    """

    op: ClassVar[str] = "fingerprint"
    about: ClassVar[str] = "fingerprint of the content, without digits and link paths"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = frozenset({ColumnType.STRING})

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        shape = pc.replace_substring_regex(array, r"(https?://[^\s/?#]*|www\.[^\s/?#]*)\S*", r"\1")
        shape = pc.replace_substring_regex(shape, r"[0-9]+", "0")
        hashes = hash_column(shape, _SEED)
        empty = pc.fill_null(pc.equal(pc.binary_length(array), 0), True)
        return _hex(hashes, empty.to_numpy(zero_copy_only=False))


_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def _hex(hashes: npt.NDArray[np.uint64], null: npt.NDArray[np.bool_]) -> pa.Array:
    """uint64 `[n]` as strings of 16 hex digits, vectorised."""
    shifts = np.arange(60, -4, -4, dtype=np.uint64)
    nibbles = (hashes[:, None] >> shifts) & np.uint64(15)
    text = np.ascontiguousarray(_DIGITS[nibbles.astype(np.intp)])
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * 16
    array = pa.StringArray.from_buffers(
        len(hashes), pa.py_buffer(offsets), pa.py_buffer(text.ravel())
    )
    return pc.if_else(pa.array(null), pa.scalar(None, pa.string()), array)
