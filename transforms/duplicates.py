"""Duplicates: an event id counts once within a horizon of event time.

What enters: 128-bit hashes of ids and event times, in the order in which events are taken. What
leaves: which events are new. The rule, the same for backfill and stream: an event is a duplicate
if and only if an accepted event with the same id lies at most `horizon_us` from it in event time,
whatever its kind is. The first one taken wins. Ids of two tables that collide are so lost: those
dropped for an event of another kind are counted apart (`RecentIds.other_kind`), as far as the kind
of the first is known; it is not part of the stored state.

Two XXH64 of an id stand for it: among 10^10 ids within the horizon, the chance that any two differ
and collide is below 2e-19.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Spec
from transforms.hashing import hash_column

UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]

ID_SEEDS = (0x6C6F636B, 0x73746570)
"""Two seeds make one 128-bit hash of an event id."""

_LEAST_SLOTS = 1 << 10


class RecentIds:
    """Ids of accepted events with their times: an open-addressing table that grows and forgets.

    Args:
      horizon_us: how long an id is remembered, in event time.

    Attributes:
      other_kind: how many events were dropped so far for one of another kind.
    """

    def __init__(self, horizon_us: int) -> None:
        self.horizon_us = horizon_us
        self.other_kind = 0
        self._count: int = 0
        self._newest = self._reached = np.iinfo(np.int64).min
        self._reserve(0)

    def __len__(self) -> int:
        return self._count

    def take(
        self,
        hash_1: UInt64s,
        hash_2: UInt64s,
        time: Int64s,
        kind: npt.NDArray[np.int16] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Which of some events are new; those are remembered.

        Args:
          hash_1, hash_2: uint64 `[n]`, of the events' ids, in the order in which they are taken.
          time: int64 `[n]`, microseconds UTC.
          kind: int16 `[n]`, a number for each kind; -1 or None: not known.

        Returns:
          bool `[n]`.

        >>> ids = np.array([5, 5, 6], np.uint64)
        >>> recent = RecentIds(horizon_us=10)
        >>> recent.take(ids, ids, np.array([0, 3, 4])).tolist(), len(recent)
        ([True, False, True], 2)
        """
        if 2 * (self._count + len(time)) > len(self._slots):
            self._rebuild(len(time))
        keep = np.ones(len(time), np.bool_)
        kind = np.full(len(time), -1, np.int16) if kind is None else kind
        before = self._count
        self._count, other_kind = _take(
            self._slots,
            self._hash_1,
            self._hash_2,
            self._time,
            self._kind,
            self._count,
            hash_1,
            hash_2,
            time,
            kind,
            self.horizon_us,
            keep,
        )
        self.other_kind += other_kind
        self._from[before : self._count] = np.maximum(time[keep], self._reached)
        return keep

    def known(self, hash_1: UInt64s, hash_2: UInt64s, time: Int64s) -> npt.NDArray[np.bool_]:
        """Which of some events repeat one that is remembered; nothing is remembered by it.

        >>> ids = np.array([5, 6], np.uint64)
        >>> recent = RecentIds(horizon_us=10)
        >>> recent.take(ids[:1], ids[:1], np.array([0])).tolist()
        [True]
        >>> recent.known(ids, ids, np.array([3, 3])).tolist(), len(recent)
        ([True, False], 1)
        """
        found = np.zeros(len(time), np.bool_)
        _known(
            self._slots,
            self._hash_1,
            self._hash_2,
            self._time,
            hash_1,
            hash_2,
            time,
            self.horizon_us,
            found,
        )
        return found

    def reach(self, now_us: int) -> None:
        """Event time has come so far: ids that are accepted from now on are kept for no less.

        Else the id of an event that is later than the horizon is forgotten when room is needed
        next. The table of `to_table` has it on request; else an id counts there from its event's
        time.
        """
        self._reached = max(self._reached, now_us)

    def prune(self, now_us: int) -> None:
        """Forgets the ids that no event at or after `now_us` can repeat."""
        self._newest = max(self._newest, now_us)
        self._rebuild(0)

    def watermark(self, now_us: int) -> None:
        """No event before `now_us` is expected any more; forgetting happens when room is needed."""
        self._newest = max(self._newest, now_us)

    def copy(self) -> RecentIds:
        """The same ids, in memory of their own."""
        made = RecentIds(self.horizon_us)
        made._newest, made._count = self._newest, self._count
        made._reached = self._reached
        made._slots = self._slots.copy()
        made._hash_1, made._hash_2 = self._hash_1.copy(), self._hash_2.copy()
        made._time, made._from = self._time.copy(), self._from.copy()
        made._kind, made.other_kind = self._kind.copy(), self.other_kind
        return made

    def to_table(self, since: bool = False) -> pa.Table:
        """Arrow, sorted, so that equal contents are equal bytes.

        Args:
          since: with a column `since`: from when on an id is kept for the horizon.
        """
        hash_1, hash_2, time = self._arrays()
        order = np.lexsort((hash_2, hash_1, time))
        columns = {"hash_1": hash_1[order], "hash_2": hash_2[order], "time": time[order]}
        return pa.table(columns | ({"since": self._from[order]} if since else {}))

    @classmethod
    def from_table(cls, table: pa.Table, horizon_us: int) -> RecentIds:
        """The reverse of `to_table`."""
        made = cls(horizon_us)
        made._reserve(table.num_rows)
        made.take(*(table.column(name).to_numpy() for name in ("hash_1", "hash_2", "time")))
        if "since" in table.column_names:
            made._from[: table.num_rows] = table.column("since").to_numpy()
        return made

    def _arrays(self) -> tuple[UInt64s, UInt64s, Int64s]:
        n = self._count
        return self._hash_1[:n], self._hash_2[:n], self._time[:n]

    def _rebuild(self, more: int) -> None:
        hash_1, hash_2, time = self._arrays()
        since, kind = self._from[: self._count], self._kind[: self._count]
        live = since >= self._newest - self.horizon_us if self._count else np.ones(0, np.bool_)
        hash_1, hash_2, time = hash_1[live], hash_2[live], time[live]
        since, kind = since[live], kind[live]
        self._reserve(len(time) + more)
        self.take(hash_1, hash_2, time, kind)  # all: none of them repeats another
        self._from[: self._count] = since

    def _reserve(self, entries: int) -> None:
        size = max(_LEAST_SLOTS, 1 << (4 * entries).bit_length())
        self._slots = np.full(size, -1, np.int64)
        self._hash_1 = np.empty(size // 2, np.uint64)
        self._hash_2 = np.empty(size // 2, np.uint64)
        self._time = np.empty(size // 2, np.int64)
        self._from = np.empty(size // 2, np.int64)  # kept for the horizon from then on
        self._kind = np.empty(size // 2, np.int16)
        self._count = 0


def kind_numbers(spec: Spec, kinds: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int16]:
    """A number for each event's kind: int16 `[n]`."""
    found = pc.index_in(kinds, value_set=pa.array(list(spec.kinds), pa.string()))
    numbers: npt.NDArray[np.int16] = found.fill_null(-1).to_numpy().astype(np.int16)
    return numbers


def hash_ids(ids: pa.Array | pa.ChunkedArray) -> tuple[UInt64s, UInt64s]:
    """The 128-bit hash of event ids, as two uint64 `[n]`.

    >>> one, two = hash_ids(pa.array(["a", "a"]))
    >>> bool(one[0] == one[1]), bool(one[0] == two[0])
    (True, False)
    """
    return hash_column(ids, ID_SEEDS[0]), hash_column(ids, ID_SEEDS[1])


@numba.njit(cache=True, nogil=True)
def _take(  # type: ignore[no-untyped-def]
    slots, hash_1, hash_2, time, kind, count, new_1, new_2, new_time, new_kind, horizon, keep
):
    mask = np.uint64(len(slots) - 1)
    other_kind = 0
    for row in range(len(new_time)):
        at = new_1[row] & mask
        while slots[at] >= 0:
            other = slots[at]
            same = hash_1[other] == new_1[row] and hash_2[other] == new_2[row]
            if same and abs(new_time[row] - time[other]) <= horizon:
                keep[row] = False
                other_kind += (
                    kind[other] >= 0 and new_kind[row] >= 0 and kind[other] != new_kind[row]
                )
                break
            at = (at + np.uint64(1)) & mask
        if keep[row]:
            slots[at] = count
            hash_1[count] = new_1[row]
            hash_2[count] = new_2[row]
            time[count] = new_time[row]
            kind[count] = new_kind[row]
            count += 1
    return count, other_kind


@numba.njit(cache=True, nogil=True)
def _known(slots, hash_1, hash_2, time, of_1, of_2, of_time, horizon, found):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    for row in range(len(of_time)):
        at = of_1[row] & mask
        while slots[at] >= 0 and not found[row]:
            other = slots[at]
            same = hash_1[other] == of_1[row] and hash_2[other] == of_2[row]
            found[row] = same and abs(of_time[row] - time[other]) <= horizon
            at = (at + np.uint64(1)) & mask
