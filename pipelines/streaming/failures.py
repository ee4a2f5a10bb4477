"""Failures in words, for the log of a scorer: without what others' messages may hold.

What enters: an exception. What leaves: its type and place, or its text where that is ours.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from configs.errors import LockstepError

_ROOT = Path(__file__).parents[2]


def describe_failure(failure: BaseException) -> str:
    """A failure by its type and place; the text of ours only: others' may hold a payload.

    >>> try:
    ...     {}["an account"]
    ... except KeyError as error:
    ...     describe_failure(error).split(":")[0]
    'KeyError at <doctest pipelines.streaming.failures.describe_failure[0]>'
    """
    if isinstance(failure, LockstepError):
        return str(failure)
    if isinstance(failure, OSError):
        return f"{type(failure).__name__}: {failure.strerror}"
    frames = traceback.extract_tb(failure.__traceback__)
    ours = [one for one in frames if Path(one.filename).is_relative_to(_ROOT)] or frames
    if not ours:
        return type(failure).__name__
    last = ours[-1]
    path = Path(last.filename)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path
    return f"{type(failure).__name__} at {shown}:{last.lineno}"
