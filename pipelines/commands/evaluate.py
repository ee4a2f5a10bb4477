"""`lockstep evaluate`: how good a bundle is on days that it has not seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from pipelines.evaluate import EvaluationResult
    from training.by_slice import SliceMetrics
    from training.campaigns import CampaignMetrics
    from training.evaluate import Metrics
    from training.harm import HarmBefore
    from training.subjects import SubjectMetrics


def evaluate(
    context: typer.Context,
    out: Annotated[str | None, typer.Option(help="Output folder of backfill and nightly.")] = None,
    days: Annotated[
        str | None, typer.Option(help="2026-03-01..2026-03-07, UTC, both included.")
    ] = None,
    bundle: Annotated[
        list[str] | None, typer.Option(help="Fingerprint, folder, or 'serving'; may repeat.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Labels known before this day.")] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Figures by this input's values, too (numbers by range); may repeat."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Write ids, labels, scores and actions of all events as Parquet."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Instead: train and test as this YAML file (or shipped name) says."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="The protocol's events: file or pattern.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Measure model bundles on published days (several --bundle), or run a --protocol.

    Other options are Beam's: --runner=FlinkRunner …; without --runner it runs here.
    """
    from rich.console import Console
    from rich.table import Table

    from pipelines.commands import _protocol
    from pipelines.commands._shared import beam_flags, warn
    from pipelines.dataset import early_verdicts
    from pipelines.evaluate import EvaluateRequest, evaluate_bundle, write_scores
    from pipelines.layout import Days, parse_day
    from pipelines.progress import choose_progress

    if protocol is not None:
        given = (days, bundle, as_of, by, scores)
        names = ("--days", "--bundle", "--as-of", "--by", "--scores")
        if wrong := [name for name, one in zip(names, given, strict=True) if one is not None]:
            raise typer.BadParameter(f"--protocol says what is measured; leave out {wrong[0]}")
        if beam_flags(context):
            raise typer.BadParameter("a protocol runs on this machine; leave out Beam's options")
        _protocol.run(protocol, source, out, workers, quiet, as_json)
        return
    if out is None or days is None or source is not None:
        raise typer.BadParameter("expected --out and --days, or --protocol and --input")
    progress = choose_progress(quiet or as_json)
    console = Console(markup=False, emoji=False)
    request = EvaluateRequest(
        out,
        "serving",
        Days.parse(days),
        parse_day(as_of) if as_of else None,
        workers,
        beam_flags(context),
        tuple(by) if by else None,
    )
    found = [
        evaluate_bundle(dataclasses.replace(request, bundle=one), progress)
        for one in bundle or ["serving"]
    ]
    warn(
        f"{one.bundle} was trained on {one.trained_on_days}; its figures are those of a model that "
        "has seen its own exam. Give --days after that"
        for one in found
        if one.trained_on_days
    )
    warn(dict.fromkeys(early_verdicts(one.early) for one in found if one.early))
    if scores is not None:
        write_scores(found, scores)
    warn(
        f"{one.bundle} breaks its promise on these days: {at.action} {at.promise}; it was measured "
        "on other days, so look what has changed, and train anew"
        for one in found
        for at in one.metrics.at
        if at.broken
    )
    warn(f"campaigns are left out: {one.harm_fault}" for one in found if one.harm_fault)
    if as_json:
        print(json.dumps({"bundles": [one.to_builtins() for one in found]}))
        return
    table = Table(title=f"{found[0].days}, labels as known before {found[0].as_of}")
    table.add_column("bundle", no_wrap=True)
    for one in found:
        mark = " (trained on)" if one.trained_on_days else ""
        table.add_column(one.bundle + mark, justify="right", no_wrap=True)
    for name, cells in _lines([one.metrics for one in found]):
        table.add_row(name, *cells)
    console.print(table)
    if any(one.metrics.at for one in found):
        console.print(_thresholds(found))
    for one in found:
        for name, rows in one.slices.items():
            console.print(_slices(f"{one.bundle[:8]} by {name}", rows))
        if one.subjects is not None:
            for line in _subjects(one.bundle[:8], one.subjects):
                print(line)
        if one.campaigns is not None:
            for line in _campaigns(one.bundle[:8], one.snapshot, one.campaigns):
                print(line)
        for harm in one.harm:
            print(f"{one.bundle[:8]} {harm_words(harm)}")
    for one in found:
        for at in one.metrics.at:
            kept = (
                f"{at.promise}{' BROKEN' if at.broken else ''}" if at.promise else "flags nothing"
            )
            print(f"{one.bundle} {at.action}: {kept}")
            if at.action in one.contracts:
                print("  promised: {}; shown by: {}".format(*one.contracts[at.action]))
        for action, reason in one.silent.items():
            print(f"{one.bundle} {action} never fires: {reason}")
    if scores is not None:
        print(f"scores: {scores}")


def _thresholds(found: Sequence[EvaluationResult]) -> Table:
    """What each action did, the confusion at its threshold: a column each, for narrow terminals."""
    from rich.table import Table

    table = Table(title="actions: labelled events at or above, and below, each threshold")
    table.add_column("", no_wrap=True)
    fired = [(one.bundle, at) for one in found for at in one.metrics.at]
    for bundle, at in fired:
        table.add_column(f"{bundle[:8]}\n{at.action}", justify="right", overflow="fold")
    lines = {
        "at": [f"{at.value:.4f}" for _, at in fired],
        "abuse": [f"{at.positives:,}" for _, at in fired],
        "not": [f"{at.flagged - at.positives:,}" for _, at in fired],
        "missed": [f"{at.missed:,}" for _, at in fired],
        "passed": [f"{at.passed:,}" for _, at in fired],
        "precision": [_figure(at.precision) for _, at in fired],
        "recall": [_figure(at.recall) for _, at in fired],
        "accuracy": [_figure(at.accuracy) for _, at in fired],
        "MCC": [_figure(at.mcc) for _, at in fired],
    }
    for name, cells in lines.items():
        table.add_row(name, *cells)
    return table


def _slices(title: str, rows: Sequence[SliceMetrics]) -> Table:
    """Figures by an input's values; those of few events of a class are dim."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("", overflow="fold", min_width=9)
    for name in ("events", "abuse", "95 %", "AUC", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in rows:
        table.add_row(
            one.value,
            f"{one.events:,}",
            _figure(one.positives / one.events),
            f"{_figure(one.share_low)}-{_figure(one.share_high)}",
            _figure(one.auc),
            "-" if one.auc_low is None else f"{_figure(one.auc_low)}-{_figure(one.auc_high)}",
            style="dim" if one.thin else None,
        )
    return table


def _subjects(bundle: str, found: SubjectMetrics) -> list[str]:
    """Figures of accounts, in lines."""
    from pipelines.commands.labels import length

    lines = [f"{bundle} accounts: {found.abusive:,} of {found.accounts:,} with a label are abusive"]
    for at in found.after:
        interval = "-" if at.auc_low is None else f"{_figure(at.auc_low)}-{_figure(at.auc_high)}"
        lines.append(
            f"  after {at.events:>2} events: AUC {_figure(at.auc)} ({interval}), "
            f"AP {_figure(at.average_precision)}; {at.accounts:,} accounts have so many"
        )
    for one in found.until:
        lines.append(
            f"  {one.action} flags {one.abusive:,} of them: recall {_figure(one.recall)} "
            f"({_figure(one.recall_low)}-{_figure(one.recall_high)}), precision "
            f"{_figure(one.precision)} ({_figure(one.precision_low)}-{_figure(one.precision_high)})"
        )
        if one.median_events is not None and one.median_us is not None:
            lines.append(
                f"    half of these by event {one.median_events:g}, "
                f"{length(round(one.median_us))} after the first"
            )
    return lines


def _campaigns(bundle: str, snapshot: str, found: CampaignMetrics) -> list[str]:
    """Figures of campaigns, in lines."""
    from pipelines.nightly.campaigns import caught_words

    return [
        f"{bundle} campaigns as of {snapshot}: {found.campaigns:,} have events here, "
        f"{found.abusive:,} of them abusive, {found.new:,} of these new",
        *(f"  {one.action} {caught_words(found, one)}" for one in found.caught),
    ]


def harm_words(found: HarmBefore) -> str:
    """What comes before an action, in a line.

    >>> from training.harm import HarmBefore
    >>> harm_words(HarmBefore("account", "block", 4, 3, 40, 10, None, None, 60e6))
    'harm of 4 accounts before block: 10 of 40 events; it meets 3, half within 0:01:00'
    """
    from pipelines.commands.labels import length

    people = ""
    if found.people is not None and found.people_before is not None:
        people = f", {found.people_before:,.0f} of {found.people:,.0f} people"
    half = "" if found.median_us is None else f", half within {length(round(found.median_us))}"
    return (
        f"harm of {found.units:,} {found.unit}s before {found.action}: {found.events_before:,} of "
        f"{found.events:,} events{people}; it meets {found.met:,}{half}"
    )


def _lines(metrics: list[Metrics]) -> list[tuple[str, list[str]]]:
    """What is compared: a name, and a cell per bundle."""
    lines = [
        ("events", [f"{one.events:,}" for one in metrics]),
        ("labelled", [f"{one.labelled:,}" for one in metrics]),
        ("positives", [f"{one.positives:,}" for one in metrics]),
        ("AUC", [_figure(one.auc) for one in metrics]),
        ("AUC, 95 % interval", [
            f"{_figure(one.auc_low)}-{_figure(one.auc_high)}" for one in metrics
        ]),
        ("average precision (AP)", [_figure(one.average_precision) for one in metrics]),
        ("AP, 95 % interval", [
            f"{_figure(one.average_precision_low)}-{_figure(one.average_precision_high)}"
            for one in metrics
        ]),
        ("Brier score", [_figure(one.brier, 5) for one in metrics]),
        ("calibration error (ECE)", [_figure(one.calibration_error, 5) for one in metrics]),
    ]  # fmt: skip
    if any(one.group_precision for one in metrics):
        groups = [one.group_precision for one in metrics]
        lines.append(("precision of top groups", [_figure(g.mean if g else None) for g in groups]))
    return lines


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
