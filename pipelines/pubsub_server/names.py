"""Resource names: what is accepted, with an answer that says what was expected."""

from __future__ import annotations

from configs.errors import InputError
from pipelines.pubsub.names import require_name
from pipelines.pubsub_server.messages import Code, RefusedError

DELETED_TOPIC = "_deleted-topic_"


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


def project_of(name: str) -> str:
    """The project of a resource name.

    >>> project_of("projects/demo/topics/events")
    'demo'
    """
    return name.split("/")[1]
