"""A reader of a subscription for an engine: batches out, acks when a checkpoint is complete.

A session outlives the engine's Beam bundles. What it gave out since the last cut belongs to the
next one; a cut's messages are acknowledged once a checkpoint that covers it is complete (`finish`),
and until then their leases are extended. What no checkpoint ever covers (a bundle that
failed, a job that went back to an earlier checkpoint, a worker that was given up) is given back, or
its lease ends: it comes again, and its event is known by its id.

Which checkpoint covers a cut, no engine says. When one is complete, Flink's operator (beam 2.70,
`ExecutableStageDoFnOperator.notifyCheckpointComplete`) reports every Beam bundle that has ended by
then, also those that ended after the checkpoint was taken and are in none yet; after a kill in that
moment they would be lost. So a cut that was reported waits for two reports more, each of a bundle
that gave something out after the one before: they are of later checkpoints, and theirs hold it.

The watermark is that of the embedded scorer (`transforms.watermark`). One rule more, for several
readers of one subscription: one to which the server sends nothing for `drained_s` while nothing is
left to read stands at the clock, less the disorder bound; it would else hold up the others.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_TIME, Spec
from pipelines.pubsub.client import PullSettings, RawMessage
from pipelines.pubsub.intake import Clocks, Messages
from transforms.decode import decode_json
from transforms.steps.decode import RECORD
from transforms.watermark import WaitSettings, Watermark

MESSAGE_ID, ARRIVED_US, ATTRIBUTES = "message_id", "arrived_us", "attributes"
_AWAY_S = 5.0  # between two reads: silence in it may be our own
_LEASE_MARGIN_S = 5.0  # a busy server hands out again a while after the lease has ended
_NONE = np.iinfo(np.int64).max

Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ReaderSettings:
    """How an engine reads a subscription.

    Attributes:
      subscription: full name, "projects/P/subscriptions/S".
      endpoint: "127.0.0.1:8085"; None: `PUBSUB_EMULATOR_HOST`, or Google Cloud.
      disorder_us, idle_after_us, ahead_us: see `transforms.watermark`.
      readers: of the subscription, spread over the workers.
      batch_events: most messages of a batch.
      latency_s: how long a batch waits for more, once one message is there.
      idle_s: how long a read waits when nothing comes.
      bundle_s: a reader ends its Beam bundle after so long, so that a checkpoint need not wait.
      drained_s: see the module.
      buffer_events, buffer_bytes: not yet acknowledged, of all readers, at which pulling stops:
        more than what comes between two checkpoints.
      lease_s: ack deadline, 10 to 600; extended at half of it.
      unread_s: a reader that no bundle asks for so long gives back what it holds.
    """

    subscription: str
    endpoint: str | None = None
    disorder_us: int = 5_000_000
    idle_after_us: int = 200_000
    ahead_us: int | None = 10_000_000
    readers: int = 2
    batch_events: int = 1000
    latency_s: float = 0.05
    idle_s: float = 0.1
    bundle_s: float = 0.25
    drained_s: float = 5.0
    buffer_events: int = 200_000
    buffer_bytes: int = 256 << 20
    lease_s: int = 30
    unread_s: float = 120.0

    def wait(self) -> WaitSettings:
        """The watermark's part."""
        return WaitSettings(self.disorder_us, self.idle_after_us, self.ahead_us)

    def pull(self) -> PullSettings:
        """One reader's part."""
        return PullSettings(
            self.subscription,
            self.endpoint,
            -(-self.buffer_events // self.readers),
            -(-self.buffer_bytes // self.readers),
            self.lease_s,
            self.unread_s,
        )

    def grace_until_us(self, now_us: int, deadline_s: float) -> int:
        """Until when order waits for what a reader that is gone now held.

        Args:
          now_us: the clock.
          deadline_s: the subscription's own, for which a message is leased until it is extended.
        """
        return now_us + round((max(self.lease_s, deadline_s) + _LEASE_MARGIN_S) * 1e6)


@dataclasses.dataclass(frozen=True)
class ReadMessages:
    """A batch of raw messages, as `Decode` takes them.

    Attributes:
      batch: `record` binary, the payload; `message_id`; `arrived_us`, the reader's clock;
        `attributes`, a map.
      watermark_us: before they came: events of them that are earlier are late (`transforms.ticks`);
        None: none is.
    """

    batch: pa.RecordBatch
    watermark_us: int | None


class Session:
    """Reads until it is closed; one thread at a time, `finish` apart.

    Args:
      spec: of the events.
      settings: how it is read.
      messages: the client.
      clocks: for tests.
      watermark_us: of the reader before this one; it does not go back.
      grace_until_us: until when order waits for what that one held.
    """

    def __init__(
        self,
        spec: Spec,
        settings: ReaderSettings,
        messages: Messages,
        clocks: Clocks | None = None,
        watermark_us: int | None = None,
        grace_until_us: int | None = None,
    ) -> None:
        self.settings = settings
        self._times_of = times_spec(spec)
        self._messages = messages
        self._clocks = clocks or Clocks()
        self._watermark = Watermark(settings.wait(), grace_until_us, watermark_us)
        self._held: dict[str, str] = {}  # message id -> the ack id of its newest delivery
        self._given: list[str] = []  # message ids since the last cut
        self._cuts: OrderedDict[int, list[str]] = OrderedDict()
        self._last = self._turn = 0
        # (the newest turn when it was reported, cut): reported once, twice
        self._reporting = threading.Lock()
        self._reported: tuple[deque[tuple[int, int]], ...] = deque(), deque()
        self._read_s = self._came_s = self._clocks.steady_s()

    @property
    def closed(self) -> bool:
        """Whether it gives out nothing any more."""
        return self._messages.closed

    @property
    def outstanding(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._held)

    @property
    def watermark_us(self) -> int | None:
        """No earlier event is expected; None before anything is known."""
        return self._watermark.value_us

    def read(self) -> ReadMessages | None:
        """The next batch: waits `idle_s` for a first message, and `latency_s` for more.

        Raises:
          InputError: the subscription cannot be read, and trying again would not help.
        """
        steady = self._clocks.steady_s
        away = steady() - self._read_s > _AWAY_S
        most = self.settings.batch_events
        fresh = self._fresh(self._messages.take(most, self.settings.idle_s))
        if fresh:
            ends = steady() + self.settings.latency_s
            while len(fresh) < most and (left := ends - steady()) > 0:
                fresh |= self._fresh(self._messages.take(most - len(fresh), left))
        self._read_s, now_us = steady(), self._clocks.wall_us()
        silent = self._messages.connected and not self._messages.throttled
        if fresh or not silent or away:
            self._came_s = self._read_s
        if fresh:
            return self._batch(list(fresh.values()), now_us)
        if away or not silent:
            self._watermark.awake(now_us)
        else:
            self._watermark.idle(now_us)
            if self._read_s - self._came_s >= self.settings.drained_s:
                self._watermark.drained(now_us)
        return None

    @property
    def turn(self) -> int:
        """How often `cut` was called."""
        return self._turn

    def cut(self) -> int:
        """Ends a stretch: what was given out since the last cut belongs to this one; its number."""
        self._turn += 1
        if self._given:
            self._last += 1
            self._cuts[self._last] = self._given
            self._given = []
        return self._last

    def finish(self, through: int, turn: int) -> None:
        """The engine reports a Beam bundle; from any thread: Beam's worker has several for this.

        Args:
          through: the last cut in it.
          turn: the last one in it.
        """
        once, twice = self._reported
        safe = 0
        with self._reporting:
            while twice and twice[0][0] < turn:
                safe = max(safe, twice.popleft()[1])
            while once and once[0][0] < turn:
                twice.append((self._turn, once.popleft()[1]))
            once.append((self._turn, through))
            if safe:
                self._acknowledge(safe)

    def _acknowledge(self, through: int) -> None:
        ack_ids: list[str] = []
        while (first := next(iter(self._cuts), None)) is not None and first <= through:
            done = self._cuts.pop(first, [])
            ack_ids += [self._held.pop(one) for one in done if one in self._held]
        if ack_ids:
            self._messages.acknowledge(ack_ids)

    def close(self) -> None:
        """Gives back what is not acknowledged."""
        self._held.clear()
        self._cuts.clear()
        self._messages.close()

    def _fresh(self, arrived: Sequence[RawMessage]) -> dict[str, RawMessage]:
        """Those that are not held already; of the others the newest delivery counts."""
        fresh: dict[str, RawMessage] = {}
        for message in arrived:
            before = self._held.get(message.message_id)
            self._held[message.message_id] = message.ack_id
            if before is None:
                fresh[message.message_id] = message
            elif before != message.ack_id:
                self._messages.forget([before])
        return fresh

    def _batch(self, fresh: list[RawMessage], now_us: int) -> ReadMessages:
        self._given += [message.message_id for message in fresh]
        payloads = [message.data for message in fresh]
        decoded = decode_json(self._times_of, payloads, self.settings.subscription)
        times = np.asarray(decoded.batch.column(EVENT_TIME).to_numpy(), np.int64)
        earliest = earliest_times(decoded.positions, times, len(fresh))
        before_us = self._watermark.value_us
        self._watermark.arrived(self._near(earliest, now_us), now_us)
        batch = raw_batch(
            payloads,
            [message.message_id for message in fresh],
            [message.attributes for message in fresh],
            now_us,
        )
        return ReadMessages(batch, before_us)

    def _near(self, earliest: Int64s, now_us: int) -> Int64s:
        """Times of messages that have one, and are not too far ahead of the clock."""
        ahead_us = self.settings.ahead_us
        most = _NONE - 1 if ahead_us is None else now_us + ahead_us
        return earliest[earliest <= most]


def raw_batch(
    payloads: Sequence[bytes],
    message_ids: Sequence[str],
    attributes: Sequence[Mapping[str, str]],
    now_us: int,
) -> pa.RecordBatch:
    """Messages as `Decode` takes them, with what a dead letter says of them: `[n]` each.

    >>> raw_batch([b"{}"], ["7"], [{}], 5).schema.names
    ['record', 'message_id', 'arrived_us', 'attributes']
    """
    pairs = [list((one or {}).items()) for one in attributes]
    return pa.RecordBatch.from_pydict(
        {
            RECORD: pa.array(payloads, pa.binary()),
            MESSAGE_ID: pa.array(message_ids, pa.string()),
            ARRIVED_US: pa.array(np.full(len(payloads), now_us, np.int64)),
            ATTRIBUTES: pa.array(pairs, pa.map_(pa.string(), pa.string())),
        }
    )


def earliest_times(positions: Int64s, times: Int64s, count: int) -> Int64s:
    """The earliest event time of each message, the largest int64 where it made none: `[count]`.

    >>> earliest_times(np.array([0, 0, 2]), np.array([7, 5, 9]), 3).tolist()[::2]
    [5, 9]
    """
    earliest = np.full(count, _NONE)
    np.minimum.at(earliest, positions, times)
    return earliest


def times_spec(spec: Spec) -> Spec:
    """The spec that decodes events' times and nothing that they do not depend on.

    A column stays if a rule of `ingest` asks for it; no kind needs one.
    """
    asked = {name for rule in spec.ingest if rule.where for name in rule.where.columns}
    asked |= {rule.subject[0] for rule in spec.ingest if rule.subject}
    columns = {name: column for name, column in spec.columns.items() if name in asked}
    kinds = {
        name: dataclasses.replace(kind, required=tuple(n for n in kind.required if n in asked))
        for name, kind in spec.kinds.items()
    }
    return dataclasses.replace(spec, columns=columns, kinds=kinds)
