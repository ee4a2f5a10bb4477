"""The demo: every step of the main job, one after the other, on a simulated chat stream."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.progress import Progress
from pipelines.simulate import SimulateSettings, simulate

DAYS = 14
START = dt.date(2026, 3, 1)


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
    progress.say("1/4 simulate a chat stream")
    counts = simulate(
        SimulateSettings(source, events=request.events, days=DAYS, start=START), progress
    )
    progress.say("2/4 backfill all days: features, verdicts, state")
    days = Days(START, START + dt.timedelta(days=DAYS - 1))
    made = backfill(
        BackfillRequest(request.spec, str(source), house, days, request.workers), progress
    )
    progress.say(f"3/4 the night of {night}: train, judge, promote")
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
    progress.say("4/4 evaluate on the days after that night")
    after = Days(night, days.last)
    found = evaluate_bundle(EvaluateRequest(house, outcome.bundle, after), progress)
    metrics = found.metrics
    return [
        "",
        f"read       {sum(counts.values()):,} events ({counts['message']:,} messages) in {source}",
        f"features   {made.scored:,} scored events on {len(made.days)} days in {house}/features",
        f"bundle     {outcome.bundle} serves, in {outcome.folder}",
        f"evaluated  {after}: AUC {metrics.auc or 0:.3f}, average precision "
        f"{metrics.average_precision or 0:.3f} on {metrics.labelled:,} judged events",
        "           (made-up data: a demo of the machine, no evidence of detection)",
        f"page       {outcome.page}",
        "look next  open the page in a browser, or run",
        f"           lockstep bundle show serving --out {house}",
        "           lockstep features chat",
    ]
