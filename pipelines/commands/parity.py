"""`lockstep parity`: does what was served equal what the offline path computes?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.parity import ParityReport


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(parity)


def parity(
    state: Annotated[Path, typer.Option(help="The --state of `lockstep stream`.")],
    bundles: Annotated[Path, typer.Option(help="The store that it scored with.")],
    mode: Annotated[str, typer.Option(help="served, ideal or both.")] = "both",
    archive: Annotated[
        str | None, typer.Option(help="All events that were sent, to find the missing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Replay a scorer's log; exits 10 if the two sides differ in a way that is not allowed."""
    from pipelines.parity import check_ideal, check_served

    if mode not in ("served", "ideal", "both"):
        raise typer.BadParameter(f"--mode {mode}: expected served, ideal or both")
    reports = []
    if mode in ("served", "both"):
        reports.append(check_served(state, bundles))
    if mode in ("ideal", "both"):
        reports.append(check_ideal(state, bundles, archive))
    if as_json:
        print(json.dumps([one.to_builtins() for one in reports]))
    else:
        for one in reports:
            for line in describe(one):
                print(line)
    for one in reports:
        one.require()


def describe(report: ParityReport) -> list[str]:
    """A report in lines."""
    share = report.differing / max(report.events, 1)
    lines = [
        f"{report.mode}: {report.events:,} decisions compared bit for bit, "
        f"{report.differing:,} differ ({share:.3%})"
    ]
    for cause, count in report.by_cause.items():
        lines.append(
            f"  {cause:<24}{count:>10,}  largest effect on a score "
            f"{report.largest_effect[cause]:.6f}"
        )
    for name, count in sorted(report.by_feature.items(), key=lambda pair: -pair[1])[:10]:
        lines.append(f"    {name:<40}{count:>10,}")
    versions = ", ".join(f"{name} {count:,}" for name, count in report.versions.items())
    lines.append(f"  decided by: {versions}")
    lines += [f"  {hint}" for hint in report.hints]
    return lines
