"""What the model looks at most, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

_MOST = 20


@dataclasses.dataclass(frozen=True)
class Importance:
    """A model input, its share of all gain in [0, 1], and what it is."""

    name: str
    words: str
    share: float


def rank_importance(gains: Mapping[str, float], words: Mapping[str, str]) -> tuple[Importance, ...]:
    """The inputs with most gain, by falling share; equal shares by name.

    Args:
      gains: input -> total gain (XGBoost: loss saved by all its splits) or |weight| for a linear
        model of scaled inputs; negative or NaN gains are no gain.
      words: input -> what it is; an input that is not named gets its name with spaces.

    Returns:
      At most `_MOST`; inputs without gain are left out.

    >>> ranked = rank_importance({"a_b": 3.0, "c": 1.0, "d": 0.0}, {"c": "about c"})
    >>> [(one.words, one.share) for one in ranked]
    [('a b', 0.75), ('about c', 0.25)]
    """
    gained = {name: gain for name, gain in gains.items() if gain > 0}
    total = sum(gained.values())
    ranked = sorted(gained, key=lambda name: (-gained[name], name))[:_MOST]
    return tuple(
        Importance(name, words.get(name) or name.replace("_", " "), gained[name] / total)
        for name in ranked
    )
