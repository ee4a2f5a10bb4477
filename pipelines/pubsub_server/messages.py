"""The plain values that the broker handles, and its one error."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType

from configs.errors import InputError
from pipelines.pubsub.names import require_name

DELETED_TOPIC = "_deleted-topic_"
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


def _no_attributes() -> Mapping[str, str]:
    return NO_ATTRIBUTES


class Code(enum.Enum):
    """Why a call is refused, under gRPC's names."""

    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNIMPLEMENTED = "UNIMPLEMENTED"


class RefusedError(Exception):
    """A call that the broker refuses, with the status that the caller gets."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_name(name: str, collection: str) -> str:
    """The name itself, if it is one of "topics", "subscriptions" or "snapshots".

    >>> check_name("projects/demo/topics/events", "topics")
    'projects/demo/topics/events'

    Raises:
      RefusedError: INVALID_ARGUMENT, with the form that was expected.
    """
    try:
        return require_name(name, collection)
    except InputError as error:
        raise RefusedError(Code.INVALID_ARGUMENT, str(error)) from error


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """What a publisher sends: one message, before it has an id and a time."""

    data: bytes
    attributes: Mapping[str, str] = dataclasses.field(default_factory=_no_attributes)
    ordering_key: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A published message; subscriptions share it.

    Attributes:
      serial: position among all messages of the broker, from its start on.
      message_id: unique over restarts of the server too.
      publish_us: microseconds UTC.
    """

    serial: int
    message_id: str
    publish_us: int
    data: bytes
    attributes: Mapping[str, str] = dataclasses.field(default_factory=_no_attributes)
    ordering_key: str = ""

    @property
    def size(self) -> int:
        """Bytes of payload, attributes and key."""
        extra = sum(len(k) + len(v) for k, v in self.attributes.items())
        return len(self.data) + extra + len(self.ordering_key)


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """A message handed to a subscriber."""

    ack_id: str
    message: Message


@dataclasses.dataclass(frozen=True)
class SubscriptionConfig:
    """What a subscription is, apart from its messages."""

    name: str
    topic: str
    ack_deadline_s: int = 10
    retain_acked: bool = False
    retention_us: int = 7 * 86_400_000_000
    labels: Mapping[str, str] = dataclasses.field(default_factory=_no_attributes)


@dataclasses.dataclass(frozen=True)
class TopicConfig:
    """What a topic is; `retention_us` 0: it keeps nothing beyond its subscriptions."""

    name: str
    retention_us: int = 0
    labels: Mapping[str, str] = dataclasses.field(default_factory=_no_attributes)


@dataclasses.dataclass(frozen=True)
class SubscriptionSnapshot:
    """What a subscription had not acknowledged at a moment, and where its topic stood.

    Attributes:
      unacked: kept alive by the snapshot.
      serial: messages after this one count as unacknowledged too.
      expire_us: microseconds UTC.
    """

    name: str
    topic: str
    serial: int
    unacked: tuple[Message, ...]
    expire_us: int
    labels: Mapping[str, str] = dataclasses.field(default_factory=_no_attributes)
