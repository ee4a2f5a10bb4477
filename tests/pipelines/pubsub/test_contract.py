"""What Pub/Sub keeps, on our server and on Google's emulator alike: names, settings, the past."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from google.api_core import exceptions
from google.protobuf import duration_pb2
from pubsub_world import PROJECT, WAIT_S, Desk, payloads


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
