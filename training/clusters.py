"""How much evidence events are that come in clusters: the messages of one account, one card.

Ten messages of one account are right or wrong together more often than ten of strangers, so they
prove less. How much less is the design effect (Kish, Survey Sampling, 1965): variance of a share
over what independent events would have. Events over design effect are the *effective* events, which
stand for independent ones in an exact bound, as Rao and Scott do (Biometrics 48, 1992) and Korn and
Graubard for shares near 0 and 1 (Survey Methodology 24, 1998).

Two estimates of it are mixed. The worst case, all events of a cluster alike, needs no labels:
effective events are (sum of m)^2 / sum of m^2 over clusters of m events. The linearised variance of
the share uses them, and is the better one the more clusters hold errors; where few do, it is luck
(with no error at all it is 0). So the worst case counts as `PRIOR` clusters with errors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri, stdtrit

from training.intervals import interval

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PRIOR = 3.0
"""Clusters with errors that the worst case weighs as much as."""


@dataclasses.dataclass(frozen=True)
class Clustered:
    """Sums over clusters within the first 1, 2, … events of a ranking, each `[n]`.

    Attributes:
      events, hits: how many.
      clusters: that have an event there; `in_error`: one that is no hit.
      squares: sum of m^2, m the events of a cluster; `hit_squares`: of h^2, h its hits; `products`:
        of m * h.
    """

    events: Integers
    hits: Integers
    clusters: Integers
    in_error: Integers
    squares: Integers
    hit_squares: Integers
    products: Integers

    def at(self, places: npt.NDArray[np.int64]) -> Clustered:
        """Some of these prefixes."""
        return Clustered(
            **{f.name: getattr(self, f.name)[places] for f in dataclasses.fields(self)}
        )

    def worst_case(self) -> Floats:
        """Effective events if all events of a cluster are alike: float64 `[n]`.

        >>> clusters = np.array([0, 0, 0, 0, 1])
        >>> cluster_sums(np.ones(5, bool), clusters).worst_case()[-1].round(2)
        np.float64(1.47)
        """
        return self.events.astype(np.float64) ** 2 / self.squares

    def effective(self) -> Floats:
        """Effective events by the mixed estimate, never more than there are: float64 `[n]`.

        >>> alone = np.arange(100)
        >>> cluster_sums(alone % 10 > 0, alone).effective()[-1].round(1)
        np.float64(99.2)
        """
        count = self.events.astype(np.float64)
        share, worst = self.hits / count, self.worst_case()
        spread = share * (1.0 - share)
        residual = self.hit_squares - 2.0 * share * self.products + share**2 * self.squares
        residual = residual / count**2 * (self.clusters / np.maximum(self.clusters - 1, 1))
        mixed = (self.in_error * residual + PRIOR * spread / worst) / (self.in_error + PRIOR)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(mixed > 0.0, spread / mixed, worst)
        return np.minimum(found, count)


def cluster_sums(hits: npt.NDArray[np.bool_], clusters: Integers) -> Clustered:
    """Sums over clusters within each prefix of a ranking.

    Args:
      hits: bool `[n]`, in the order of the ranking.
      clusters: int64 `[n]`; no event is without one (`own_clusters`).

    >>> made = cluster_sums(np.array([True, True, False]), np.array([7, 7, 8]))
    >>> made.squares.tolist(), made.clusters.tolist(), made.in_error.tolist()
    ([1, 4, 5], [1, 1, 2], [0, 0, 1])
    """
    count = len(hits)
    order = np.argsort(clusters, kind="stable")
    grouped, hit = clusters[order], np.asarray(hits)[order].astype(np.int64)
    starts = np.ones(count, np.bool_)
    starts[1:] = grouped[1:] != grouped[:-1]
    first = np.maximum.accumulate(np.where(starts, np.arange(count), 0))
    # Of an event's cluster, what came before it in the ranking.
    events = np.arange(count) - first
    found = np.cumsum(hit) - hit
    found = found - found[first]
    first_error = (hit == 0) & (events == found)

    def running(values: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Integers:
        placed = np.empty(count, np.int64)
        placed[order] = values
        return np.cumsum(placed)

    return Clustered(
        events=np.arange(1, count + 1),
        hits=running(hit),
        clusters=running(starts),
        in_error=running(first_error),
        squares=running(2 * events + 1),
        hit_squares=running(hit * (2 * found + 1)),
        products=running(found + hit * (events + 1)),
    )


def own_clusters(clusters: Integers) -> Integers:
    """Dense numbers; an event without a cluster (-1) gets one of its own.

    >>> own_clusters(np.array([5, -1, 5, -1])).tolist()
    [0, 1, 0, 2]
    """
    alone = clusters < 0
    numbered = clusters.copy()
    numbered[alone] = clusters.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return np.unique(numbered, return_inverse=True)[1].astype(np.int64)


def share_interval(
    hits: npt.NDArray[np.bool_], clusters: Integers | None, confidence: float = 0.95
) -> tuple[float, float]:
    """Clopper and Pearson's two-sided interval of a share, of effective events.

    Args:
      hits: bool `[n]`.
      clusters: int64 `[n]`, the account of each event (-1: none); None: all are independent.
      confidence: of the interval.

    >>> alike = np.repeat([True, False, True, True], 25)
    >>> low, high = share_interval(alike, np.repeat(np.arange(4), 25))
    >>> alone = share_interval(alike, None)
    >>> bool(low < alone[0] and high > alone[1])
    True
    """
    events = len(hits)
    if not events:
        return interval(0, 0, confidence)
    found = int(np.count_nonzero(hits))
    if clusters is None:
        return interval(found, events, confidence)
    last = np.array([events - 1])
    effective = float(cluster_sums(hits, own_clusters(clusters)).at(last).effective()[0])
    return interval(found / events * effective, effective, confidence)


def bounds_at_end(
    hits: npt.NDArray[np.bool_],
    clusters: Integers | None,
    highest: bool,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """An interval of a ranking metric from 0 to 1 that is 1 (or 0), where no draw can vary.

    What no event shows is not known to be impossible: the bound is Clopper and Pearson's
    of the effective events of the class that has fewer, all of which are ranked right (or wrong).

    Args:
      hits: bool `[n]`, with both values.
      clusters: int64 `[n]`, the account of each event (-1: none); None: all are independent.
      highest: whether the metric is 1.
      confidence: of the interval.

    >>> low, high = bounds_at_end(np.arange(100) < 10, None, highest=True)
    >>> round(low, 3), high
    (0.692, 1.0)
    """
    bounds = [
        share_interval(
            np.full(int(of.sum()), highest), None if clusters is None else clusters[of], confidence
        )
        for of in (hits, ~hits)
    ]
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def auc_interval(
    scores: npt.NDArray[np.float64],
    hits: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.int64] | None,
    confidence: float = 0.95,
) -> tuple[float | None, float | None]:
    """An interval of the AUC where events of one account are not independent; None with one class.

    The variance is Obuchowski's (Biometrics 53, 1997), DeLong's where each event is its own
    cluster; the interval is `odds_interval`. Where all pairs are in order, nothing varies:
    `bounds_at_end`.

    >>> scores, hits = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.6]), np.arange(6) % 2 == 0
    >>> low, high = auc_interval(scores, hits, None)
    >>> bool(0 < low < high < 1)
    True
    """
    positives, negatives = int(hits.sum()), int((~hits).sum())
    if not positives or not negatives:
        return None, None
    own = np.arange(len(hits)) if clusters is None else own_clusters(clusters)
    good, bad = np.sort(scores[hits]), np.sort(scores[~hits])
    # Of each event the share of the other class that it is on the right side of; ties count half.
    below = np.searchsorted(bad, scores, "left") + np.searchsorted(bad, scores, "right")
    above = 2 * positives - np.searchsorted(good, scores, "left")
    above = above - np.searchsorted(good, scores, "right")
    area = float(below[hits].sum() / (2.0 * positives * negatives))
    if area in (0.0, 1.0):
        return bounds_at_end(hits, own, area == 1.0, confidence)
    sides = [len(np.unique(own[of])) for of in (hits, ~hits)]
    count = int(own.max()) + 1
    with_good = np.bincount(
        own, np.where(hits, below / (2.0 * negatives) - area, 0.0), count
    ).astype(np.float64)
    with_bad = np.bincount(
        own, np.where(hits, 0.0, above / (2.0 * positives) - area), count
    ).astype(np.float64)
    variance = (
        _spread(with_good, np.bincount(own[hits], minlength=count) > 0) / positives**2
        + _spread(with_bad, np.bincount(own[~hits], minlength=count) > 0) / negatives**2
        + 2.0 * count / max(count - 1, 1) * float(with_good @ with_bad) / (positives * negatives)
    )
    return odds_interval(area, max(variance, 0.0), sides, confidence)


def odds_interval(
    value: float, variance: float, units: Sequence[int], confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of a figure between 0 and 1, by its variance, on the scale of log odds.

    By Student's t with one degree of freedom less than the fewest units; and not narrower than the
    normal one with one more unit of each kind, of the largest variance, A(1 - A): near 1 few units
    show too few errors. One unit alone says nothing: 0 to 1.

    Args:
      value: the figure, not 0 or 1.
      variance: of it.
      units: what vary, of each kind, such as accounts with abuse and without.
      confidence: of the interval.

    >>> low, high = odds_interval(0.99, 0.0, [10])
    >>> round(low, 3), round(high, 3)
    (0.938, 0.998)
    """
    fewest = min(units)
    if fewest < 2:
        return 0.0, 1.0
    odds, tail = np.log(value / (1.0 - value)), (1.0 + confidence) / 2.0
    one_more = value * (1.0 - value) * sum(1.0 / (count * (count + 1)) for count in units)
    half = max(
        stdtrit(fewest - 1, tail) * np.sqrt(variance), ndtri(tail) * np.sqrt(variance + one_more)
    ) / (value * (1.0 - value))
    return float(expit(odds - half)), float(expit(odds + half))


def _spread(sums: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]) -> float:
    units = int(there.sum())
    return units / max(units - 1, 1) * float(sums @ sums)
