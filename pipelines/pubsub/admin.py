"""What is set up around a stream: topics, subscriptions, and where a subscription reads from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import grpc

from pipelines.pubsub import connect
from pipelines.pubsub.wire import raw

_TIMEOUT_S = 30.0
_ALREADY = grpc.StatusCode.ALREADY_EXISTS


def ensure_topic(topic: str, endpoint: str | None = None) -> bool:
    """Creates a topic unless it is there; whether it is new.

    Raises:
      InputError: the server refuses, or cannot be reached.
    """
    with _closing(connect.publisher_transport(endpoint)) as transport:
        return _create(transport.create_topic, raw("Topic")(name=topic), topic, endpoint)


def ensure_subscription(
    subscription: str,
    topic: str,
    endpoint: str | None = None,
    ack_deadline_s: int = 60,
    retain_acked: bool = True,
) -> bool:
    """Creates a subscription unless it is there; whether it is new.

    Args:
      subscription, topic: full names, "projects/…".
      endpoint: as `connect.subscriber_transport`.
      ack_deadline_s: 10 to 600.
      retain_acked: keep acknowledged messages, so that a warm start can seek back.

    Raises:
      InputError: the server refuses, or cannot be reached.
    """
    asked = raw("Subscription")(
        name=subscription,
        topic=topic,
        ack_deadline_seconds=ack_deadline_s,
        retain_acked_messages=retain_acked,
    )
    with _closing(connect.subscriber_transport(endpoint)) as transport:
        return _create(transport.create_subscription, asked, subscription, endpoint)


def seek_to_time(subscription: str, time_us: int, endpoint: str | None = None) -> None:
    """Reads again from messages published at this time on, if they are retained.

    Args:
      subscription: full name.
      time_us: publish time, microseconds UTC.
      endpoint: as `connect.subscriber_transport`.

    Raises:
      InputError: the server refuses, or cannot be reached.
    """
    request = raw("SeekRequest")(subscription=subscription)
    request.time.FromMicroseconds(time_us)
    with _closing(connect.subscriber_transport(endpoint)) as transport:
        _call(transport.seek, request, subscription, endpoint)


def _create(method: Callable[..., Any], asked: Any, name: str, endpoint: str | None) -> bool:
    try:
        method(asked, timeout=_TIMEOUT_S, metadata=connect.routing("name", name))
    except grpc.RpcError as error:
        if error.code() is _ALREADY:
            return False
        raise connect.failure(error, name, endpoint) from error
    return True


def _call(method: Callable[..., Any], request: Any, name: str, endpoint: str | None) -> None:
    try:
        method(request, timeout=_TIMEOUT_S, metadata=connect.routing("subscription", name))
    except grpc.RpcError as error:
        raise connect.failure(error, name, endpoint) from error


@contextlib.contextmanager
def _closing(transport: Any) -> Any:
    try:
        yield transport
    finally:
        transport.close()
