"""`lockstep selective`: precision and recall where enforcement hides labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.selective import SelectiveReport


def selective(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    out: Annotated[str, typer.Option(help="Output folder of backfill and nightly.")],
    state: Annotated[Path, typer.Option(help="The --state of `lockstep stream`: its log.")],
    days: Annotated[str, typer.Option(help="Days of events: 2026-03-01..2026-03-07.")],
    audits: Annotated[
        float, typer.Option(help="Share of events without an action that is judged at random.")
    ],
    source: Annotated[
        str, typer.Option(help="The labels.source that judges them, and all of the hold-out.")
    ] = "audit",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Estimate precision and recall from the hold-out and from audits, or say why not."""
    from pipelines.commands._shared import load_config
    from pipelines.layout import Days
    from pipelines.selective import report_selective

    made = report_selective(load_config(config), out, state, Days.parse(days), source, audits)
    print(json.dumps(made.to_builtins()) if as_json else "\n".join(describe(made)))


def describe(made: SelectiveReport) -> list[str]:
    """A report in lines."""
    lines = [
        f"{made.decisions:,} decisions; an action was due for {made.due:,}, of which "
        f"{made.through:,} were let through"
    ]
    if made.unjudged:
        lines.append(
            f"warning: {made.unjudged:,} of these have no verdict of that source; figures are "
            "right only if it judges all of them"
        )
    if not made.fits:
        share = made.audited / made.not_due
        lines.append(
            f"warning: of {made.not_due:,} events that no action was due for, that source judged "
            f"{made.audited:,}, a share of {share:.4g}, and --audits is {made.audits:.4g} (about "
            f"{made.audits * made.not_due:,.0f}): chance does not explain the difference. Figures "
            "are right only if it judged that share of them, drawn at random, and the verdicts of "
            "these days have come"
        )
    for figure, by_method in made.estimates.items():
        for method, one in by_method.items():
            name = f"{figure} ({method.replace('_', ' ')})"
            if one.value is None or one.low is None or one.high is None:
                lines.append(f"{name}: not concluded: {one.reason}")
                break
            lines.append(
                f"{name}: {one.value:.3f}, 95 %: {one.low:.3f} to {one.high:.3f}, from "
                f"{one.labels:,} labels that count as {one.effective:,.0f}"
            )
    return lines
