"""A content fingerprint: equal for texts that differ only in digits and link paths."""

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
from transforms.hashing import hash_bytes, hex_column, string_buffers

_SEED = np.uint64(0x66707274)  # of this derivation alone, so that a fingerprint is no other hash


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """XXH64 of a text with link paths cut and runs of digits as one, in 16 hex digits.

    Campaigns vary order numbers and tracking codes first; this looks past both. For near
    copies of any other sort there is `near_duplicate`. Null for a null or empty text.

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
        hashes = _hash_shapes(*string_buffers(array))
        empty = pc.fill_null(pc.equal(pc.binary_length(array), 0), True)
        return hex_column(hashes, empty.to_numpy(zero_copy_only=False))


@numba.njit(cache=True, nogil=True)
def _hash_shapes(
    offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint64]:
    """XXH64 of each text's shape: what these regular expressions leave, in one pass.

    ``((?:https?://|www\\.)[^\\s/?#]*)\\S*`` becomes its group, then ``[0-9]+`` becomes ``0``.
    """
    hashes = np.empty(len(offsets) - 1, np.uint64)
    shape = np.empty(1024, np.uint8)
    for row in range(len(hashes)):
        at, end, size = offsets[row], offsets[row + 1], 0
        if end - at > len(shape):
            shape = np.empty(2 * (end - at), np.uint8)
        host_from = -1  # where the host of a link begins, while within one
        while at < end:
            byte = data[at]
            if host_from < 0:
                if byte == 0x68 or byte == 0x77:  # h, w
                    prefix = _link_prefix(data, at, end)
                    if prefix:
                        host_from = at + prefix
            elif at >= host_from:
                if _is_space(byte):
                    host_from = -1
                elif byte == 0x2F or byte == 0x3F or byte == 0x23:  # / ? #
                    while at < end and not _is_space(data[at]):
                        at += 1
                    host_from = -1
                    continue
            if 0x30 <= byte <= 0x39:
                byte = 0x30
                while at + 1 < end and 0x30 <= data[at + 1] <= 0x39:
                    at += 1
            shape[size] = byte
            size += 1
            at += 1
        hashes[row] = hash_bytes(shape, 0, size, _SEED)
    return hashes


@numba.njit(cache=True, inline="always")
def _is_space(byte: int) -> bool:
    return byte == 32 or byte == 9 or byte == 10 or byte == 12 or byte == 13


@numba.njit(cache=True)
def _link_prefix(data: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Length of ``http://``, ``https://`` or ``www.`` at a place; 0 if there is none."""
    if data[at] == 0x77:  # w
        dot = end - at >= 4 and data[at + 1] == 0x77 and data[at + 2] == 0x77
        return 4 if dot and data[at + 3] == 0x2E else 0
    if data[at] != 0x68 or end - at < 7:  # h
        return 0
    if data[at + 1] != 0x74 or data[at + 2] != 0x74 or data[at + 3] != 0x70:  # ttp
        return 0
    colon = at + 5 if data[at + 4] == 0x73 else at + 4  # s
    if end - colon < 3 or data[colon] != 0x3A:
        return 0
    return colon + 3 - at if data[colon + 1] == 0x2F and data[colon + 2] == 0x2F else 0
