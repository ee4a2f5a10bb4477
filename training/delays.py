"""How long verdicts take: the share that has come by a delay, estimated while events are young.

What enters: for each judged event how long its first verdict took, and how old the event is now.
What leaves: a curve with intervals. A plain histogram of delays would show short ones alone: of a
young event only a quick verdict can be seen. So the delays are taken for right-truncated, and the
curve is Lynden-Bell's product-limit estimator in reversed time (Monthly Notices of the RAS 155,
1971; for delays of reports: Lagakos, Barraj, De Gruttola, Biometrika 75, 1988), with Greenwood's
variance on the scale of log(-log). That is none where the share is 0 or 1: there the bound is that
of a binomial share of which nothing, or all, was seen (Clopper and Pearson, Biometrika 26, 1934).

What takes longer than the oldest event is old cannot be seen: shares are of the verdicts that come
within the longest age.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class DelayCurve:
    """The share of verdicts that has come by a delay.

    Attributes:
      delays: int64 `[m]`, those that were seen, ascending, in microseconds.
      share: float64 `[m]`, at or before each, between 0 and 1.
      low, high: float64 `[m]`, bounds of the interval.
      events: how many delays it is made of.
    """

    delays: Ints
    share: Floats
    low: Floats
    high: Floats
    events: int

    def at(self, delay_us: int) -> tuple[float, float, float]:
        """Share, lower and upper bound by a delay.

        >>> delay_curve(np.array([1, 2, 2, 3]), np.array([9, 9, 9, 9])).at(2)[0]
        0.75
        """
        place = int(np.searchsorted(self.delays, delay_us, side="right")) - 1
        if place < 0:
            return 0.0, 0.0, float(self.low[0]) if self.events else 1.0
        return float(self.share[place]), float(self.low[place]), float(self.high[place])

    def shares(self, delays: Ints) -> Floats:
        """The share by each of some delays: float64 `[n]`. The curve has events.

        >>> curve = delay_curve(np.array([1, 2, 2, 3]), np.array([9, 9, 9, 9]))
        >>> curve.shares(np.array([0, 2, 9])).tolist()
        [0.0, 0.75, 1.0]
        """
        place = np.searchsorted(self.delays, delays, side="right") - 1
        return np.where(place >= 0, self.share[np.maximum(place, 0)], 0.0)

    def quantile(self, share: float) -> int | None:
        """The shortest delay by which such a share has come; None without any verdict.

        >>> delay_curve(np.array([1, 2, 2, 3]), np.array([9, 9, 9, 9])).quantile(0.5)
        2
        """
        place = int(np.searchsorted(self.share, share - 1e-12))
        return int(self.delays[min(place, len(self.delays) - 1)]) if self.events else None


def well_seen(delays: Ints, ages: Ints, least: int) -> tuple[Ints, Ints]:
    """Delays, and ages, up to the longest that at least so many could have been seen with.

    The curve is a product over delays: a delay that one event alone could have had makes all before
    it nothing. Such are the longest, of the oldest events. Shares are then of what comes by there.

    Args:
      delays, ages: int64 `[n]`, as in :func:`delay_curve`.
      least: events that were judged by a delay, and are as old.

    >>> [one.tolist() for one in well_seen(np.array([1, 2, 9]), np.array([8, 8, 9]), 2)]
    [[1, 2], [8, 8]]
    """
    seen, at_risk = np.unique(delays), _at_risk(delays, ages)
    enough = seen[at_risk >= least]
    kept = delays <= enough[-1] if len(enough) else np.zeros(len(delays), np.bool_)
    return delays[kept], ages[kept]


def _at_risk(delays: Ints, ages: Ints) -> Ints:
    """Who could have been seen with just each delay, and was with that or a shorter one."""
    seen, times = np.unique(delays, return_counts=True)
    made: Ints = np.cumsum(times) - np.searchsorted(np.sort(ages), seen, side="left")
    return made


def delay_curve(delays: Ints, ages: Ints, confidence: float = 0.95) -> DelayCurve:
    """The curve of delays that are seen only where they are not longer than the event is old.

    Args:
      delays: int64 `[n]`, of the first verdict after its event, microseconds.
      ages: int64 `[n]`, of the event at the moment of knowing; no smaller than its delay.
      confidence: of the interval at each delay.

    Raises:
      ValueError: a delay is longer than its event is old.

    >>> made = delay_curve(np.array([1, 1, 5]), np.array([2, 9, 9]))  # one is too young for 5
    >>> made.share.round(3).tolist()
    [0.5, 1.0]
    """
    if np.any(delays > ages):
        raise ValueError("a delay is longer than its event is old")
    seen, times = np.unique(delays, return_counts=True)
    at_risk = _at_risk(delays, ages)
    hazard = times / np.maximum(at_risk, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log1p(-hazard)
        spread = times / (at_risk * (at_risk - times))
    log_share = np.append(np.cumsum(steps[::-1])[::-1][1:], 0.0)[: len(seen)]
    variance = np.append(np.cumsum(spread[::-1])[::-1][1:], 0.0)[: len(seen)]
    share = np.exp(log_share)
    half = ndtri((1 + confidence) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.exp(half * np.sqrt(variance) / -log_share)
        low, high = np.exp(log_share * width), np.exp(log_share / width)
    # All that could be seen with a delay were seen with just that one: the share before it is 0.
    fewest = np.minimum.accumulate(np.where(times == at_risk, at_risk, len(delays))[::-1])[::-1]
    tail = (1 - confidence) / 2
    low[share == 0], high[share == 0] = 0.0, (1 - tail ** (1 / np.roll(fewest, -1)))[share == 0]
    low[share == 1], high[share == 1] = tail ** (1 / at_risk[share == 1]), 1.0
    return DelayCurve(seen, share, low, high, len(delays))
