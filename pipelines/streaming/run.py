"""`stream`: subscription in, decisions out, until it is told to stop.

One loop (`loop`) over one intake and one service (`service`); after a failure the service reads its
state from disk again (`recovery`). On the way out it leaves a snapshot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import gc
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from configs.errors import LockstepError
from configs.schema import Spec
from pipelines.collector import collect_briefly
from pipelines.layout import Layout, locked
from pipelines.progress import Progress, Quiet
from pipelines.pubsub.admin import check_seekable, seek_to_time
from pipelines.pubsub.client import Puller
from pipelines.pubsub.intake import Intake, Logged
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.settings import Ack, DecideAt, SourceSettings
from pipelines.snapshots import opened as snapshots_opened
from pipelines.streaming.arrivals import ArrivalLog, KeptArrivals
from pipelines.streaming.at_arrival import FOLDER, AtArrival
from pipelines.streaming.counts import Counts
from pipelines.streaming.dead_letters import DeadLetters
from pipelines.streaming.disk import retry_until_written
from pipelines.streaming.health import Health
from pipelines.streaming.journal import Journal
from pipelines.streaming.loop import run_loop
from pipelines.streaming.metrics import HOST, MetricsServer, ScorerMetrics
from pipelines.streaming.recovery import Patience, Recovery
from pipelines.streaming.restore import Restored, restore
from pipelines.streaming.service import Service, ServiceSettings
from pipelines.streaming.shadow import SHARE, Shadow
from pipelines.streaming.start import (
    Decoder,
    begin,
    check_streamable,
    night_end_us,
)
from pipelines.streaming.status import StatusLine
from pipelines.streaming.stopping import Stopping
from scoring.bundle import load_bundle
from scoring.controls import read_controls
from scoring.engine import Engine
from scoring.files import Place, exists, join
from scoring.manifest import MANIFEST
from scoring.scorer import Scorer
from scoring.shadow import check_shadow
from scoring.store import Store
from transforms.catalog import CATALOG

_SWITCH_S = 0.0005


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
      settings: of retention and polling.
      patience: how often it recovers from failures in a row.
      metrics_port, metrics_host: Prometheus metrics and health; None: off.
      shadow: a bundle that scores beside the one that decides, without acting: its folder, or its
        fingerprint in the store; None: none does.
      shadow_share: of one core that it may take.
    """

    bundles: Place
    source: SourceSettings
    decisions: str
    state: Path
    dead_letters: str | None = None
    out: Place | None = None
    from_night: dt.date | None = None
    seek: bool = False
    settings: ServiceSettings = dataclasses.field(default_factory=ServiceSettings)
    patience: Patience = dataclasses.field(default_factory=Patience)
    metrics_port: int | None = None
    metrics_host: str = HOST
    shadow: str | None = None
    shadow_share: float = SHARE


@dataclasses.dataclass(frozen=True)
class StreamReport:
    """What a scorer did until it was stopped."""

    counts: Counts
    next_step: int
    origin: str


def stream(request: StreamRequest, progress: Progress | None = None) -> StreamReport:
    """Scores a subscription until SIGTERM, SIGINT or the idle end of the source settings.

    Raises:
      BundleError: no bundle serves, or it is damaged.
      ConfigError: the bundle's config cannot be streamed.
      StateError: the state folder holds another spec's state, or a night is asked for twice; or
        the bundle needs a snapshot of the social graph, and there is none; or the shadow needs
        other state than the bundle that serves.
      BusyError: another scorer holds the state folder.
      InputError: the subscription, a topic, a port or the state folder cannot be used.
      LockstepError: a micro-batch failed again and again.
    """
    progress = progress or Quiet()
    with contextlib.ExitStack() as opened:
        stopping = opened.enter_context(Stopping())
        metrics, health = None, Health(stopping)
        if request.metrics_port is not None:
            metrics = opened.enter_context(
                MetricsServer(request.metrics_port, health, request.metrics_host)
            )
        scorer = Scorer(load_bundle(Store(request.bundles).path("serving"), CATALOG))
        scorer = scorer.under(read_controls(request.bundles))
        check_streamable(scorer.bundle.spec)
        beside = _load_shadow(request, scorer.bundle.spec)
        opened.enter_context(locked(Layout(request.state), "--state"))
        journal = Journal(request.state)
        restored = _begin(request, scorer.bundle.spec, journal)
        progress.say(f"bundle {scorer.bundle.fingerprint}; state: {restored.origin}")
        arrivals = KeptArrivals(request.state, stopping)
        opened.callback(arrivals.log.close)
        undone = arrivals.log.recover(restored.done)
        service = _service(request, scorer, journal, restored, stopping, arrivals.log, opened)
        if beside is not None:
            service.shadow = _shadow(request, beside, service)
            opened.callback(service.shadow.close)
            progress.say(
                f"shadow {beside.bundle.fingerprint}, {request.shadow_share:.0%} of a core"
            )
        service.republish(restored.unpublished)
        _run(request, service, journal, arrivals, undone, stopping, metrics, health, progress)
        service.close()
    return StreamReport(service.counts, service.next_step, restored.origin)


def _load_shadow(request: StreamRequest, spec: Spec) -> Scorer | None:
    """The challenger's scorer, under no controls; None: there is none.

    Raises:
      BundleError: there is no such bundle, or it is damaged.
      StateError: it needs other state than the bundle that serves, or reads events otherwise.
    """
    if request.shadow is None:
        return None
    place: Place = request.shadow
    if not exists(join(place, MANIFEST)):
        place = Store(request.bundles).path(request.shadow)
    scorer = Scorer(load_bundle(place, CATALOG))
    check_shadow(spec, scorer.bundle.spec)
    return scorer


def _shadow(request: StreamRequest, scorer: Scorer, service: Service) -> Shadow:
    made = Shadow(
        scorer,
        request.state,
        service.counts,
        service.timings.stages["shadow"],
        request.shadow_share,
        request.settings.keep_log_days * 86_400.0,
    )
    made.start()
    return made


@contextlib.contextmanager
def _short_pauses() -> Iterator[None]:
    """Threads wait less for each other, and for the garbage collector.

    A thread that publishes, flushes or loads a bundle would wait for the interpreter, and hold it,
    for 5 ms at a time.
    """
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_S)
    collect_briefly()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(interval)


def _begin(request: StreamRequest, spec: Spec, journal: Journal) -> Restored:
    def seek_back(time_us: int) -> None:
        if request.seek:
            check_seekable(request.source.subscription, time_us, request.source.endpoint)
            seek_to_time(request.source.subscription, time_us, request.source.endpoint)

    return begin(spec, journal, request.out, request.from_night, seek_back)


def _service(
    request: StreamRequest,
    scorer: Scorer,
    journal: Journal,
    restored: Restored,
    stopping: Stopping,
    arrivals: ArrivalLog,
    opened: contextlib.ExitStack,
) -> Service:
    def topic(name: str) -> TopicPublisher:
        """Waits for a server that is away for as long as it takes, or until it is to end."""
        endpoint = request.source.endpoint
        return opened.enter_context(
            TopicPublisher(name, endpoint, math.inf, stopped=lambda: stopping.asked)
        )

    dead = topic(request.dead_letters) if request.dead_letters else None
    decisions = topic(request.decisions)
    first = None
    looks = request.source.decide is DecideAt.AT_ARRIVAL
    if looks or (request.state / FOLDER).is_dir():  # what was decided at arrival stands
        write = functools.partial(retry_until_written, request.state, stopping=stopping)
        first = AtArrival(request.state, decisions.publish, write, looks)
        first.republish()
    return Service(
        Engine(
            scorer.bundle.spec,
            restored.resident,
            scorer,
            snapshots_opened(scorer.bundle.spec, request.bundles),
        ),
        journal,
        restored.next_step,
        decisions,
        DeadLetters(request.state, dead, request.settings.keep_dead_days),
        Store(request.bundles),
        request.settings,
        stopping,
        arrivals,
        restored.done,
        first,
    )


def _run(
    request: StreamRequest,
    service: Service,
    journal: Journal,
    arrivals: KeptArrivals,
    undone: list[Logged],
    stopping: Stopping,
    metrics: MetricsServer | None,
    health: Health,
    progress: Progress,
) -> None:
    spec = service.engine.spec
    settings = dataclasses.replace(request.source, disorder_us=spec.events.disorder_us)
    decoder = Decoder(
        spec, night_end_us(request.state), service.counts, service.timings.stages["decode"]
    )
    position = service.engine.resident.position
    puller = Puller(settings.pull())
    kept = arrivals if settings.ack is Ack.ARRIVED else None
    intake = Intake(
        spec, settings, decoder, puller, None, position, kept, service.decides_at_arrival
    )
    intake.recover(undone)
    progress.say(f"ready; {intake.unfinished:,} messages of the arrival log go on")
    stopping.draining(intake.stop)
    health.begin(puller)
    if metrics is not None:
        metrics.show(ScorerMetrics(service, intake))
    if service.watch is not None:
        service.watch.look_for_campaigns(spec)  # before the first event
        service.watch.start()

    def from_disk() -> Restored:
        found = restore(service.engine.spec, journal)
        if found is None:
            raise LockstepError(f"{request.state} holds no snapshot any more; start again")
        return found

    try:
        with progress.live(StatusLine(service, intake)), _short_pauses():
            recovery = Recovery(service, from_disk, stopping, request.patience)
            run_loop(intake, service.process, recovery, health.turn, service.follow)
    finally:
        if service.watch is not None:
            service.watch.stop()
        intake.close()
