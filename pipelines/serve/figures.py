"""What a decision server tells of itself: Prometheus figures, and whether it serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from pipelines.serve.answers import Refusal
from pipelines.serve.follower import Follower
from pipelines.streaming.health import Verdict
from pipelines.streaming.timings import Histogram

_BOUNDS_S = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class ServeHealth:
    """Whether a server answers.

    Attributes:
      reason: why it does not; empty: it does.
    """

    def __init__(self) -> None:
        self.reason = "starting"

    def alive(self) -> Verdict:
        """Its loop ends with it."""
        return Verdict(True, "alive")

    def ready(self) -> Verdict:
        """Whether it answers."""
        return Verdict(not self.reason, self.reason or "ready")


class Figures:
    """A collector; the server's loop counts, Prometheus' thread reads."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._decisions = 0
        self._seconds = Histogram(_BOUNDS_S)
        self._follower: Follower | None = None
        self._asked: Callable[[], float] = lambda: 0.0
        self._age: Callable[[], float] = lambda: 0.0

    @property
    def shown(self) -> bool:
        """Whether a follower's figures are among them."""
        return self._follower is not None

    def show(
        self, follower: Follower, asked: Callable[[], float], age_s: Callable[[], float]
    ) -> None:
        """What is told from now on: a state, how many events wait for their answer, its age."""
        self._follower, self._asked, self._age = follower, asked, age_s

    def refused(self, refusal: Refusal) -> None:
        """Counts a request without an answer."""
        self._requests[refusal] += 1

    def answered(self, decisions: int, seconds: float) -> None:
        """Counts an answer."""
        self._requests["OK"] += 1
        self._decisions += decisions
        self._seconds.add(seconds)

    def collect(self) -> Iterator[Metric]:
        """Every metric, as it is now."""
        requests = CounterMetricFamily(
            "lockstep_serve_requests", "Requests by gRPC status.", labels=["code"]
        )
        for code, count in self._requests.copy().items():
            requests.add_metric([code], count)
        yield requests
        yield CounterMetricFamily(
            "lockstep_serve_decisions", "Decisions in answers.", value=self._decisions
        )
        yield HistogramMetricFamily(
            "lockstep_serve_seconds",
            "From a request to its answer, in the server.",
            self._seconds.buckets(),
            self._seconds.sum,
        )
        yield _gauge("serve_waiting_events", "Events that wait for an answer.", self._asked())
        yield _gauge("serve_age_seconds", "Since the scorer's logs were read.", self._age())
        follower = self._follower
        if follower is not None:
            yield _gauge("buffer_events", "Events not folded yet.", len(follower.waiting))
            yield _gauge("next_step", "Number of the next step to fold.", follower.steps)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"lockstep_{name}", about, value=value)
