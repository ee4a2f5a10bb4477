"""`lockstep leakcheck`: the ladder of label delays, and inputs that know too much."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.leakcheck import LeakReport

LEAK = 8
"""The exit code if a leak is named, as of a gate that refuses."""


def leakcheck(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    source: Annotated[str, typer.Option("--input", help="Events: file, folder or pattern.")],
    train: Annotated[str, typer.Option(help="Days that train: 2026-03-01..2026-03-07.")],
    test: Annotated[str, typer.Option(help="Later days that test.")],
    shares: Annotated[
        str, typer.Option(help="Of the verdicts' delay, a rung each; 0: known at once.")
    ] = "1,0.5,0",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Retrain with verdicts known earlier than they are: what rises is made of verdicts."""
    from pipelines.commands._shared import load_config
    from pipelines.layout import Days
    from pipelines.leakcheck import LeakcheckRequest
    from pipelines.leakcheck import leakcheck as run
    from pipelines.progress import choose_progress

    try:
        asked = tuple(float(one) for one in shares.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--shares {shares!r}: expected such as 1,0.5,0") from error
    if not all(0.0 <= one <= 1.0 for one in asked):
        raise typer.BadParameter(f"--shares {shares!r}: expected shares between 0 and 1")
    days = Days.parse(train), Days.parse(test)
    if days[1].first <= days[0].last:
        raise typer.BadParameter(f"--test {test} begins before --train {train} has ended")
    request = LeakcheckRequest(load_config(config), source, *days, asked, workers)
    found = run(request, choose_progress(quiet or as_json))
    if as_json:
        rungs = [{"share": share} | one.to_builtins() for share, one in found.rungs]
        inputs = [one.to_builtins() for one in found.inputs]
        print(json.dumps({"rungs": rungs, "leaks": found.leaks, "inputs": inputs}))
    else:
        for line in describe(found):
            print(line)
    if found.leaks:
        raise typer.Exit(LEAK)


def describe(found: LeakReport) -> list[str]:
    """A report in lines: two Markdown tables, and the leaks."""
    from training.leakcheck import rises

    tested = found.rungs[0][1]
    lines = [
        f"Tested on {tested.labelled:,} labelled events, {tested.positives:,} of them abuse",
        "",
        "| verdicts after | AUC | AP |",
        "|---|---|---|",
    ]
    for share, one in found.rungs:
        auc, precision = one.auc or 0.0, one.average_precision or 0.0
        lines.append(f"| {share:.0%} of their delay | {auc:.4f} | {precision:.4f} |")
    moved = sorted((one for one in found.inputs if one.moved), key=lambda one: -one.moved)
    if moved:
        lines += ["", "| input | changed | AUC alone | with the last rung's verdicts |"]
        lines.append("|---|---|---|---|")
    for each in moved:
        cells = f"{each.moved:.1%} | {each.alone[0]:.3f} | {each.alone[1]:.3f}"
        lines.append(f"| {each.name} | {cells} |")
    lines.append("")
    if not moved:
        lines.append("No input changes with the verdicts' delay: none is made of verdicts.")
    elif rises([one for _, one in found.rungs]):
        lines.append("The ladder rises to the last rung, and the path that serves is its lowest.")
    else:
        lines.append("The ladder does not rise at every rung: verdicts add little, or by chance.")
    lines += [f"LEAK: {said}" for said in found.leaks] or ["No leak was named."]
    return lines
