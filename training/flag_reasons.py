"""Which inputs drove an action: the reasons of the events that it flags, counted.

The importance of an input says what a model gained by it in training. This says what raised the
scores of the events that something is done to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

TOP = 3
"""Reasons of an event that count, as many as a decision record has."""
_MOST = 8


@dataclasses.dataclass(frozen=True)
class FlagReason:
    """An input among the reasons of flagged events.

    Attributes:
      events: in which it is among the `TOP` inputs that raised the score most.
      added: to the log odds of all explained events, on average.
    """

    name: str
    words: str
    events: int
    added: float


@dataclasses.dataclass(frozen=True)
class ActionReasons:
    """The inputs that drove one action.

    Attributes:
      flagged: events that get it; `explained`: those of them that were looked at.
      reasons: most events first.
    """

    action: str
    flagged: int
    explained: int
    reasons: tuple[FlagReason, ...]


def count_reasons(
    action: str,
    flagged: int,
    contributions: npt.NDArray[np.float32],
    names: Sequence[str],
    meanings: Mapping[str, str],
) -> ActionReasons:
    """Counts the inputs that raised the scores of an action's events.

    Args:
      action: its name.
      flagged: events that get it.
      contributions: float32 `[n, D + 1]`, of those that are explained; the last column is the rest.
      names: of the D inputs.
      meanings: name -> words.

    >>> made = count_reasons("block", 9, np.array([[2, 1, 0], [3, -1, 0]], np.float32),
    ...                      ["links", "age"], {"links": "links in it"})
    >>> [(one.name, one.words, one.events, one.added) for one in made.reasons]
    [('links', 'links in it', 2, 2.5), ('age', 'age', 1, 0.0)]
    """
    parts = np.asarray(contributions[:, : len(names)], np.float64)
    # Of equal parts the input that comes first counts, as in `scoring.explanation.top_reasons` by
    # name; nothing counts that lowers the score.
    top = np.argsort(-parts, axis=1, kind="stable")[:, :TOP]
    raised = np.take_along_axis(parts, top, axis=1) > 0.0
    events = np.bincount(top[raised], minlength=len(names))
    added = parts.mean(axis=0) if len(parts) else np.zeros(len(names))
    ranked = sorted(range(len(names)), key=lambda at: (-events[at], -added[at], names[at]))
    return ActionReasons(
        action,
        flagged,
        len(parts),
        tuple(
            FlagReason(
                names[at], meanings.get(names[at], names[at]), int(events[at]), float(added[at])
            )
            for at in ranked[:_MOST]
            if events[at]
        ),
    )
