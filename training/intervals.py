"""Exact bounds of shares and of counts.

Shares: Clopper and Pearson (Biometrika 26, 1934). Counts: Garwood (Biometrika 28, 1936). Both take
fractions, so that effective events can stand for events (`training.clusters`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Floats = npt.NDArray[np.float64]


def lower_bound(positives: npt.ArrayLike, flagged: npt.ArrayLike, confidence: float) -> Floats:
    """Clopper and Pearson's one-sided lower bound of a share, elementwise.

    Args:
      positives: hits.
      flagged: trials; 0 trials give 0.
      confidence: such as 0.95.

    >>> lower_bound([59, 58], [59, 58], 0.95).round(4).tolist()
    [0.9505, 0.9497]
    """
    hits = np.asarray(positives, np.float64)
    trials = np.asarray(flagged, np.float64)
    bound = special.betaincinv(np.maximum(hits, 1e-300), trials - hits + 1.0, 1.0 - confidence)
    return np.where(hits > 0, bound, 0.0)


def shows_share(
    positives: npt.ArrayLike, flagged: npt.ArrayLike, confidence: float, share: float
) -> npt.NDArray[np.bool_]:
    """Whether `lower_bound` reaches a share, elementwise, without computing it.

    >>> shows_share([59, 58], [59, 58], 0.95, 0.95).tolist()
    [True, False]
    """
    hits = np.asarray(positives, np.float64)
    beyond = special.betainc(
        np.maximum(hits, 1e-300), np.asarray(flagged) - hits + 1.0, min(max(share, 0.0), 1.0)
    )
    return (hits > 0) & (beyond <= 1.0 - confidence) if share > 0.0 else np.ones(len(hits), bool)


def interval(positives: float, flagged: float, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's two-sided interval of a share; 0 trials give (0, 1).

    >>> low, high = interval(5, 10)
    >>> round(low, 3), round(high, 3)
    (0.187, 0.813)
    """
    tail = (1.0 + confidence) / 2.0
    low = float(lower_bound(positives, flagged, tail))
    high = 1.0 - float(lower_bound(flagged - positives, flagged, tail))
    return low, high


def upper_count(count: npt.ArrayLike, confidence: float) -> Floats:
    """Garwood's one-sided upper bound of what a Poisson count was expected to be.

    >>> upper_count([0, 10], 0.95).round(2).tolist()
    [3.0, 16.96]
    """
    return np.asarray(stats.chi2.ppf(confidence, 2.0 * (np.asarray(count) + 1.0)) / 2.0)


def count_interval(count: float, confidence: float = 0.95) -> tuple[float, float]:
    """Garwood's two-sided interval of what a Poisson count was expected to be.

    >>> low, high = count_interval(10)
    >>> round(low, 2), round(high, 2)
    (4.8, 18.39)
    """
    tail = (1.0 + confidence) / 2.0
    low = float(stats.chi2.ppf(1.0 - tail, 2.0 * count)) / 2.0 if count > 0 else 0.0
    return low, float(upper_count(count, tail))
