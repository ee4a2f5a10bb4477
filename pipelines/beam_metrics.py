"""Beam's metrics of a run, as its report shows them.

Names carry their units: a counter `events`, a distribution `state_bytes_per_shard`. Engines count
attempts, so a bundle that was retried may be counted twice; what a report says of days, events and
dead letters is taken from what was published, not from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from apache_beam.metrics import MetricsFilter


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Values that were seen: how many, their sum, the smallest and the largest.

    >>> Distribution(2, 10, 3, 7).add(Distribution(1, 1, 1, 1))
    Distribution(count=3, sum=11, min=1, max=7)
    """

    count: int
    sum: int
    min: int
    max: int

    @property
    def mean(self) -> float:
        """Of the values; 0 of none."""
        return self.sum / self.count if self.count else 0.0

    def add(self, other: Distribution) -> Distribution:
        """Of the values of both."""
        if not (self.count and other.count):
            return self if self.count else other
        return Distribution(
            self.count + other.count,
            self.sum + other.sum,
            min(self.min, other.min),
            max(self.max, other.max),
        )


@dataclasses.dataclass(frozen=True)
class RunMetrics:
    """Metrics of one or more pipelines, by name.

    >>> RunMetrics({"events": 2}).add(RunMetrics({"events": 3})).counters
    {'events': 5}
    """

    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    distributions: Mapping[str, Distribution] = dataclasses.field(default_factory=dict)

    def add(self, other: RunMetrics) -> RunMetrics:
        """Of both."""
        none = Distribution(0, 0, 0, 0)
        return RunMetrics(
            {
                name: self.counters.get(name, 0) + other.counters.get(name, 0)
                for name in sorted({*self.counters, *other.counters})
            },
            {
                name: self.distributions.get(name, none).add(other.distributions.get(name, none))
                for name in sorted({*self.distributions, *other.distributions})
            },
        )

    def lines(self) -> list[str]:
        """In words.

        >>> RunMetrics({"events": 5}, {"rows_per_shard": Distribution(2, 5, 1, 4)}).lines()
        ['counted: events 5', 'rows per shard: 1 to 4, mean 2.5, of 2']
        """
        counted = ", ".join(f"{name} {count:,}" for name, count in self.counters.items())
        seen = [
            f"{name.replace('_', ' ')}: {one.min:,} to {one.max:,}, mean {one.mean:,.1f}, "
            f"of {one.count:,}"
            for name, one in self.distributions.items()
        ]
        return [f"counted: {counted}", *seen] if counted else seen


def read_metrics(result: Any) -> RunMetrics:
    """The metrics of Lockstep's steps; none where a runner has none.

    Args:
      result: of a pipeline that has ended.
    """
    try:
        found = result.metrics().query(MetricsFilter().with_namespace("lockstep"))
    except NotImplementedError:
        return RunMetrics()
    made = RunMetrics()
    for one in found["counters"]:
        counted = int(one.result or 0)  # None on Prism, of a counter that nothing was added to
        made = made.add(RunMetrics({one.key.metric.name: counted}))
    for one in found["distributions"]:
        if one.result is not None and one.result.count:
            seen = one.result
            of = Distribution(int(seen.count), int(seen.sum), int(seen.min), int(seen.max))
            made = made.add(RunMetrics({}, {one.key.metric.name: of}))
    # Runners list what was never added to, or do not: so that reports agree, none do.
    return dataclasses.replace(made, counters={k: v for k, v in made.counters.items() if v})
