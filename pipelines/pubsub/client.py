"""Pulls a subscription: flow control, leases, acks, and a connection that is opened again.

What enters: a subscription's name. What leaves: messages, whose leases are extended until they are
acknowledged or given back. Two threads: one pulls, one extends leases and sends acks. At the limits
of messages or bytes nothing is pulled.

Pulls are single requests, each for what there is room for, not a stream: a server goes on filling a
stream whose reader was killed (Google's emulator for more than half a minute), and what it puts
there comes again when its lease ends, behind newer messages. A request leaves at most one answer
behind. With `PullSettings.reclaim` even that comes again at once and in order: a connection begins
by ending the leases of those before it (`admin.reclaim`).
"""

from __future__ import annotations

import dataclasses
import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
from google.pubsub_v1.types import pubsub as wrapped

from configs.errors import InputError
from pipelines.pubsub import connect
from pipelines.pubsub.admin import reclaim
from pipelines.pubsub.leases import Acks, Leases
from pipelines.pubsub.protocol import raw

_LOGGER = logging.getLogger(__name__)

_IDS_PER_CALL = 1000  # Google takes 512 KiB a call; its ack ids have some 200 bytes
_PULL_MESSAGES = 1000
_PULL_S = 3.0  # how long a pull waits at the server: what a killed process leaves behind ends then
_ANSWER_S = 5.0  # for a pull that is to be answered at once
_KEEP_S = 0.25  # the keeper looks at the leases this often
_CALL_S = 30.0
_BACKOFF_S = (0.1, 30.0)
_CLOSE_S = 10.0
_ENDED = "Pub/Sub: leases of %s ended unextended; what is not acknowledged is read again, in order"
_ANSWERED_S = 1.0  # for a pull under way when all is given back


@dataclasses.dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it arrived.

    Attributes:
      ack_id: of this delivery.
      message_id: the same in every delivery.
      publish_us: microseconds UTC.
      attributes: that the publisher gave it.
    """

    ack_id: str
    message_id: str
    publish_us: int
    data: bytes
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of data and attributes.

        >>> RawMessage("ack", "1", 0, b"data", attributes={"key": "\u00fc"}).size
        9
        """
        texts = (text for pair in self.attributes.items() for text in pair)
        return len(self.data) + sum(len(text.encode()) for text in texts)


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
      reclaim: a connection ends the leases of those before it, of this process or another one, so
        that their messages come at once; for the only reader of a subscription.
    """

    subscription: str
    endpoint: str | None = None
    max_messages: int = 200_000
    max_bytes: int = 256 << 20
    lease_s: int = 60
    unread_s: float | None = None
    reclaim: bool = False


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
        self._leases = Leases(settings.lease_s)
        self._lost = False  # a lease has ended
        self._acks = Acks()
        self._acking = threading.Lock()  # for the one thread that sends acks
        self._call: Any = None
        self._connected = False
        self._settled_s = math.inf if settings.reclaim else 0.0  # on the steady clock
        self._closed = False
        self._fatal: InputError | None = None
        self._taken_s = time.monotonic()
        self._threads = [
            threading.Thread(target=self._read, name="pubsub-read", daemon=True),
            threading.Thread(target=self._keep, name="pubsub-keep", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def connected(self) -> bool:
        """Whether the last pull was answered, and the next one is under way."""
        return self._connected

    @property
    def unsettled(self) -> bool:
        """Whether messages of an earlier connection may still come behind newer ones."""
        return time.monotonic() < self._settled_s

    @property
    def doubtful_s(self) -> float:
        """Until when, on the steady clock, messages that were acknowledged may have come again."""
        with self._changed:
            return self._acks.doubtful_s(time.monotonic())

    @property
    def closed(self) -> bool:
        """Whether it gives out nothing any more."""
        return self._closed

    @property
    def throttled(self) -> bool:
        """Whether reading has stopped at a limit."""
        settings = self.settings
        return (
            len(self._leases) >= settings.max_messages or self._leases.bytes >= settings.max_bytes
        )

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
            self._acks.add(ids := list(ack_ids), time.monotonic())
            self._leases.end(ids)
            self._changed.notify_all()

    def forget(self, ack_ids: Iterable[str]) -> None:
        """Ends leases without an ack: a later delivery of the message took their place."""
        with self._changed:
            self._leases.end(ack_ids)
            self._changed.notify_all()

    def close(self) -> None:
        """Sends what acks there are, gives everything else back, and ends the threads."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if not self._leases and self._call is not None:
                self._call.cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_CLOSE_S)
        self._transport.close()

    # The reading thread

    def _read(self) -> None:
        try:
            self._pull_on()
        except BaseException as fault:  # a thread that is gone would look like silence
            self._end_by(fault, "reading")
            raise

    def _pull_on(self) -> None:
        failures = 0
        while not self._closed:
            try:
                if self.settings.reclaim and (self._lost or not self._connected):
                    self._reclaim()
                received = self._pull(_PULL_S if self._connected else 0.0)
            except grpc.FutureCancelledError:
                return  # closed
            except grpc.RpcError as error:
                if self._closed:
                    return
                if error.code() in connect.FATAL:
                    self._fail(error)
                    return
                if self._connected and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    received = self._pull_at_once()  # nothing came, or the server is away
                    if received is not None:
                        self._take_in(received)
                        continue
                failures += 1
                self._connected = False
                self._back_off(error, failures)
                continue
            failures, self._connected = 0, True
            self._take_in(received)

    def _pull_at_once(self) -> Any:
        try:
            return self._pull(0.0)
        except (grpc.RpcError, grpc.FutureCancelledError):
            return None

    def _pull(self, wait_s: float) -> Any:
        """What a pull brings; without a wait, what is there."""
        settings = self.settings
        room = settings.max_messages - len(self._leases)
        request = raw("PullRequest")(
            subscription=settings.subscription,
            max_messages=max(1, min(_PULL_MESSAGES, room)),
            return_immediately=wait_s == 0,
        )
        metadata = connect.routing("subscription", settings.subscription)
        with self._changed:
            if self._closed:
                raise grpc.FutureCancelledError
            call = self._transport.pull.future(
                request, timeout=wait_s or _ANSWER_S, metadata=metadata
            )
            self._call = call
        return wrapped.PullResponse.pb(call.result()).received_messages

    def _reclaim(self) -> None:
        """Begins anew, in order, with all that is not acknowledged.

        The acks come first: after the seek their ids are void. What was pulled and not taken comes
        again, so it is dropped; what was taken comes again too, and is known by its message id.
        """
        self._settled_s, self._connected = math.inf, False
        self._flush_acks()
        with self._changed:
            self._arrived.clear()
            self._leases.clear()
            self._lost = False
        wait_s = reclaim(self._transport, self.settings.subscription)
        now = time.monotonic()
        with self._changed:
            self._acks.doubt(now)
        self._settled_s = now + wait_s if wait_s else 0.0

    def _take_in(self, received: Any) -> None:
        now = time.monotonic()
        messages = [
            RawMessage(
                one.ack_id,
                one.message.message_id,
                one.message.publish_time.ToMicroseconds(),
                one.message.data,
                dict(one.message.attributes),
            )
            for one in received
        ]
        with self._changed:
            for message in messages:
                self._leases.add(message.ack_id, message.size, now)
            self._arrived.extend(messages)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or self._lost or not self.throttled)

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

    def _back_off(self, error: grpc.RpcError, failures: int) -> None:
        least, most = _BACKOFF_S
        wait = min(most, least * 2.0 ** (failures - 1)) * self._jitter.uniform(0.5, 1.0)
        _LOGGER.warning(
            "Pub/Sub: pulling %s at %s failed (%s: %s); again in %.1f s (attempt %d); nothing is "
            "lost",
            self.settings.subscription,
            connect.server_of(self.settings.endpoint) or "Google Cloud",
            error.code().name,
            error.details(),
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
            sent = all([self._try(self._flush_acks), self._try(self._extend)])
            if not closed and self._is_forgotten():
                threading.Thread(target=self.close, name="pubsub-close", daemon=True).start()
            if closed:
                self._give_back()
                return
            failures = 0 if sent else failures + 1
            if failures:
                with self._changed:
                    wait = min(_BACKOFF_S[1], _BACKOFF_S[0] * 2.0**failures)
                    self._changed.wait_for(lambda: self._closed, wait)

    def _is_forgotten(self) -> bool:
        limit = self.settings.unread_s
        return limit is not None and time.monotonic() - self._taken_s > limit

    def _flush_acks(self) -> None:
        """Sends acks until there are none; they stay until they are answered.

        Raises:
          grpc.RpcError: the server is away.
        """
        with self._acking:
            while self._acks:
                with self._changed:
                    some = self._acks.first(_IDS_PER_CALL)
                request = raw("AcknowledgeRequest")(
                    subscription=self.settings.subscription, ack_ids=some
                )
                self._send(self._transport.acknowledge, request, "acknowledge")
                with self._changed:
                    self._acks.answered(len(some), time.monotonic())

    def _extend(self) -> None:
        now = time.monotonic()
        with self._changed:
            due = self._leases.due(now)
            if self.settings.reclaim and not self._lost and self._leases.has_ended(now):
                _LOGGER.warning(_ENDED, self.settings.subscription)
                self._lost = True
                self._changed.notify_all()
        self._modify(due, self.settings.lease_s)
        with self._changed:
            self._leases.extended(due, now)

    def _give_back(self) -> None:
        """Returns all, and then what a pull under way takes of it.

        To cancel that pull first would not do: a server that has not yet heard of it hands what is
        returned to the pull, where nobody reads it, until its lease ends.
        """
        self._return_all()
        self._threads[0].join(_ANSWERED_S)
        if self._call is not None:
            self._call.cancel()
        self._threads[0].join(_CLOSE_S)
        self._return_all()

    def _return_all(self) -> None:
        with self._changed:
            ack_ids = self._leases.clear()
            self._arrived.clear()
        self._try(lambda: self._modify(ack_ids, 0))

    def _modify(self, ack_ids: list[str], seconds: int) -> None:
        for start in range(0, len(ack_ids), _IDS_PER_CALL):
            request = raw("ModifyAckDeadlineRequest")(
                subscription=self.settings.subscription,
                ack_ids=ack_ids[start : start + _IDS_PER_CALL],
                ack_deadline_seconds=seconds,
            )
            self._send(self._transport.modify_ack_deadline, request, "extend")

    def _try(self, send: Callable[[], None]) -> bool:
        try:
            send()
        except grpc.RpcError:  # the server is away
            return False
        return True

    def _send(self, method: Any, request: Any, what: str) -> None:
        """Returns where it need not be sent again: the server has it, or refuses it.

        Raises:
          grpc.RpcError: the server is away.
        """
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
                return
            raise
