"""The leak ladder: what a model would score if its labels arrived earlier than they do.

Inputs that are built from verdicts (the fraud rate of a terminal) may use a verdict only from the
moment when it is known. If the path cheated, the true delay's row would look like that of a shorter
one; so the ladder is run with delays shifted on purpose, and the shape is the proof: metrics rise
as the delay shrinks, and the path's own row is the lowest.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from training.evaluate import Metrics


def rises(rungs: Sequence[Metrics]) -> bool:
    """Whether average precision grows at every step to a shorter delay, the longest first.

    A ladder that does not rise has nothing to tell: either no input is made of verdicts, or the
    path does not heed the delay.

    >>> rises([])
    True
    """
    found = [one.average_precision for one in rungs]
    return all(
        before is not None and after is not None and before < after
        for before, after in itertools.pairwise(found)
    )


TELLS_ALL = 0.98
"""AUC of one input alone from which it is called a leak: nothing known in time is so good."""


@dataclasses.dataclass(frozen=True)
class InputLeak:
    """An input on the test events.

    Attributes:
      moved: share of the events whose value is another one on the last rung.
      alone: AUC of the input by itself, on the first and on the last rung.
      of_verdicts: whether it counts verdicts, as the config has it.
    """

    name: str
    moved: float
    alone: tuple[float, float]
    of_verdicts: bool

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def name_leaks(inputs: Sequence[InputLeak]) -> tuple[str, ...]:
    """The leaks that a ladder shows, in words.

    Args:
      inputs: of the first and the last rung.

    >>> name_leaks([InputLeak("risk", 0.3, (0.6, 0.9), True)])
    ()
    >>> name_leaks([InputLeak("risk", 0.0, (0.9, 0.9), True)])
    ('risk is made of verdicts and does not change with their delay: it does not heed it',)
    """
    found = [
        f"{one.name} alone ranks abuse with an AUC of {one.alone[0]:.3f}, at the verdicts' real "
        "delay: it was filled in after the fact, or it is what the verdict goes by"
        for one in inputs
        if one.alone[0] >= TELLS_ALL
    ]
    still = [one for one in inputs if one.of_verdicts]
    if still and not any(one.moved for one in still):
        found += [
            f"{one.name} is made of verdicts and does not change with their delay: it does not "
            "heed it"
            for one in still
        ]
    return tuple(found)
