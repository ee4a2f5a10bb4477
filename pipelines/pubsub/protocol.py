"""Pub/Sub's protocol buffers without `google.pubsub_v1`'s wrappers, and the limits of a message.

Wrapping costs ten times the message.
"""

from __future__ import annotations

from typing import Any

from google.pubsub_v1.types import pubsub as wrapped

Proto = Any
"""A protocol buffer message; its classes are made at run time."""

MAX_MESSAGES = 1000  # of one publish request
MAX_BYTES = 10_000_000  # of one message and of one publish request
MAX_ATTRIBUTES = 100  # https://cloud.google.com/pubsub/quotas#resource_limits


def raw(name: str) -> Proto:
    """The raw class of a Pub/Sub message type.

    >>> raw("Topic")(name="projects/demo/topics/events").name
    'projects/demo/topics/events'
    """
    return getattr(wrapped, name).pb()
