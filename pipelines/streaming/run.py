"""`stream`: subscription in, decisions out, until it is told to stop.

What enters: a bundle store, a subscription, a state folder. What leaves: decisions, a log, dead
letters, and on the way out a snapshot. Beam pipelines run in generations over one intake and one
service (`pipelines.unbounded`, `service`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import apache_beam as beam
import numpy as np

from configs.errors import InputError, StateError
from configs.schema import EVENT_TIME, Spec
from pipelines.layout import DAY_US, Layout, day_us, locked
from pipelines.progress import Progress, Quiet
from pipelines.pubsub.admin import seek_to_time
from pipelines.pubsub.intake import MicroBatch
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.settings import SourceSettings
from pipelines.streaming.engine import Engine, Resident
from pipelines.streaming.journal import Journal, list_snapshots, save_snapshot
from pipelines.streaming.metrics import ScorerMetrics, serve_metrics
from pipelines.streaming.restore import ORIGIN, from_night, restore, snapshot_files
from pipelines.streaming.service import Service, ServiceSettings
from pipelines.streaming.status import StatusLine
from pipelines.unbounded import open_intake, run_generations
from scoring.bundle import load_bundle
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import Decoded, decode_json

_LOGGER = logging.getLogger(__name__)

# Services of this process by number: a DoFn is pickled and copied, sockets and state are not.
_SERVICES: dict[int, Service] = {}


@dataclasses.dataclass(frozen=True)
class StreamRequest:
    """What is run.

    Attributes:
      bundles: the store; its serving bundle decides, and a change of it is followed.
      source: the subscription and how it is read; `disorder_us` comes from the spec.
      decisions: topic, full name.
      dead_letters: topic for messages that cannot be used; None: the folder only.
      state: folder of log and snapshots; one scorer at a time.
      out: a backfill's output folder, for `from_night`.
      from_night: start from the state at the end of this day; the folder must be fresh.
      seek: set the subscription back to the end of that day.
      metrics_port: Prometheus metrics on 127.0.0.1; None: off.
    """

    bundles: Path
    source: SourceSettings
    decisions: str
    state: Path
    dead_letters: str | None = None
    out: Path | None = None
    from_night: dt.date | None = None
    seek: bool = False
    settings: ServiceSettings = dataclasses.field(default_factory=ServiceSettings)
    metrics_port: int | None = None


@dataclasses.dataclass(frozen=True)
class StreamReport:
    """What a scorer did until it was stopped."""

    counts: dict[str, int]
    generations: int
    next_step: int
    origin: str


def stream(request: StreamRequest, progress: Progress | None = None) -> StreamReport:
    """Scores a subscription until SIGTERM, SIGINT or the idle end of the source settings.

    Raises:
      BundleError: no bundle serves, or it is damaged.
      StateError: the state folder holds another spec's state, or a night is asked for twice.
      BusyError: another scorer holds the state folder.
      InputError: the subscription or topic cannot be used.
    """
    progress = progress or Quiet()
    say = progress.say
    store = Store(request.bundles)
    scorer = Scorer(load_bundle(store.path("serving"), CATALOG))
    spec = scorer.bundle.spec
    with locked(Layout(request.state)):
        journal = Journal(request.state)
        resident, next_step, unpublished, origin = _start(request, spec, journal)
        say(f"bundle {scorer.bundle.fingerprint}; state: {origin}")
        engine = Engine(spec, resident, scorer)
        stopped = threading.Event()
        endpoint = request.source.endpoint
        with TopicPublisher(request.decisions, endpoint, stopped=stopped.is_set) as decisions:
            dead = (
                TopicPublisher(request.dead_letters, endpoint, stopped=stopped.is_set)
                if request.dead_letters
                else None
            )
            service = Service(
                engine,
                journal,
                next_step,
                decisions,
                dead,
                store,
                request.settings,
                stopped.is_set,
            )
            service.republish(unpublished)
            generations = _run(request, spec, service, stopped, progress)
            service.close()
            if dead is not None:
                dead.close()
    return StreamReport(dict(service.counts), generations, service.next_step, origin)


class ScoreMicroBatch(beam.DoFn):
    """Hands a micro-batch to the service of this process; returns when it may be acknowledged."""

    def __init__(self, number: int) -> None:
        self._number = number

    def process(self, micro: MicroBatch) -> None:
        """See `Service.process`."""
        _SERVICES[self._number].process(micro)


def _run(
    request: StreamRequest,
    spec: Spec,
    service: Service,
    stopped: threading.Event,
    progress: Progress,
) -> int:
    settings = dataclasses.replace(request.source, disorder_us=spec.events.disorder_us)
    frontier = service.engine.resident.frontier
    intake = open_intake(settings, _decoder(spec, _begin_us(request)), frontier=frontier)
    number = intake.number
    _SERVICES[number] = service
    if request.metrics_port is not None:
        serve_metrics(ScorerMetrics(service, intake), request.metrics_port)

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopped.is_set():  # the second one: at once; what is not acknowledged comes again
            raise SystemExit(128 + signum)
        stopped.set()
        intake.stop()

    def go_on(failure: RuntimeError) -> bool:
        _LOGGER.error("a pipeline failed, the next one goes on: %s", str(failure)[:500])
        return not stopped.is_set()

    with _signals(stop), progress.live(StatusLine(service, intake)):
        try:
            return run_generations(
                intake,
                lambda batches: batches | "Score" >> beam.ParDo(ScoreMicroBatch(number)),
                go_on,
            )
        finally:
            del _SERVICES[number]
            intake.close()


def _decoder(spec: Spec, begin_us: int | None) -> Callable[[Sequence[bytes]], Decoded]:
    """Decodes payloads; events that a night's state holds already are left out.

    Events more than the deduplication horizon before the night's end cannot be told from those
    that the backfill has folded, so they are taken for folded; later ones are known by their id.
    """

    def decode(payloads: Sequence[bytes]) -> Decoded:
        made = decode_json(spec, payloads, "subscription")
        if begin_us is None:
            return made
        times = made.batch.column(EVENT_TIME).to_numpy()
        fresh = times >= begin_us - spec.events.dedup_us
        if fresh.all():
            return made
        rows = np.flatnonzero(fresh)
        return Decoded(made.batch.take(rows), made.positions[rows], made.dead)

    return decode


def _begin_us(request: StreamRequest) -> int | None:
    return None if request.from_night is None else day_us(request.from_night) + DAY_US


def _start(
    request: StreamRequest, spec: Spec, journal: Journal
) -> tuple[Resident, int, tuple[tuple[int, tuple[bytes, ...]], ...], str]:
    restored = restore(spec, journal)
    if restored is not None:
        if request.from_night is not None and list_snapshots(request.state)[-1][0] >= 0:
            raise StateError(
                f"{request.state} holds a scorer's own state; --from-night starts a new one: give "
                "a fresh --state, or leave --from-night out to go on"
            )
        return restored.resident, restored.next_step, restored.unpublished, restored.origin
    if request.from_night is None:
        resident, origin = Resident.empty(spec), "none (a cold start: windows fill up)"
    else:
        if request.out is None:
            raise InputError("--from-night needs --out, the folder of the backfill")
        resident = from_night(spec, request.out, request.from_night)
        origin = f"the night of {request.from_night}"
        if request.seek:
            begin = day_us(request.from_night) + DAY_US - spec.events.disorder_us
            seek_to_time(request.source.subscription, begin, request.source.endpoint)
    files = snapshot_files(spec, resident, -1)
    night = str(request.from_night) if request.from_night else None
    files |= {ORIGIN: json.dumps({"night": night}).encode()}
    for name, data in files.items():  # what parity replays from, for as long as the log lasts
        path = request.state / "start" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    save_snapshot(request.state, -1, files)  # last: once it is there, a restart goes on from it
    return resident, 0, (), origin


class _signals:
    """SIGTERM and SIGINT call a function while this lasts (in the main thread only)."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._handler)

    def __exit__(self, *failure: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
