"""`lockstep evaluate`: how good a bundle is on days that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(evaluate)


def evaluate(
    out: Annotated[Path, typer.Option(help="Output folder of backfill and nightly.")],
    days: Annotated[str, typer.Option(help="2026-03-01..2026-03-07, UTC, both included.")],
    bundle: Annotated[
        list[str] | None, typer.Option(help="Fingerprint, folder, or 'serving'; may repeat.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Labels known before this day.")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Measure bundles on published days; several --bundle stand side by side."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.evaluate import EvaluateRequest, evaluate_bundle
    from pipelines.layout import Days, parse_day
    from pipelines.progress import choose_progress

    progress = choose_progress(quiet or as_json)
    found = [
        evaluate_bundle(
            EvaluateRequest(out, one, Days.parse(days), parse_day(as_of) if as_of else None),
            progress,
        )
        for one in bundle or ["serving"]
    ]
    if as_json:
        print(json.dumps([one.to_builtins() for one in found]))
        return
    table = Table(title=f"{found[0].days}, labels as known before {found[0].as_of}")
    for column in ("bundle", "events", "labelled", "positives", "AUC", "AP", "AP 95 %", "Brier"):
        table.add_column(column, justify="left" if column == "bundle" else "right")
    grouped = any(one.metrics.group_precision for one in found)
    if grouped:
        table.add_column("precision@top", justify="right")
    for one in found:
        made = one.metrics
        cells = [
            one.bundle,
            f"{made.events:,}",
            f"{made.labelled:,}",
            f"{made.positives:,}",
            _figure(made.auc),
            _figure(made.average_precision),
            f"{_figure(made.average_precision_low)}-{_figure(made.average_precision_high)}",
            _figure(made.brier, 5),
        ]
        if grouped:
            cells.append(_figure(made.group_precision.mean if made.group_precision else None))
        table.add_row(*cells)
    Console().print(table)
    for one in found:
        for at in one.metrics.at:
            print(
                f"{one.bundle} {at.action}: threshold {at.value:.4f}, precision "
                f"{_figure(at.precision)} ({at.precision_low:.3f}-{at.precision_high:.3f}), recall "
                f"{_figure(at.recall)}, {at.flagged:,} flagged"
            )


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
