"""Pulls a subscription: flow control, leases, acks, and a stream that is opened again.

What enters: a subscription's name. What leaves: messages, whose leases are extended until they are
acknowledged or given back. Two threads: one reads the stream, one extends leases and sends acks.
At the limits of messages or bytes nothing more is read, and the server stops sending.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import grpc
from google.pubsub_v1.types import pubsub as wrapped

from configs.errors import InputError
from pipelines.pubsub import connect
from pipelines.pubsub.protocol import raw

_LOGGER = logging.getLogger(__name__)

_IDS_PER_CALL = 1000  # Google takes 512 KiB a call; its ack ids have some 200 bytes
_HEARTBEAT_S = 30.0
_KEEP_S = 0.25  # the keeper looks at the leases this often
_AGAIN_S = 1.0  # after an extension that failed
_CALL_S = 30.0
_BACKOFF_S = (0.1, 30.0)
_STEADY_S = 10.0  # a stream that lived so long breaks off for the first time
_SERVER_MARGIN = 1.1  # the server's limits lie above ours, so that ours are the ones that hold
_CLOSE_S = 10.0
_GRACE_S = 2.0  # for the server to end a stream


@dataclasses.dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it arrived.

    Attributes:
      ack_id: of this delivery.
      message_id: the same in every delivery.
      publish_us: microseconds UTC.
      attempt: deliveries so far, where the subscription has a dead-letter policy; else 0.
      attributes: that the publisher gave it.
    """

    ack_id: str
    message_id: str
    publish_us: int
    data: bytes
    attempt: int = 0
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PullSettings:
    """What is pulled, and how much may be outstanding.

    Attributes:
      subscription: full name, "projects/P/subscriptions/S".
      endpoint: "127.0.0.1:8085"; None: `PUBSUB_EMULATOR_HOST`, or Google Cloud.
      max_messages, max_bytes: not yet acknowledged, at which reading stops; the last response may
        go beyond.
      lease_s: ack deadline, 10 to 600; extended at half of it.
      unread_s: a client from which nobody takes for so long closes itself, so that messages do not
        stay with a reader that was forgotten; None: never.
    """

    subscription: str
    endpoint: str | None = None
    max_messages: int = 200_000
    max_bytes: int = 256 << 20
    lease_s: int = 60
    unread_s: float | None = None


class Puller:
    """Reads one subscription until closed. Methods may be called from any thread.

    Args:
      settings: what and how much.
      jitter: spreads the retries of many readers; a seeded one makes tests repeat.
    """

    def __init__(self, settings: PullSettings, jitter: random.Random | None = None) -> None:
        self.settings = settings
        self._jitter = jitter or random.Random()
        self._transport = connect.subscriber_transport(settings.endpoint)
        self._changed = threading.Condition()
        self._arrived: deque[RawMessage] = deque()
        self._leases: OrderedDict[str, tuple[float, int]] = OrderedDict()  # (extend at, bytes)
        self._bytes = 0
        self._acks: list[str] = []
        self._call: Any = None
        self._outbox: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False ends the stream
        self._ready = False  # the channel
        self._closed = self._given_back = False
        self._fatal: InputError | None = None
        self._taken_s = time.monotonic()
        self._threads = [
            threading.Thread(target=self._read, name="pubsub-read", daemon=True),
            threading.Thread(target=self._keep, name="pubsub-keep", daemon=True),
        ]
        self._transport.grpc_channel.subscribe(self._on_channel)
        for thread in self._threads:
            thread.start()

    @property
    def connected(self) -> bool:
        """Whether a stream is open, as far as is known."""
        return self._ready and self._call is not None

    @property
    def closed(self) -> bool:
        """Whether it gives out nothing any more."""
        return self._closed

    @property
    def throttled(self) -> bool:
        """Whether reading has stopped at a limit."""
        settings = self.settings
        return len(self._leases) >= settings.max_messages or self._bytes >= settings.max_bytes

    @property
    def outstanding(self) -> int:
        """How many messages are neither acknowledged nor given back."""
        return len(self._leases)

    def take(self, most: int, timeout_s: float) -> list[RawMessage]:
        """Messages that have arrived; waits for the first one at most so long.

        Raises:
          InputError: the subscription cannot be read, and trying again would not help.
        """
        self._taken_s = time.monotonic()
        with self._changed:
            if not self._arrived and timeout_s > 0:
                self._changed.wait_for(lambda: self._arrived or self._fatal, timeout_s)
            if self._fatal is not None:
                raise self._fatal
            return [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Queues acks; they are sent at once, and again while the server is away."""
        with self._changed:
            self._acks.extend(ids := list(ack_ids))
            self._forget(ids)
            self._changed.notify_all()

    def forget(self, ack_ids: Iterable[str]) -> None:
        """Ends leases without an ack: a later delivery of the message took their place."""
        with self._changed:
            self._forget(ack_ids)
            self._changed.notify_all()

    def close(self) -> bool:
        """Sends what acks there are, gives everything else back, and ends the threads.

        Returns:
          Whether the server knows that everything was given back; else some of it comes again only
          when its lease ends.

        The stream is ended from our side, and the server's end awaited: into one that is only
        cancelled, Google's emulator goes on delivering, and what it puts there waits for the lease.
        """
        with self._changed:
            if self._closed:
                return self._given_back
            self._closed = True
            call = self._call
            self._changed.notify_all()
        self._outbox.put(False)
        self._threads[0].join(_GRACE_S)
        if call is not None:
            call.cancel()
        for thread in self._threads:
            thread.join(_CLOSE_S)
        self._transport.grpc_channel.unsubscribe(self._on_channel)
        self._transport.close()
        return self._given_back

    def _forget(self, ack_ids: Iterable[str]) -> None:
        for ack_id in ack_ids:
            lease = self._leases.pop(ack_id, None)
            if lease is not None:
                self._bytes -= lease[1]

    def _on_channel(self, connectivity: grpc.ChannelConnectivity) -> None:
        self._ready = connectivity is grpc.ChannelConnectivity.READY

    # The reading thread

    def _read(self) -> None:
        failures = 0
        while not self._closed:
            opened = time.monotonic()
            try:
                self._stream()
                error: grpc.RpcError | None = None
            except grpc.RpcError as broken:
                error = broken
            except BaseException as fault:  # a thread that is gone would look like silence
                self._end_by(fault, "reading")
                raise
            with self._changed:
                self._call = None
            if self._closed:
                return
            if error is not None and error.code() in connect.FATAL:
                self._fail(error)
                return
            failures = 1 if time.monotonic() - opened > _STEADY_S else failures + 1
            self._back_off(error, failures)

    def _stream(self) -> None:
        outbox = self._outbox = queue.SimpleQueue()
        settings = self.settings
        call = self._transport.streaming_pull(
            _requests(settings, outbox),
            metadata=connect.routing("subscription", settings.subscription),
        )
        with self._changed:
            self._call = call
            if self._closed:
                call.cancel()
        try:
            for response in call:
                received = wrapped.StreamingPullResponse.pb(response).received_messages
                if received:
                    self._take_in(received)
        finally:
            outbox.put(False)
            call.cancel()

    def _take_in(self, received: Any) -> None:
        extend_at = time.monotonic() + self.settings.lease_s / 2
        messages = [
            RawMessage(
                one.ack_id,
                one.message.message_id,
                one.message.publish_time.seconds * 1_000_000
                + one.message.publish_time.nanos // 1000,
                one.message.data,
                one.delivery_attempt,
                dict(one.message.attributes),
            )
            for one in received
        ]
        with self._changed:
            for message in messages:
                size = _size(message)
                self._leases[message.ack_id] = (extend_at, size)
                self._bytes += size
            self._arrived.extend(messages)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or not self.throttled)

    def _end_by(self, fault: BaseException, what: str) -> None:
        with self._changed:
            self._fatal = InputError(
                f"{what} {self.settings.subscription} ended by a fault of Lockstep "
                f"({type(fault).__name__}); start again, and report it"
            )
            self._changed.notify_all()

    def _fail(self, error: grpc.RpcError) -> None:
        with self._changed:
            self._fatal = connect.failure(error, self.settings.subscription, self.settings.endpoint)
            self._changed.notify_all()

    def _back_off(self, error: grpc.RpcError | None, failures: int) -> None:
        least, most = _BACKOFF_S
        wait = min(most, least * 2.0 ** (failures - 1)) * self._jitter.uniform(0.5, 1.0)
        why = "the server ended it" if error is None else f"{error.code().name}: {error.details()}"
        _LOGGER.warning(
            "Pub/Sub: the stream of %s at %s broke off (%s); opening it again in %.1f s "
            "(attempt %d); nothing is lost",
            self.settings.subscription,
            connect.server_of(self.settings.endpoint) or "Google Cloud",
            why,
            wait,
            failures,
        )
        with self._changed:
            self._changed.wait_for(lambda: self._closed, wait)

    # The keeping thread

    def _keep(self) -> None:
        try:
            self._keep_up()
        except BaseException as fault:  # leases would end, and acks not be sent, in silence
            self._end_by(fault, "extending the leases of")
            raise

    def _keep_up(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._acks or self._closed, _KEEP_S)
                closed = self._closed
            sent = self._send_acks() and self._extend()
            if not closed and self._is_forgotten():
                threading.Thread(target=self.close, name="pubsub-close", daemon=True).start()
            if closed:
                self._threads[0].join(_CLOSE_S)  # what it still reads is given back too
                self._return_all()
                return
            failures = 0 if sent else failures + 1
            if failures:
                with self._changed:
                    wait = min(_BACKOFF_S[1], _BACKOFF_S[0] * 2.0**failures)
                    self._changed.wait_for(lambda: self._closed, wait)

    def _is_forgotten(self) -> bool:
        limit = self.settings.unread_s
        return limit is not None and time.monotonic() - self._taken_s > limit

    def _send_acks(self) -> bool:
        with self._changed:
            ack_ids, self._acks = self._acks, []
        for start in range(0, len(ack_ids), _IDS_PER_CALL):
            some = ack_ids[start : start + _IDS_PER_CALL]
            request = raw("AcknowledgeRequest")(
                subscription=self.settings.subscription, ack_ids=some
            )
            if not self._send(self._transport.acknowledge, request, "acknowledge"):
                with self._changed:
                    self._acks = ack_ids[start:] + self._acks
                return False
        return True

    def _extend(self) -> bool:
        now = time.monotonic()
        due: list[str] = []
        with self._changed:
            while self._leases:
                ack_id, (extend_at, size) = next(iter(self._leases.items()))
                if extend_at > now:
                    break
                self._leases[ack_id] = (now + self.settings.lease_s / 2, size)
                self._leases.move_to_end(ack_id)
                due.append(ack_id)
        if self._modify(due, self.settings.lease_s):
            return True
        with self._changed:
            for ack_id in due:
                if ack_id in self._leases:
                    self._leases[ack_id] = (now + _AGAIN_S, self._leases[ack_id][1])
                    self._leases.move_to_end(ack_id, last=False)
        return False

    def _return_all(self) -> None:
        with self._changed:
            ack_ids = list(self._leases)
            self._forget(ack_ids)
            self._arrived.clear()
        self._given_back = self._modify(ack_ids, 0, refused_is_sent=False)

    def _modify(self, ack_ids: list[str], seconds: int, refused_is_sent: bool = True) -> bool:
        sent, method = True, self._transport.modify_ack_deadline
        for start in range(0, len(ack_ids), _IDS_PER_CALL):
            request = raw("ModifyAckDeadlineRequest")(
                subscription=self.settings.subscription,
                ack_ids=ack_ids[start : start + _IDS_PER_CALL],
                ack_deadline_seconds=seconds,
            )
            sent = self._send(method, request, "extend", refused_is_sent) and sent
        return sent

    def _send(self, method: Any, request: Any, what: str, refused_is_sent: bool = True) -> bool:
        """Whether it need not be sent again; of a refusal the caller says which."""
        metadata = connect.routing("subscription", self.settings.subscription)
        try:
            method(request, timeout=_CALL_S, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() in connect.FATAL:
                _LOGGER.warning(
                    "Pub/Sub: the server refuses to %s (%s: %s); these messages come again",
                    what,
                    error.code().name,
                    error.details(),
                )
                return refused_is_sent
            return False
        return True


def _size(message: RawMessage) -> int:
    """Bytes of a message's data and attributes.

    >>> _size(RawMessage("ack", "1", 0, b"data", attributes={"key": "\u00fc"}))
    9
    """
    texts = (text for pair in message.attributes.items() for text in pair)
    return len(message.data) + sum(len(text.encode()) for text in texts)


def _requests(settings: PullSettings, outbox: queue.SimpleQueue[bool]) -> Iterator[Any]:
    """What is said on a stream: its terms, then a sign of life until the outbox gives False."""
    yield wrapped.StreamingPullRequest(
        subscription=settings.subscription,
        stream_ack_deadline_seconds=settings.lease_s,
        max_outstanding_messages=int(settings.max_messages * _SERVER_MARGIN) + 1,
        max_outstanding_bytes=int(settings.max_bytes * _SERVER_MARGIN) + 1,
    )
    while True:
        try:
            outbox.get(timeout=_HEARTBEAT_S)
            return
        except queue.Empty:
            yield wrapped.StreamingPullRequest()
