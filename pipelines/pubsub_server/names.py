"""Resource names: what is accepted, with an answer that says what was expected."""

from __future__ import annotations

import re

from pipelines.pubsub_server.messages import Code, RefusedError

DELETED_TOPIC = "_deleted-topic_"

_ID = r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}"
_PROJECT = r"[a-z0-9:.\-]{1,63}"
_COLLECTIONS = {"topics": "topic", "subscriptions": "subscription", "snapshots": "snapshot"}
_PATTERNS = {
    collection: re.compile(rf"projects/{_PROJECT}/{collection}/{_ID}")
    for collection in _COLLECTIONS
}


def check_name(name: str, collection: str) -> str:
    """The name itself, if it is one of "topics", "subscriptions" or "snapshots".

    >>> check_name("projects/demo/topics/events", "topics")
    'projects/demo/topics/events'

    Raises:
      RefusedError: INVALID_ARGUMENT, with the form that was expected.
    """
    if not _PATTERNS[collection].fullmatch(name):
        raise RefusedError(
            Code.INVALID_ARGUMENT,
            f"{name!r} is no {_COLLECTIONS[collection]} name; expected "
            f"projects/PROJECT/{collection}/ID, with an ID of 3 to 255 of letters, digits and "
            "-_.~+% that starts with a letter and not with goog",
        )
    return name


def project_of(name: str) -> str:
    """The project of a resource name.

    >>> project_of("projects/demo/topics/events")
    'demo'
    """
    return name.split("/")[1]
