"""What campaigns and accounts do before the first action on them: events, people and minutes.

A ranking metric gives a hundred copies of one text a hundred votes. What a community feels is how
many of them came before something was done, how many people could read those, and how long it took.
The first action is on the first event at or above a threshold. What follows it is what an action on
the whole campaign would have spared at most: a threshold alone stops no event below it.

First events are the first of those that are given, so a campaign that was there before is taken
for a new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scoring.decision import Threshold

_NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class HarmBefore:
    """What an action leaves of the harm of some campaigns, or accounts.

    Attributes:
      unit: "campaign" or "account".
      units: those with an event that is labelled abuse; `met`: those of them that have an event at
        or above the threshold.
      events: harmful events of the former; `events_before`: those before the first action, and all
        of a unit that no action meets.
      people, people_before: sums over these events of how many people each reaches; None: not
        known.
      median_us: from the first harmful event of a unit that is met to the first action; None
        without any.
    """

    unit: str
    action: str
    units: int
    met: int
    events: int
    events_before: int
    people: float | None
    people_before: float | None
    median_us: float | None

    @property
    def spared(self) -> float | None:
        """The share of harmful events that come with the first action or after it; None: none."""
        return 1.0 - self.events_before / self.events if self.events else None


def harm_before(
    unit: str,
    scores: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64],
    units: npt.NDArray[np.int64],
    abuse: npt.NDArray[np.bool_],
    harmful: npt.NDArray[np.bool_],
    thresholds: Sequence[Threshold],
    people: npt.NDArray[np.float64] | None = None,
) -> tuple[HarmBefore, ...]:
    """Per action that may fire; nothing where no unit has abuse.

    Args:
      unit: what units are, in a word.
      scores: float64 `[n]`, calibrated.
      times: int64 `[n]`, microseconds UTC; events of one time are in the order given.
      units: int64 `[n]`, the campaign or account of each event; -1: none.
      abuse: bool `[n]`, labelled so: makes its unit one that counts.
      harmful: bool `[n]`, events that count, of units that do.
      thresholds: of actions.
      people: float64 `[n]`, how many each event reaches; NaN: nobody knows, and 0 counts.

    >>> made = harm_before(
    ...     "campaign", np.array([0.2, 0.9, 0.1]), np.array([0, 60_000_000, 90_000_000]),
    ...     np.array([4, 4, 4]), np.array([False, True, False]), np.ones(3, bool),
    ...     [Threshold("block", 0.8, None)], np.array([10.0, 20.0, 30.0]))
    >>> made[0].events_before, made[0].people_before, made[0].median_us
    (1, 10.0, 60000000.0)
    """
    counting = np.isin(units, np.unique(units[abuse & (units >= 0)]))
    order = np.lexsort((times, units))
    order = order[counting[order]]
    if not len(order):
        return ()
    own, when, bad = units[order], times[order], harmful[order]
    begins = np.flatnonzero(np.diff(own, prepend=-1))
    sizes = np.diff(begins, append=len(own))
    place = np.arange(len(own)) - np.repeat(begins, sizes)
    starts = np.minimum.reduceat(np.where(bad, when, _NEVER), begins)
    reached = None if people is None else np.where(bad, np.nan_to_num(people[order]), 0.0)
    made = []
    for one in thresholds:
        if one.value is None:
            continue
        flagged = np.where(scores[order] >= one.value, place, _NEVER)
        first = np.minimum.reduceat(flagged, begins)
        met = first < _NEVER
        before = bad & (place < np.repeat(first, sizes))
        waited = np.maximum(0, when[begins[met] + first[met]] - starts[met])
        made.append(
            HarmBefore(
                unit,
                one.action,
                len(begins),
                int(met.sum()),
                int(bad.sum()),
                int(before.sum()),
                None if reached is None else float(reached.sum()),
                None if reached is None else float(reached[before].sum()),
                float(np.median(waited)) if met.any() else None,
            )
        )
    return tuple(made)
