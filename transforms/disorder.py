"""Holds events until no earlier one is expected, and gives them out in total order.

The streaming scorer puts it between Pub/Sub, which has no order, and the fold, which needs one; it
has no clock, thread or I/O, so the same calls give the same batches.

Events with a time below the watermark (`transforms.watermark`) are given out. A message whose
earliest event is more than `ahead_us` beyond the clock is not taken; the caller gets its reference
back, to dead-letter.

- *Late*: an event that belongs before one that was given out already. It is given out at once,
  marked; all others are in total order (`transforms.order`). What was ready and not given
  out yet is put in order with what came meanwhile: a second copy never overtakes the first.
- *Full*: at `capacity` events the caller is to stop adding. If none of them may go yet, the
  earliest are given out nevertheless (`forced` counts them): memory is bounded, whatever arrives.

::

    bound 5 s    arrival   3   9   4  12   1        (event times, seconds)
                 watermark -2  4   4   7   7
                 given out     3       4  1(late)   then 9 and 12 as later events come
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_TIME, Spec
from transforms.order import Position, order_events, places, position_of
from transforms.watermark import WaitSettings, Watermark

_MOST_CHUNKS = 256  # held pieces; more are merged, so that a take looks at few

Refs = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class OrderSettings(WaitSettings):
    """How long to wait, and how much to hold.

    Attributes:
      capacity: events held at most, apart from the last batch added.
    """

    capacity: int = 200_000


@dataclasses.dataclass(frozen=True)
class Released:
    """Events to fold now, in this order.

    Attributes:
      batch: `[n]` events.
      refs: int64 `[n]`, the caller's references.
      late: bool `[n]`; late events come first, in total order among themselves.
      watermark_us: microseconds UTC.
      forced: how many were given out before their time because the buffer was full.
    """

    batch: pa.RecordBatch
    refs: Refs
    late: npt.NDArray[np.bool_]
    watermark_us: int
    forced: int = 0


@dataclasses.dataclass(slots=True)
class _Chunk:
    """Rows sorted by time; those before `start` are gone."""

    batch: pa.RecordBatch
    times: npt.NDArray[np.int64]
    refs: Refs
    start: int = 0

    def cut(self, end: int) -> _Chunk:
        """Takes the rows up to `end` out, without a copy."""
        taken = _Chunk(
            self.batch.slice(self.start, end - self.start),
            self.times[self.start : end],
            self.refs[self.start : end],
        )
        self.start = end
        return taken

    def __len__(self) -> int:
        return len(self.times) - self.start


class DisorderBuffer:
    """Events between arrival and fold; one thread at a time may use it.

    Args:
      spec: of the events.
      settings: how long to wait.
      position: the last event that an earlier buffer gave out in order; those before it are late.
    """

    def __init__(
        self,
        spec: Spec,
        settings: OrderSettings,
        position: Position | None = None,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._held: list[_Chunk] = []
        self._late: list[_Chunk] = []
        self._ready: _Chunk | None = None
        self._ready_forced = False
        self._events = 0
        self._watermark = Watermark(settings)
        self._position = position  # last one given out

    def __len__(self) -> int:
        """Events held, ready ones included."""
        return self._events

    @property
    def full(self) -> bool:
        """Whether the caller is to stop adding."""
        return self._events >= self._settings.capacity

    @property
    def watermark_us(self) -> int | None:
        """Microseconds UTC; None before the first event."""
        return self._watermark.value_us

    @property
    def ready(self) -> int:
        """How many events `take` would give out now, apart from its limit and from force."""
        count = sum(map(len, self._late)) + (0 if self._ready is None else len(self._ready))
        return count + sum(self._end(chunk) - chunk.start for chunk in self._held)

    def add(self, batch: pa.RecordBatch, refs: Refs, now_us: int) -> Refs:
        """Takes events in; rows with the same reference come from one message.

        Args:
          batch: `[n]` decoded events.
          refs: int64 `[n]`.
          now_us: the clock, microseconds UTC.

        Returns:
          References of messages that are too far ahead of the clock; none of their events was
          taken.
        """
        times = batch.column(EVENT_TIME).to_numpy(zero_copy_only=False)
        if len(times) == 0:
            return np.empty(0, np.int64)
        messages, inverse = np.unique(refs, return_inverse=True)
        earliest = np.full(len(messages), np.iinfo(np.int64).max)
        np.minimum.at(earliest, inverse, times)
        ahead = np.zeros(len(messages), bool)
        if self._settings.ahead_us is not None:
            ahead = earliest > now_us + self._settings.ahead_us
        if ahead.any():
            kept = ~ahead[inverse]
            batch = batch.filter(pa.array(kept))
            times, refs = times[kept], refs[kept]
        if not ahead.all():
            self._accept(batch, times, refs)
            self._watermark.arrived(earliest[~ahead], now_us)
        return np.asarray(messages[ahead], np.int64)

    def idle(self, now_us: int) -> None:
        """Nothing is waiting on the subscription now; the watermark may follow the clock."""
        self._watermark.idle(now_us)

    def awake(self, now_us: int) -> None:
        """Silence up to now says nothing: the connection was lost, or the caller did not look."""
        self._watermark.awake(now_us)

    def wait_until(self, until_us: int) -> None:
        """Older messages may come behind newer ones until the clock is there."""
        self._watermark.wait_until(until_us)

    def take(self, limit: int, force: bool = False) -> Released | None:
        """The next events to fold, at most `limit`; None if all are to wait.

        Args:
          limit: most events, 1 or more.
          force: give out the earliest though they are to wait, as when full.
        """
        parts: list[_Chunk] = []
        late = self._take_late(limit)
        if late is not None:
            parts.append(late)
        late_count, room = sum(map(len, parts)), limit - sum(map(len, parts))
        forced = 0
        if room > 0 and self._ready is None:
            self._collect()
            if self._ready is None and not parts and self._held and (force or self.full):
                self._force(limit)
        if room > 0 and self._ready is not None:
            part = self._ready.cut(self._ready.start + min(room, len(self._ready)))
            forced = len(part) if self._ready_forced else 0
            if not len(self._ready):
                self._ready, self._ready_forced = None, False
            self._position = self._place(part, len(part) - 1)
            parts.append(part)
        if not parts:
            return None
        count = sum(map(len, parts))
        self._events -= count
        marks = np.arange(count) < late_count
        watermark = self._watermark.value_us or 0
        return Released(_concat(parts), _refs(parts), marks, watermark, forced)

    def flush(self) -> None:
        """Nothing more will arrive: all that is held may go."""
        if self._held:
            self._watermark.raise_to(max(int(chunk.times[-1]) for chunk in self._held) + 1)

    def _accept(self, batch: pa.RecordBatch, times: npt.NDArray[np.int64], refs: Refs) -> None:
        self._events += len(times)
        late = self._before(self._position, batch, times)
        if self._ready is not None:
            last = self._place(self._ready, len(self._ready) - 1)
            if (self._before(last, batch, times) & ~late).any():
                self._held.append(self._ready)  # collected again, in order with these
                self._ready = None
        for mask, pile in ((late, self._late), (~late, self._held)):
            index = np.flatnonzero(mask)
            if len(index):
                index = index[np.argsort(times[index], kind="stable")]
                pile.append(_Chunk(batch.take(pa.array(index)), times[index], refs[index]))
        if len(self._held) > _MOST_CHUNKS:
            rest = [chunk.cut(len(chunk.times)) for chunk in self._held]
            self._held = [self._in_total_order(rest)]

    def _before(
        self, position: Position | None, batch: pa.RecordBatch, times: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Which events come before a position in the total order: bool `[n]`."""
        if position is None:
            return np.zeros(len(times), bool)
        before = times < position.time_us
        tied = np.flatnonzero(times == position.time_us)
        if len(tied):
            found = places(self._spec, batch.take(pa.array(tied))).to_pylist()
            before[tied] = [one < position.place for one in found]
        return before

    def _place(self, chunk: _Chunk, index: int) -> Position:
        """Where an event of a chunk stands, counted from its start."""
        return position_of(self._spec, chunk.batch, chunk.start + index)

    def _in_total_order(self, chunks: list[_Chunk]) -> _Chunk:
        batch = _concat(chunks)
        rows = order_events(self._spec, batch)
        times = np.concatenate([chunk.times[chunk.start :] for chunk in chunks])[rows]
        return _Chunk(batch.take(pa.array(rows)), times, _refs(chunks)[rows])

    def _end(self, chunk: _Chunk) -> int:
        if self._watermark.value_us is None:
            return chunk.start
        end = int(np.searchsorted(chunk.times, self._watermark.value_us, side="left"))
        return max(end, chunk.start)

    def _collect(self) -> None:
        """Makes all events below the watermark ready."""
        ends = [self._end(chunk) for chunk in self._held]
        parts = [c.cut(end) for c, end in zip(self._held, ends, strict=True) if end > c.start]
        self._make_ready(parts)

    def _force(self, limit: int) -> None:
        """Makes the earliest events ready before their time: those up to the limit-th's time."""
        times = np.concatenate([chunk.times[chunk.start :] for chunk in self._held])
        nth = min(limit, len(times)) - 1
        self._watermark.raise_to(int(np.partition(times, nth)[nth]) + 1)
        self._collect()
        self._ready_forced = True

    def _make_ready(self, parts: list[_Chunk]) -> None:
        if not parts:
            return
        self._held = [chunk for chunk in self._held if len(chunk)]
        self._ready = self._in_total_order(parts)

    def _take_late(self, limit: int) -> _Chunk | None:
        if not self._late:
            return None
        late = self._in_total_order(self._late)
        part = late.cut(min(limit, len(late)))
        self._late = [late] if len(late) else []
        return part


def _concat(chunks: list[_Chunk]) -> pa.RecordBatch:
    batches = [chunk.batch.slice(chunk.start, len(chunk)) for chunk in chunks]
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _refs(chunks: list[_Chunk]) -> Refs:
    return np.concatenate([chunk.refs[chunk.start :] for chunk in chunks])
