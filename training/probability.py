"""How far calibrated scores are from shares of abuse: log loss, Brier, ECE, bins for the page."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from training.intervals import interval

Floats = npt.NDArray[np.float64]
Hits = npt.NDArray[np.bool_]

CALIBRATION_EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_ECE_BINS = 15
_LEAST = 1e-15  # log loss of a certain score that is wrong: 34.5, not infinite


@dataclasses.dataclass(frozen=True)
class CalibrationBin:
    """Events with scores in [low, high): their mean score, share of positives, 95 % interval."""

    low: float
    high: float
    events: int
    positives: int
    mean_score: float
    share: float
    share_low: float
    share_high: float


@dataclasses.dataclass(frozen=True)
class HistogramBin:
    """Labelled events with scores in [low, high), by class."""

    low: float
    high: float
    negatives: int
    positives: int


def log_loss(scores: Floats, hits: Hits) -> float:
    """Mean of -log of what was said of what happened, in nats; scores clipped at 1e-15.

    >>> round(log_loss(np.array([0.9, 0.2]), np.array([True, False])), 4)
    0.1643
    """
    said = np.clip(np.where(hits, scores, 1.0 - scores), _LEAST, 1.0)
    return float(-np.mean(np.log(said)))


def brier(scores: Floats, hits: Hits) -> float:
    """Mean squared distance of score and outcome.

    >>> round(brier(np.array([0.9, 0.2]), np.array([True, False])), 4)
    0.025
    """
    return float(np.mean((scores - hits) ** 2))


def expected_calibration_error(scores: Floats, hits: Hits) -> float:
    """Mean distance of score and share over bins of equal counts; equal scores share a bin.

    Bins of equal width would put nearly all events of a rare class into the first one.

    >>> expected_calibration_error(np.array([0.5, 0.5]), np.array([True, False]))
    0.0
    """
    order = np.argsort(scores, kind="stable")
    ordered, outcome = scores[order], hits[order].astype(np.float64)
    first = np.searchsorted(ordered, ordered, side="left")
    which = first * _ECE_BINS // len(ordered)
    gap = np.bincount(which, ordered - outcome, minlength=_ECE_BINS)
    return float(np.abs(gap).sum() / len(ordered))


def calibration_bins(scores: Floats, hits: Hits) -> tuple[CalibrationBin, ...]:
    """What was predicted and what happened, per bin that holds events; the last bin includes 1.

    >>> bin, = calibration_bins(np.array([0.99, 1.0]), np.array([True, True]))
    >>> bin.low, bin.events, bin.share
    (0.99, 2, 1.0)
    """
    edges = CALIBRATION_EDGES
    which = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    events = np.bincount(which, minlength=len(edges) - 1)
    positives = np.bincount(which, hits, minlength=len(edges) - 1).astype(np.int64)
    sums = np.bincount(which, scores, minlength=len(edges) - 1)
    made = []
    for at in np.flatnonzero(events).tolist():
        count, found = int(events[at]), int(positives[at])
        low, high = interval(found, count)
        made.append(
            CalibrationBin(
                low=float(edges[at]),
                high=float(edges[at + 1]),
                events=count,
                positives=found,
                mean_score=float(sums[at]) / count,
                share=found / count,
                share_low=low,
                share_high=high,
            )
        )
    return tuple(made)


def histogram(scores: Floats, hits: Hits, bins: int = 40) -> tuple[HistogramBin, ...]:
    """Counts of each class over bins of equal width in [0, 1]; the last bin includes 1.

    >>> [bin.positives for bin in histogram(np.array([0.1, 1.0]), np.array([False, True]), 2)]
    [0, 1]
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    positives = np.histogram(scores[hits], edges)[0]
    negatives = np.histogram(scores[~hits], edges)[0]
    return tuple(
        HistogramBin(float(edges[at]), float(edges[at + 1]), int(negatives[at]), int(positives[at]))
        for at in range(bins)
    )
