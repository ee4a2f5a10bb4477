"""`lockstep simulate`: a made-up chat stream, for demos and scale."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.progress import Progress


def simulate(
    out: Annotated[Path, typer.Option(help="Folder to make; must be empty or absent.")],
    world: Annotated[
        str | None, typer.Option(help="YAML file of a world, or a shipped one's name: chat.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="With --world: folder of its truth; OUT.truth if not given.")
    ] = None,
    events: Annotated[str | None, typer.Option(help="About how many: 200k (default), 10m.")] = None,
    days: Annotated[int, typer.Option(help="How many days.")] = 10,
    start: Annotated[str, typer.Option(help="First day, UTC.")] = "2026-03-01",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    accounts: Annotated[int | None, typer.Option(help="Accounts; one per 40 events.")] = None,
    files_per_day: Annotated[int | None, typer.Option(help="Files a day; one per 250k.")] = None,
    format_: Annotated[str, typer.Option("--format", help="parquet or jsonl.")] = "parquet",
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Counts as JSON.")] = False,
) -> None:
    """Write a deterministic chat stream; never evidence of detection quality."""
    from pipelines.commands._shared import event_count
    from pipelines.layout import parse_day
    from pipelines.progress import choose_progress
    from pipelines.simulate import SimulateSettings
    from pipelines.simulate import simulate as run

    shown = choose_progress(quiet or as_json)
    if world is not None:
        own = {"--events": events, "--accounts": accounts, "--files-per-day": files_per_day}
        _refuse(own, "the world's file says that")
        counts = _simulate_world(world, out, truth, days, parse_day(start), seed, format_, shown)
        _report(counts, out, as_json)
        return
    _refuse({"--truth": truth}, "only a --world has one")
    settings = SimulateSettings(
        out=out,
        events=event_count("200k" if events is None else events),
        days=days,
        start=parse_day(start),
        seed=seed,
        accounts=accounts,
        files_per_day=files_per_day,
        format=format_,
    )
    _report(run(settings, shown), out, as_json)


def _simulate_world(
    world: str,
    out: Path,
    truth: Path | None,
    days: int,
    start: dt.date,
    seed: int,
    format_: str,
    shown: Progress,
) -> dict[str, int]:
    from configs.world import load_world
    from pipelines.simulate import WorldRequest, simulate_world

    request = WorldRequest(load_world(world), out, truth, days, start, seed, format_)
    return simulate_world(request, shown)


def _report(counts: dict[str, int], out: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps(counts))
        return
    print(
        f"{sum(counts.values()):,} events in {out}: "
        + ", ".join(f"{n:,} {kind}s" for kind, n in counts.items())
    )


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"{name} does not go with what was asked for: {why}")
