"""Accounts of one shard of a snapshot as a file holds them: sorted by hash, a column per feature.

A column is stored in the fewest bytes that give its float32 values back bit for bit:

    float32                              1.5 2.25 …      4 bytes an account
    dictionary of its distinct values    17 → 1.5        1 or 2 bytes, and the dictionary
    dictionary of their high bits, and   17 → 0x3fc000   3 bytes, and the dictionary
    the low ones as they are             0x41

A reader touches the columns that it asks for, and no others. Files of earlier builds, which have
whole rows and hashes of 64 bits, are read as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.hashing import hash_column, valid_mask
from transforms.social.events import ACCOUNT
from transforms.velocity.rows import shard_of

HASH = "hash"
_ROWS = "features"  # of earlier builds
_LOW = ".low"
_SEED = 0x736F6369
_FEW = 64  # accounts that cost less one by one than an array call for each shard and column
_LOW_BITS: tuple[tuple[int, type[np.unsignedinteger] | None], ...] = (
    (0, None),
    (8, np.uint8),
    (16, np.uint16),
)

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, eq=False)
class _Column:
    """Bits of float32 values, or of a dictionary of them by code, above `low` ones."""

    of: npt.NDArray[np.uint32]
    codes: npt.NDArray[np.unsignedinteger] | None
    low: npt.NDArray[np.unsignedinteger] | None

    def bits(self, rows: Any) -> Any:
        """Of some rows, or of one: uint32, of the shape of `rows`."""
        made = self.of[rows if self.codes is None else self.codes[rows]]
        if self.low is not None:
            made = (made << np.uint32(8 * self.low.itemsize)) | self.low[rows]
        return made


class Shard:
    """Accounts of a file that is held open: views of its columns, nothing is copied.

    Attributes:
      accounts: string `[n]`.
      width: how many features each has.
    """

    def __init__(self, table: pa.Table) -> None:
        """Of a table as `shard_table` made it, or an earlier build."""
        table = table.combine_chunks()
        arrays = {name: _array(table, name) for name in table.column_names}
        self.accounts = arrays[ACCOUNT]
        self._hashes = arrays[HASH].to_numpy()
        self._rows: Floats | None = None
        self._columns: list[_Column] = []
        if _ROWS in arrays:
            flat = arrays[_ROWS].flatten().to_numpy()
            self._rows = flat.reshape(len(table), table.schema.field(_ROWS).type.list_size)
        while (name := str(len(self._columns))) in arrays:
            one, low = arrays[name], arrays.get(f"{name}{_LOW}")
            if not pa.types.is_dictionary(one.type):
                self._columns.append(_Column(one.to_numpy().view(np.uint32), None, None))
                continue
            of_low = None if low is None else low.to_numpy()
            codes = one.indices.to_numpy()
            self._columns.append(_Column(one.dictionary.to_numpy(), codes, of_low))
        self.width = len(self._columns) if self._rows is None else self._rows.shape[1]

    def values(self, rows: Int64s | slice, wanted: Sequence[int]) -> Floats:
        """Features of some rows: float32 `[n, len(wanted)]`.

        Args:
          rows: int64 `[n]`, or a slice.
          wanted: which features.
        """
        if self._rows is not None:
            return self._rows[rows][:, wanted]
        made = np.empty((len(self._hashes[rows]), len(wanted)), np.uint32)
        for place, number in enumerate(wanted):
            made[:, place] = self._columns[number].bits(rows)
        return made.view(np.float32)

    def place(self, hash_: int, account: str) -> int:
        """As `places`, of one account: no array is made."""
        kind = self._hashes.dtype.type  # of another type, all of the hashes would be converted
        asked = kind(hash_ >> 32 if kind is np.uint32 else hash_)
        at = int(self._hashes.searchsorted(asked))
        while at < len(self._hashes) and self._hashes[at] == asked:
            if self.accounts[at].as_py() == account:
                return at
            at += 1
        return -1

    def put(self, row: int, wanted: Sequence[int], bits: npt.NDArray[np.uint32]) -> None:
        """As `values`, of one row, into uint32 `[len(wanted)]`."""
        if self._rows is not None:
            bits[:] = self._rows[row].view(np.uint32)[wanted]
            return
        for place, number in enumerate(wanted):
            bits[place] = self._columns[number].bits(row)

    def places(self, hashes: UInt64s, accounts: pa.Array) -> Int64s:
        """Rows of accounts, -1 where they are not: by hash, and by id where hashes are equal."""
        found = np.full(len(hashes), -1, np.int64)
        if self._hashes.dtype == np.uint32:
            hashes = (hashes >> np.uint64(32)).astype(np.uint32)
        at = np.searchsorted(self._hashes, hashes)
        open_ = np.arange(len(hashes))
        while len(open_):
            inside = at[open_] < len(self._hashes)
            open_ = open_[inside]
            open_ = open_[self._hashes[at[open_]] == hashes[open_]]
            same = pc.equal(self.accounts.take(pa.array(at[open_])), accounts.take(pa.array(open_)))
            equal = same.to_numpy(zero_copy_only=False)
            found[open_[equal]] = at[open_[equal]]
            open_ = open_[~equal]
            at[open_] += 1
        return found


Opener = Callable[[str], Shard]
"""A file of a snapshot, best mapped into memory."""


def account_hashes(accounts: pa.Array | pa.ChunkedArray) -> UInt64s:
    """By which accounts are sharded and sorted: uint64 `[n]`."""
    return hash_column(accounts, _SEED)


def shard_table(accounts: pa.Array, values: Floats) -> pa.Table:
    """Accounts of one shard as a file holds them, so that a lookup is a bisection.

    Args:
      accounts: string `[n]`, each once, in the order of their ids.
      values: float32 `[n, F]`.
    """
    hashes = account_hashes(accounts)
    order = np.argsort(hashes, kind="stable")
    columns: dict[str, pa.Array] = {
        HASH: (hashes[order] >> np.uint64(32)).astype(np.uint32),
        ACCOUNT: accounts.take(pa.array(order)),
    }
    for number in range(values.shape[1]):
        columns |= _stored(str(number), np.ascontiguousarray(values[order, number]))
    return pa.table(columns).combine_chunks()


def lookup(
    files: Sequence[str], open_: Opener, accounts: pa.Array, wanted: Sequence[int]
) -> Floats:
    """Features of some accounts in a snapshot: float32 `[n, len(wanted)]`, NaN for null.

    Args:
      files: of the snapshot, by shard.
      open_: opens one.
      accounts: string `[n]`, null or not.
      wanted: which of its features.
    """
    made = np.full((len(accounts), len(wanted)), np.nan, np.float32)
    hashes = account_hashes(accounts)
    shards = np.where(valid_mask(accounts), shard_of(hashes, len(files)), -1)
    if len(accounts) <= _FEW:
        bits = made.view(np.uint32)
        asked = zip(shards.tolist(), hashes.tolist(), accounts.to_pylist(), strict=True)
        for row, (shard, hash_, account) in enumerate(asked):
            if shard < 0:
                continue
            there = open_(files[shard])
            if (place := there.place(hash_, account)) >= 0:
                there.put(place, wanted, bits[row])
        return made
    for shard in np.unique(shards[shards >= 0]).tolist():
        rows = np.flatnonzero(shards == shard)
        there = open_(files[shard])
        at = there.places(hashes[rows], accounts.take(pa.array(rows)))
        here = at >= 0
        if here.any():
            made[rows[here]] = there.values(at[here], wanted)
    return made


def _stored(name: str, values: Floats) -> dict[str, pa.Array]:
    """A feature's columns: as values, or as a dictionary's of bits, and the bits below them."""
    bits = values.view(np.uint32)
    ordered = np.sort(bits)
    least, made = 4 * len(bits), {name: pa.array(values)}
    for shift, low in _LOW_BITS:
        high = ordered >> np.uint32(shift)
        distinct = high[np.flatnonzero(np.diff(high, prepend=~high[:1]))]
        code = np.uint8 if len(distinct) <= 2**8 else np.uint16
        size = len(bits) * (np.dtype(code).itemsize + shift // 8) + distinct.nbytes
        if len(distinct) <= 2**16 and size < least:
            codes = np.searchsorted(distinct, bits >> np.uint32(shift)).astype(code)
            least, made = size, {name: pa.DictionaryArray.from_arrays(codes, distinct)}
            if low is not None:
                made[f"{name}{_LOW}"] = pa.array(bits.astype(low))
    return made


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks else column.combine_chunks()
