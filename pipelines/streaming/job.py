"""`stream --runner …`: the scorer as a streaming job of an engine.

What enters: a request. What leaves: a job that runs until it is cancelled. A fresh state folder is
begun as the embedded scorer begins one: `start/` beside the log holds the state and the night that
parity replays from.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path

from configs.errors import InputError, StateError
from configs.schema import Spec
from pipelines.campaign_snapshots import require_campaigns
from pipelines.layout import DAY_US, Layout, day_us
from pipelines.progress import Progress, Quiet
from pipelines.pubsub.admin import check_seekable, seek_to_time
from pipelines.pubsub.leases import LONGEST_LEASE_S, remembered_for
from pipelines.pubsub.session import ReaderSettings
from pipelines.runners import Running, run_stream
from pipelines.snapshots import Followed, beside, seen_by
from pipelines.streaming.build import Job, build
from pipelines.streaming.journal import list_segments, list_snapshots
from pipelines.streaming.restore import ORIGIN, from_night, snapshot_files
from pipelines.streaming.sinks import write_file
from pipelines.streaming.start import START, begun_with, check_streamable
from scoring.bundle import Bundle
from scoring.files import is_local, join
from scoring.serving import POLL_SECONDS, Serving
from transforms.ticks import TickSettings


@dataclasses.dataclass(frozen=True)
class JobRequest:
    """What is run.

    Attributes:
      bundles: the store; its serving bundle decides, and a change of it is followed.
      reader: the subscription and how it is read; `disorder_us` comes from the spec.
      decisions: topic, full name.
      state: folder of log and dead letters.
      running: the engine, by Beam's flags.
      dead_letters: topic for messages that cannot be used; None: the folder only.
      out: a backfill's output folder, for `from_night`.
      from_night: begin with the state at the end of this day.
      seek: set the subscription back to the end of that day.
      ticks: how event time is cut.
      poll_seconds: how often the store's pointer is looked at.
      detach: leave the job running and return.
      graph_store: where accounts of the social graph are looked up; None: in the snapshots' files.
    """

    bundles: str
    reader: ReaderSettings
    decisions: str
    state: str
    running: Running
    dead_letters: str | None = None
    out: str | None = None
    from_night: dt.date | None = None
    seek: bool = False
    ticks: TickSettings = dataclasses.field(default_factory=TickSettings)
    poll_seconds: float = POLL_SECONDS
    detach: bool = False
    graph_store: str | None = None


def stream_job(request: JobRequest, progress: Progress | None = None) -> None:
    """Runs a job until it is cancelled, or leaves it running.

    Raises:
      BundleError: no bundle serves, or it is damaged.
      ConfigError: the bundle's config cannot be streamed.
      StateError: there is no such night, the state folder is another scorer's or began with another
        night, or decisions are to name campaigns, and there is no snapshot of them.
      InputError: the subscription or the state folder cannot be used, or a night is asked for where
        an engine does not take it over.
      LockstepError: the job failed.
    """
    progress = progress or Quiet()
    bundle = serving_bundle(request.bundles)
    check_streamable(bundle.spec)
    job = make_job(request, bundle.spec)
    progress.say(f"bundle {bundle.fingerprint}; night: {request.from_night or 'none'}")
    run_stream(lambda root: build(root, job), request.running, request.detach)


def serving_bundle(bundles: str) -> Bundle:
    """The bundle that a store serves, on any filesystem of Beam's.

    Raises:
      BundleError: there is none, or it is damaged.
    """
    return Serving(bundles).current().bundle


def make_job(request: JobRequest, spec: Spec) -> Job:
    """The job of a request; a state folder that is fresh is begun."""
    sees = None
    if seen_by(spec, request.bundles).of(spec) is not None:
        sees = Followed(beside(request.bundles), spec, store=request.graph_store)
        sees.current()  # what is wrong with it is told before there is a job
    require_campaigns(spec, request.bundles)
    night, first_us = _begin(request, spec)
    return Job(
        spec=spec,
        reader=dataclasses.replace(request.reader, disorder_us=spec.events.disorder_us),
        bundles=request.bundles,
        decisions=request.decisions,
        state=request.state,
        dead_letters=request.dead_letters,
        ticks=dataclasses.replace(
            request.ticks,
            behind_us=spec.events.disorder_us if request.running.native_pubsub else 0,
            remember_s=remembered_for(LONGEST_LEASE_S),  # the subscription's may be any
        ),
        night=night,
        first_us=first_us,
        native=request.running.native_pubsub,
        stable=request.running.goes_back,
        poll_seconds=request.poll_seconds,
        sees=sees,
    )


def _begin(request: JobRequest, spec: Spec) -> tuple[Mapping[str, str] | None, int | None]:
    """The files of the night's state, and the time before which all events are its own."""
    night = request.from_night
    goes_on = is_local(request.state) and _goes_on(request)
    if night is None:
        return None, None
    if request.running.native_pubsub:
        raise InputError(
            "--from-night goes with the embedded scorer, FlinkRunner and PrismRunner; no job "
            "was run on Dataflow from a night. Start cold there"
        )
    if request.out is None:
        raise InputError("--from-night needs --out, the folder of the backfill")
    end_us = day_us(night) + DAY_US
    if not goes_on:
        files = snapshot_files(spec, from_night(spec, request.out, night), -1)
        files |= {ORIGIN: json.dumps({"night": str(night)}).encode()}
        back_us, subscription = end_us - spec.events.disorder_us, request.reader.subscription
        if request.seek:
            check_seekable(subscription, back_us, request.reader.endpoint)
        for name, data in files.items():  # what parity begins a replay with
            write_file(join(request.state, START, name), data)
        if request.seek:
            seek_to_time(subscription, back_us, request.reader.endpoint)
    return Layout(request.out).state(night), end_us - spec.events.dedup_us


def _goes_on(request: JobRequest) -> bool:
    """Whether a local state folder has a job's log, which the job goes on with.

    Raises:
      StateError: it is an embedded scorer's; or a job that begins anew, or with another night,
        would write its first steps over the log.
    """
    root = Path(request.state)
    if list_snapshots(root):
        raise StateError(
            f"{root} holds the state of an embedded scorer, and a job would write over its log; "
            "give a fresh --state"
        )
    if not list_segments(root):
        return False
    begun = begun_with(root)
    if begun != (str(request.from_night) if request.from_night else None):
        raise StateError(
            f"{root} began with the night {begun}, not with {request.from_night}; give a fresh "
            "--state, or the same --from-night to go on (from a savepoint of the job)"
        )
    if not request.running.continues:
        raise StateError(
            f"{root} has the log of a job, and a job that begins anew would write its first steps "
            "over it; give a fresh --state, or --savepoint_path=… to go on with that job"
        )
    return True
