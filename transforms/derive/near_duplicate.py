"""Bands of a MinHash: keys that near copies of a text share, for entities like any other.

What enters: a text. What leaves: one key per band. Two texts whose sets of shingles (runs of
letters) have Jaccard similarity J share the key of a band with probability J^rows, and at least one
of B bands with 1 - (1 - J^rows)^B (Broder 1997, "On the resemblance and containment of documents";
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3).

With 4 rows, at least one of 4 bands is shared by .99 of the pairs with J = .9, .88 at .8, .67 at
.7, .23 at .5 and .03 at .3.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName, argument
from configs.schema import ColumnType
from transforms.hashing import hash_bytes, hex_column, string_buffers

_SEED = np.uint64(0x6E656172)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MOST_ROWS = 8


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """The key of one band, in 16 hex digits: near copies of a text share it; null for no text.

    Each band has permutations of its own, so several derived columns with other numbers of `band`
    are several chances to meet; more `rows` ask for more likeness. A text shorter than a shingle
    is one shingle. Punctuation and white space count: give it a normalised text.

    >>> text = "claim your free prize at once my friend, it is waiting for you and for nobody else"
    >>> texts = [text, text.replace("prize", "pri ze"), "good morning all", "", None]
    >>> batch = pa.RecordBatch.from_pydict({"t": texts})
    >>> bands = [NearDuplicate("t", band).apply(batch).to_pylist() for band in (1, 2, 3, 4)]
    >>> [keys[0] == keys[1] for keys in bands], [keys[0] == keys[2] for keys in bands]
    ([False, False, False, True], [False, False, False, False])
    >>> bands[0][3:]
    [None, None]
    """

    op: ClassVar[str] = "near_duplicate"
    about: ClassVar[str] = "key that near copies of the text share, of one band of a MinHash"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = frozenset({ColumnType.STRING})

    of: ColumnName
    band: int = argument(1, least=1, most=64, counted=True)
    rows: int = argument(4, least=1, most=_MOST_ROWS)
    shingle: int = argument(5, least=1, most=16)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        first = np.uint64((self.band - 1) * _MOST_ROWS)
        keys = _keys(*string_buffers(array), first, self.rows, self.shingle)
        empty = pc.fill_null(pc.equal(pc.binary_length(array), 0), True)
        return hex_column(keys, empty.to_numpy(zero_copy_only=False))


@numba.njit(cache=True, nogil=True)
def _keys(
    offsets: npt.NDArray[np.int32],
    data: npt.NDArray[np.uint8],
    first: np.uint64,
    rows: int,
    shingle: int,
) -> npt.NDArray[np.uint64]:
    """XXH64 of the smallest permuted hashes of each text's shingles of `shingle` code points."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    least = np.empty(rows, np.uint64)
    packed = np.empty(8 * rows, np.uint8)
    starts = np.empty(shingle + 1, np.int64)  # of the last code points, in a ring
    for row in range(len(keys)):
        begin, end = offsets[row], offsets[row + 1]
        least[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        seen = 0
        for at in range(begin, end + 1):
            if at < end and (data[at] & 0xC0) == 0x80:
                continue  # within a code point
            starts[seen % (shingle + 1)] = at
            seen += 1
            if seen > shingle:
                left = starts[seen % (shingle + 1)]
                _take(hash_bytes(data, left, at, _SEED), first, least)
        if seen <= shingle:
            _take(hash_bytes(data, begin, end, _SEED), first, least)
        for place in range(8 * rows):
            shift = np.uint64(8 * (place % 8))
            packed[place] = (least[place // 8] >> shift) & np.uint64(0xFF)
        keys[row] = hash_bytes(packed, 0, len(packed), _SEED)
    return keys


@numba.njit(cache=True, nogil=True)
def _take(hashed: np.uint64, first: np.uint64, least: npt.NDArray[np.uint64]) -> None:
    """Keeps the smallest of each permutation: SplitMix64's finaliser of hash and number."""
    for row in range(len(least)):
        mixed = hashed + (first + np.uint64(row + 1)) * _GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        if mixed < least[row]:
            least[row] = mixed
