"""Accounts of snapshots in a key-value store, for graphs that no worker's disk or memory holds.

A copy of what `OUT/graph` has, in a table of Bigtable: a row for each account of a snapshot, with
all its features in one cell as they are in the file, so that a look-up gives the same bits. The row
that says that a copy is whole is written last.

    0123456789abcdef#2026-03-12-7b1c…#u-17    f:v = float32 of each feature, little-endian
    snapshot#2026-03-12-7b1c…                 f:v = {"columns": […], "accounts": …}

Accounts come first by their hash, so that neighbours in time are not neighbours in the table. A
batch of events is one request for each thousand of its accounts
(docs/decisions/0015-accounts-in-bigtable.md says why not Beam's `Enrichment`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from google.api_core.exceptions import NotFound

from configs.errors import InputError, StateError
from transforms.hashing import valid_mask
from transforms.social.as_of import Published
from transforms.social.shard_table import Floats, Opener, Shard, account_hashes

FAMILY, COLUMN = "f", b"v"
_ADDRESS = re.compile(r"bigtable:([^/\s]+)/([^/\s]+)/([^/\s]+)")
_KEYS_AT_ONCE = 1000
_LONGEST_KEY = 4096  # bytes, Bigtable's own


@dataclasses.dataclass(frozen=True)
class BigtableAccounts:
    """A table with copies of snapshots; pickled by its address.

    Attributes:
      address: "bigtable:PROJECT/INSTANCE/TABLE". `BIGTABLE_EMULATOR_HOST` is heeded.
    """

    address: str

    def __post_init__(self) -> None:
        """Refuses an address that is none.

        Raises:
          InputError: see there.
        """
        if _ADDRESS.fullmatch(self.address) is None:
            raise InputError(
                f"{self.address!r} is no store of accounts; expected "
                "bigtable:PROJECT/INSTANCE/TABLE"
            )

    def put(self, snapshot: Published, open_: Opener) -> int:
        """Copies a snapshot; what is there already is written again, the same. Number of accounts.

        Args:
          snapshot: with its files.
          open_: reads one of them.

        Raises:
          InputError: rows cannot be written, or an id is too long.
        """
        table, count = _table(self.address), 0
        # One version of a cell, however often it is written; its age is that of the snapshot.
        at = dt.datetime.fromtimestamp(snapshot.known_from // 1_000_000, dt.UTC)
        for path in snapshot.files:
            shard = open_(path)
            for start in range(0, len(shard.accounts), _KEYS_AT_ONCE):
                rows = []
                for key, value in _cells(snapshot.name, shard, start):
                    row = table.direct_row(key)
                    row.set_cell(FAMILY, COLUMN, value, timestamp=at)
                    rows.append(row)
                self._write(table, rows)
                count += len(rows)
        said = {"columns": list(snapshot.columns), "accounts": count}
        last = table.direct_row(_whole(snapshot.name))
        last.set_cell(FAMILY, COLUMN, json.dumps(said).encode(), timestamp=at)
        self._write(table, [last])
        return count

    def require(self, snapshot: Published) -> None:
        """Does nothing if a whole copy of a snapshot is there.

        Raises:
          StateError: there is none.
        """
        if not _is_whole(self.address, snapshot.name):
            raise StateError(
                f"{self.address} has no whole copy of the snapshot {snapshot.name}; run "
                f"`lockstep graph … --store {self.address}` for its day"
            )

    def find(self, snapshot: Published, accounts: pa.Array, wanted: Sequence[int]) -> Floats:
        """Features of some accounts in a snapshot, as `transforms.social.as_of.lookup` gives them.

        Args:
          snapshot: that was copied.
          accounts: string `[n]`, null or not.
          wanted: which of its features.

        Raises:
          StateError: there is no whole copy.
        """
        self.require(snapshot)
        made = np.full((len(accounts), len(wanted)), np.nan, np.float32)
        there = valid_mask(accounts)
        if not there.any():
            return made
        coded = accounts.filter(pa.array(there)).dictionary_encode()
        each = np.full((len(coded.dictionary), len(snapshot.columns)), np.nan, np.float32)
        names = coded.dictionary.to_pylist()
        hashes = account_hashes(coded.dictionary).tolist()
        number_of = {
            _key(snapshot.name, hash_, name): number
            for number, (hash_, name) in enumerate(zip(hashes, names, strict=True))
        }
        for key, value in _read(self.address, list(number_of)):
            each[number_of[key]] = np.frombuffer(value, "<f4")
        made[there] = each[coded.indices.to_numpy()][:, wanted]
        return made

    def _write(self, table: Any, rows: list[Any]) -> None:
        failed = [one.code for one in table.mutate_rows(rows) if one.code]
        if failed:  # a status' message may hold a row's key, which names an account
            raise InputError(
                f"{self.address}: {len(failed)} of {len(rows)} rows were not written (gRPC code "
                f"{failed[0]}); is there such a table, with a column family {FAMILY!r} "
                f"(`cbt createtable TABLE families={FAMILY}`)? Run it again then"
            )


def _cells(snapshot: str, shard: Shard, start: int) -> Iterator[tuple[bytes, bytes]]:
    rows = slice(start, start + _KEYS_AT_ONCE)
    ids = shard.accounts[rows]
    values = shard.values(rows, range(shard.width)).astype("<f4", copy=False)
    hashes = account_hashes(ids).tolist()
    for hash_, name, value in zip(hashes, ids.to_pylist(), values, strict=True):
        key = _key(snapshot, hash_, name)
        if len(key) > _LONGEST_KEY:
            raise InputError(
                f"an account's id has {len(name.encode()):,} bytes; a key of Bigtable has "
                f"{_LONGEST_KEY:,} at most, with the snapshot's name in it"
            )
        yield key, value.tobytes()


def _key(snapshot: str, hash_: int, account: str) -> bytes:
    return f"{hash_:016x}#{snapshot}#{account}".encode()


def _whole(snapshot: str) -> bytes:
    return f"snapshot#{snapshot}".encode()


@functools.lru_cache(maxsize=8)
def _table(address: str) -> Any:
    """Of a process; it connects when it is asked for something."""
    try:
        from google.cloud.bigtable import Client
    except ImportError as error:
        raise InputError(
            f"{address} needs the package google-cloud-bigtable: pip install 'lockstep[gcp]'"
        ) from error
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InputError(f"{address!r} is no store of accounts")
    project, instance, table = found.groups()
    return Client(project=project).instance(instance).table(table)


_WHOLE: set[tuple[str, str]] = set()
"""Addresses and snapshots whose copies were seen to be whole; copies are never changed."""


def _is_whole(address: str, snapshot: str) -> bool:
    if (address, snapshot) not in _WHOLE and list(_read(address, [_whole(snapshot)])):
        _WHOLE.add((address, snapshot))
    return (address, snapshot) in _WHOLE


def _read(address: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Cells of the rows that are there."""
    table = _table(address)
    from google.cloud.bigtable.row_filters import CellsColumnLimitFilter
    from google.cloud.bigtable.row_set import RowSet

    for start in range(0, len(keys), _KEYS_AT_ONCE):
        asked = RowSet()
        for key in keys[start : start + _KEYS_AT_ONCE]:
            # An id that is too long for a key cannot have been written, and Bigtable refuses it.
            if len(key) <= _LONGEST_KEY:
                asked.add_row_key(key)
        if not asked.row_keys:
            continue
        try:
            rows = table.read_rows(row_set=asked, filter_=CellsColumnLimitFilter(1))
            for row in rows:
                yield row.row_key, row.cells[FAMILY][COLUMN][0].value
        except NotFound as error:
            raise StateError(f"{address}: there is no such table") from error


def store_of(address: str | None) -> BigtableAccounts | None:
    """The store at an address; None: no address, accounts are in files.

    Raises:
      InputError: it is no address of one.
    """
    return BigtableAccounts(address) if address else None
