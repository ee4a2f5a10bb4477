"""How long things take, counted into buckets: Prometheus histograms without a call per event.

What enters: seconds, one by one per micro-batch, or as an array of its events. What leaves: counts
per bucket and a sum, which `metrics` exports when it is asked.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STAGES = ("decode", "score", "log", "publish", "shadow")
STAGE_BOUNDS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
DECISION_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 5.1, 5.25, 5.5, 6.0, 7.5, 10.0, 15.0, 30.0,
                     60.0, 300.0, 3600.0)  # fmt: skip
"""Finer just beyond 5 s, the disorder bound that configs have unless they say otherwise."""


class Histogram:
    """Counts of values by bucket; one thread adds, any may read.

    Args:
      bounds: upper ends of the buckets, rising; each belongs to its bucket.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._edges = np.asarray(bounds, np.float64)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def add_all(self, values: npt.NDArray[np.float64]) -> None:
        """Counts `[n]` values."""
        places = np.bincount(np.searchsorted(self._edges, values), minlength=len(self._counts))
        self._counts = [a + b for a, b in zip(self._counts, places.tolist(), strict=True)]
        self.sum += float(values.sum())

    def buckets(self) -> list[tuple[str, float]]:
        """(upper end, how many values are at most that), the last one for all: "+Inf".

        >>> histogram = Histogram([1.0, 2.0])
        >>> histogram.add(1.0)
        >>> histogram.add_all(np.array([1.5, 9.0]))
        >>> histogram.buckets(), histogram.sum
        ([('1.0', 1.0), ('2.0', 2.0), ('+Inf', 3.0)], 11.5)
        """
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, itertools.accumulate(self._counts)), strict=True))


class Timings:
    """A scorer's histograms, in seconds.

    Attributes:
      stages: by name: a micro-batch's time in each (decode: of what one pull brought).
      decision: of each decision, when it had been published, less the event's time.
    """

    def __init__(self) -> None:
        self.stages = {name: Histogram(STAGE_BOUNDS_S) for name in STAGES}
        self.decision = Histogram(DECISION_BOUNDS_S)
