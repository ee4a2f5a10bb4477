"""How many events a day an action takes, against what it promises.

Counted as `training.thresholds` does when it chooses: labelled or not, without those of a stronger
action, a mean over the days. The interval is Garwood's (Biometrika 28, 1936) of a count over the
design effect of its accounts, whose events come or stay away together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from configs.schema import Action
from scoring.decision import Threshold
from training.clusters import own_clusters
from training.intervals import count_interval


@dataclasses.dataclass(frozen=True)
class DailyNumber:
    """Events a day that an action takes and no stronger action does.

    Attributes:
      most: what the action promises.
      found: mean over the days; low, high: its 95 % interval.
    """

    most: int
    found: float
    low: float
    high: float

    @property
    def broken(self) -> bool:
        """Whether the whole interval lies above what the action promises."""
        return self.low > self.most

    @property
    def kept(self) -> bool:
        """Whether the whole interval lies within what the action promises."""
        return self.high <= self.most

    def __str__(self) -> str:
        span = f"{self.low:,.0f}\N{EN DASH}{self.high:,.0f}"
        return f"asked at most {self.most:,} a day, took {self.found:,.0f} ({span})"


def daily_numbers(
    scores: npt.NDArray[np.float64],
    thresholds: Sequence[Threshold],
    actions: Sequence[Action],
    days: float,
    clusters: npt.NDArray[np.int64] | None = None,
) -> dict[str, DailyNumber]:
    """Of each action that promises a number a day, and may fire, what became of it.

    Args:
      scores: float64[n], calibrated, of all events.
      thresholds: as the bundle's policy has them, strongest first.
      actions: what each promises.
      days: how many days of events these are, above 0; a sample of half of a day is 0.5.
      clusters: int64[n], the account of each event (-1: none); None: all are independent.

    >>> review = [Threshold("review", 0.5, None)]
    >>> asked = [Action("review", per_day=200)]
    >>> made = daily_numbers(np.full(900, 0.7), review, asked, 3)["review"]
    >>> round(made.low), made.found, round(made.high), made.broken
    (281, 300.0, 320, True)
    """
    most = {one.name: one.per_day for one in actions if one.per_day is not None}
    own = np.arange(len(scores)) if clusters is None else own_clusters(clusters)
    left, found = np.ones(len(scores), np.bool_), {}
    for one in thresholds:
        if one.value is None:
            continue
        taken = left & (scores >= one.value)
        left &= ~taken
        if one.action in most:
            count = int(taken.sum())
            squares = float((np.bincount(own[taken]).astype(np.float64) ** 2).sum())
            effect = squares / count if count else 1.0
            low, high = (effect * end / days for end in count_interval(count / effect))
            found[one.action] = DailyNumber(most[one.action], count / days, low, high)
    return found
