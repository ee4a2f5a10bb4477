"""Bounds of totals that rest on few heavy labels, and of shares of two such totals.

A variance that is estimated from what was seen knows nothing of the rare event that was not drawn:
where audits see one in a hundred and drew no missed abuse, there may still be hundreds. So what is
flagged and what is not are two strata, each with bounds of its own:

- Fay and Feuer (Statistics in Medicine 16, 1997): gamma bounds of a weighted sum of counts; the
  upper one as if one more of the heaviest weight had come. With equal weights they are Garwood's
  times the weight, also where nothing was seen; here with the moments of a draw of finitely many.
- MOVER (Zou and Donner, Statistics in Medicine 27, 2008; of ratios: Donner and Zou, Statistical
  Methods in Medical Research 21, 2012): the bounds of independent totals make those of their sum,
  difference and ratio.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Total:
    """How many of a stratum are abuse: what is estimated, and its bounds."""

    value: float
    low: float
    high: float


def bound_total(
    truth: Floats,
    expected: Floats,
    weight: Floats,
    chance: Floats,
    known: float,
    count: int,
    confidence: float,
) -> Total:
    """Abuse in a stratum, from its labels that were drawn by chance.

    Args:
      truth: float64 `[m]`, 1 of abuse; the events that were seen.
      expected: float64 `[m]`, the share of abuse expected of each; 0 where nothing is.
      weight: float64 `[m]`, mostly one over the chance.
      chance: float64 `[m]`, with which it was seen.
      known: the sum of what is expected of all events of the stratum, seen or not.
      count: events of the stratum.
      confidence: two-sided.

    >>> seen = np.full(1000, 0.01)
    >>> none = bound_total(np.zeros(1000), np.zeros(1000), 1 / seen, seen, 0.0, 100_000, 0.95)
    >>> none.value, none.low, round(none.high)
    (0.0, 0.0, 367)
    """
    above, below = weight * (1.0 - expected) * truth, weight * expected * (1.0 - truth)
    hidden = 1.0 - chance
    found, varies = float(above.sum()), float(np.sum(hidden * above**2))
    could = weight * (1.0 - expected)
    heaviest = int(np.argmax(could)) if len(could) else 0
    more = float(could[heaviest]) if len(could) else 0.0
    left = float(hidden[heaviest]) if len(could) else 0.0
    tail = (1.0 - confidence) / 2.0
    low = _gamma(found, varies, tail)
    high = _gamma(found + more * left, varies + more**2 * left, 1.0 - tail)
    spread = float(stats.norm.ppf(1.0 - tail) ** 2 * np.sum(hidden * below**2))
    least = float(truth.sum())
    most = count - float(len(truth) - least)
    value = min(max(known + found - float(below.sum()), least), most)
    return Total(
        value,
        max(value - math.hypot(found - low, math.sqrt(spread)), least),
        min(value + math.hypot(high - found, math.sqrt(spread)), most),
    )


def bound_sum(one: Total, other: Total) -> tuple[float, float]:
    """Bounds of the sum of two independent totals."""
    value = one.value + other.value
    return (
        value - math.hypot(one.value - one.low, other.value - other.low),
        value + math.hypot(one.high - one.value, other.high - other.value),
    )


def bound_share(of: Total, rest: Total) -> tuple[float, float]:
    """Bounds of the share that one total has of both, which are independent.

    >>> low, high = bound_share(Total(400, 350, 450), Total(0, 0, 367))
    >>> round(low, 2), high
    (0.52, 1.0)
    """
    missed, caught = _largest_ratio(rest, of), _largest_ratio(of, rest)
    return 1.0 / (1.0 + missed), 1.0 - 1.0 / (1.0 + caught)


def _largest_ratio(above: Total, below: Total) -> float:
    """The upper bound of a ratio (Donner and Zou 2012)."""
    under = below.low * (2.0 * below.value - below.low)
    if not under > 0.0:
        return math.inf
    both = above.value * below.value
    over = above.high * (2.0 * above.value - above.high)
    return (both + math.sqrt(max(both**2 - over * under, 0.0))) / under


def _gamma(mean: float, variance: float, below: float) -> float:
    if not (variance > 0.0 and mean > 0.0):
        return mean
    return float(stats.gamma.ppf(below, mean**2 / variance, scale=variance / mean))
