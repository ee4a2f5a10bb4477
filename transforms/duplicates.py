"""Duplicates: an event id counts once within a horizon of event time.

What enters: 128-bit hashes of ids and event times, in the order in which events are taken, and the
ids seen lately. What leaves: which events are new, and the ids to remember. The rule, the same for
backfill and stream: an event is a duplicate if and only if an accepted event with the same id lies
at most `horizon_us` before it (or after it: a late copy is a copy). The first one wins.

Two XXH64 of an id stand for it: among 10^10 ids within the horizon, the chance that any two differ
and collide is below 2e-19.
"""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class RecentIds:
    """Ids of accepted events, with their times; a hash table that is replaced, never changed.

    Attributes:
      horizon_us: how long an id is remembered, in event time.
      hash_1, hash_2: uint64 `[m]`, in no particular order.
      time: int64 `[m]`, microseconds UTC.
    """

    horizon_us: int
    hash_1: UInt64s
    hash_2: UInt64s
    time: Int64s

    @classmethod
    def empty(cls, horizon_us: int) -> RecentIds:
        """No ids."""
        none = np.empty(0, np.uint64)
        return cls(horizon_us, none, none, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.time)

    def prune(self, now_us: int) -> RecentIds:
        """Without the ids that no event at or after `now_us` can repeat."""
        keep = self.time >= now_us - self.horizon_us
        if keep.all():
            return self
        return RecentIds(self.horizon_us, self.hash_1[keep], self.hash_2[keep], self.time[keep])

    def to_table(self) -> pa.Table:
        """Arrow, sorted, so that equal contents are equal bytes."""
        order = np.lexsort((self.hash_2, self.hash_1, self.time))
        return pa.table(
            {
                "hash_1": self.hash_1[order],
                "hash_2": self.hash_2[order],
                "time": self.time[order],
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table, horizon_us: int) -> RecentIds:
        """The reverse of `to_table`."""
        return cls(
            horizon_us,
            table.column("hash_1").to_numpy(),
            table.column("hash_2").to_numpy(),
            table.column("time").to_numpy(),
        )


def drop_duplicates(
    recent: RecentIds, hash_1: UInt64s, hash_2: UInt64s, time: Int64s
) -> tuple[npt.NDArray[np.bool_], RecentIds]:
    """Which of some events are new, and the ids to remember after them.

    Args:
      recent: ids seen before.
      hash_1, hash_2: uint64 `[n]`, of the events' ids, in the order in which they are taken.
      time: int64 `[n]`, microseconds UTC.

    Returns:
      bool `[n]`, and the ids with the accepted ones added; nothing is forgotten here (`prune`).

    >>> ids = np.array([5, 5, 6], np.uint64)
    >>> keep, recent = drop_duplicates(RecentIds.empty(10), ids, ids, np.array([0, 3, 4]))
    >>> keep.tolist(), len(recent)
    ([True, False, True], 2)
    """
    size = 1 << int(max(4, 2 * (len(recent) + len(time)))).bit_length()
    table = DedupTable(size)
    table.insert(recent)
    return table.take(recent, hash_1, hash_2, time)


class DedupTable:
    """An open-addressing table for a stream: the same rule, with the table kept between calls."""

    def __init__(self, size: int = 1 << 12) -> None:
        self._slots = np.full(size, -1, np.int64)

    def insert(self, recent: RecentIds) -> None:
        """Adds remembered ids; the table has room for them."""
        _insert(self._slots, recent.hash_1, recent.hash_2, recent.time)

    def take(
        self, recent: RecentIds, hash_1: UInt64s, hash_2: UInt64s, time: Int64s
    ) -> tuple[npt.NDArray[np.bool_], RecentIds]:
        """See `drop_duplicates`."""
        known = len(recent)
        all_1 = np.concatenate([recent.hash_1, hash_1])
        all_2 = np.concatenate([recent.hash_2, hash_2])
        times = np.concatenate([recent.time, time])
        keep = _mark(self._slots, all_1, all_2, times, known, recent.horizon_us)
        kept = np.concatenate([np.ones(known, np.bool_), keep])
        return keep, RecentIds(recent.horizon_us, all_1[kept], all_2[kept], times[kept])


@numba.njit(cache=True, nogil=True)
def _insert(slots, hash_1, hash_2, time):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    for row in range(len(time)):
        at = hash_1[row] & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = row


@numba.njit(cache=True, nogil=True)
def _mark(slots, hash_1, hash_2, time, known, horizon):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    keep = np.ones(len(time) - known, np.bool_)
    for row in range(known, len(time)):
        at = hash_1[row] & mask
        while slots[at] >= 0:
            other = slots[at]
            same = hash_1[other] == hash_1[row] and hash_2[other] == hash_2[row]
            if same and abs(time[row] - time[other]) <= horizon:
                keep[row - known] = False
                break
            at = (at + np.uint64(1)) & mask
        if keep[row - known]:
            slots[at] = row
    return keep
