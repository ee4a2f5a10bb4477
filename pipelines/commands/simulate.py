"""`lockstep simulate`: a made-up chat stream, for demos and scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(simulate)


def simulate(
    out: Annotated[Path, typer.Option(help="Folder to make; must be empty or absent.")],
    events: Annotated[str, typer.Option(help="About how many: 200k, 10m.")] = "200k",
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

    settings = SimulateSettings(
        out=out,
        events=event_count(events),
        days=days,
        start=parse_day(start),
        seed=seed,
        accounts=accounts,
        files_per_day=files_per_day,
        format=format_,
    )
    counts = run(settings, choose_progress(quiet or as_json))
    if as_json:
        print(json.dumps(counts))
        return
    print(
        f"{sum(counts.values()):,} events in {out}: "
        + ", ".join(f"{n:,} {kind}s" for kind, n in counts.items())
    )
