"""`lockstep parity`: does what was served equal what the offline path computes?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.parity import ParityReport


def parity(
    state: Annotated[Path, typer.Option(help="The --state of `lockstep stream`; it may run.")],
    bundles: Annotated[str, typer.Option(help="The store that it scored with.")],
    mode: Annotated[str, typer.Option(help="served, ideal or both.")] = "both",
    days: Annotated[
        str | None,
        typer.Option(
            help="2026-03-01..2026-03-07, UTC, both included; or "
            "2026-03-01T10:00..2026-03-01T12:00. Default: all of the log."
        ),
    ] = None,
    archive: Annotated[
        str | None, typer.Option(help="All events that were sent, to find the missing.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the findings as a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Replay a scorer's log; exits 10 if the two sides differ in a way that is not allowed."""
    from pipelines.failures import explain_os_error
    from pipelines.parity import TimeSpan, check_ideal, check_served
    from pipelines.parity.page import render
    from scoring.files import replace_file

    if mode not in ("served", "ideal", "both"):
        raise typer.BadParameter(f"--mode {mode}: expected served, ideal or both")
    span = TimeSpan.parse(days) if days else None
    reports = []
    if mode in ("served", "both"):
        reports.append(check_served(state, bundles, span))
    if mode in ("ideal", "both"):
        reports.append(check_ideal(state, bundles, archive, span))
    if html is not None:
        try:
            replace_file(html, render(reports, str(state)).encode())
        except OSError as error:
            raise explain_os_error(error) from error
    if as_json:
        print(json.dumps({"modes": [one.to_builtins() for one in reports]}))
    else:
        for one in reports:
            for line in describe(one):
                print(line)
        if html is not None:
            print(f"page: {html}")
    for one in reports:
        one.require()


def describe(report: ParityReport) -> list[str]:
    """A report in lines."""
    share = report.differing / max(report.events, 1)
    lines = [
        f"{report.mode}: {report.events:,} decisions compared bit for bit, "
        f"{report.differing:,} differ ({share:.3%}): {'clean' if report.clean else 'NOT CLEAN'}"
    ]
    for cause, count in report.by_cause.items():
        lines.append(
            f"  {cause:<24}{count:>10,}{report.share(cause):>10.3%}  largest effect on a score "
            f"{report.largest_effect[cause]:.3g}"
        )
        features = list(report.features_of[cause].items())
        lines += [f"    {name:<40}{events:>10,}" for name, events in features[:10]]
        if len(features) > 10:
            lines.append(f"    and {len(features) - 10:,} more features")
    versions = ", ".join(f"{name} {count:,}" for name, count in report.versions.items())
    lines.append(f"  decided by: {versions}")
    lines += [f"  {hint}" for hint in (*report.hints, *report.faults)]
    if report.missing is not None:
        lines.append(f"  {report.missing:,} events of the archive are not in the log")
    return lines
