"""What requests may hold: sizes, ranges and counts, as Google's quotas and reference give them.

https://cloud.google.com/pubsub/quotas#resource_limits
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.pubsub.protocol import MAX_ATTRIBUTES, MAX_BYTES, MAX_MESSAGES
from pipelines.pubsub_server.messages import Code, Outgoing, RefusedError

ACK_DEADLINE_S = (10, 600)

_MINUTE_US = 60_000_000
RETENTION_US = (10 * _MINUTE_US, 31 * 1440 * _MINUTE_US)


def check_range(what: str, value: int, accepted: tuple[int, int]) -> None:
    """A number in its closed range.

    Raises:
      RefusedError: INVALID_ARGUMENT, with the range.
    """
    if not accepted[0] <= value <= accepted[1]:
        unit = _MINUTE_US if accepted is RETENTION_US else 1
        raise RefusedError(
            Code.INVALID_ARGUMENT,
            f"{what}: {value / unit:g} is outside {accepted[0] // unit} to {accepted[1] // unit}",
        )


def check_messages(messages: Sequence[Outgoing]) -> None:
    """One publish request: its size, and that no message is empty.

    Raises:
      RefusedError: INVALID_ARGUMENT, with what was expected.
    """
    total = sum(len(message.data) for message in messages)
    if not 1 <= len(messages) <= MAX_MESSAGES or total > MAX_BYTES:
        raise RefusedError(
            Code.INVALID_ARGUMENT,
            f"{len(messages)} messages of {total} bytes in one request; expected 1 to "
            f"{MAX_MESSAGES} messages and at most {MAX_BYTES} bytes",
        )
    for index, message in enumerate(messages):
        if not message.data and not message.attributes:
            raise RefusedError(
                Code.INVALID_ARGUMENT,
                f"message {index} is empty; expected data, or at least one attribute",
            )
        if len(message.attributes) > MAX_ATTRIBUTES:
            raise RefusedError(
                Code.INVALID_ARGUMENT,
                f"message {index} has {len(message.attributes)} attributes; at most "
                f"{MAX_ATTRIBUTES} are accepted",
            )
