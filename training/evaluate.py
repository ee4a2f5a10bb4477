"""What a model does on a slice of events: ranking, calibration, and the policy's thresholds.

What enters: scores that the scorer made (so what is measured is what serves), labels, times.
What leaves: :class:`Metrics`, which goes into the bundle as metrics.json and on the nightly page.
Only labelled events count; how many were not is reported. A metric that means nothing on the
slice (one class) is None, never a guess.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.curve import (
    CurvePoint,
    area_under_roc,
    average_precision,
    last_of_ties,
    make_curve,
    precision_recall_points,
)
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
from training.thresholds import Threshold, interval


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """What an action did on the slice; intervals are Clopper and Pearson's, 95 %, two-sided."""

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


@dataclasses.dataclass(frozen=True)
class Metrics:
    """One model on one slice.

    Attributes:
      events, labelled, positives: counts; the metrics are of the labelled.
      prevalence: positives / labelled; the average precision of random scores.
      auc, average_precision: ranking; None with one class.
      average_precision_low, _high: bootstrap percentiles, 2.5 and 97.5.
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

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_builtins(cls, plain: Any) -> Metrics:
        """The reverse of :meth:`to_builtins`.

        Raises:
          msgspec.ValidationError: not metrics.
        """
        return msgspec.convert(plain, cls)


def evaluate(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    event_times: npt.NDArray[np.int64],
    *,
    ranks: npt.ArrayLike | None = None,
    thresholds: Sequence[Threshold] = (),
    groups: pa.Array | pa.ChunkedArray | None = None,
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
      groups: string[n], for the worklist's precision; the bootstrap then draws groups, not
        events, since events of one account are not independent.
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
    clusters = None if groups is None else encode_groups(groups)[known]
    low, high = (
        bootstrap_average_precision(order_by[known], hits, clusters, replicates, seed)
        if curve.both_classes and replicates
        else (None, None)
    )
    return Metrics(
        events=len(scores),
        labelled=len(said),
        positives=curve.total,
        prevalence=curve.total / len(said) if any_known else None,
        auc=area_under_roc(curve),
        average_precision=average_precision(curve),
        average_precision_low=low,
        average_precision_high=high,
        log_loss=log_loss(said, hits) if any_known else None,
        brier=brier(said, hits) if any_known else None,
        calibration_error=expected_calibration_error(said, hits) if any_known else None,
        group_precision=(
            None if groups is None else group_precision(order_by, labels, event_times, groups, top)
        ),
        at=tuple(
            at_threshold(one.action, one.value, said, hits)
            for one in thresholds
            if one.value is not None
        ),
        precision_recall=precision_recall_points(curve),
        calibration=calibration_bins(said, hits),
        histogram=histogram(said, hits),
    )


def at_threshold(
    action: str, value: float, scores: npt.NDArray[np.float64], hits: npt.NDArray[np.bool_]
) -> AtThreshold:
    """What flagging `scores >= value` does.

    >>> at_threshold("block", 0.5, np.array([0.9, 0.1]), np.array([True, True])).recall
    0.5
    """
    above = scores >= value
    flagged, found, total = int(above.sum()), int((above & hits).sum()), int(hits.sum())
    precision_low, precision_high = interval(found, flagged)
    recall_low, recall_high = interval(found, total)
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
    )


def bootstrap_average_precision(
    ranks: npt.NDArray[np.float64],
    hits: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.int64] | None,
    replicates: int,
    seed: int,
) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of average precision over redrawn slices.

    Args:
      ranks: float64[n].
      hits: bool[n], with both values.
      clusters: int64[n], drawn whole (-1: an event of its own); None: events are drawn.
      replicates: draws, at least 1; a draw without positives is left out.
      seed: of the draws; equal seeds give equal intervals.

    >>> ranks, hits = np.arange(100.0), np.arange(100) > 49
    >>> bootstrap_average_precision(ranks, hits, None, 20, seed=0)
    (1.0, 1.0)
    """
    order = np.argsort(-ranks, kind="stable")
    ordered, positive = ranks[order], hits[order].astype(np.int64)
    last = last_of_ties(ordered)
    drawn_by = np.arange(len(ranks)) if clusters is None else _own_clusters(clusters)
    units = int(drawn_by.max()) + 1
    which = drawn_by[order]
    generator = np.random.Generator(np.random.PCG64(seed))
    found = []
    for _ in range(replicates):
        weight = np.bincount(generator.integers(0, units, units), minlength=units)[which]
        flagged = np.cumsum(weight)[last]
        positives = np.cumsum(weight * positive)[last]
        if positives[-1] == 0:
            continue
        precision = positives / np.maximum(flagged, 1)
        found.append(np.sum(np.diff(positives, prepend=0) * precision) / positives[-1])
    if not found:
        return 0.0, 1.0
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _own_clusters(clusters: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Dense numbers; an event without a cluster gets one of its own."""
    alone = clusters < 0
    numbered = clusters.copy()
    numbered[alone] = clusters.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return np.unique(numbered, return_inverse=True)[1].astype(np.int64)


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
