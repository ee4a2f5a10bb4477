"""Two models on the same events: how much better the one is, and whether that is more than chance.

The bootstrap is paired: each draw takes whole campaigns or accounts, and both models are measured
on the same draw, so what makes a draw easy or hard for both cancels out (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993; clusters drawn whole: Field and Welsh, Journal of the Royal
Statistical Society B 69, 2007). Events of several nights, each scored by a model of its own, are
ranked night by night, and a figure is its mean over nights; a campaign that lasts over nights is
drawn with all of them.

With several challengers one of them looks better by chance more often than 1 time in 20. So each
interval is at 1 - 0.05 / challengers (Bonferroni's; Dunn, Journal of the American Statistical
Association 56, 1961): with 95 % confidence all of them hold.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from configs.metrics import Metric
from training.clusters import own_clusters
from training.curve import Curve, Ranking, draw_units, rank_units
from training.labels import POSITIVE
from training.protocol import metric_function

Floats = npt.NDArray[np.float64]
_Function = Callable[[Curve], float | None]

DRAWS = 1000
FEWEST = 20
"""Units with abuse, and without, below which nothing is concluded: as for a slice."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A challenger's figure less the champion's, on the same events.

    Attributes:
      champion, challenger: means over nights.
      low, high: interval of the difference; None where no draw has both classes.
    """

    metric: str
    champion: float
    challenger: float
    low: float | None
    high: float | None

    @property
    def difference(self) -> float:
        """Above 0: the challenger's is higher."""
        return self.challenger - self.champion

    @property
    def conclusion(self) -> str:
        """What the interval says."""
        if self.low is None or self.high is None:
            return "not known"
        if self.low > 0.0:
            return "better"
        return "worse" if self.high < 0.0 else "no difference shown"


@dataclasses.dataclass(frozen=True)
class PairedEvents:
    """Labelled events of all nights.

    Attributes:
      labels: int8[n]: 1 or 0.
      nights: int64[n], of which training run; each has both classes.
      units: int64[n], what is drawn with the event, from 0 (`training.clusters.own_clusters`).
    """

    labels: npt.NDArray[np.int8]
    nights: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]

    @property
    def thin(self) -> str:
        """Why nothing can be concluded from so few units, in words; "" if enough have abuse."""
        made = [len(np.unique(self.units[self.labels == label])) for label in (1, 0)]
        if min(made) >= FEWEST:
            return ""
        return (
            f"{made[0]} with abuse and {made[1]} with other events; at least {FEWEST} of each "
            "is needed to tell a difference from chance"
        )


def paired_events(
    labels: npt.NDArray[np.int8],
    nights: npt.NDArray[np.int64],
    clusters: npt.NDArray[np.int64] | None,
) -> PairedEvents:
    """Events to compare models on.

    Args:
      labels: int8[n]: 1 or 0.
      nights: int64[n].
      clusters: int64[n], the campaign or account of each event (-1: none); None: events are drawn.

    >>> made = paired_events(np.array([1, 0], np.int8), np.zeros(2, int), np.array([7, 7]))
    >>> made.units.tolist()
    [0, 0]
    """
    units = np.arange(len(labels)) if clusters is None else own_clusters(clusters)
    return PairedEvents(labels, nights, units)


class Redrawn:
    """A model's figures on all events and on each draw.

    Args:
      events: `[n]`.
      ranks: float64[n], higher for what is more likely abuse.
      metrics: m of them.
      draws, seed: of the bootstrap; equal ones give the same draws for every model.

    Attributes:
      figures: float64[m]; by_night: float64[nights, m]; drawn: float64[draws, m], NaN where a night
        of the draw has one class.
    """

    def __init__(
        self,
        events: PairedEvents,
        ranks: Floats,
        metrics: Sequence[Metric],
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        functions = [metric_function(one) for one in metrics]
        units = int(events.units.max(initial=-1)) + 1
        rankings = []
        for night in np.unique(events.nights):
            part = events.nights == night
            hits = events.labels[part] == POSITIVE
            rankings.append(rank_units(ranks[part], hits, events.units[part]))

        def measure(weights: npt.NDArray[np.int64]) -> Floats:
            return np.array([_figures(one, weights, functions) for one in rankings])

        self.by_night = measure(np.ones(units, np.int64))
        self.figures = self.by_night.mean(axis=0)
        generator = np.random.Generator(np.random.PCG64(seed))
        # One unit alone could only be drawn as it is, and that would pass for certainty.
        drawn = [draw_units(units, generator) for _ in range(draws if units > 1 else 0)]
        self.drawn = np.array([measure(one).mean(axis=0) for one in drawn]).reshape(
            len(drawn), len(functions)
        )


def _figures(
    ranking: Ranking, weights: npt.NDArray[np.int64], functions: Sequence[_Function]
) -> list[float]:
    curve = ranking.weighted(weights)
    if not curve.both_classes:
        return [np.nan] * len(functions)
    return [float(of(curve) or 0.0) for of in functions]


def compare_paired(
    metrics: Sequence[Metric], champion: Redrawn, challenger: Redrawn, challengers: int = 1
) -> tuple[Difference, ...]:
    """A challenger's figures less the champion's, with intervals.

    Args:
      metrics: as both were measured by.
      champion, challenger: on the same events, with the same draws.
      challengers: how many are compared with this champion.

    >>> events = paired_events(np.array([1, 0, 1, 0], np.int8), np.zeros(4, int), None)
    >>> right, wrong = (Redrawn(events, at * np.array([4.0, 1.0, 3.0, 2.0]), [Metric("auc")], 50)
    ...                 for at in (1.0, -1.0))
    >>> one, = compare_paired([Metric("auc")], wrong, right)
    >>> one.difference, one.conclusion
    (1.0, 'better')
    """
    tail = 0.025 / challengers
    found = []
    for at, metric in enumerate(metrics):
        apart = challenger.drawn[:, at] - champion.drawn[:, at]
        apart = apart[~np.isnan(apart)]
        low, high = (
            (float(one) for one in np.quantile(apart, [tail, 1.0 - tail]))
            if len(apart)
            else itertools.repeat(None, 2)
        )
        figures = float(champion.figures[at]), float(challenger.figures[at])
        found.append(Difference(str(metric), *figures, low, high))
    return tuple(found)
