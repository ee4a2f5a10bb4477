"""What a model does on a slice of events: ranking, calibration, and the policy's thresholds.

Only labelled events count; how many were not is reported. A metric that means nothing on the slice
(one class) is None, never a guess.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoring.decision import Threshold
from training.clusters import (
    auc_interval,
    bounds_at_end,
    odds_interval,
    own_clusters,
    share_interval,
)
from training.curve import (
    Confusion,
    CurvePoint,
    area_under_roc,
    average_precision,
    make_curve,
    precision_recall_points,
    redraw_curves,
)
from training.daily import DailyNumber
from training.groups import GroupPrecision, encode_groups, group_precision
from training.labels import POSITIVE, UNLABELLED
from training.probability import (
    CalibrationBin,
    HistogramBin,
    brier,
    calibration_bins,
    expected_calibration_error,
    histogram,
    log_loss,
)


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """What an action did on the slice; intervals are 95 %, two-sided, of effective events.

    Effective: events of one account count as often as they prove something (`training.clusters`),
    where accounts are given, as they do in the evidence of a threshold.

    Attributes:
      flagged, positives: labelled events at or above the threshold, and the abuse among them.
      missed, passed: labelled events below it: abuse, and not abuse.
      accuracy: share of labelled events that are on the right side; None without any.
      mcc: Matthews' correlation of flag and label, -1 to 1 (Biochimica et Biophysica Acta 405,
        1975); 0 where one of the four sums is 0, None without labelled events.
      mean_score: of the flagged events; where it is far from the precision, scores say something
        else where the action fires. None if it never did.
      min_precision: the precision that the policy promises; None: not known.
      daily: events a day, where the policy promises a number; None: not measured.
    """

    action: str
    value: float
    flagged: int
    positives: int
    precision: float | None
    precision_low: float
    precision_high: float
    recall: float | None
    recall_low: float
    recall_high: float
    missed: int = 0
    passed: int = 0
    accuracy: float | None = None
    mcc: float | None = None
    mean_score: float | None = None
    min_precision: float | None = None
    daily: DailyNumber | None = None

    @property
    def promise(self) -> str:
        """What was asked and what was kept, in words; "" if nothing was flagged or asked."""
        parts = []
        if self.min_precision is not None and self.precision is not None:
            span = f"{self.precision_low:.3f}\N{EN DASH}{self.precision_high:.3f}"
            parts.append(f"asked {self.min_precision:.3g}, kept {self.precision:.3f} ({span})")
        if self.daily is not None:
            parts.append(str(self.daily))
        return "; ".join(parts)

    @property
    def broken(self) -> bool:
        """Whether a whole interval lies beyond what the policy promises."""
        return self.imprecise or (self.daily is not None and self.daily.broken)

    @property
    def imprecise(self) -> bool:
        """Whether the whole interval of the precision lies below what the policy promises."""
        return (
            bool(self.flagged)
            and self.min_precision is not None
            and self.precision_high < self.min_precision
        )


@dataclasses.dataclass(frozen=True)
class Metrics:
    """One model on one slice.

    Attributes:
      events, labelled, positives: counts; the metrics are of the labelled.
      prevalence: positives / labelled; the average precision of random scores.
      auc, average_precision: ranking; None with one class.
      average_precision_low, _high: 95 %, by the bootstrap (`precision_interval`).
      auc_low, auc_high: 95 %, by Obuchowski's variance of clustered data (`auc_interval`).
      log_loss, brier, calibration_error: of the calibrated scores; None without labels.
      group_precision: of the day's worklist, where groups were given.
      at: per action that has a threshold.
      precision_recall, calibration, histogram: for plots.
    """

    events: int
    labelled: int
    positives: int
    prevalence: float | None
    auc: float | None
    average_precision: float | None
    average_precision_low: float | None
    average_precision_high: float | None
    log_loss: float | None
    brier: float | None
    calibration_error: float | None
    group_precision: GroupPrecision | None
    at: tuple[AtThreshold, ...]
    precision_recall: tuple[CurvePoint, ...]
    calibration: tuple[CalibrationBin, ...]
    histogram: tuple[HistogramBin, ...]
    auc_low: float | None = None
    auc_high: float | None = None

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def evaluate(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    event_times: npt.NDArray[np.int64],
    *,
    ranks: npt.ArrayLike | None = None,
    thresholds: Sequence[Threshold] = (),
    daily: Mapping[str, DailyNumber] | None = None,
    groups: pa.Array | pa.ChunkedArray | None = None,
    clusters: npt.NDArray[np.int64] | None = None,
    top: int = 100,
    replicates: int = 200,
    seed: int = 0,
) -> Metrics:
    """Everything that is reported of a model on a slice.

    Args:
      scores: float64[n], calibrated, in [0, 1].
      labels: int8[n]: 1, 0, -1.
      event_times: int64[n], microseconds UTC.
      ranks: float[n], what ranks events, if not `scores` (the raw score, where calibration ties).
      thresholds: as the bundle's policy has them; applied to `scores`.
      daily: action -> events a day that it takes, where it promises a number.
      groups: string[n], for the worklist's precision; all intervals then count with groups (the
        bootstrap draws them), since events of one account are not independent.
      clusters: int64[n] (-1: none), what intervals count with instead: accounts, those of one
        campaign together.
      top: size of a day's worklist.
      replicates: bootstrap draws; 0: no interval.
      seed: of the bootstrap.

    Raises:
      ValueError: lengths differ, or a score is NaN or outside [0, 1].

    >>> scores = np.array([0.9, 0.8, 0.3, 0.1])
    >>> labels = np.array([1, 0, 1, -1], np.int8)
    >>> made = evaluate(scores, labels, np.arange(4), replicates=0)
    >>> made.labelled, made.positives, made.auc
    (3, 2, 0.5)
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    _check(scores, labels, event_times)
    order_by = scores if ranks is None else np.asarray(ranks, np.float64)
    curve = make_curve(order_by, labels)
    known = labels != UNLABELLED
    said, hits = scores[known], labels[known] == POSITIVE
    any_known = len(said) > 0
    if clusters is None and groups is not None:
        clusters = encode_groups(groups)
    clusters = None if clusters is None else clusters[known]
    nothing: tuple[float | None, float | None] = (None, None)
    precision, roc = nothing, nothing
    if curve.both_classes and replicates:
        precision = precision_interval(order_by[known], hits, clusters, replicates, seed)
        roc = auc_interval(order_by[known], hits, clusters)
    return Metrics(
        events=len(scores),
        labelled=len(said),
        positives=curve.total,
        prevalence=curve.total / len(said) if any_known else None,
        auc=area_under_roc(curve),
        average_precision=average_precision(curve),
        average_precision_low=precision[0],
        average_precision_high=precision[1],
        auc_low=roc[0],
        auc_high=roc[1],
        log_loss=log_loss(said, hits) if any_known else None,
        brier=brier(said, hits) if any_known else None,
        calibration_error=expected_calibration_error(said, hits) if any_known else None,
        group_precision=(
            None if groups is None else group_precision(order_by, labels, event_times, groups, top)
        ),
        at=tuple(
            dataclasses.replace(
                at_threshold(one.action, one.value, said, hits, one.min_precision, clusters),
                daily=(daily or {}).get(one.action),
            )
            for one in thresholds
            if one.value is not None
        ),
        precision_recall=precision_recall_points(curve),
        calibration=calibration_bins(said, hits),
        histogram=histogram(said, hits),
    )


def at_threshold(
    action: str,
    value: float,
    scores: npt.NDArray[np.float64],
    hits: npt.NDArray[np.bool_],
    min_precision: float | None = None,
    clusters: npt.NDArray[np.int64] | None = None,
) -> AtThreshold:
    """What flagging `scores >= value` does.

    Args:
      action: its name.
      value: the threshold.
      scores: float64[n].
      hits: bool[n], whether it is abuse.
      min_precision: what the action promises.
      clusters: int64[n], the account of each event (-1: none); None: all are independent.

    >>> at_threshold("block", 0.5, np.array([0.9, 0.1]), np.array([True, True])).recall
    0.5
    """
    above = scores >= value
    flagged, found, total = int(above.sum()), int((above & hits).sum()), int(hits.sum())
    missed, passed = total - found, len(scores) - flagged - (total - found)
    sides = Confusion(found, flagged - found, missed, passed)
    precision_low, precision_high = share_interval(hits[above], _part(clusters, above))
    recall_low, recall_high = share_interval(above[hits], _part(clusters, hits))
    return AtThreshold(
        action=action,
        value=value,
        flagged=flagged,
        positives=found,
        precision=found / flagged if flagged else None,
        precision_low=precision_low,
        precision_high=precision_high,
        recall=found / total if total else None,
        recall_low=recall_low,
        recall_high=recall_high,
        missed=missed,
        passed=passed,
        accuracy=sides.accuracy,
        mcc=sides.mcc,
        mean_score=float(scores[above].mean()) if flagged else None,
        min_precision=min_precision,
    )


def _part(
    clusters: npt.NDArray[np.int64] | None, mask: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64] | None:
    return None if clusters is None else clusters[mask]


def precision_interval(
    ranks: npt.NDArray[np.float64],
    hits: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.int64] | None,
    replicates: int,
    seed: int,
) -> tuple[float, float]:
    """The average precision's 95 % interval, of redrawn slices (`training.curve.redraw_curves`).

    It holds the draws' percentiles, and the interval by their variance on the scale of log odds,
    with the events or accounts of abuse as units: near 1 percentiles are too narrow. Boyd, Eng and
    Page (ECML PKDD 2013) prefer that scale to the bootstrap as well; their variance is a binomial's
    and knows no accounts. `benchmarks.intervals` measures both.

    Args:
      ranks: float64[n].
      hits: bool[n], with both values.
      clusters: int64[n], drawn whole (-1: an event of its own); None: events are drawn.
      replicates: draws, at least 1; a draw of one class is left out.
      seed: of the draws; equal seeds give equal intervals.

    >>> ranks, hits = np.arange(100.0), np.arange(100) > 89
    >>> low, high = precision_interval(ranks, hits, None, 20, seed=0)
    >>> round(low, 3), high
    (0.692, 1.0)
    """
    curves = redraw_curves(ranks, hits, clusters, replicates, seed)
    drawn = [average_precision(one) or 0.0 for one in curves]
    low, high = interval_of_draws(drawn, hits, clusters)
    found = average_precision(make_curve(ranks, hits.astype(np.int8)))
    if found is None or found == 1.0 or not drawn:
        return low, high
    abuse = int(hits.sum()) if clusters is None else len(np.unique(own_clusters(clusters[hits])))
    by_odds = odds_interval(found, float(np.var(drawn)), [abuse])
    return min(low, by_odds[0]), max(high, by_odds[1])


def interval_of_draws(
    found: Sequence[float],
    hits: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.int64] | None,
    lowest: float = 0.0,
) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of a metric's draws; all at an end, as under perfect separation,
    draws show no error because the sample has none, and the interval is `bounds_at_end`.

    Args:
      found: the metric, of each draw.
      hits, clusters: of the slice, as `precision_interval` has them.
      lowest: of the metric, whose highest value is 1.

    >>> interval_of_draws([0.0, 0.5, 1.0], np.array([True, False]), None)
    (0.025, 0.975)
    """
    low, high = percentiles(found)
    if low != high or low not in (lowest, 1.0):
        return low, high
    low, high = bounds_at_end(hits, clusters, low == 1.0)
    return lowest + low * (1.0 - lowest), lowest + high * (1.0 - lowest)


def percentiles(found: Sequence[float]) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles; of nothing, no bounds at all.

    >>> percentiles([])
    (0.0, 1.0)
    """
    if not found:
        return 0.0, 1.0
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _check(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    event_times: npt.NDArray[np.int64],
) -> None:
    if not len(scores) == len(labels) == len(event_times):
        raise ValueError(
            f"{len(scores)} scores, {len(labels)} labels and {len(event_times)} times: must be "
            "equally many"
        )
    outside = int(np.count_nonzero(~((scores >= 0.0) & (scores <= 1.0))))
    if outside:
        raise ValueError(
            f"{outside} of {len(scores)} scores are NaN or outside [0, 1]; expected calibrated "
            "scores: pass raw ones as `ranks`"
        )
