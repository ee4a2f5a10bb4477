"""What is set up around a stream: topics, subscriptions, and where a subscription reads from."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
from google.pubsub_v1.types import pubsub as wrapped

from configs.errors import InputError
from pipelines.pubsub import connect
from pipelines.pubsub.leases import LONGEST_LEASE_S
from pipelines.pubsub.names import require_name
from pipelines.pubsub.protocol import raw

_LOGGER = logging.getLogger(__name__)
_TIMEOUT_S = 30.0
_AGAIN_S = 1.0
_LEASE_MARGIN_S = 5.0  # a busy server hands out again a while after the lease has ended
_DEFAULT_RETENTION_S = 7 * 86_400  # of a subscription that names none
_DENIED = grpc.StatusCode.PERMISSION_DENIED
_REFUSED = connect.FATAL - {grpc.StatusCode.NOT_FOUND} | {grpc.StatusCode.RESOURCE_EXHAUSTED}
_ALREADY = grpc.StatusCode.ALREADY_EXISTS


def ensure_topic(topic: str, endpoint: str | None = None) -> bool:
    """Creates a topic unless it is there; whether it is new.

    Raises:
      InputError: the server refuses, or cannot be reached.
    """
    require_name(topic, "topics")
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
        name=require_name(subscription, "subscriptions"),
        topic=require_name(topic, "topics"),
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
    request = raw("SeekRequest")(subscription=require_name(subscription, "subscriptions"))
    request.time.FromMicroseconds(time_us)
    with _closing(connect.subscriber_transport(endpoint)) as transport:
        _call(transport.seek, request, subscription, endpoint)


def check_seekable(subscription: str, time_us: int, endpoint: str | None = None) -> None:
    """Whether messages that were acknowledged come again after a seek back.

    Args:
      subscription: full name.
      time_us: where it is to be set back to, publish time in microseconds UTC.
      endpoint: as `connect.subscriber_transport`.

    Raises:
      InputError: they are not kept, or the subscription is not there.
    """
    request = raw("GetSubscriptionRequest")(subscription=subscription)
    with _closing(connect.subscriber_transport(endpoint)) as transport:
        try:
            found = _call(transport.get_subscription, request, subscription, endpoint)
        except InputError as error:
            if _DENIED.name not in str(error):
                raise
            _LOGGER.warning("whether a seek brings messages back is not known: %s", error)
            return
    pb = wrapped.Subscription.pb(found)
    kept_s = pb.topic_message_retention_duration.ToSeconds()
    if pb.retain_acked_messages:
        kept_s = max(kept_s, pb.message_retention_duration.ToSeconds() or _DEFAULT_RETENTION_S)
    elif not kept_s:
        kept_s = _topic_keeps_s(pb.topic, endpoint)
    if not kept_s:
        raise InputError(
            f"{subscription} keeps no message that was acknowledged, and its topic keeps none, so "
            "--seek would not bring them back; update it with retain_acked_messages, or the topic "
            "with a retention, before they are needed. A subscription that nobody has read yet "
            "needs no --seek"
        )
    if time.time() - time_us / 1e6 > kept_s:
        _LOGGER.warning(
            "%s keeps messages for %.1f days; what was acknowledged before that and published "
            "after the night is not there any more",
            subscription,
            kept_s / 86_400,
        )


def reclaim(transport: Any, subscription: str) -> float:
    """Makes all that is not acknowledged come at once, in order of its publish.

    What was leased to a reader that is gone would else come when its lease ends, behind newer
    messages. A snapshot keeps what is not acknowledged; a seek to it ends all leases.

    Args:
      transport: of the subscriber service (`connect.subscriber_transport`).
      subscription: full name.

    Returns:
      0; where it is not allowed, the seconds after which all leases of now have ended.

    Raises:
      grpc.RpcError: the server is away; or there is no such subscription.
    """
    project, name = subscription.split("/")[1], subscription.rpartition("/")[2]
    snapshot = f"projects/{project}/snapshots/lockstep-{name[:200]}-{uuid.uuid4().hex}"
    made = raw("CreateSnapshotRequest")(name=snapshot, subscription=subscription)
    seek = raw("SeekRequest")(subscription=subscription, snapshot=snapshot)
    try:
        transport.create_snapshot(
            made, timeout=_TIMEOUT_S, metadata=connect.routing("name", snapshot)
        )
        try:
            where = connect.routing("subscription", subscription)
            transport.seek(seek, timeout=_TIMEOUT_S, metadata=where)
        finally:
            _delete_snapshot(transport, snapshot)
    except grpc.RpcError as error:
        if error.code() not in _REFUSED:
            raise
        wait_s = _deadline_s(transport, subscription) + _LEASE_MARGIN_S
        _LOGGER.warning(
            "Pub/Sub: the leases of an earlier connection to %s cannot be ended (%s: %s), so order "
            "waits %.0f s for what was leased; give the service account pubsub.snapshots.create, "
            ".seek and .delete",
            subscription,
            error.code().name,
            error.details(),
            wait_s,
        )
        return wait_s
    return 0.0


def _delete_snapshot(transport: Any, snapshot: str) -> None:
    """One that cannot be deleted goes by itself after a week."""
    request = raw("DeleteSnapshotRequest")(snapshot=snapshot)
    with contextlib.suppress(grpc.RpcError):
        transport.delete_snapshot(
            request, timeout=_TIMEOUT_S, metadata=connect.routing("snapshot", snapshot)
        )


def ack_deadline_s(subscription: str, endpoint: str | None = None) -> float:
    """A subscription's ack deadline; the longest one where it cannot be asked for 30 s."""
    with _closing(connect.subscriber_transport(endpoint)) as transport:
        return _deadline_s(transport, subscription)


def _deadline_s(transport: Any, subscription: str) -> float:
    request = raw("GetSubscriptionRequest")(subscription=subscription)
    where = connect.routing("subscription", subscription)
    ends_s, left_s = time.monotonic() + _TIMEOUT_S, _TIMEOUT_S
    while True:
        try:
            found = transport.get_subscription(request, timeout=left_s, metadata=where)
            return float(wrapped.Subscription.pb(found).ack_deadline_seconds)
        except grpc.RpcError as error:
            left_s = ends_s - time.monotonic() - _AGAIN_S
            if error.code() in connect.FATAL or left_s <= 0:
                _LOGGER.warning(
                    "Pub/Sub: the ack deadline of %s is not known (%s: %s), so order waits as for "
                    "the longest, %d s; give the service account pubsub.subscriptions.get",
                    subscription,
                    error.code().name,
                    error.details(),
                    LONGEST_LEASE_S,
                )
                return float(LONGEST_LEASE_S)
        time.sleep(_AGAIN_S)


def _topic_keeps_s(topic: str, endpoint: str | None) -> int:
    """A topic's retention, of which the local servers tell with the topic only."""
    request = raw("GetTopicRequest")(topic=topic)
    with _closing(connect.publisher_transport(endpoint)) as transport:
        found = _call(transport.get_topic, request, topic, endpoint)
    return int(wrapped.Topic.pb(found).message_retention_duration.ToSeconds())


def _create(method: Callable[..., Any], asked: Any, name: str, endpoint: str | None) -> bool:
    try:
        method(asked, timeout=_TIMEOUT_S, metadata=connect.routing("name", name))
    except grpc.RpcError as error:
        if error.code() is _ALREADY:
            return False
        raise connect.failure(error, name, endpoint) from error
    return True


def _call(method: Callable[..., Any], request: Any, name: str, endpoint: str | None) -> Any:
    try:
        return method(request, timeout=_TIMEOUT_S, metadata=connect.routing("subscription", name))
    except grpc.RpcError as error:
        raise connect.failure(error, name, endpoint) from error


@contextlib.contextmanager
def _closing(transport: Any) -> Any:
    try:
        yield transport
    finally:
        transport.close()
