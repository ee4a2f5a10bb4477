"""How Pub/Sub delivers, with Google's client, on our server and on Google's emulator alike."""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.pubsub_v1 import types
from pubsub_world import ACK_DEADLINE_S, SLACK_S, WAIT_S, Desk, at_once, payloads


def test_a_message_arrives_whole_once_per_subscription(desk: Desk) -> None:
    topic = desk.topic()
    first, second = desk.subscription(topic), desk.subscription(topic)
    before = dt.datetime.now(dt.UTC)
    future = desk.publisher.publish(topic, b"\x00\xff data", origin="test")
    message_id = future.result(WAIT_S)
    for subscription in (first, second):
        (received,) = desk.pull(subscription, 1)
        assert received.message.data == b"\x00\xff data"
        assert dict(received.message.attributes) == {"origin": "test"}
        assert received.message.message_id == message_id
        assert abs(received.message.publish_time - before) < dt.timedelta(seconds=60)
        assert received.delivery_attempt == 0  # only told under a dead-letter policy
        desk.acknowledge(subscription, [received])
        assert desk.is_empty(subscription)


def test_ids_are_unique_and_nothing_is_lost_in_many(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    ids = [
        i
        for k in range(5)
        for i in desk.publish(topic, [b"%d" % (k * 200 + n) for n in range(200)])
    ]
    assert len(set(ids)) == 1000
    got: list[types.ReceivedMessage] = []
    while len(got) < 1000:
        more = desk.pull(subscription, 1)
        assert more
        desk.acknowledge(subscription, more)
        got += more
    assert sorted(int(data) for data in payloads(got)) == list(range(1000))
    assert desk.is_empty(subscription)


def test_a_message_given_back_comes_again(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"again"])
    first = desk.pull(subscription, 1)
    started = time.monotonic()
    desk.modify(subscription, first, 0)
    second = desk.pull(subscription, 1)
    assert payloads(second) == [b"again"]
    assert time.monotonic() - started < ACK_DEADLINE_S - SLACK_S
    desk.acknowledge(subscription, second)
    assert desk.is_empty(subscription)


def test_deadlines(desk: Desk) -> None:
    """Redelivery when a lease ends, none while it is extended, none after an ack."""
    topic = desk.topic()
    plain, extended, acked = (desk.subscription(topic) for _ in range(3))
    desk.publish(topic, [b"x"])

    def comes_again_at_the_deadline() -> None:
        desk.pull(plain, 1)
        started = time.monotonic()
        assert desk.is_empty(plain, ACK_DEADLINE_S - SLACK_S)
        again = desk.pull(plain, 1)
        assert payloads(again) == [b"x"]
        assert time.monotonic() - started < ACK_DEADLINE_S + SLACK_S

    def waits_while_extended() -> None:
        held = desk.pull(extended, 1)
        desk.modify(extended, held, 60)
        assert desk.is_empty(extended, ACK_DEADLINE_S + SLACK_S)
        desk.modify(extended, held, 0)
        assert payloads(desk.pull(extended, 1)) == [b"x"]

    def is_done_after_an_ack() -> None:
        desk.acknowledge(acked, desk.pull(acked, 1))
        assert desk.is_empty(acked, ACK_DEADLINE_S + SLACK_S)

    at_once(comes_again_at_the_deadline, waits_while_extended, is_done_after_an_ack)


def test_google_s_streaming_client_gets_all_within_its_limits(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    for k in range(5):
        desk.publish(topic, [b"%d" % (k * 100 + n) for n in range(100)])
    seen: set[bytes] = set()
    held, most = 0, 0
    lock, done = threading.Lock(), threading.Event()

    def take(message: Any) -> None:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        time.sleep(0.001)
        with lock:
            held -= 1
            seen.add(message.data)
            if len(seen) == 500:
                done.set()
        message.ack()

    flow = pubsub_v1.types.FlowControl(max_messages=20)
    future = desk.subscriber.subscribe(subscription, take, flow_control=flow)
    assert done.wait(WAIT_S)
    future.cancel()
    future.result(WAIT_S)
    assert most <= 20
    assert desk.is_empty(subscription)


def test_a_stream_goes_on_as_messages_are_acknowledged(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"%d" % n for n in range(30)])
    assert sum(stream_sizes(desk, subscription, count=30, limit=10)) == 30
    assert desk.is_empty(subscription)


def test_a_stream_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch, lockstep_server: str) -> None:
    """As on Google Cloud; the emulator (0.8.20) accepts the limit and sends all 30 at once."""
    desk = Desk(monkeypatch, lockstep_server)
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"%d" % n for n in range(30)])
    assert stream_sizes(desk, subscription, count=30, limit=10) == [10, 10, 10]
    desk.close()


def stream_sizes(desk: Desk, subscription: str, count: int, limit: int) -> list[int]:
    """How many messages a stream sent between acknowledgements of all that it had sent."""
    goes_on = threading.Event()

    def requests() -> Iterator[types.StreamingPullRequest]:
        yield types.StreamingPullRequest(
            subscription=subscription,
            stream_ack_deadline_seconds=60,
            max_outstanding_messages=limit,
        )
        goes_on.wait()

    stream = desk.subscriber.streaming_pull(requests=requests(), timeout=60)
    arrived: queue.SimpleQueue[types.ReceivedMessage] = queue.SimpleQueue()

    def read() -> None:
        with contextlib.suppress(exceptions.GoogleAPICallError):  # it is cancelled below
            for response in stream:
                for received in response.received_messages:
                    arrived.put(received)

    reader = threading.Thread(target=read)
    reader.start()
    sizes: list[int] = []
    ends = time.monotonic() + WAIT_S
    while sum(sizes) < count and time.monotonic() < ends:
        time.sleep(0.5)
        batch = [arrived.get() for _ in range(arrived.qsize())]
        if batch:
            sizes.append(len(batch))
            desk.acknowledge(subscription, batch)
    goes_on.set()
    stream.cancel()
    reader.join(WAIT_S)
    return sizes
