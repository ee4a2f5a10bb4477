"""Prometheus metrics and health of a running scorer, on loopback, off unless asked for.

What enters: a service and its health. What leaves: text that Prometheus scrapes at /metrics, and
200 or 503 with a reason at /livez and /readyz. Numbers are read when they are asked for; the
scorer's loop counts per micro-batch, not per event. No metric has a label that names an account.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import ThreadingWSGIServer

from configs.errors import InputError
from pipelines.layout import day_us
from pipelines.streaming.health import Verdict

if TYPE_CHECKING:
    from pipelines.streaming.service import Service

HOST = "127.0.0.1"


class WaitingFigures(Protocol):
    """What an intake tells."""

    @property
    def held(self) -> int:
        """Events in the disorder buffer."""

    @property
    def unfinished(self) -> int:
        """Messages that are not acknowledged."""

    @property
    def watermark_us(self) -> int | None:
        """No earlier event is expected."""


class Collector(Protocol):
    """What Prometheus' registry asks."""

    def collect(self) -> Iterator[Metric]:
        """Every metric, as it is now."""


class Probed(Protocol):
    """What answers probes (`pipelines.streaming.health.Health`)."""

    def alive(self) -> Verdict:
        """False: start it again."""

    def ready(self) -> Verdict:
        """False: it does not serve now."""


class ScorerMetrics:
    """A collector over a service and its intake."""

    def __init__(self, service: Service, intake: WaitingFigures) -> None:
        self._service, self._intake = service, intake

    def collect(self) -> Iterator[Metric]:
        """Every metric, as it is now."""
        counts = self._service.counts
        for name, (value, about) in counts.totals().items():
            yield CounterMetricFamily(f"lockstep_{name}", about, value=value)
        actions = CounterMetricFamily("lockstep_actions", "Decisions by action.", labels=["action"])
        for action, count in counts.actions.copy().items():
            actions.add_metric([action], count)
        held = CounterMetricFamily("lockstep_withheld", "Actions held back.", labels=["by"])
        for by, count in counts.withheld.copy().items():
            held.add_metric([by], count)
        dead = CounterMetricFamily("lockstep_dead_letters", "Lost records.", labels=["reason"])
        for reason, count in counts.dead_letters.copy().items():
            dead.add_metric([reason], count)
        full = CounterMetricFamily(
            "lockstep_saturated_values",
            "Values that an aggregate could not hold.",
            labels=["aggregate"],
        )
        for aggregate, count in counts.saturated.copy().items():
            full.add_metric([aggregate], count)
        yield actions
        yield held
        yield dead
        yield full
        yield _gauge("buffer_events", "Events in the disorder buffer.", self._intake.held)
        yield _gauge("unacknowledged", "Messages held.", self._intake.unfinished)
        watermark = self._intake.watermark_us
        if watermark is not None:
            lag = time.time() - watermark / 1e6
            yield _gauge("watermark_lag_seconds", "Now less the watermark.", lag)
        keys = GaugeMetricFamily("lockstep_keys", "Keys with state.", labels=["entity"])
        for entity, state in self._service.engine.resident.states.items():
            keys.add_metric([entity], len(state))
        yield keys
        size = GaugeMetricFamily("lockstep_state_bytes", "Packed state.", labels=["entity"])
        for entity, state in self._service.engine.resident.states.items():
            size.add_metric([entity], state.nbytes)
        yield size
        scorer = self._service.engine.scorer
        if scorer is not None:
            age = time.time() - _night_s(scorer.bundle.provenance)
            yield _gauge("bundle_age_seconds", "Since the night that made the bundle.", age)
            info = GaugeMetricFamily("lockstep_bundle", "The bundle.", labels=["fingerprint"])
            info.add_metric([scorer.bundle.fingerprint], 1)
            yield info
        yield _gauge("next_step", "Number of the next logged step.", self._service.next_step)
        timings = self._service.timings
        stages = HistogramMetricFamily(
            "lockstep_stage_seconds", "Time of a micro-batch in a stage.", labels=["stage"]
        )
        for stage, seconds in timings.stages.items():
            stages.add_metric([stage], seconds.buckets(), seconds.sum)
        yield stages
        yield HistogramMetricFamily(
            "lockstep_decision_seconds",
            "From an event's time to its published decision.",
            timings.decision.buckets(),
            timings.decision.sum,
        )


def _night_s(provenance: Mapping[str, Any]) -> float:
    """Midnight UTC of the night that a bundle is of, in seconds; NaN where it does not tell."""
    try:
        night = dt.date.fromisoformat(str(provenance["as_of"]))
    except (KeyError, ValueError):
        return math.nan
    return day_us(night) / 1e6


class MetricsServer:
    """Serves metrics and health from a thread while this context lasts; no metric before `show`.

    Args:
      port: of `host`.
      health: what is answered at /livez and /readyz.
      host: loopback unless somebody chooses otherwise: whoever reaches it may read.

    Raises:
      InputError: on entering, the address cannot be had.
    """

    def __init__(self, port: int, health: Probed, host: str = HOST) -> None:
        self._host, self._port, self._registry = host, port, CollectorRegistry()
        self._metrics = make_wsgi_app(self._registry)
        self._asked: dict[str, Callable[[], Verdict]] = {
            "/livez": health.alive,
            "/readyz": health.ready,
        }

    def show(self, collector: Collector) -> None:
        """What is served from now on."""
        self._registry.register(collector)

    def __enter__(self) -> MetricsServer:
        try:
            self._server = make_server(
                self._host, self._port, self._answer, ThreadingWSGIServer, _Silent
            )
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "no such port"
            raise InputError(
                f"metrics cannot be served on {self._host}:{self._port} ({why}); give another "
                "--metrics-port or --metrics-host, or none"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        ask = self._asked.get(environ["PATH_INFO"])
        if ask is None:
            return self._metrics(environ, start_response)  # type: ignore[no-any-return]
        verdict = ask()
        status = "200 OK" if verdict.holds else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{verdict.reason}\n".encode()]


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a probe each second is not worth a line."""


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"lockstep_{name}", about, value=value)
