"""What Pub/Sub does, with Google's client, on our server and on Google's emulator alike."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf import duration_pb2
from google.pubsub_v1 import PublisherClient, types

PROJECT = "projects/contract"
WAIT_S = 10.0
ACK_DEADLINE_S = 10
SLACK_S = 3.0


class Desk:
    """Clients for one server, and fresh names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", endpoint)
        self.publisher = pubsub_v1.PublisherClient(
            publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
        )
        self.subscriber = pubsub_v1.SubscriberClient()

    def close(self) -> None:
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()

    def name(self, collection: str) -> str:
        return f"{PROJECT}/{collection}/a{uuid.uuid4().hex}"

    def topic(self, **settings: Any) -> str:
        name = self.name("topics")
        self.publisher.create_topic(request={"name": name, **settings})
        return name

    def subscription(self, topic: str, **settings: Any) -> str:
        name = self.name("subscriptions")
        self.subscriber.create_subscription(
            request={
                "name": name,
                "topic": topic,
                "ack_deadline_seconds": ACK_DEADLINE_S,
                **settings,
            }
        )
        return name

    def publish(self, topic: str, data: Sequence[bytes], key: str = "") -> list[str]:
        response = PublisherClient.publish(  # one request, not Google's batching
            self.publisher,
            topic=topic,
            messages=[{"data": one, "ordering_key": key} for one in data],
        )
        return list(response.message_ids)

    def pull_once(self, subscription: str, timeout_s: float) -> list[types.ReceivedMessage]:
        try:
            response = self.subscriber.pull(
                subscription=subscription, max_messages=100, timeout=timeout_s, retry=None
            )
        except exceptions.DeadlineExceeded:
            return []
        return list(response.received_messages)

    def pull(self, subscription: str, count: int) -> list[types.ReceivedMessage]:
        """At least so many messages, unless the wait is over."""
        got: list[types.ReceivedMessage] = []
        ends = time.monotonic() + WAIT_S
        while len(got) < count and time.monotonic() < ends:
            got += self.pull_once(subscription, 2.0)
        return got

    def is_empty(self, subscription: str, for_s: float = 1.0) -> bool:
        return not self.pull_once(subscription, for_s)

    def acknowledge(self, subscription: str, received: Sequence[types.ReceivedMessage]) -> None:
        self.subscriber.acknowledge(
            subscription=subscription, ack_ids=[one.ack_id for one in received]
        )

    def modify(
        self, subscription: str, received: Sequence[types.ReceivedMessage], seconds: int
    ) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[one.ack_id for one in received],
            ack_deadline_seconds=seconds,
        )


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Iterator[Desk]:
    found = Desk(monkeypatch, endpoint)
    yield found
    found.close()


def payloads(received: Sequence[types.ReceivedMessage]) -> list[bytes]:
    return [one.message.data for one in received]


def at_once(*scenarios: Callable[[], None]) -> None:
    """Runs scenarios that mostly wait beside each other; the first failure is raised."""
    failures: list[BaseException] = []

    def run(scenario: Callable[[], None]) -> None:
        try:
            scenario()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(one,)) for one in scenarios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_topics_are_created_shown_listed_and_deleted(desk: Desk) -> None:
    topic = desk.topic()
    assert desk.publisher.get_topic(topic=topic).name == topic
    assert topic in [one.name for one in desk.publisher.list_topics(project=PROJECT)]
    subscription = desk.subscription(topic)
    assert list(desk.publisher.list_topic_subscriptions(topic=topic)) == [subscription]
    desk.publisher.delete_topic(topic=topic)
    with pytest.raises(exceptions.NotFound):
        desk.publisher.get_topic(topic=topic)
    with pytest.raises(exceptions.NotFound):
        desk.publish(topic, [b"x"])


def test_a_subscription_outlives_its_topic(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"left behind"])
    desk.publisher.delete_topic(topic=topic)
    shown = desk.subscriber.get_subscription(subscription=subscription)
    assert shown.topic == "_deleted-topic_"


def test_subscriptions_are_created_shown_listed_and_deleted(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic, ack_deadline_seconds=20, retain_acked_messages=True)
    shown = desk.subscriber.get_subscription(subscription=subscription)
    assert (shown.name, shown.topic, shown.ack_deadline_seconds, shown.retain_acked_messages) == (
        subscription,
        topic,
        20,
        True,
    )
    listed = [one.name for one in desk.subscriber.list_subscriptions(project=PROJECT)]
    assert subscription in listed
    desk.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(exceptions.NotFound):
        desk.subscriber.get_subscription(subscription=subscription)
    with pytest.raises(exceptions.NotFound):
        desk.pull_once(subscription, 2.0)


def test_a_page_of_a_list_leads_to_the_next(desk: Desk) -> None:
    topic = desk.topic()
    made = {desk.subscription(topic) for _ in range(5)}
    pages = desk.publisher.list_topic_subscriptions(request={"topic": topic, "page_size": 2}).pages
    assert {name for page in pages for name in page.subscriptions} == made


def test_refusals_have_their_codes(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    missing = desk.name("topics")
    with pytest.raises(exceptions.AlreadyExists):
        desk.publisher.create_topic(name=topic)
    with pytest.raises(exceptions.AlreadyExists):
        desk.subscriber.create_subscription(name=subscription, topic=topic)
    with pytest.raises(exceptions.NotFound):
        desk.subscription(missing)
    with pytest.raises(exceptions.NotFound):
        desk.publisher.delete_topic(topic=missing)
    with pytest.raises(exceptions.InvalidArgument):
        desk.publish(topic, [b""])
    with pytest.raises(exceptions.InvalidArgument):
        desk.publisher.create_topic(name=f"{PROJECT}/topics/1")
    with pytest.raises(exceptions.InvalidArgument):
        desk.subscription(topic, ack_deadline_seconds=601)
    with pytest.raises(exceptions.NotFound):
        desk.subscriber.delete_snapshot(snapshot=desk.name("snapshots"))
    with pytest.raises(exceptions.NotFound):
        desk.subscriber.acknowledge(subscription=desk.name("subscriptions"), ack_ids=["x"])


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


def test_the_dead_letter_policy_moves_what_no_one_acknowledges(desk: Desk) -> None:
    topic, dead_topic = desk.topic(), desk.topic()
    buried = desk.subscription(dead_topic)
    subscription = desk.subscription(
        topic, dead_letter_policy={"dead_letter_topic": dead_topic, "max_delivery_attempts": 5}
    )
    desk.publish(topic, [b"poison", b"wholesome"])
    attempts: list[int] = []
    ends = time.monotonic() + 2 * WAIT_S
    found: list[types.ReceivedMessage] = []
    while not found and time.monotonic() < ends:
        for received in desk.pull_once(subscription, 1.0):
            if received.message.data == b"poison":
                attempts.append(received.delivery_attempt)
                desk.modify(subscription, [received], 0)
            else:
                desk.acknowledge(subscription, [received])
        if len(attempts) >= 5:
            found = desk.pull_once(buried, 1.0)
    assert payloads(found) == [b"poison"]
    assert attempts == [1, 2, 3, 4, 5]
    attributes = found[0].message.attributes
    assert attributes["CloudPubSubDeadLetterSourceSubscription"] == subscription.rsplit("/", 1)[1]
    assert desk.is_empty(subscription)


def test_ordering_keys_keep_their_order_through_a_return(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic, enable_message_ordering=True)
    sent = {key: [b"%s%d" % (key.encode(), n) for n in range(5)] for key in ("a", "b")}
    for n in range(5):
        for key, data in sent.items():
            desk.publish(topic, [data[n]], key)
    given_back = False
    done: dict[str, list[bytes]] = {"a": [], "b": []}
    ends = time.monotonic() + 2 * WAIT_S
    while sum(map(len, done.values())) < 10 and time.monotonic() < ends:
        received = desk.pull_once(subscription, 2.0)
        for key, group in itertools.groupby(
            sorted(received, key=lambda one: one.message.ordering_key),
            key=lambda one: one.message.ordering_key,
        ):
            batch = list(group)
            if key == "a" and not given_back:
                given_back = True
                desk.modify(subscription, batch, 0)
            else:
                desk.acknowledge(subscription, batch)
                done[key] += [d for d in payloads(batch) if d not in done[key]]
    assert done == sent


def test_seek_to_a_time_plays_again_and_skips(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic, retain_acked_messages=True)
    desk.publish(topic, [b"old"])
    desk.acknowledge(subscription, desk.pull(subscription, 1))
    time.sleep(1.1)
    between = dt.datetime.now(dt.UTC)
    time.sleep(1.1)
    desk.publish(topic, [b"new"])
    desk.acknowledge(subscription, desk.pull(subscription, 1))
    assert desk.is_empty(subscription)
    desk.subscriber.seek(request={"subscription": subscription, "time": between})
    again = desk.pull(subscription, 1)
    assert payloads(again) == [b"new"]
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)
    desk.subscriber.seek(request={"subscription": subscription, "time": later})
    desk.modify(subscription, again, 0)
    assert desk.is_empty(subscription)


def test_seek_to_a_snapshot_brings_back_what_was_unacknowledged_then(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"before"])
    desk.acknowledge(subscription, desk.pull(subscription, 1))
    desk.publish(topic, [b"open"])
    snapshot = desk.name("snapshots")
    desk.subscriber.create_snapshot(name=snapshot, subscription=subscription)
    with pytest.raises(exceptions.AlreadyExists):
        desk.subscriber.create_snapshot(name=snapshot, subscription=subscription)
    desk.publish(topic, [b"after"])
    seen: list[bytes] = []
    while len(seen) < 2:
        received = desk.pull(subscription, 1)
        assert received
        desk.acknowledge(subscription, received)
        seen += payloads(received)
    assert desk.is_empty(subscription)
    desk.subscriber.seek(request={"subscription": subscription, "snapshot": snapshot})
    again: set[bytes] = set()
    ends = time.monotonic() + WAIT_S
    while len(again) < 2 and time.monotonic() < ends:
        again |= set(payloads(desk.pull_once(subscription, 2.0)))
    assert again == {b"open", b"after"}
    desk.subscriber.delete_snapshot(snapshot=snapshot)
    with pytest.raises(exceptions.NotFound):
        desk.subscriber.seek(request={"subscription": subscription, "snapshot": snapshot})


def test_settings_of_retention_are_kept(desk: Desk) -> None:
    topic = desk.topic()
    subscription = desk.subscription(
        topic, message_retention_duration=duration_pb2.Duration(seconds=600)
    )
    shown = desk.subscriber.get_subscription(subscription=subscription)
    assert shown.message_retention_duration == dt.timedelta(minutes=10)
    with pytest.raises(exceptions.InvalidArgument):
        desk.subscription(topic, message_retention_duration=duration_pb2.Duration(seconds=5))


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
