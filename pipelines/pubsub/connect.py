"""Transports of Google's client: to Google Cloud, or to a server that `PUBSUB_EMULATOR_HOST` names.

What enters: an endpoint, or none. What leaves: the official transports (`google.pubsub_v1`), whose
methods are used below the wrappers that retry and convert each message: at ten thousand messages a
second these cost more than the scoring.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from configs.errors import InputError

_EMULATOR = "PUBSUB_EMULATOR_HOST"
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's servers take a ping every five minutes of silence; at more they end the connection
    # (GOAWAY, too_many_pings). A peer that is gone is noticed by the stream's own heartbeat.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.use_local_subchannel_pool", 1),  # a reader's broken connection is its own
]

FATAL = frozenset(
    {
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Trying again does not help against these."""

_REMEDIES = {
    grpc.StatusCode.NOT_FOUND: "create it (`lockstep publish --create`), or check its name",
    grpc.StatusCode.PERMISSION_DENIED: "give the service account the Pub/Sub roles for it",
    grpc.StatusCode.UNAUTHENTICATED: "log in (`gcloud auth application-default login`), or set "
    f"{_EMULATOR} for a local server",
}


def server_of(endpoint: str | None) -> str | None:
    """The local server that is meant: the one given, else the environment's, else none (Google)."""
    return endpoint or os.environ.get(_EMULATOR) or None


def subscriber_transport(endpoint: str | None) -> Any:
    """A transport of the Subscriber service.

    Args:
      endpoint: "127.0.0.1:8085"; None: `PUBSUB_EMULATOR_HOST`, or Google Cloud with the
        credentials of the environment.

    Raises:
      InputError: there are no credentials.
    """
    return _transport(SubscriberGrpcTransport, endpoint)


def publisher_transport(endpoint: str | None) -> Any:
    """A transport of the Publisher service; as `subscriber_transport`."""
    return _transport(PublisherGrpcTransport, endpoint)


def routing(field: str, name: str) -> tuple[tuple[str, str]]:
    """The header by which Google routes a call.

    >>> routing("topic", "projects/p/topics/events")
    (('x-goog-request-params', 'topic=projects/p/topics/events'),)
    """
    return (("x-goog-request-params", f"{field}={name}"),)


def failure(error: grpc.RpcError, name: str, endpoint: str | None) -> InputError:
    """A call's failure, in words, with what to do about it."""
    code = error.code()
    remedy = _REMEDIES.get(code, "check the server and the settings")
    where = server_of(endpoint) or "Google Cloud"
    return InputError(f"{name} at {where}: {code.name} ({error.details()}); {remedy}")


def _transport(kind: Any, endpoint: str | None) -> Any:
    server = server_of(endpoint)
    if server is not None:
        return kind(channel=grpc.insecure_channel(server, _OPTIONS))
    from google.auth.exceptions import GoogleAuthError

    try:
        return kind()
    except GoogleAuthError as error:
        raise InputError(
            f"no credentials for Google Cloud ({error}); log in with `gcloud auth "
            f"application-default login`, or set {_EMULATOR}=HOST:PORT for a local server"
        ) from error
