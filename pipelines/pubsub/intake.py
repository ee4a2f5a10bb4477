"""From messages to ordered micro-batches, and back to acks: what the scorer's loop reads from.

What enters: messages of a subscription (`client.Puller`), a decoder. What leaves: `MicroBatch`es
in the order in which they are to be folded; and, once these are finished, acks. An `Intake` is used
by one thread at a time, except `stop`, which a signal handler may call.

With an arrival log a message is acknowledged once it is there, before it is decoded; what a process
never finishes, the next one takes in again from the log (`Intake.recover`). Without one it is
acknowledged when every event that it made, and its dead letter if it made one, is in a finished
micro-batch, and the server delivers again what is not. What was handed out and not finished (its
processing failed) is handed out again, the same micro-batches in the same order.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from configs.schema import Spec
from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.micro_batch import DeadMessage, MicroBatch
from pipelines.pubsub.settings import SourceSettings
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.decode import Decoded
from transforms.disorder import DisorderBuffer, Released
from transforms.order import Position

_AWAY_S = 1.0  # between two looks at what arrived: silence in it may be our own
_FOLD_S = 0.1  # between two folds, where events are decided as they come
_FOLD_LATEST_S = 0.25  # the same while ever more come, which are decided first
_POLL_S = 0.02  # while events wait for the watermark, which an idle subscription moves by the clock

Decode = Callable[[Sequence[bytes]], Decoded]
"""Events of some payloads; `positions` and dead letters count from 0 in the sequence."""


class Messages(Protocol):
    """What an intake asks of a client (`client.Puller`)."""

    @property
    def connected(self) -> bool:
        """Whether silence means that there is nothing."""

    @property
    def unsettled(self) -> bool:
        """Whether messages of an earlier connection may still come behind newer ones."""

    @property
    def doubtful_s(self) -> float:
        """Until when, on the steady clock, acknowledged messages were in doubt."""

    @property
    def throttled(self) -> bool:
        """Whether reading has stopped at a limit."""

    @property
    def closed(self) -> bool:
        """Whether it gives out nothing any more."""

    def take(self, most: int, timeout_s: float) -> list[RawMessage]:
        """Messages that have arrived; waits for the first one at most so long."""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """These are done."""

    def forget(self, ack_ids: Sequence[str]) -> None:
        """These ids are void; a later delivery took their place."""

    def close(self) -> None:
        """Ends, and gives back what is not acknowledged."""


class Arrivals(Protocol):
    """Where messages are safe (`pipelines.streaming.arrivals.ArrivalLog`)."""

    def append(self, messages: Sequence[RawMessage], clock_us: int) -> int:
        """Returns once they are on disk; the number of the first one, the others follow."""


@dataclasses.dataclass(frozen=True)
class Logged:
    """Messages of the arrival log that came together.

    Attributes:
      first: the first one's number.
      clock_us: when they came, microseconds UTC.
      messages: without ack ids: they are acknowledged.
    """

    first: int
    clock_us: int
    messages: Sequence[RawMessage]


@dataclasses.dataclass(slots=True)
class _Held:
    """A message between its arrival and its end; `events` are not yet handed out.

    `ack_id` is "" once it is acknowledged, `number` None where it is in no arrival log.
    """

    ack_id: str
    message_id: str
    publish_us: int
    events: int
    number: int | None


@dataclasses.dataclass(frozen=True)
class Clocks:
    """Time, handed in: `wall_us` in microseconds UTC, `steady_s` for waiting."""

    wall_us: Callable[[], int] = lambda: time.time_ns() // 1000
    steady_s: Callable[[], float] = time.monotonic


class Intake:
    """One subscription's messages, decoded, ordered and counted until they are acknowledged.

    Args:
      spec: of the events.
      settings: how it is read.
      decode: of payloads.
      messages: the client.
      clocks: for tests.
      position: as `DisorderBuffer`.
      arrivals: where messages are kept before they are acknowledged; None: nowhere, and they are
        acknowledged when they are finished.
      at_arrival: a micro-batch tells what has arrived, and does not wait for more then. What is to
        be folded, for which nobody waits, comes every tenth of a second: by itself, when nothing
        has arrived, so that nobody waits for it; with what has, where more and more arrives.
    """

    def __init__(
        self,
        spec: Spec,
        settings: SourceSettings,
        decode: Decode,
        messages: Messages,
        clocks: Clocks | None = None,
        position: Position | None = None,
        arrivals: Arrivals | None = None,
        at_arrival: bool = False,
    ) -> None:
        self.settings = settings
        self._at_arrival = at_arrival
        self._arrived: list[pa.RecordBatch] = []
        self._decode = decode
        self._messages = messages
        self._clocks = clocks or Clocks()
        self._arrivals = arrivals
        self._buffer = DisorderBuffer(spec, settings.order(), position)
        self._refs = itertools.count()
        self._held: dict[int, _Held] = {}  # by reference: some events are not yet handed out
        self._by_message: dict[str, _Held] = {}  # until they are acknowledged
        self._done: list[_Held] = []  # nothing left to hand out; for the next micro-batch
        self._dead: list[DeadMessage] = []
        self._redelivered = 0
        self._sequence = 0
        self._out: OrderedDict[int, tuple[MicroBatch, list[_Held]]] = OrderedDict()
        self._again: deque[MicroBatch] = deque()
        self._arrived_s = self._looked_s = self._folded_s = self._clocks.steady_s()
        self._stopping = self._flushing = False
        self._empty: pa.RecordBatch | None = None

    @property
    def watermark_us(self) -> int | None:
        """No earlier event is expected; None before the first event."""
        return self._buffer.watermark_us

    @property
    def held(self) -> int:
        """Events that wait in the disorder buffer."""
        return len(self._buffer)

    @property
    def unfinished(self) -> int:
        """Messages that are not finished."""
        return len(self._by_message)

    @property
    def last_sequence(self) -> int:
        """The number of the last micro-batch that was handed out."""
        return self._sequence - 1

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        if self._again or not (self._stopping or self._flushing):
            return False
        return self._stopping or not (self._news() or len(self._buffer))

    def stop(self, flush: bool = False) -> None:
        """Pulls no more. Safe in a signal handler.

        Args:
          flush: first give out what is held, whatever the watermark. Otherwise the next process
            has it, in order: from the arrival log, or from the server again.
        """
        if flush:
            self._flushing = True
        else:
            self._stopping = True

    def next(self) -> MicroBatch | None:
        """The next micro-batch, within the latency budget; None when nothing came for `idle_s`.

        Raises:
          InputError: the subscription cannot be read, and trying again would not help.
        """
        if self._again:
            return self._again.popleft()
        settings, steady = self.settings, self._clocks.steady_s
        ends, stuck, full = steady() + settings.idle_s, False, False
        while not (self._stopping or stuck):
            if self._flushing:
                self._buffer.flush()
                return self._hand_out(force=False)
            ready = self._buffer.ready
            if ready or self._news():
                ends = min(ends, steady() + settings.latency_s)
            wait = ends - steady()
            full = ready >= settings.batch_events or self._buffer.full
            if full or wait <= 0 or self._arrived:
                break
            due = self._at_arrival and ready > 0 and steady() - self._folded_s >= _FOLD_S
            stuck = self._stuck()  # unless something that has arrived already lies unread
            wait = min(wait, _POLL_S) if len(self._buffer) else wait
            came = self._pull(0.0 if stuck or due else wait)
            stuck = stuck and not came
            if due and not came:
                break
        fold = full or not self._arrived or steady() - self._folded_s >= _FOLD_LATEST_S
        self._folded_s = steady() if fold else self._folded_s
        return None if self._stopping else self._hand_out(stuck, fold)

    def recover(self, logged: Iterable[Logged]) -> None:
        """Takes in what an earlier process had logged and not finished, as it came then."""
        for one in logged:
            self._accept(one.messages, one.first, one.clock_us)
        self._buffer.awake(self._clocks.wall_us())

    def rewind(self) -> None:
        """What was handed out and not finished is handed out again, the same, before all else."""
        self._again = deque(batch for batch, _ in self._out.values())

    def finish(self, through: int) -> None:
        """Micro-batches up to this sequence number are done: what they complete is acknowledged."""
        ack_ids: list[str] = []
        while self._out and next(iter(self._out)) <= through:
            _, (_, done) = self._out.popitem(last=False)
            for held in done:
                if held.ack_id:
                    ack_ids.append(held.ack_id)
                del self._by_message[held.message_id]
        while self._again and self._again[0].sequence <= through:
            self._again.popleft()
        if ack_ids:
            self._messages.acknowledge(ack_ids)

    def close(self) -> None:
        """Ends the client."""
        self._messages.close()

    def _news(self) -> bool:
        return bool(self._dead or self._done or self._arrived)

    def _stuck(self) -> bool:
        """Whether nothing can arrive because all that may be held is held, and none may go."""
        return self._messages.throttled and not self._out and len(self._buffer) > 0

    def _pull(self, wait_s: float) -> bool:
        """Takes in what has arrived; whether anything had."""
        away = self._clocks.steady_s() - self._looked_s > _AWAY_S
        most = self.settings.batch_events
        arrived = self._messages.take(most, max(wait_s, 0.0))
        self._looked_s = self._clocks.steady_s()
        now_us = self._clocks.wall_us()
        if self._messages.unsettled:
            self._buffer.wait_until(now_us + 1)
        silent = self._messages.connected and not self._messages.throttled
        if arrived or not silent:
            self._arrived_s = self._looked_s
        if arrived and self._take_in(arrived, now_us):
            return True
        if away or not silent:
            self._buffer.awake(now_us)
        elif len(arrived) < most:  # nothing more is here; copies and bad records hold nobody up
            self._buffer.idle(now_us)
        limit = self.settings.end_after_idle_s
        if limit is not None and self._looked_s - self._arrived_s > limit:
            self._flushing = True
        return bool(arrived)

    def _take_in(self, arrived: Sequence[RawMessage], now_us: int) -> int:
        """Logs messages, decodes them and puts their events in order; how many events they made."""
        newest: dict[str, RawMessage] = {}
        for message in arrived:
            if self._came_again(message):
                continue
            before = newest.pop(message.message_id, None)
            if before is not None:  # twice in one response
                self._messages.forget([before.ack_id])
                self._redelivered += 1
            newest[message.message_id] = message
        fresh = list(newest.values())
        if not fresh:
            return 0
        if self._arrivals is None:
            return self._accept(fresh, None, now_us)
        first = self._arrivals.append(fresh, now_us)
        self._messages.acknowledge([message.ack_id for message in fresh])
        return self._accept(fresh, first, now_us)

    def _accept(self, fresh: Sequence[RawMessage], first: int | None, now_us: int) -> int:
        """Decodes messages; those that are numbered in the arrival log are acknowledged."""
        decoded = self._decode([message.data for message in fresh])
        refs = np.fromiter(itertools.islice(self._refs, len(fresh)), np.int64, len(fresh))
        event_refs = refs[decoded.positions]
        counts = np.bincount(decoded.positions, minlength=len(fresh)).tolist()
        ahead = set(self._buffer.add(decoded.batch, event_refs, now_us).tolist())
        if self._at_arrival and decoded.batch.num_rows:
            taken = ~np.isin(event_refs, list(ahead))
            self._arrived.append(decoded.batch.filter(pa.array(taken)))
        made = 0
        for index, message in enumerate(fresh):
            ref = int(refs[index])
            events = 0 if ref in ahead else counts[index]
            number = None if first is None else first + index
            ack_id = message.ack_id if first is None else ""
            held = _Held(ack_id, message.message_id, message.publish_us, events, number)
            self._by_message[message.message_id] = held
            made += events
            if events:
                self._held[ref] = held
            else:
                self._done.append(held)
            if ref in ahead:
                self._dead.append(DeadMessage(self._ahead(index), message))
        for letter in decoded.dead:
            self._dead.append(DeadMessage(letter, fresh[letter.position]))
        if self._empty is None:
            self._empty = decoded.batch.slice(0, 0)
        return made

    def _came_again(self, message: RawMessage) -> bool:
        """A message that is here already goes by its newest ack id; a logged one needs none."""
        held = self._by_message.get(message.message_id)
        if held is None:
            return False
        if held.number is not None:
            self._messages.acknowledge([message.ack_id])
        elif held.ack_id != message.ack_id:
            self._messages.forget([held.ack_id])
            held.ack_id = message.ack_id
        self._redelivered += 1
        return True

    def _ahead(self, position: int) -> DeadLetter:
        seconds = (self.settings.ahead_us or 0) / 1e6
        return DeadLetter(
            Stage.READ,
            Reason.BAD_TIME,
            self.settings.subscription,
            position,
            "event_time",
            f"expected at most {seconds:g} s ahead of the scorer's clock",
        )

    def _hand_out(self, force: bool, fold: bool = True) -> MicroBatch | None:
        released = self._buffer.take(self.settings.batch_events, force) if fold else None
        if self._empty is None or (released is None and not self._news()):
            return None
        if released is None:
            none = np.empty(0, np.int64)
            released = Released(self._empty, none, none.astype(bool), 0)
        done, self._done = self._done, []
        ids: list[str] = []
        publish_us = np.empty(len(released.refs), np.int64)
        for index, ref in enumerate(released.refs.tolist()):
            held = self._held[ref]
            ids.append(held.message_id)
            publish_us[index] = held.publish_us
            held.events -= 1
            if not held.events:
                done.append(held)
                del self._held[ref]
        dead, self._dead = tuple(self._dead), []
        redelivered, self._redelivered = self._redelivered, 0
        batch = MicroBatch(
            self._sequence,
            released.batch,
            released.late,
            tuple(ids),
            publish_us,
            dead,
            self._buffer.watermark_us,
            released.forced,
            redelivered,
            tuple(held.number for held in done if held.number is not None),
            self._messages.doubtful_s,
            tuple(self._arrived),
        )
        self._arrived = []
        self._out[self._sequence] = (batch, done)
        self._sequence += 1
        return batch
