"""The whole of Pub/Sub that the server offers, in memory: topics, subscriptions, snapshots.

It knows no gRPC and no thread; one thread at a time may use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipelines.pubsub_server.backlog import Backlog, Outlet
from pipelines.pubsub_server.checks import (
    ACK_DEADLINE_S,
    RETENTION_US,
    check_messages,
    check_range,
)
from pipelines.pubsub_server.messages import (
    DELETED_TOPIC,
    Code,
    Delivery,
    Message,
    Outgoing,
    RefusedError,
    SubscriptionConfig,
    SubscriptionSnapshot,
    TopicConfig,
    check_name,
)
from pipelines.pubsub_server.topic import Topic

_SNAPSHOT_US = 7 * 86_400_000_000  # a snapshot's life

_Named = TypeVar("_Named", TopicConfig, Backlog, SubscriptionSnapshot)


class Broker:
    """Topics, subscriptions and snapshots, with Pub/Sub's rules.

    Args:
      clock: gives microseconds UTC.
      on_waiting: told the name of a subscription that has messages to pull.
      max_bytes: of all messages that are held; a publish beyond it is refused
        (RESOURCE_EXHAUSTED, which publishers try again).
    """

    def __init__(
        self,
        clock: Callable[[], int],
        on_waiting: Callable[[str], None] = lambda name: None,
        max_bytes: int = 4 << 30,
    ) -> None:
        self._clock = clock
        self._on_waiting = on_waiting
        self._max_bytes = max_bytes
        self._topics: dict[str, Topic] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._snapshots: dict[str, SubscriptionSnapshot] = {}
        self._first = clock()
        self._serial = self._created = 0

    # Topics

    def create_topic(self, config: TopicConfig) -> TopicConfig:
        """A new topic.

        Raises:
          RefusedError: INVALID_ARGUMENT or ALREADY_EXISTS.
        """
        check_name(config.name, "topics")
        if config.name in self._topics:
            raise RefusedError(Code.ALREADY_EXISTS, f"topic {config.name} exists already")
        if config.retention_us:
            check_range("message retention, in minutes", config.retention_us, RETENTION_US)
        self._topics[config.name] = Topic(config)
        return config

    def topic(self, name: str) -> TopicConfig:
        """A topic.

        Raises:
          RefusedError: NOT_FOUND, or INVALID_ARGUMENT for what is no name.
        """
        return self._topic(name).config

    def topics(self, project: str) -> list[TopicConfig]:
        """All topics of a project, by name."""
        return _of_project(project, {n: t.config for n, t in self._topics.items()})

    def delete_topic(self, name: str) -> None:
        """Its subscriptions stay, with what they hold, and get nothing more.

        Raises:
          RefusedError: NOT_FOUND.
        """
        topic = self._topic(name)
        for backlog in topic.backlogs.values():
            backlog.config = dataclasses.replace(backlog.config, topic=DELETED_TOPIC)
        del self._topics[name]

    def topic_subscriptions(self, name: str) -> list[str]:
        """Names of a topic's subscriptions.

        Raises:
          RefusedError: NOT_FOUND.
        """
        return sorted(self._topic(name).backlogs)

    def publish(self, topic_name: str, messages: Sequence[Outgoing]) -> list[str]:
        """Adds messages, all or none; their ids.

        Raises:
          RefusedError: NOT_FOUND, INVALID_ARGUMENT, or RESOURCE_EXHAUSTED when memory is full.
        """
        self._topic(topic_name)
        check_messages(messages)
        if self.held_bytes() > self._max_bytes:
            raise RefusedError(
                Code.RESOURCE_EXHAUSTED,
                f"the server holds {self._max_bytes} bytes of messages, its limit; pull and "
                "acknowledge some, delete subscriptions that no one reads, or raise --max-bytes",
            )
        now = self._clock()
        published = [self._message(one, now) for one in messages]
        self._spread(topic_name, published)
        return [message.message_id for message in published]

    # Subscriptions

    def create_subscription(self, config: SubscriptionConfig) -> SubscriptionConfig:
        """A new subscription, which gets what is published from now on.

        Raises:
          RefusedError: INVALID_ARGUMENT, ALREADY_EXISTS, or NOT_FOUND for its topic.
        """
        check_name(config.name, "subscriptions")
        if config.name in self._backlogs:
            raise RefusedError(Code.ALREADY_EXISTS, f"subscription {config.name} exists already")
        topic = self._topic(config.topic)
        check_range("ack deadline, in seconds", config.ack_deadline_s, ACK_DEADLINE_S)
        check_range("message retention, in minutes", config.retention_us, RETENTION_US)
        self._created += 1
        stamp = f"{self._first + self._created:x}"
        backlog = Backlog(config, stamp)
        self._backlogs[config.name] = topic.backlogs[config.name] = backlog
        return config

    def subscription(self, name: str) -> SubscriptionConfig:
        """A subscription.

        Raises:
          RefusedError: NOT_FOUND, or INVALID_ARGUMENT for what is no name.
        """
        return self._backlog(name).config

    def subscriptions(self, project: str) -> list[SubscriptionConfig]:
        """All subscriptions of a project, by name."""
        return _of_project(project, {n: b.config for n, b in self._backlogs.items()})

    def delete_subscription(self, name: str) -> None:
        """Its messages are dropped.

        Raises:
          RefusedError: NOT_FOUND.
        """
        backlog = self._backlog(name)
        topic = self._topics.get(backlog.config.topic)
        if topic is not None:
            topic.backlogs.pop(name, None)
        del self._backlogs[name]
        self._on_waiting(name)

    def pull(
        self,
        name: str,
        max_messages: int,
        max_bytes: int,
        deadline_s: int | None = None,
        outlet: Outlet | None = None,
    ) -> list[Delivery]:
        """What is there now, at most so much; never waits.

        Raises:
          RefusedError: NOT_FOUND, or INVALID_ARGUMENT for a limit below 1.
        """
        if max_messages < 1:
            raise RefusedError(
                Code.INVALID_ARGUMENT, f"max_messages is {max_messages}; expected 1 or more"
            )
        backlog = self._backlog(name)
        return backlog.pull(self._clock(), max_messages, max_bytes, deadline_s, outlet)

    def acknowledge(self, name: str, ack_ids: Sequence[str]) -> None:
        """These messages are done.

        Raises:
          RefusedError: NOT_FOUND, or INVALID_ARGUMENT for what is no ack id.
        """
        self._backlog(name).acknowledge(ack_ids)

    def modify_deadline(self, name: str, ack_ids: Sequence[str], seconds: int) -> None:
        """Leases last so many seconds from now; 0 gives the messages back.

        Raises:
          RefusedError: NOT_FOUND, or INVALID_ARGUMENT.
        """
        backlog = self._backlog(name)
        backlog.modify_deadline(self._clock(), ack_ids, seconds)
        if seconds == 0:
            self._on_waiting(name)

    def release(self, name: str, outlet: Outlet) -> None:
        """A stream ended; its leases run on."""
        backlog = self._backlogs.get(name)
        if backlog is not None:
            backlog.release(outlet)

    def tick(self) -> None:
        """Ends leases that ran out, and forgets what is beyond its retention."""
        now = self._clock()
        for name, backlog in list(self._backlogs.items()):
            backlog.trim(now)
            if backlog.expire(now):
                self._on_waiting(name)
        for snapshot in list(self._snapshots.values()):
            if snapshot.expire_us <= now:
                del self._snapshots[snapshot.name]
        for topic_name, topic in self._topics.items():
            topic.trim(now, self._needed(topic_name))

    # Snapshots and seek

    def create_snapshot(self, name: str, subscription: str) -> SubscriptionSnapshot:
        """Keeps what the subscription has not acknowledged now, and all that comes after.

        Raises:
          RefusedError: INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, or FAILED_PRECONDITION when
            the topic is deleted.
        """
        check_name(name, "snapshots")
        backlog = self._backlog(subscription)
        if name in self._snapshots:
            raise RefusedError(Code.ALREADY_EXISTS, f"snapshot {name} exists already")
        topic = backlog.config.topic
        if topic == DELETED_TOPIC:
            raise RefusedError(
                Code.FAILED_PRECONDITION, f"the topic of {subscription} is deleted; nothing to keep"
            )
        expire = self._clock() + _SNAPSHOT_US
        unacked = backlog.unacknowledged()
        snapshot = SubscriptionSnapshot(name, topic, self._serial, unacked, expire)
        self._snapshots[name] = snapshot
        return snapshot

    def snapshot(self, name: str) -> SubscriptionSnapshot:
        """A snapshot.

        Raises:
          RefusedError: NOT_FOUND.
        """
        return _named(self._snapshots, name, "snapshots")

    def snapshots(self, project: str) -> list[SubscriptionSnapshot]:
        """All snapshots of a project, by name."""
        return _of_project(project, self._snapshots)

    def topic_snapshots(self, name: str) -> list[str]:
        """Names of a topic's snapshots.

        Raises:
          RefusedError: NOT_FOUND.
        """
        self._topic(name)
        return sorted(s.name for s in self._snapshots.values() if s.topic == name)

    def delete_snapshot(self, name: str) -> None:
        """What only it kept is dropped.

        Raises:
          RefusedError: NOT_FOUND.
        """
        del self._snapshots[self.snapshot(name).name]

    def seek_time(self, subscription: str, time_us: int) -> None:
        """Messages published before count as acknowledged; later ones, if retained, come again.

        Raises:
          RefusedError: NOT_FOUND.
        """
        backlog = self._backlog(subscription)
        topic = self._topics.get(backlog.config.topic)
        log = topic.log if topic is not None and topic.config.retention_us else ()
        backlog.seek(log, lambda message: message.publish_us >= time_us)
        self._on_waiting(subscription)

    def seek_snapshot(self, subscription: str, name: str) -> None:
        """What the snapshot had unacknowledged, and all that came after it, comes again.

        Raises:
          RefusedError: NOT_FOUND, or FAILED_PRECONDITION for a snapshot of another topic.
        """
        backlog, snapshot = self._backlog(subscription), self.snapshot(name)
        if snapshot.topic != backlog.config.topic:
            raise RefusedError(
                Code.FAILED_PRECONDITION,
                f"{name} is of topic {snapshot.topic}, the subscription of "
                f"{backlog.config.topic}; seek to a snapshot of its own topic",
            )
        kept = {message.serial for message in snapshot.unacked}
        log = [*snapshot.unacked, *self._topics[snapshot.topic].log]
        backlog.seek(
            log, lambda message: message.serial > snapshot.serial or message.serial in kept
        )
        self._on_waiting(subscription)

    def held_bytes(self) -> int:
        """Bytes of messages held, counted once per subscription and per topic log."""
        return sum(b.bytes for b in self._backlogs.values()) + sum(
            t.bytes for t in self._topics.values()
        )

    def _topic(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            check_name(name, "topics")
            raise RefusedError(Code.NOT_FOUND, f"topic {name} does not exist; create it first")
        return topic

    def _backlog(self, name: str) -> Backlog:
        return _named(self._backlogs, name, "subscriptions")

    def _message(self, outgoing: Outgoing, now_us: int) -> Message:
        self._serial += 1
        return Message(
            self._serial,
            str(self._first + self._serial),
            now_us,
            outgoing.data,
            outgoing.attributes,
            outgoing.ordering_key,
        )

    def _needed(self, topic: str) -> int | None:
        """The serial after which snapshots need a topic's messages; None without any."""
        return min((s.serial for s in self._snapshots.values() if s.topic == topic), default=None)

    def _spread(self, topic_name: str, messages: Sequence[Message]) -> None:
        topic = self._topics[topic_name]
        topic.keep(messages, self._needed(topic_name))
        for name, backlog in topic.backlogs.items():
            for message in messages:
                backlog.add(message)
            self._on_waiting(name)


def _named(store: dict[str, _Named], name: str, collection: str) -> _Named:
    found = store.get(name)
    if found is None:
        check_name(name, collection)
        raise RefusedError(
            Code.NOT_FOUND, f"{collection[:-1]} {name} does not exist; create it first"
        )
    return found


_Listed = TypeVar("_Listed")


def _of_project(project: str, store: dict[str, _Listed]) -> list[_Listed]:
    return [store[name] for name in sorted(store) if name.startswith(f"{project}/")]
