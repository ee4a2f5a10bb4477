"""Counts at each distinct score, highest first: what every ranking metric is read from.

Events with one score stay together at every point, so no metric depends on the order of tied
events.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from training.clusters import own_clusters
from training.labels import POSITIVE, UNLABELLED

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Events at or above each distinct score.

    Attributes:
      values: float64[d], the distinct scores, falling.
      flagged: int64[d], labelled events at or above each.
      positives: int64[d], positives among them.
      total: positives in all.
    """

    values: Floats
    flagged: Integers
    positives: Integers
    total: int

    @property
    def events(self) -> int:
        """Labelled events in all."""
        return int(self.flagged[-1]) if len(self.flagged) else 0

    @property
    def both_classes(self) -> bool:
        """Whether a ranking metric means anything."""
        return 0 < self.total < self.events


def make_curve(scores: npt.ArrayLike, labels: npt.NDArray[np.int8]) -> Curve:
    """The curve of float[n] scores and int8[n] labels; unlabelled events take no part.

    Raises:
      ValueError: a score is NaN, or lengths differ.

    >>> curve = make_curve([0.9, 0.9, 0.1, 0.5], np.array([1, 0, 0, -1], np.int8))
    >>> curve.values.tolist(), curve.flagged.tolist(), curve.positives.tolist()
    ([0.9, 0.1], [2, 3], [1, 1])
    """
    every = np.asarray(scores, np.float64)
    if len(every) != len(labels):
        raise ValueError(f"{len(every)} scores and {len(labels)} labels: must be equal")
    known = np.asarray(labels) != UNLABELLED
    ranked = every[known]
    nans = int(np.isnan(ranked).sum())
    if nans:
        raise ValueError(f"{nans} of {len(ranked)} scores are NaN; expected none")
    hits = np.asarray(labels)[known] == POSITIVE
    order = np.argsort(-ranked, kind="stable")
    ranked, hits = ranked[order], hits[order]
    last = last_of_ties(ranked)
    return Curve(ranked[last], last + 1, np.cumsum(hits)[last], int(hits.sum()))


def last_of_ties(ordered: Floats) -> Integers:
    """Positions of the last of each run of equal values.

    >>> last_of_ties(np.array([3.0, 3.0, 1.0])).tolist()
    [1, 2]
    """
    if len(ordered) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def area_under_roc(curve: Curve) -> float | None:
    """The chance that a positive is ranked above a negative, ties counting half; None: one class.

    >>> area_under_roc(make_curve([0.9, 0.5, 0.5, 0.1], np.array([1, 1, 0, 0], np.int8)))
    0.875
    """
    if not curve.both_classes:
        return None
    negatives = curve.flagged - curve.positives
    above = np.concatenate([[0], curve.positives[:-1]])
    gained = np.diff(negatives, prepend=0)
    won = np.sum(gained * (above + curve.positives) / 2.0)
    return float(won / (float(curve.total) * float(negatives[-1])))


def average_precision(curve: Curve) -> float | None:
    """Mean over the positives of the precision at their score; None: one class.

    >>> round(average_precision(make_curve([0.9, 0.5, 0.1], np.array([1, 0, 1], np.int8))), 4)
    0.8333
    """
    if not curve.both_classes:
        return None
    gained = np.diff(curve.positives, prepend=0)
    precision = curve.positives / np.maximum(curve.flagged, 1)  # a redrawn one may flag none yet
    return float(np.sum(gained * precision) / curve.total)


def true_positive_rate(curve: Curve, false_positive_rate: float) -> float | None:
    """The most recall at a score that flags at most such a share of the negatives; None: one class.

    Nothing is interpolated: it is what a threshold can do.

    >>> true_positive_rate(make_curve([0.9, 0.5, 0.1], np.array([1, 0, 1], np.int8)), 0.5)
    0.5
    """
    if not curve.both_classes:
        return None
    wrong = curve.flagged - curve.positives
    allowed = np.flatnonzero(wrong / wrong[-1] <= false_positive_rate)
    return float(curve.positives[allowed[-1]] / curve.total) if len(allowed) else 0.0


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Labelled events on both sides of a score: abuse and not, at or above it, and below."""

    found: int
    wrong: int
    missed: int
    passed: int

    @property
    def accuracy(self) -> float | None:
        """Share of events on the right side; None without events."""
        every = self.found + self.wrong + self.missed + self.passed
        return (self.found + self.passed) / every if every else None

    @property
    def mcc(self) -> float | None:
        """Matthews' correlation of side and label (Biochimica et Biophysica Acta 405, 1975).

        0 where one of the four sums is 0; None without events.
        """
        found, wrong, missed, passed = self.found, self.wrong, self.missed, self.passed
        if not found + wrong + missed + passed:
            return None
        product = (found + wrong) * (found + missed) * (passed + wrong) * (passed + missed)
        return (found * passed - wrong * missed) / math.sqrt(product) if product else 0.0


def confusion(curve: Curve, value: float) -> Confusion:
    """What flagging `score >= value` does.

    >>> confusion(make_curve([0.9, 0.5, 0.1], np.array([1, 0, 1], np.int8)), 0.5)
    Confusion(found=1, wrong=1, missed=1, passed=0)
    """
    place = int(np.searchsorted(-curve.values, -value, side="right")) - 1
    flagged, found = (
        (int(curve.flagged[place]), int(curve.positives[place])) if place >= 0 else (0, 0)
    )
    missed = curve.total - found
    return Confusion(found, flagged - found, missed, curve.events - flagged - missed)


def redraw_curves(
    ranks: Floats,
    hits: npt.NDArray[np.bool_],
    clusters: Integers | None,
    replicates: int,
    seed: int,
) -> Iterator[Curve]:
    """Curves of the bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Whole clusters are drawn where events are not independent (Field and Welsh, Journal of the Royal
    Statistical Society B 69, 2007); DeLong's interval of the AUC would be too narrow there.

    Args:
      ranks: float64[n].
      hits: bool[n].
      clusters: int64[n], drawn whole (-1: an event of its own); None: events are drawn.
      replicates: draws; those of one class are left out. Of one cluster alone there are none: it
        could only be drawn as it is, and that would pass for certainty.
      seed: of the draws; equal seeds give equal curves.

    >>> drawn = redraw_curves(np.arange(9.0), np.arange(9) > 4, None, 5, seed=0)
    >>> {area_under_roc(curve) for curve in drawn}
    {1.0}
    """
    which = np.arange(len(ranks)) if clusters is None else own_clusters(clusters)
    ranking, units = rank_units(ranks, hits, which), int(which.max(initial=-1)) + 1
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(replicates if units > 1 else 0):
        curve = ranking.weighted(draw_units(units, generator))
        if curve.both_classes:
            yield curve


def draw_units(units: int, generator: np.random.Generator) -> Integers:
    """How often each unit is drawn, of as many draws as there are units: int64[units].

    >>> int(draw_units(9, np.random.default_rng(0)).sum())
    9
    """
    return np.bincount(generator.integers(0, units, units), minlength=units)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Events by falling rank, for curves of the same events with other weights.

    Attributes:
      values: float64[d], the distinct ranks; last: int64[d], the last event of each.
      positive: int64[n], 1 or 0; units: int64[n], which is drawn with the event.
    """

    values: Floats
    last: Integers
    positive: Integers
    units: Integers

    def weighted(self, weights: Integers) -> Curve:
        """The curve where each event counts as often as its unit.

        Args:
          weights: int64[u], of each unit.
        """
        weight = weights[self.units]
        found = np.cumsum(weight * self.positive)[self.last]
        total = int(found[-1]) if len(found) else 0
        return Curve(self.values, np.cumsum(weight)[self.last], found, total)


def rank_units(ranks: Floats, hits: npt.NDArray[np.bool_], units: Integers) -> Ranking:
    """Events `[n]` by falling rank.

    Args:
      ranks: float64[n].
      hits: bool[n].
      units: int64[n], from 0.

    >>> made = rank_units(np.array([1.0, 2.0]), np.array([True, False]), np.array([0, 1]))
    >>> made.weighted(np.array([3, 1])).flagged.tolist()
    [1, 4]
    """
    order = np.argsort(-ranks, kind="stable")
    ordered = ranks[order]
    last = last_of_ties(ordered)
    return Ranking(ordered[last], last, hits[order].astype(np.int64), units[order])


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """Precision and recall of flagging every event at or above `threshold`."""

    threshold: float
    precision: float
    recall: float


def best_of_each_recall(curve: Curve) -> Integers:
    """Positions of the fewest flagged events for each count of positives above 0.

    >>> best_of_each_recall(make_curve([0.9, 0.5, 0.1], np.array([1, 0, 1], np.int8))).tolist()
    [0, 2]
    """
    first = np.unique(curve.positives, return_index=True)[1]
    return np.asarray(first[curve.positives[first] > 0], np.int64)


def precision_recall_points(curve: Curve, most: int = 200) -> tuple[CurvePoint, ...]:
    """At most so many points of the curve, highest score first, spread evenly over recall.

    >>> points = precision_recall_points(make_curve([0.9, 0.1], np.array([1, 0], np.int8)))
    >>> [(point.precision, point.recall) for point in points]
    [(1.0, 1.0)]
    """
    if not curve.total:
        return ()
    kept = best_of_each_recall(curve)
    if len(kept) > most:
        recall = curve.positives[kept] / curve.total
        kept = kept[
            np.unique(np.searchsorted(recall, np.linspace(0, 1, most)).clip(0, len(kept) - 1))
        ]
    return tuple(
        CurvePoint(
            float(curve.values[at]),
            float(curve.positives[at] / curve.flagged[at]),
            float(curve.positives[at] / curve.total),
        )
        for at in kept
    )
