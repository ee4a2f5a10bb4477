"""What `lockstep evaluate --protocol` prints."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.protocol import ProtocolResult
    from training.protocol import Figure


def run(
    name: str, source: str | None, out: str | None, workers: int, quiet: bool, as_json: bool
) -> None:
    """Runs a protocol and prints its figures.

    Raises:
      typer.BadParameter: there is no --input.
    """
    import typer

    from configs.protocol import load_protocol
    from pipelines.progress import choose_progress
    from pipelines.protocol import ProtocolRequest, run_protocol

    if source is None:
        raise typer.BadParameter("--protocol needs --input: the benchmark's events")
    request = ProtocolRequest(load_protocol(name), source, out, workers)
    found = run_protocol(request, choose_progress(quiet or as_json))
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
        return
    for line in describe(found):
        print(line)


def describe(found: ProtocolResult) -> list[str]:
    """A result as a Markdown table, so that a terminal and a page show the same.

    >>> from pipelines.protocol import ProtocolResult, ResultRow
    >>> from training.protocol import Figure
    >>> row = ResultRow("all", 9, 4, {"auc": Figure(0.75)})
    >>> print("\\n".join(describe(ProtocolResult("x", 8, 3, (row,), ()))))
    x: trained on 8 labelled events, 3 of them abuse
    <BLANKLINE>
    | | events | abuse | auc |
    |---|---|---|---|
    | all | 9 | 4 | 0.7500 |
    """
    metrics = list(found.rows[-1].figures)
    lines = [
        f"{found.name}: trained on {found.train:,} labelled events, "
        f"{found.train_positives:,} of them abuse",
        *found.notes,
        "",
        f"| | events | abuse | {' | '.join(metrics)} |",
        "|---" * (3 + len(metrics)) + "|",
    ]
    for row in found.rows:
        cells = " | ".join(_cell(row.figures[one]) for one in metrics)
        lines.append(f"| {row.name} | {row.events:,} | {row.positives:,} | {cells} |")
    if found.sources:
        lines += ["", "| source | votes | right, as the label model thinks | agrees with others "]
        lines[-1] += "| right on test rows |"
        lines.append("|---" * 5 + "|")
    for one, right in found.sources:
        shares = " | ".join(
            "-" if share is None else f"{share:.3f}"
            for share in (one.accuracy, one.agreement, right)
        )
        lines.append(f"| {one.name} | {one.votes:,} | {shares} |")
    return lines


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} ({figure.low:.4f}\N{EN DASH}{figure.high:.4f})"
