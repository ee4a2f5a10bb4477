"""Speed and memory of the batch path, and its neighbours, side by side in one run."""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.neighbours import (
    comparable,
    duckdb_windows,
    graph_alone,
    polars_rolling,
    prepare,
    score_alone,
)
from benchmarks.world import DAYS, START, chat, simulated, trained
from configs.loader import shipped
from configs.schema import Spec
from pipelines.backfill import BackfillReport, BackfillRequest, backfill
from pipelines.layout import Days, Layout
from pipelines.meter import Meter
from pipelines.nightly import NightlyRequest, nightly
from scoring.store import Store


def main() -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000, help="the large run")
    parser.add_argument("--small", type=int, default=1_000_000, help="the small run")
    parser.add_argument("--neighbours", type=int, default=1_000_000, help="events for each")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    try:
        _run(root, arguments)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(root: Path, arguments: argparse.Namespace) -> None:
    spec, config = chat(), shipped("chat").read_text()
    store = trained(root, workers=arguments.workers)
    bundle = Store(store).path("serving")
    print("## Parquet to model inputs\n")
    print("chat.yaml: 4 entities, 61 velocity features of 11 kinds, 71 numeric inputs, text, two")
    print(f"categories; {arguments.workers} workers; TFT apply, model, Parquet written.\n")
    print("| events | seconds | events/s | peak memory | read to written | publish |")
    print("|---|---|---|---|---|---|")
    for count in (arguments.small, arguments.events):
        source = simulated(root, count)
        report, seconds, peak = _backfill(spec, source, root / "out", bundle, arguments.workers)
        steps = {one.step: one.seconds for one in report.usage}
        cells = " | ".join(f"{steps[name]:.1f} s" for name in ("features", "publish"))
        print(
            f"| {report.events:,} | {seconds:.1f} | {report.events / seconds:,.0f} | "
            f"{peak / 1e9:.2f} GB | {cells} |",
            flush=True,
        )
    print("\n## Neighbours, on the same events, one process\n")
    source = simulated(root, arguments.neighbours)
    print("| what | events | seconds | events/s | peak memory |")
    print("|---|---|---|---|---|")
    prepared = prepare(spec, source, root / "prepared")
    asked = sum(map(len, comparable(spec).values()))
    for name, function in (
        (f"polars rolling: the {asked} windowed features without distinct counts", polars_rolling),
        ("DuckDB windows: the same", duckdb_windows),
    ):
        meter = Meter()
        with meter.step(name):
            count = function(spec, prepared)
        _row(name, count, meter)
    meter = Meter()
    report, seconds, _ = _backfill(spec, source, root / "one", None, 1)
    print(f"| Lockstep backfill without a bundle, 1 worker | {report.events:,} | {seconds:.1f} | "
          f"{report.events / seconds:,.0f} | "
          f"{max(one.peak_bytes for one in report.usage) / 1e9:.2f} GB |")  # fmt: skip
    for name, apply in (
        ("TFT apply alone", graph_alone),
        ("TFT apply and model alone", score_alone),
    ):
        meter = Meter()
        count = apply(bundle, root / "one", meter)
        _row(name, count, meter)
    print("\n## A night\n")
    _forget_last_day(Layout(root / "out"))
    began = time.monotonic()
    made = nightly(
        NightlyRequest(
            spec=spec,
            config=config,
            source=str(simulated(root, arguments.events)),
            out=root / "out",
            as_of=START + dt.timedelta(days=DAYS),
            workers=arguments.workers,
            promote=False,
        )
    )
    seconds = time.monotonic() - began
    print(
        f"As of day {DAYS}, with the snapshot of the day before, over {arguments.events:,} events: "
        f"{seconds:.0f} s in all.\n"
    )
    print("| stage | seconds | peak memory |\n|---|---|---|")
    for stage in made.report.stages:
        print(f"| {stage.stage} | {stage.seconds:.1f} | {stage.peak_bytes / 1e9:.2f} GB |")


def _forget_last_day(layout: Layout) -> None:
    """So that the night finds yesterday's state and makes its own day, as nights do."""
    last = START + dt.timedelta(days=DAYS - 1)
    layout.marker(last).unlink()
    for folder in (layout.features(last), layout.verdicts(last), layout.state(last)):
        shutil.rmtree(folder)


def _row(name: str, count: int, meter: Meter) -> None:
    [usage] = meter.usage
    print(
        f"| {name} | {count:,} | {usage.seconds:.1f} | {count / usage.seconds:,.0f} | "
        f"{usage.peak_bytes / 1e9:.2f} GB |",
        flush=True,
    )


def _backfill(
    spec: Spec, source: Path, out: Path, bundle: Path | None, workers: int
) -> tuple[BackfillReport, float, int]:
    shutil.rmtree(out, ignore_errors=True)
    days = Days(START, START + dt.timedelta(days=DAYS - 1))
    began = time.monotonic()
    report = backfill(BackfillRequest(spec, str(source), out, days, workers, bundle=bundle))
    seconds = time.monotonic() - began
    return report, seconds, max(one.peak_bytes for one in report.usage)
