"""Topics, subscriptions and snapshots together, on a clock that the test moves."""

from __future__ import annotations

import dataclasses

import pytest

from pipelines.pubsub_server.broker import Broker
from pipelines.pubsub_server.messages import (
    Code,
    Outgoing,
    RefusedError,
    SubscriptionConfig,
    TopicConfig,
)

S = 1_000_000
MANY = 1 << 30
TOPIC, DEAD = "projects/p/topics/events", "projects/p/topics/dead"
SUB, OTHER = "projects/p/subscriptions/scorer", "projects/p/subscriptions/other"
SNAPSHOT = "projects/p/snapshots/night"


@dataclasses.dataclass
class Clock:
    now: int = 1_700_000_000 * S

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> Broker:
    made = Broker(clock)
    made.create_topic(TopicConfig(TOPIC))
    made.create_subscription(SubscriptionConfig(SUB, TOPIC))
    return made


def publish(broker: Broker, *data: bytes) -> list[str]:
    return broker.publish(TOPIC, [Outgoing(one) for one in data])


def drain(broker: Broker, subscription: str = SUB) -> list[bytes]:
    deliveries = broker.pull(subscription, 1000, MANY)
    broker.acknowledge(subscription, [one.ack_id for one in deliveries])
    return [one.message.data for one in deliveries]


def test_message_ids_differ_after_a_restart(clock: Clock, broker: Broker) -> None:
    first = publish(broker, b"a", b"b")
    clock.now += S
    second = Broker(clock)
    second.create_topic(TopicConfig(TOPIC))
    assert len({*first, *second.publish(TOPIC, [Outgoing(b"a"), Outgoing(b"b")])}) == 4


def test_a_new_subscription_gets_what_comes_after_it(broker: Broker) -> None:
    publish(broker, b"before")
    broker.create_subscription(SubscriptionConfig(OTHER, TOPIC))
    publish(broker, b"after")
    assert drain(broker, OTHER) == [b"after"]
    assert drain(broker) == [b"before", b"after"]


def test_a_topic_s_retention_serves_a_seek_of_any_subscription(clock: Clock) -> None:
    broker = Broker(clock)
    broker.create_topic(TopicConfig(TOPIC, retention_us=600 * S))
    broker.create_subscription(SubscriptionConfig(SUB, TOPIC))
    publish(broker, b"1")
    clock.now += 400 * S
    publish(broker, b"2")
    assert drain(broker) == [b"1", b"2"]
    broker.seek_time(SUB, 0)
    assert drain(broker) == [b"1", b"2"]
    clock.now += 300 * S
    broker.tick()
    broker.seek_time(SUB, 0)
    assert drain(broker) == [b"2"]
    clock.now += 600 * S
    broker.tick()
    assert broker.held_bytes() == 0


def test_a_snapshot_keeps_what_is_acknowledged_after_it(clock: Clock, broker: Broker) -> None:
    publish(broker, b"done")
    drain(broker)
    publish(broker, b"open")
    broker.create_snapshot(SNAPSHOT, SUB)
    publish(broker, b"after")
    assert drain(broker) == [b"open", b"after"]
    broker.seek_snapshot(SUB, SNAPSHOT)
    assert drain(broker) == [b"open", b"after"]
    clock.now += 8 * 86_400 * S
    broker.tick()
    with pytest.raises(RefusedError, match="does not exist"):
        broker.seek_snapshot(SUB, SNAPSHOT)
    assert broker.held_bytes() == 0


def test_a_snapshot_of_another_topic_is_refused(broker: Broker) -> None:
    broker.create_topic(TopicConfig(DEAD))
    broker.create_subscription(SubscriptionConfig(OTHER, DEAD))
    broker.create_snapshot(SNAPSHOT, SUB)
    with pytest.raises(RefusedError) as refused:
        broker.seek_snapshot(OTHER, SNAPSHOT)
    assert refused.value.code is Code.FAILED_PRECONDITION


def test_memory_has_a_limit_that_pulling_relieves(clock: Clock) -> None:
    broker = Broker(clock, max_bytes=100)
    broker.create_topic(TopicConfig(TOPIC))
    broker.create_subscription(SubscriptionConfig(SUB, TOPIC))
    publish(broker, b"x" * 101)
    with pytest.raises(RefusedError) as refused:
        publish(broker, b"y")
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    drain(broker)
    publish(broker, b"y")


def test_waiting_subscribers_are_told(clock: Clock) -> None:
    told: list[str] = []
    broker = Broker(clock, told.append)
    broker.create_topic(TopicConfig(TOPIC))
    broker.create_subscription(SubscriptionConfig(SUB, TOPIC))
    publish(broker, b"x")
    broker.pull(SUB, 1, MANY)
    clock.now += 10 * S
    broker.tick()
    assert told == [SUB, SUB]


@pytest.mark.parametrize(
    "name",
    ["events", "projects/p/topics/1abc", "projects/p/topics/ab", "projects/p/topics/goog-x"],
)
def test_names_are_checked(broker: Broker, name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        broker.create_topic(TopicConfig(name))
    assert refused.value.code is Code.INVALID_ARGUMENT
