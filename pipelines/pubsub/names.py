"""Full names of topics and subscriptions, as Google has them."""

from __future__ import annotations

import re

from configs.errors import InputError

_ID = r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}"
_PROJECT = r"[a-z0-9:.\-]{1,63}"


def require_name(name: str, collection: str) -> str:
    """The name itself, if it is one of "topics", "subscriptions" or "snapshots".

    >>> require_name("projects/demo/topics/events", "topics")
    'projects/demo/topics/events'

    Raises:
      InputError: it is none, with the form that was expected.
    """
    if not re.fullmatch(rf"projects/{_PROJECT}/{collection}/{_ID}", name):
        raise InputError(
            f"{name!r} is no {collection.removesuffix('s')} name; expected "
            f"projects/PROJECT/{collection}/ID, with an ID of 3 to 255 of letters, digits and "
            "-_.~+% that starts with a letter and not with goog"
        )
    return name
