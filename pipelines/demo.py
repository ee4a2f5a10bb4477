"""The demo: every step of the main job, on a simulated chat stream, as it would run in earnest.

Simulate, make snapshots of the social graph, backfill, nightly; then a scorer, in a process of its
own, starts from that day's state and reads the days after it from a Pub/Sub server on loopback,
while the next snapshot is made and a second nightly run trains and promotes another bundle: the
scorer takes over both. The days are evaluated; last, parity proves that what was served is what the
offline path computes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import GateError, InputError
from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.graph import PublishedSnapshot, make_snapshots
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.parity import ParityReport, check_ideal, check_served
from pipelines.progress import Progress
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub_server.server import running_server
from pipelines.shard_files import SnapshotRequest
from pipelines.simulate import SimulateSettings, simulate
from pipelines.streaming.journal import read_steps
from transforms.ticks import SNAPSHOT

DAYS = 14
START = dt.date(2026, 3, 1)
EVENTS, SUBSCRIPTION = "projects/demo/topics/events", "projects/demo/subscriptions/scorer"
DECISIONS, HEARD = "projects/demo/topics/decisions", "projects/demo/subscriptions/consumer"
_PUBLISH_EVENTS = 200
_PAUSE_S = 0.2  # between two publishes while the scorer is to take the new bundle over
_PATIENCE_S = 120.0


@dataclasses.dataclass(frozen=True)
class DemoRequest:
    """Where the demo goes, and how large it is."""

    spec: Spec
    config: str
    out: Path
    events: int
    workers: int | None


def run_demo(request: DemoRequest, progress: Progress) -> list[str]:
    """Runs all steps; returns the summary's lines.

    Raises:
      LockstepError: what failed.
    """
    source, out = request.out / "input", request.out / "out"
    as_of = START + dt.timedelta(days=DAYS - 3)
    progress.say("1/7 simulate a chat stream")
    counts = simulate(
        SimulateSettings(source, events=request.events, days=DAYS, start=START), progress
    )
    progress.say(f"2/7 snapshots of the social graph, one a night, to {as_of}")
    nights = list(Days(START, as_of))[1:]
    snapshots = _snapshots(request, source, out, nights, progress)
    before = Days(START, as_of - dt.timedelta(days=1))
    progress.say(f"3/7 backfill {before}: features, verdicts, state")
    made = backfill(
        BackfillRequest(request.spec, str(source), out, before, request.workers), progress
    )
    progress.say(f"4/7 nightly as of {as_of}: train, judge, promote")
    outcome = nightly(
        NightlyRequest(
            spec=request.spec,
            config=request.config,
            source=str(source),
            out=out,
            as_of=as_of,
            workers=request.workers,
        ),
        progress,
    )
    after = Days(as_of, START + dt.timedelta(days=DAYS - 1))
    progress.say(
        f"5/7 stream {after} from that day's state, while the next snapshot is made and a second "
        "nightly run trains"
    )
    state = request.out / "scorer"
    streamed, second = _stream(request, source, out, state, as_of, after, progress)
    progress.say("6/7 evaluate on these days")
    backfill(BackfillRequest(request.spec, str(source), out, after, request.workers), progress)
    found = evaluate_bundle(EvaluateRequest(out, outcome.bundle, after), progress)
    progress.say("7/7 parity: as served, and ideal")
    served = check_served(state, out / "bundles")
    ideal = check_ideal(state, out / "bundles", str(source))
    for report in (served, ideal):
        report.require()
    metrics, lockstep = found.metrics, _command(sys.argv[0])
    return [
        "",
        f"read       {sum(counts.values()):,} events ({counts['message']:,} messages) in {source}",
        f"graph      {len(snapshots) + 1} snapshots, the newest before the stream of "
        f"{snapshots[-1].accounts:,} accounts and {snapshots[-1].edges:,} edges; the scorer saw "
        f"{_seen(state)}",
        f"features   {made.scored:,} scored events on {len(made.days)} days in {out}/features",
        f"bundles    {outcome.bundle}, then {second}, which serves; in {out}/bundles"
        if second
        else f"bundle     {outcome.bundle} serves, in {outcome.folder}",
        f"evaluated  {after}: AUC {metrics.auc or 0:.3f}, average precision "
        f"{metrics.average_precision or 0:.3f} on {metrics.labelled:,} judged events",
        "           (made-up data: a demo of the machine, no evidence of detection)",
        f"streamed   {streamed['events']:,} events over Pub/Sub, {streamed['decisions']:,} "
        f"decisions, {streamed.get('duplicates', 0):,} duplicates dropped, "
        + (f"swapped to {second} meanwhile" if second else "no swap: the gate refused the second"),
        *_parity_lines(served),
        *_parity_lines(ideal),
        f"page       {outcome.page}",
        "look next  open the page in a browser, or run",
        f"           {lockstep} bundle show serving --out {out}",
        f"           {lockstep} parity --state {state} --bundles {out}/bundles",
    ]


def _snapshots(
    request: DemoRequest,
    source: Path,
    out: Path,
    nights: list[dt.date],
    progress: Progress,
) -> list[PublishedSnapshot]:
    asked = SnapshotRequest(request.spec, str(source), out, nights[0], dt.datetime.now(dt.UTC))
    return make_snapshots(asked, nights, progress)


def _seen(state: Path) -> int:
    """How many snapshots a scorer's events saw, by its log."""
    names: set[str | None] = set()
    for step in read_steps(state):
        names.update(step.batch.column(SNAPSHOT).to_pylist())
    return len(names - {None})


def _command(started: str) -> str:
    """How to type the `lockstep` that was started as argv[0], so that a line can be pasted.

    >>> _command("-c")
    'lockstep'
    """
    script = Path(started)
    if script.name != "lockstep" or not script.is_file():
        return "lockstep"
    on_path = shutil.which("lockstep")
    if on_path and os.path.samefile(on_path, script):
        return "lockstep"
    whole = Path(os.path.abspath(script))
    return shlex.quote(str(whole.relative_to(Path.cwd()) if Path.cwd() in whole.parents else whole))


def _stream(
    request: DemoRequest,
    source: Path,
    out: Path,
    state: Path,
    as_of: dt.date,
    days: Days,
    progress: Progress,
) -> tuple[dict[str, int], str | None]:
    """A scorer reads the days; it takes over the next snapshot and what the second run trains.

    Events of the next day are published once its snapshot is: then each event sees the one that it
    is to see.

    Returns:
      The scorer's counts, and the second bundle; None if the gate refused it.

    Raises:
      InputError: the scorer ended, or did not decide every message.
    """
    morrow = as_of + dt.timedelta(days=1)
    first = list(_messages(source, Days(as_of, as_of)))
    later = list(_messages(source, Days(morrow, days.last)))
    batches = first + later
    messages = {one["event_id"] for batch in batches for one in batch if one["kind"] == "message"}
    with running_server() as server:
        for topic, subscription in ((EVENTS, SUBSCRIPTION), (DECISIONS, HEARD)):
            ensure_topic(topic, server.endpoint)
            ensure_subscription(subscription, topic, endpoint=server.endpoint)
        with (
            _scorer(out, state, as_of - dt.timedelta(days=1), server.endpoint) as scorer,
            _Consumer(server.endpoint) as consumer,
            TopicPublisher(EVENTS, server.endpoint) as publisher,
        ):
            producer = threading.Thread(target=_send, args=(publisher, first))
            producer.start()
            _snapshots(request, source, out, [morrow], progress)
            second = _second_nightly(request, source, out, as_of, progress)
            producer.join()
            rest = iter(later)
            while second is not None and second not in consumer.bundles:
                batch = next(rest, None)
                if batch is None:
                    raise InputError(f"the scorer did not take over bundle {second}")
                _send(publisher, [batch])
                time.sleep(_PAUSE_S)
            _send(publisher, rest)
            ends = time.monotonic() + _PATIENCE_S
            while not messages <= consumer.events:
                if scorer.poll() is not None or time.monotonic() > ends:
                    raise InputError(
                        f"{len(messages - consumer.events):,} of {len(messages):,} messages were "
                        "not decided; what the scorer said stands above"
                    )
                time.sleep(_PAUSE_S)
            scorer.send_signal(signal.SIGTERM)
            printed, _ = scorer.communicate(timeout=_PATIENCE_S)
            if scorer.returncode != 0:
                raise InputError(f"the scorer ended with exit code {scorer.returncode}")
    return json.loads(printed), second


@contextlib.contextmanager
def _scorer(out: Path, state: Path, day: dt.date, endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """`lockstep stream` in a process of its own."""
    command = [
        *(sys.executable, "-c", "from pipelines.commands import main; main()", "stream", "--json"),
        *("--bundles", str(out / "bundles"), "--state", str(state), "--out", str(out)),
        *("--from-night", str(day), "--subscription", SUBSCRIPTION, "--decisions", DECISIONS),
        *("--endpoint", endpoint),
    ]
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class _Consumer:
    """Hears decisions, as who acts on them would: which events, and by which bundles."""

    def __init__(self, endpoint: str) -> None:
        self.events: set[str] = set()
        self.bundles: set[str] = set()
        self._puller = Puller(PullSettings(HEARD, endpoint))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hear, daemon=True)

    def __enter__(self) -> _Consumer:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()
        self._puller.close()

    def _hear(self) -> None:
        while not self._over.is_set():
            heard = self._puller.take(1000, _PAUSE_S)
            for message in heard:
                decision = json.loads(message.data)
                self.events.add(decision["event_id"])
                self.bundles.add(decision["bundle"])
            self._puller.acknowledge([message.ack_id for message in heard])


def _second_nightly(
    request: DemoRequest, source: Path, out: Path, as_of: dt.date, progress: Progress
) -> str | None:
    """The next nightly run, when one more day of verdicts is known; None if the gate refused it."""
    try:
        made = nightly(
            NightlyRequest(
                spec=request.spec,
                config=request.config,
                source=str(source),
                out=out,
                as_of=as_of + dt.timedelta(days=1),
            ),
            progress,
        )
    except GateError as refused:
        progress.say(f"  {refused}")
        return None
    return made.bundle


def _send(publisher: TopicPublisher, batches: Iterable[list[dict[str, Any]]]) -> None:
    """Publishes batches of events, every fiftieth event twice."""
    for batch in batches:
        payloads = [json.dumps(event).encode() for event in batch]
        publisher.publish(payloads + payloads[::50])


def _messages(source: Path, days: Days) -> Iterator[list[dict[str, Any]]]:
    """The days' events of all kinds, in order of time."""
    for day in days:
        table = pa.concat_tables(
            [pq.read_table(p, partitioning=None) for p in sorted(source.glob(f"date={day}/*"))]
        )
        times = pc.strftime(table.column("sent_at"), "%Y-%m-%dT%H:%M:%SZ")
        index = table.schema.get_field_index("sent_at")
        for batch in table.set_column(index, "sent_at", times).to_batches(_PUBLISH_EVENTS):
            yield batch.to_pylist()


def _parity_lines(report: ParityReport) -> list[str]:
    causes = ", ".join(f"{cause} {count:,}" for cause, count in report.by_cause.items())
    name = "parity" if report.mode == "as served" else ""
    return [
        f"{name:<11}{report.mode}: {report.events:,} decisions compared bit for bit, "
        f"{report.differing:,} differ{f' ({causes})' if causes else ''}"
    ]
