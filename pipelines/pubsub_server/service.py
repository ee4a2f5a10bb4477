"""The broker behind gRPC: `google.pubsub.v1.Publisher` and `Subscriber`.

All of it runs on one event loop, so the broker needs no lock; waiting pulls and streams sleep on an
event that the broker's `on_waiting` sets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # ships no stubs

from pipelines.pubsub.protocol import Proto, raw
from pipelines.pubsub_server import wire
from pipelines.pubsub_server.backlog import TICK_US, Outlet
from pipelines.pubsub_server.broker import Broker
from pipelines.pubsub_server.checks import ACK_DEADLINE_S
from pipelines.pubsub_server.messages import Code, RefusedError

_PULL_WAIT_S = 10.0  # a pull of an empty subscription answers after this, or at its deadline
_DEADLINE_MARGIN_S = 0.2
_RESPONSE_MESSAGES = 1000
_RESPONSE_BYTES = 2_000_000  # and one message more; gRPC clients take 4 MiB unless told otherwise
_PAGE = 1000

_Handler = Callable[[Proto], Proto]
_EMPTY = empty_pb2.Empty()


class PubSubService:
    """Handlers for one broker; `on_waiting` is to be that broker's."""

    def __init__(self) -> None:
        self._sleepers: dict[str, set[asyncio.Event]] = {}
        self._broker: Broker | None = None

    def serve(self, broker: Broker) -> None:
        """Answers from this broker from now on."""
        self._broker = broker

    @property
    def broker(self) -> Broker:
        """The broker.

        Raises:
          RuntimeError: `serve` was not called.
        """
        if self._broker is None:
            raise RuntimeError("the service has no broker yet; call serve() first")
        return self._broker

    def on_waiting(self, subscription: str) -> None:
        """Wakes the pulls and streams of a subscription."""
        for event in self._sleepers.get(subscription, ()):
            event.set()

    async def keep_time(self) -> None:
        """Ends leases as time goes by; runs until cancelled."""
        while True:
            await asyncio.sleep(TICK_US / 1e6)
            self.broker.tick()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """What a gRPC server is to register."""
        publisher = {
            "CreateTopic": ("Topic", self._create_topic),
            "GetTopic": ("GetTopicRequest", self._get_topic),
            "ListTopics": ("ListTopicsRequest", self._list_topics),
            "DeleteTopic": ("DeleteTopicRequest", self._delete_topic),
            "ListTopicSubscriptions": ("ListTopicSubscriptionsRequest", self._list_of_topic),
            "ListTopicSnapshots": ("ListTopicSnapshotsRequest", self._list_topic_snapshots),
            "Publish": ("PublishRequest", self._publish),
        }
        subscriber = {
            "CreateSubscription": ("Subscription", self._create_subscription),
            "GetSubscription": ("GetSubscriptionRequest", self._get_subscription),
            "ListSubscriptions": ("ListSubscriptionsRequest", self._list_subscriptions),
            "DeleteSubscription": ("DeleteSubscriptionRequest", self._delete_subscription),
            "Acknowledge": ("AcknowledgeRequest", self._acknowledge),
            "ModifyAckDeadline": ("ModifyAckDeadlineRequest", self._modify_deadline),
            "CreateSnapshot": ("CreateSnapshotRequest", self._create_snapshot),
            "GetSnapshot": ("GetSnapshotRequest", self._get_snapshot),
            "ListSnapshots": ("ListSnapshotsRequest", self._list_snapshots),
            "DeleteSnapshot": ("DeleteSnapshotRequest", self._delete_snapshot),
            "Seek": ("SeekRequest", self._seek),
        }
        subscriber_methods = {name: _unary(*one) for name, one in subscriber.items()}
        subscriber_methods["Pull"] = grpc.unary_unary_rpc_method_handler(
            self._pull, raw("PullRequest").FromString, _serialize
        )
        subscriber_methods["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
            self._streaming_pull, raw("StreamingPullRequest").FromString, _serialize
        )
        return [
            grpc.method_handlers_generic_handler(
                "google.pubsub.v1.Publisher",
                {name: _unary(*one) for name, one in publisher.items()},
            ),
            grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber_methods),
        ]

    def _create_topic(self, request: Proto) -> Proto:
        return wire.topic(self.broker.create_topic(wire.topic_config(request)))

    def _get_topic(self, request: Proto) -> Proto:
        return wire.topic(self.broker.topic(request.topic))

    def _list_topics(self, request: Proto) -> Proto:
        configs, following = _page(self.broker.topics(request.project), request)
        topics = [wire.topic(config) for config in configs]
        return raw("ListTopicsResponse")(topics=topics, next_page_token=following)

    def _delete_topic(self, request: Proto) -> Proto:
        self.broker.delete_topic(request.topic)
        return _EMPTY

    def _list_of_topic(self, request: Proto) -> Proto:
        names, following = _page(self.broker.topic_subscriptions(request.topic), request)
        response = raw("ListTopicSubscriptionsResponse")
        return response(subscriptions=names, next_page_token=following)

    def _list_topic_snapshots(self, request: Proto) -> Proto:
        names, following = _page(self.broker.topic_snapshots(request.topic), request)
        response = raw("ListTopicSnapshotsResponse")
        return response(snapshots=names, next_page_token=following)

    def _publish(self, request: Proto) -> Proto:
        ids = self.broker.publish(request.topic, wire.outgoing(request.messages))
        return raw("PublishResponse")(message_ids=ids)

    def _create_subscription(self, request: Proto) -> Proto:
        config = self.broker.create_subscription(wire.subscription_config(request))
        return wire.subscription(config)

    def _get_subscription(self, request: Proto) -> Proto:
        return wire.subscription(self.broker.subscription(request.subscription))

    def _list_subscriptions(self, request: Proto) -> Proto:
        configs, following = _page(self.broker.subscriptions(request.project), request)
        shown = [wire.subscription(config) for config in configs]
        response = raw("ListSubscriptionsResponse")
        return response(subscriptions=shown, next_page_token=following)

    def _delete_subscription(self, request: Proto) -> Proto:
        self.broker.delete_subscription(request.subscription)
        return _EMPTY

    def _acknowledge(self, request: Proto) -> Proto:
        self.broker.acknowledge(request.subscription, request.ack_ids)
        self.on_waiting(request.subscription)  # streams at their limits have room again
        return _EMPTY

    def _modify_deadline(self, request: Proto) -> Proto:
        self.broker.modify_deadline(
            request.subscription, request.ack_ids, request.ack_deadline_seconds
        )
        return _EMPTY

    def _create_snapshot(self, request: Proto) -> Proto:
        return wire.snapshot(self.broker.create_snapshot(request.name, request.subscription))

    def _get_snapshot(self, request: Proto) -> Proto:
        return wire.snapshot(self.broker.snapshot(request.snapshot))

    def _list_snapshots(self, request: Proto) -> Proto:
        kept, following = _page(self.broker.snapshots(request.project), request)
        shown = [wire.snapshot(one) for one in kept]
        return raw("ListSnapshotsResponse")(snapshots=shown, next_page_token=following)

    def _delete_snapshot(self, request: Proto) -> Proto:
        self.broker.delete_snapshot(request.snapshot)
        return _EMPTY

    def _seek(self, request: Proto) -> Proto:
        target = request.WhichOneof("target")
        if target == "time":
            self.broker.seek_time(request.subscription, request.time.ToMicroseconds())
        elif target == "snapshot":
            self.broker.seek_snapshot(request.subscription, request.snapshot)
        else:
            raise RefusedError(
                Code.INVALID_ARGUMENT, "a seek without a target; expected a time or a snapshot"
            )
        return raw("SeekResponse")()

    async def _pull(self, request: Proto, context: Any) -> Proto:
        name = request.subscription
        remaining = context.time_remaining()
        wait = _PULL_WAIT_S
        if remaining is not None:
            wait = max(0.0, min(wait, remaining - _DEADLINE_MARGIN_S))
        if request.return_immediately:
            wait = 0.0
        ends = asyncio.get_running_loop().time() + wait
        try:
            with self._sleeper(name) as event:
                while True:
                    event.clear()
                    deliveries = self.broker.pull(name, request.max_messages, _RESPONSE_BYTES)
                    left = ends - asyncio.get_running_loop().time()
                    if deliveries or left <= 0:
                        return wire.pull_response(deliveries)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), left)
        except RefusedError as refused:
            await _abort(context, refused)

    async def _streaming_pull(
        self, requests: AsyncIterator[Proto], context: Any
    ) -> AsyncIterator[Proto]:
        try:
            first = await anext(requests)
        except StopAsyncIteration:
            return
        name = first.subscription
        outlet = Outlet(first.max_outstanding_messages, first.max_outstanding_bytes)
        stream = _Stream(self, name, first.stream_ack_deadline_seconds)
        reading: asyncio.Task[None] | None = None
        try:
            stream.take(first)
            with self._sleeper(name) as event:
                reading = asyncio.ensure_future(stream.read(requests))
                reading.add_done_callback(lambda task: event.set())
                while True:
                    event.clear()
                    deliveries = self.broker.pull(
                        name, _RESPONSE_MESSAGES, _RESPONSE_BYTES, stream.deadline_s, outlet
                    )
                    if deliveries:
                        yield wire.streaming_response(deliveries)
                    elif reading.done():
                        reading.result()
                        return
                    else:
                        await event.wait()
        except RefusedError as refused:
            await _abort(context, refused)
        finally:
            if reading is not None:
                reading.cancel()
            self.broker.release(name, outlet)

    @contextlib.contextmanager
    def _sleeper(self, subscription: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        sleepers = self._sleepers.setdefault(subscription, set())
        sleepers.add(event)
        try:
            yield event
        finally:
            sleepers.discard(event)
            if not sleepers:
                self._sleepers.pop(subscription, None)


class _Stream:
    """What a subscriber says on its stream after the first request: acks and deadlines."""

    def __init__(self, service: PubSubService, subscription: str, deadline_s: int) -> None:
        self.deadline_s = deadline_s
        self._service, self._subscription = service, subscription

    async def read(self, requests: AsyncIterator[Proto]) -> None:
        """Takes requests until the subscriber is done."""
        async for request in requests:
            if request.subscription or request.max_outstanding_messages:
                raise RefusedError(
                    Code.INVALID_ARGUMENT,
                    "subscription and flow control belong in the first request of a stream only",
                )
            self.take(request)

    def take(self, request: Proto) -> None:
        """One request's acks and deadlines."""
        seconds = request.stream_ack_deadline_seconds or self.deadline_s
        if not ACK_DEADLINE_S[0] <= seconds <= ACK_DEADLINE_S[1]:
            raise RefusedError(
                Code.INVALID_ARGUMENT,
                f"stream_ack_deadline_seconds is {seconds}; expected "
                f"{ACK_DEADLINE_S[0]} to {ACK_DEADLINE_S[1]}",
            )
        self.deadline_s = seconds
        ack_ids, deadlines = request.modify_deadline_ack_ids, request.modify_deadline_seconds
        if len(ack_ids) != len(deadlines):
            raise RefusedError(
                Code.INVALID_ARGUMENT,
                f"{len(ack_ids)} ack ids with {len(deadlines)} deadlines; expected as many",
            )
        broker = self._service.broker
        if request.ack_ids:
            broker.acknowledge(self._subscription, request.ack_ids)
            self._service.on_waiting(self._subscription)
        for ack_id, one in zip(ack_ids, deadlines, strict=True):
            broker.modify_deadline(self._subscription, [ack_id], one)


def _unary(request: str, handler: _Handler) -> grpc.RpcMethodHandler:
    async def answer(message: Proto, context: Any) -> Proto:
        try:
            return handler(message)
        except RefusedError as refused:
            await _abort(context, refused)

    return grpc.unary_unary_rpc_method_handler(answer, raw(request).FromString, _serialize)


def _abort(context: Any, refused: RefusedError) -> Awaitable[None]:
    code = getattr(grpc.StatusCode, refused.code.value)
    aborted: Awaitable[None] = context.abort(code, str(refused))
    return aborted


def _serialize(message: Proto) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


def _page(items: list[Any], request: Proto) -> tuple[list[Any], str]:
    """One page, and the token of the next one: its position, as text.

    Raises:
      RefusedError: INVALID_ARGUMENT for a token that was not given out.
    """
    if request.page_token and not request.page_token.isdecimal():
        raise RefusedError(
            Code.INVALID_ARGUMENT, "an unknown page token; send it as it was received"
        )
    start = int(request.page_token or 0)
    end = start + (request.page_size or _PAGE)
    return items[start:end], str(end) if end < len(items) else ""
