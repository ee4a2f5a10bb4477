"""What one subscription owes its subscribers: waiting, leased and retained messages.

No clock, thread or gRPC: the caller hands the time in, so every rule here is tested without
waiting.

An entry is *waiting* (can be pulled), *leased* (a subscriber has it until a tick) or *done*. Leases
live in a wheel of ticks: one dictionary of entries per tick, so an ack frees its message at once
and a deadline costs O(1).
"""

from __future__ import annotations

import dataclasses
import enum
import heapq
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable

from pipelines.pubsub_server.messages import (
    Code,
    Delivery,
    Message,
    RefusedError,
    SubscriptionConfig,
)

TICK_US = 50_000
"""Deadlines are rounded up to this: a redelivery is at most so much late."""

_ACK_ID = re.compile(r"[0-9a-f]+-[0-9]+-[0-9]+")


class _Place(enum.Enum):
    WAITING = 0
    LEASED = 1
    DONE = 2


@dataclasses.dataclass(slots=True, eq=False)
class Outlet:
    """One stream's limits and what it has outstanding; a limit of 0 is none."""

    max_messages: int = 0
    max_bytes: int = 0
    messages: int = 0
    bytes: int = 0

    def room(self) -> tuple[int, int]:
        """How many messages and bytes may still go out; negative when over."""
        messages = self.max_messages - self.messages if self.max_messages > 0 else 1 << 30
        size = self.max_bytes - self.bytes if self.max_bytes > 0 else 1 << 40
        return messages, size


@dataclasses.dataclass(slots=True, eq=False)
class _Entry:
    message: Message
    size: int
    place: _Place = _Place.WAITING
    ack_id: str = ""
    tick: int = 0
    outlet: Outlet | None = None


class Backlog:
    """One subscription's messages.

    Args:
      config: what the subscription is.
      stamp: hexadecimal; part of every ack id, so that those of another subscription or of an
        earlier server are told apart.
    """

    def __init__(self, config: SubscriptionConfig, stamp: str = "0") -> None:
        self.config = config
        self.bytes = 0
        self._leases = 0
        self._stamp = stamp
        self._entries: dict[int, _Entry] = {}  # by serial, ascending: unacked, and acked ones kept
        self._waiting: deque[_Entry] = deque()
        self._by_ack: dict[str, _Entry] = {}
        self._wheel: dict[int, dict[int, _Entry]] = {}
        self._ticks: list[int] = []

    def __len__(self) -> int:
        """How many messages are not acknowledged."""
        return sum(entry.place is not _Place.DONE for entry in self._entries.values())

    def add(self, message: Message) -> None:
        """A newly published message."""
        entry = _Entry(message, message.size)
        self._entries[message.serial] = entry
        self.bytes += entry.size
        self._waiting.append(entry)

    def pull(
        self,
        now_us: int,
        max_messages: int,
        max_bytes: int,
        deadline_s: int | None = None,
        outlet: Outlet | None = None,
    ) -> list[Delivery]:
        """Leases up to so many waiting messages; at least one where any limit leaves room.

        Args:
          now_us: microseconds UTC.
          max_messages, max_bytes: limits of this call.
          deadline_s: lease in seconds; None: the subscription's.
          outlet: the stream that they go to, whose limits count as well.
        """
        if outlet is not None:
            messages_left, bytes_left = outlet.room()
            if messages_left <= 0 or bytes_left <= 0:
                return []
            max_messages, max_bytes = min(max_messages, messages_left), min(max_bytes, bytes_left)
        seconds = self.config.ack_deadline_s if deadline_s is None else deadline_s
        tick = _tick_at(now_us + seconds * 1_000_000)
        out: list[Delivery] = []
        while len(out) < max_messages and max_bytes > 0:
            entry = self._next()
            if entry is None:
                break
            max_bytes -= entry.size
            out.append(self._lease(entry, tick, outlet))
        return out

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Marks messages as done; ids of an older delivery change nothing.

        Raises:
          RefusedError: an id that no server of this kind gave out.
        """
        for ack_id in ack_ids:
            entry = self._by_ack.get(ack_id)
            if entry is None:
                _check_ack_id(ack_id)
            else:
                self._finish(entry)

    def modify_deadline(self, now_us: int, ack_ids: Iterable[str], seconds: int) -> None:
        """Leases last so many seconds from now; 0 returns the messages at once.

        Raises:
          RefusedError: seconds outside 0 to 600, or an id that no server of this kind gave out.
        """
        if not 0 <= seconds <= 600:
            raise RefusedError(
                Code.INVALID_ARGUMENT, f"an ack deadline of {seconds} s; expected 0 to 600"
            )
        tick = _tick_at(now_us + seconds * 1_000_000)
        for ack_id in ack_ids:
            entry = self._by_ack.get(ack_id)
            if entry is None:
                _check_ack_id(ack_id)
            elif entry.place is _Place.LEASED:
                if seconds == 0:
                    self._return(entry)
                else:
                    self._leave_wheel(entry)
                    self._enter_wheel(entry, tick)

    def release(self, outlet: Outlet) -> None:
        """A stream is gone: its leases stay, and count against no one's limits."""
        for entry in self._by_ack.values():
            if entry.outlet is outlet:
                entry.outlet = None

    def expire(self, now_us: int) -> bool:
        """Returns leases that ran out; whether any message now waits."""
        came = False
        while self._ticks and self._ticks[0] * TICK_US <= now_us:
            entries = self._wheel.pop(heapq.heappop(self._ticks))
            for entry in list(entries.values()):
                if entry.place is _Place.LEASED:
                    self._return(entry)
                came = True
        return came

    def trim(self, now_us: int) -> None:
        """Forgets messages older than the retention."""
        oldest = now_us - self.config.retention_us
        for entry in list(
            itertools.takewhile(lambda e: e.message.publish_us < oldest, self._entries.values())
        ):
            if entry.place is not _Place.DONE:
                self._finish(entry)
            if self._entries.pop(entry.message.serial, None) is not None:
                self.bytes -= entry.size
        _drop_done(self._waiting)

    def unacknowledged(self) -> tuple[Message, ...]:
        """Messages that a snapshot keeps, oldest first."""
        return tuple(e.message for e in self._entries.values() if e.place is not _Place.DONE)

    def seek(self, messages: Iterable[Message], unacked: Callable[[Message], bool]) -> None:
        """Starts anew from what is here and `messages`: those for which `unacked` holds wait.

        Leases end; ack ids given out before are forgotten.
        """
        known = {entry.message.serial: entry.message for entry in self._entries.values()}
        known.update((message.serial, message) for message in messages)
        for entry in self._by_ack.values():
            _let_go(entry)
        self._entries, self.bytes = {}, 0
        for store in (self._waiting, self._by_ack, self._wheel):
            store.clear()
        self._ticks.clear()
        for serial in sorted(known):
            message = known[serial]
            if unacked(message):
                self.add(message)
            elif self.config.retain_acked:
                self._entries[serial] = _Entry(message, message.size, _Place.DONE)
                self.bytes += message.size

    def _next(self) -> _Entry | None:
        while self._waiting:
            entry = self._waiting.popleft()
            if entry.place is _Place.WAITING:
                return entry
        return None

    def _lease(self, entry: _Entry, tick: int, outlet: Outlet | None) -> Delivery:
        self._by_ack.pop(entry.ack_id, None)
        entry.place = _Place.LEASED
        self._leases += 1
        entry.ack_id = f"{self._stamp}-{entry.message.serial}-{self._leases}"
        entry.outlet = outlet
        if outlet is not None:
            outlet.messages += 1
            outlet.bytes += entry.size
        self._by_ack[entry.ack_id] = entry
        self._enter_wheel(entry, tick)
        return Delivery(entry.ack_id, entry.message)

    def _enter_wheel(self, entry: _Entry, tick: int) -> None:
        slot = self._wheel.get(tick)
        if slot is None:
            slot = self._wheel[tick] = {}
            heapq.heappush(self._ticks, tick)
        slot[entry.message.serial] = entry
        entry.tick = tick

    def _leave_wheel(self, entry: _Entry) -> None:
        slot = self._wheel.get(entry.tick)
        if slot is not None:
            slot.pop(entry.message.serial, None)

    def _finish(self, entry: _Entry) -> None:
        if entry.place is _Place.DONE:
            return
        if entry.place is not _Place.WAITING:
            self._leave_wheel(entry)
        _let_go(entry)
        self._by_ack.pop(entry.ack_id, None)
        entry.place = _Place.DONE
        if not self.config.retain_acked:
            del self._entries[entry.message.serial]
            self.bytes -= entry.size

    def _return(self, entry: _Entry) -> None:
        """A lease ended without an ack: the message waits again."""
        _let_go(entry)
        self._leave_wheel(entry)
        entry.place = _Place.WAITING
        self._waiting.append(entry)


def _drop_done(entries: deque[_Entry]) -> None:
    while entries and entries[0].place is _Place.DONE:
        entries.popleft()


def _let_go(entry: _Entry) -> None:
    if entry.outlet is not None:
        entry.outlet.messages -= 1
        entry.outlet.bytes -= entry.size
        entry.outlet = None


def _tick_at(time_us: int) -> int:
    return -(-time_us // TICK_US)


def _check_ack_id(ack_id: str) -> None:
    if not _ACK_ID.fullmatch(ack_id):
        raise RefusedError(
            Code.INVALID_ARGUMENT,
            "an ack id that was not given out by this server; send ack ids as they were received",
        )
