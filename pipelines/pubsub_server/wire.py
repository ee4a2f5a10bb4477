"""Between protocol buffers and the broker's plain values, in both directions."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.pubsub.protocol import Proto, raw
from pipelines.pubsub_server.messages import (
    NO_ATTRIBUTES,
    Code,
    Delivery,
    Outgoing,
    RefusedError,
    SubscriptionConfig,
    SubscriptionSnapshot,
    TopicConfig,
)

_DAY_US = 86_400_000_000

_Topic, _Subscription, _Snapshot = raw("Topic"), raw("Subscription"), raw("Snapshot")
_PullResponse, _StreamingPullResponse = raw("PullResponse"), raw("StreamingPullResponse")


def outgoing(messages: Iterable[Proto]) -> list[Outgoing]:
    """Messages of a PublishRequest."""
    return [
        Outgoing(
            message.data,
            dict(message.attributes) if message.attributes else NO_ATTRIBUTES,
            message.ordering_key,
        )
        for message in messages
    ]


def topic_config(topic: Proto) -> TopicConfig:
    """A topic as asked for.

    Raises:
      RefusedError: UNIMPLEMENTED for schemas and for ingestion, which this server lacks.
    """
    _refuse(topic, ("schema_settings", "ingestion_data_source_settings"))
    return TopicConfig(
        topic.name, _microseconds(topic.message_retention_duration), dict(topic.labels)
    )


def topic(config: TopicConfig) -> Proto:
    """A topic as shown."""
    shown = _Topic(name=config.name, labels=config.labels)
    if config.retention_us:
        shown.message_retention_duration.FromMicroseconds(config.retention_us)
    return shown


def subscription_config(asked: Proto) -> SubscriptionConfig:
    """A subscription as asked for, with Pub/Sub's defaults.

    Raises:
      RefusedError: UNIMPLEMENTED for what this server lacks: push, export, filters, exactly-once
        delivery, ordering, dead-letter and retry policies. To accept and then ignore them would be
        worse.
    """
    _refuse(asked, ("bigquery_config", "cloud_storage_config"))
    _refuse(asked, ("dead_letter_policy", "retry_policy"))
    lacking = (asked.filter, asked.enable_exactly_once_delivery, asked.enable_message_ordering)
    if asked.push_config.push_endpoint or any(lacking):
        raise RefusedError(
            Code.UNIMPLEMENTED,
            "this server has no push, filter, exactly-once delivery or ordering; create the "
            "subscription without them, or use Google Cloud",
        )
    return SubscriptionConfig(
        name=asked.name,
        topic=asked.topic,
        ack_deadline_s=asked.ack_deadline_seconds or 10,
        retain_acked=asked.retain_acked_messages,
        retention_us=_microseconds(asked.message_retention_duration) or 7 * _DAY_US,
        labels=dict(asked.labels),
    )


def subscription(config: SubscriptionConfig) -> Proto:
    """A subscription as shown."""
    shown = _Subscription(
        name=config.name,
        topic=config.topic,
        ack_deadline_seconds=config.ack_deadline_s,
        retain_acked_messages=config.retain_acked,
        labels=config.labels,
        state=1,  # ACTIVE
    )
    shown.message_retention_duration.FromMicroseconds(config.retention_us)
    return shown


def snapshot(kept: SubscriptionSnapshot) -> Proto:
    """A snapshot as shown."""
    shown = _Snapshot(name=kept.name, topic=kept.topic, labels=kept.labels)
    shown.expire_time.FromMicroseconds(kept.expire_us)
    return shown


def pull_response(deliveries: Iterable[Delivery]) -> Proto:
    """The answer to a pull."""
    response = _PullResponse()
    fill(response.received_messages, deliveries)
    return response


def streaming_response(deliveries: Iterable[Delivery]) -> Proto:
    """One answer on a stream."""
    response = _StreamingPullResponse()
    fill(response.received_messages, deliveries)
    return response


def fill(received: Proto, deliveries: Iterable[Delivery]) -> None:
    """Appends deliveries."""
    for delivery in deliveries:
        message = delivery.message
        inner = received.add(ack_id=delivery.ack_id).message
        inner.data = message.data
        inner.message_id = message.message_id
        if message.attributes:
            inner.attributes.update(message.attributes)
        if message.ordering_key:
            inner.ordering_key = message.ordering_key
        seconds, rest = divmod(message.publish_us, 1_000_000)
        inner.publish_time.seconds = seconds
        inner.publish_time.nanos = rest * 1000


def _microseconds(duration: Proto) -> int:
    return int(duration.seconds) * 1_000_000 + int(duration.nanos) // 1000


def _refuse(asked: Proto, fields: tuple[str, ...]) -> None:
    for field in fields:
        if asked.HasField(field):
            raise RefusedError(
                Code.UNIMPLEMENTED, f"this server has no {field}; leave it out or use Google Cloud"
            )
