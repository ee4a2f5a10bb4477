"""Leases and acks of messages that were pulled: what to send, and what the server may lack.

A pull leases a message for as long as its subscription says, which may be ten seconds; what extends
it says for how long. So new leases are looked at soon, and apart from those that were extended:
each of the two queues is in the order of its times. No clock, no thread, no I/O.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterable

_EXTEND_AFTER_S = 0.5
_SHORTEST_S = 10.0  # that a subscription may have
LONGEST_LEASE_S = 600
"""That Pub/Sub knows."""


def remembered_for(lease_s: float) -> float:
    """Seconds for which an id is known by the clock after it was folded.

    Its message may come again: twice the lease, since a busy server hands out again a while later,
    and 90 s at least.

    >>> [remembered_for(lease_s) for lease_s in (30, 600)]
    [90.0, 1200.0]
    """
    return max(90.0, 2.0 * lease_s)


_OVERDUE_S = 5.0  # for an ack to be answered


class Leases:
    """What is neither acknowledged nor given back, with its size in bytes.

    Args:
      lease_s: for how long an extension leases; extended at half of it.

    >>> leases = Leases(60)
    >>> leases.add("a", 5, now_s=0.0)
    >>> leases.due(0.4), leases.due(0.5), leases.has_ended(10.0)
    ([], ['a'], True)
    >>> leases.extended(["a"], now_s=0.5)
    >>> leases.due(30.0), leases.due(30.5), leases.has_ended(60.0)
    ([], ['a'], False)
    """

    def __init__(self, lease_s: float) -> None:
        self.bytes = 0
        self._lease_s = lease_s
        self._new: OrderedDict[str, tuple[float, int]] = OrderedDict()  # (begun, bytes)
        self._extended: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._new) + len(self._extended)

    def add(self, ack_id: str, size: int, now_s: float) -> None:
        """A message came."""
        self._new[ack_id] = now_s, size
        self.bytes += size

    def end(self, ack_ids: Iterable[str]) -> None:
        """These are over; ids that are not here are passed over."""
        for ack_id in ack_ids:
            lease = self._new.pop(ack_id, None) or self._extended.pop(ack_id, None)
            if lease is not None:
                self.bytes -= lease[1]

    def clear(self) -> list[str]:
        """All are over; which these were."""
        ack_ids = [*self._extended, *self._new]
        self._new.clear()
        self._extended.clear()
        self.bytes = 0
        return ack_ids

    def due(self, now_s: float) -> list[str]:
        """Those that are to be extended; until `extended` they stay due."""
        after = (self._extended, self._lease_s / 2), (self._new, _EXTEND_AFTER_S)
        return [
            ack_id
            for queue, after_s in after
            for ack_id, _ in itertools.takewhile(
                lambda one, after_s=after_s: one[1][0] + after_s <= now_s,  # type: ignore[misc]
                queue.items(),
            )
        ]

    def extended(self, ack_ids: Iterable[str], now_s: float) -> None:
        """The server has extended these, when asked at this time or later."""
        for ack_id in ack_ids:
            lease = self._new.pop(ack_id, None) or self._extended.pop(ack_id, None)
            if lease is not None:
                self._extended[ack_id] = now_s, lease[1]

    def has_ended(self, now_s: float) -> bool:
        """Whether one may have ended unextended: the server is away, or this process stood still.

        Its message comes again, behind newer ones.
        """
        lives = (self._new, _SHORTEST_S), (self._extended, self._lease_s)
        return any(
            begun_s + life_s <= now_s
            for queue, life_s in lives
            for begun_s, _ in itertools.islice(queue.values(), 1)
        )


class Acks:
    """Acks until the server has answered them, and since when it must have had all.

    >>> acks = Acks()
    >>> acks.add(["a", "b"], now_s=1.0)
    >>> acks.first(1), acks.doubtful_s(2.0)
    (['a'], -inf)
    >>> acks.answered(1, now_s=9.0)  # so late that their leases may have ended
    >>> acks.first(5), acks.doubtful_s(10.0)
    (['b'], 10.0)
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, float]] = deque()  # (id, when it came)
        self._doubtful_s = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ack_ids: Iterable[str], now_s: float) -> None:
        """To be sent."""
        self._waiting.extend((one, now_s) for one in ack_ids)

    def first(self, most: int) -> list[str]:
        """Those that have waited longest."""
        return [one for one, _ in itertools.islice(self._waiting, most)]

    def answered(self, count: int, now_s: float) -> None:
        """So many of the first are with the server."""
        self.doubtful_s(now_s)
        for _ in range(count):
            self._waiting.popleft()

    def doubt(self, now_s: float) -> None:
        """What was acknowledged up to now may come again: leases had ended."""
        self._doubtful_s = now_s

    def doubtful_s(self, now_s: float) -> float:
        """Until when it was in doubt whether the server had all acks in time."""
        if self._waiting and now_s - self._waiting[0][1] > _OVERDUE_S:
            self._doubtful_s = now_s
        return self._doubtful_s
