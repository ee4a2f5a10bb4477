"""The demo: every step of the main job, one after the other, on a simulated chat stream.

Simulate, backfill, a night, evaluate; then the scorer starts from that night's state and reads the
days after it from a Pub/Sub server on loopback, while a second night promotes another bundle that
it takes over; last, parity proves that what was served is what the offline path computes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import GateError
from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.parity import ParityReport, check_ideal, check_served
from pipelines.progress import Progress, Quiet
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.server import running_server
from pipelines.simulate import SimulateSettings, simulate
from pipelines.streaming.run import StreamReport, StreamRequest, stream
from pipelines.unbounded import SourceSettings
from scoring.store import Store

DAYS = 14
START = dt.date(2026, 3, 1)
EVENTS, SUBSCRIPTION = "projects/demo/topics/events", "projects/demo/subscriptions/scorer"
DECISIONS = "projects/demo/topics/decisions"
_PUBLISH_EVENTS = 200
_SWAP_S = 4.0


@dataclasses.dataclass(frozen=True)
class DemoRequest:
    """Where the demo goes, and how large it is."""

    spec: Spec
    config: str
    out: Path
    events: int
    workers: int


def run_demo(request: DemoRequest, progress: Progress) -> list[str]:
    """Runs all steps; returns the summary's lines.

    Raises:
      LockstepError: what failed.
    """
    source, house = request.out / "input", request.out / "house"
    night = START + dt.timedelta(days=DAYS - 3)
    progress.say("1/6 simulate a chat stream")
    counts = simulate(
        SimulateSettings(source, events=request.events, days=DAYS, start=START), progress
    )
    progress.say("2/6 backfill all days: features, verdicts, state")
    days = Days(START, START + dt.timedelta(days=DAYS - 1))
    made = backfill(
        BackfillRequest(request.spec, str(source), house, days, request.workers), progress
    )
    progress.say(f"3/6 the night of {night}: train, judge, promote")
    outcome = nightly(
        NightlyRequest(
            spec=request.spec,
            config=request.config,
            source=str(source),
            out=house,
            as_of=night,
            workers=request.workers,
        ),
        progress,
    )
    progress.say("4/6 evaluate on the days after that night")
    after = Days(night, days.last)
    found = evaluate_bundle(EvaluateRequest(house, outcome.bundle, after), progress)
    progress.say(
        f"5/6 stream {after} from that night's state; a second night is promoted meanwhile"
    )
    state = request.out / "scorer"
    streamed, second = _stream(request, source, house, state, night, after)
    progress.say("6/6 parity: as served, and ideal")
    served = check_served(state, house / "bundles")
    ideal = check_ideal(state, house / "bundles", str(source))
    for report in (served, ideal):
        report.require()
    metrics = found.metrics
    return [
        "",
        f"read       {sum(counts.values()):,} events ({counts['message']:,} messages) in {source}",
        f"features   {made.scored:,} scored events on {len(made.days)} days in {house}/features",
        f"bundle     {outcome.bundle} serves, in {outcome.folder}",
        f"evaluated  {after}: AUC {metrics.auc or 0:.3f}, average precision "
        f"{metrics.average_precision or 0:.3f} on {metrics.labelled:,} judged events",
        "           (made-up data: a demo of the machine, no evidence of detection)",
        f"streamed   {streamed.counts['events']:,} events over Pub/Sub, "
        f"{streamed.counts['decisions']:,} decisions, {streamed.counts.get('duplicates', 0):,} "
        f"duplicates dropped, "
        + (f"swapped to {second} half-way" if second else "no swap: the gate refused the second"),
        *_parity_lines(served),
        *_parity_lines(ideal),
        f"page       {outcome.page}",
        "look next  open the page in a browser, or run",
        f"           lockstep bundle show serving --out {house}",
        f"           lockstep parity --state {state} --bundles {house}/bundles",
    ]


def _stream(
    request: DemoRequest, source: Path, house: Path, state: Path, night: dt.date, days: Days
) -> tuple[StreamReport, str | None]:
    """Publishes the days while a scorer reads them; half-way the second night is promoted.

    A second night that the gate refuses is not promoted: then there is no swap.
    """
    second = _second_night(request, source, house, night)
    batches = list(_messages(source, days))
    with running_server() as server:
        ensure_topic(EVENTS, server.endpoint)
        ensure_topic(DECISIONS, server.endpoint)
        ensure_subscription(SUBSCRIPTION, EVENTS, endpoint=server.endpoint)

        def produce() -> None:
            with TopicPublisher(EVENTS, server.endpoint) as publisher:
                for number, batch in enumerate(batches):
                    if number == len(batches) // 2:
                        time.sleep(_SWAP_S)  # what came before is decided by the first bundle
                        if second is not None:
                            Store(house / "bundles").promote(second)
                        time.sleep(_SWAP_S)
                    publisher.publish(batch)

        producer = threading.Thread(target=produce)
        producer.start()
        report = stream(
            StreamRequest(
                bundles=house / "bundles",
                source=SourceSettings(
                    SUBSCRIPTION, server.endpoint, ahead_us=None, end_after_idle_s=2.5 * _SWAP_S
                ),
                decisions=DECISIONS,
                state=state,
                out=house,
                from_night=night - dt.timedelta(days=1),
            )
        )
        producer.join()
    return report, second


def _second_night(request: DemoRequest, source: Path, house: Path, night: dt.date) -> str | None:
    """A bundle of the next night, when one more day of verdicts is known; None if refused."""
    try:
        made = nightly(
            NightlyRequest(
                spec=request.spec,
                config=request.config,
                source=str(source),
                out=house,
                as_of=night + dt.timedelta(days=1),
                promote=False,
            ),
            Quiet(),
        )
    except GateError:
        return None
    return made.bundle


def _messages(source: Path, days: Days) -> Iterator[list[bytes]]:
    """The days' events as JSON, in order of time, every fiftieth of them twice."""
    for day in days:
        table = pa.concat_tables(
            [pq.read_table(p, partitioning=None) for p in sorted(source.glob(f"date={day}/*"))]
        )
        times = pc.strftime(table.column("sent_at"), "%Y-%m-%dT%H:%M:%SZ")
        index = table.schema.get_field_index("sent_at")
        for batch in table.set_column(index, "sent_at", times).to_batches(_PUBLISH_EVENTS):
            rows = [json.dumps(row).encode() for row in batch.to_pylist()]
            yield rows + rows[::50]


def _parity_lines(report: ParityReport) -> list[str]:
    causes = ", ".join(f"{cause} {count:,}" for cause, count in report.by_cause.items())
    name = "parity" if report.mode == "as served" else ""
    return [
        f"{name:<11}{report.mode}: {report.events:,} decisions compared bit for bit, "
        f"{report.differing:,} differ{f' ({causes})' if causes else ''}"
    ]
