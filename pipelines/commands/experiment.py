"""`lockstep experiment`: challengers against a champion, on the same events."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.experiment.shadow import ShadowResult
    from training.experiment import ExperimentResult
    from training.paired import Difference

FAILED = 11
"""The exit code if a challenger failed: the others are compared."""
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Adds the verb and its own verbs."""
    group = typer.Typer(help="Compare models that differ from one config in what a file says.")
    group.command("run", context_settings=_PASSED_ON)(run)
    group.command()(shadow)
    app.add_typer(group, name="experiment")


def run(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="YAML file: the champion and its challengers.")],
    source: Annotated[str, typer.Option("--input", help="File, folder or glob of events.")],
    out: Annotated[str, typer.Option(help="Output folder of backfill and nightly, or a new one.")],
    workers: Annotated[
        int | None, typer.Option(help="Processes of the backfill; as many as pay if not given.")
    ] = None,
    scorer: Annotated[
        Path | None,
        typer.Option(help="The scorer's --state, for labels.weighting: inverse_propensity."),
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Train a champion and challengers as of the same days, and compare them.

    Run again, it makes what is missing. Other options are Beam's, as for nightly.
    """
    from configs.experiment import load_experiment
    from pipelines.commands._shared import beam_flags, warn
    from pipelines.experiment import ExperimentRequest, run_experiment
    from pipelines.progress import choose_progress
    from pipelines.runners import forked_workers
    from transforms.catalog import CATALOG

    request = ExperimentRequest(
        load_experiment(file, CATALOG),
        source,
        out,
        dt.datetime.now(dt.UTC),
        workers,
        flags=beam_flags(context),
        scorer=scorer,
    )
    with forked_workers(workers, request.flags):
        outcome = run_experiment(request, choose_progress(quiet or as_json))
    result = outcome.result
    if as_json:
        print(json.dumps(_plain(result) | {"page": outcome.page}))
    else:
        _print(result, outcome.page)
    warn(f"{one.name} failed ({one.error}): {one.message}" for one in result.failed)
    if result.failed:
        raise typer.Exit(FAILED)


def shadow(
    state: Annotated[str, typer.Option(help="The --state of `lockstep stream --shadow`.")],
    out: Annotated[str, typer.Option(help="Output folder with labels and the serving bundle.")],
    bundle: Annotated[
        str, typer.Option(help="Fingerprint of the shadow; else the one that scored last.")
    ] = "",
    as_of: Annotated[str | None, typer.Option(help="Labels known before this day.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Compare a shadow with what decides, on the events that both scored and that have labels."""
    import dataclasses

    from pipelines.experiment.shadow import ShadowRequest, compare_shadow
    from pipelines.layout import parse_day

    day = parse_day(as_of) if as_of else None
    found = compare_shadow(ShadowRequest(Path(state), out, bundle, day))
    if as_json:
        plain = dataclasses.asdict(found)
        _conclude(plain["differences"], found.differences)
        print(json.dumps(plain))
        return
    for line in describe_shadow(found):
        print(line)


def describe_shadow(found: ShadowResult) -> list[str]:
    """A comparison in lines."""
    from training.experiment import metric_words
    from training.report.experiment import figure, interval, signed

    champions = ", ".join(found.champions)
    lines = [
        f"{found.challenger} beside {champions}: {found.events:,} events, of which "
        f"{found.published:,} are of published days and {found.labelled:,} have a label before "
        f"{found.as_of}, {found.positives:,} of them abuse; of {found.units:,} {found.over}",
        f"same action: {found.same_action:.2%} of the events",
    ]
    for one in found.differences:
        said = "too little evidence" if found.thin else one.conclusion
        lines.append(
            f"  {metric_words(one.metric)}: {figure(one.challenger)} against "
            f"{figure(one.champion)}, {signed(one.difference)} ({interval(one)}): {said}"
        )
    for name, acted in (
        ("what decides", found.champion_acted), ("shadow", found.challenger_acted)
    ):  # fmt: skip
        lines.append(
            f"  {name} acts on {acted.events:,}: precision {figure(acted.precision)}, recall "
            f"{figure(acted.recall)}, {acted.missed:,} missed"
        )
    if found.alone:
        lines.append(f"left out, with labels of one class only: {', '.join(found.alone)}")
    if found.thin:
        lines.append(f"nothing is concluded from {found.units:,} {found.over}, {found.thin}")
    return lines


def _plain(result: ExperimentResult) -> dict[str, Any]:
    """The result for machines, with what is concluded from it."""
    plain: dict[str, Any] = json.loads(result.to_json())
    for one, found in zip(plain["challengers"], result.challengers, strict=True):
        _conclude(one["differences"], found.differences)
    return plain | {"summary": result.summary}


def _conclude(plain: list[dict[str, Any]], found: Sequence[Difference]) -> None:
    for one, said in zip(plain, found, strict=True):
        one |= {"difference": said.difference, "conclusion": said.conclusion}


def _print(result: ExperimentResult, page: str) -> None:
    """The result for a terminal."""
    from rich.console import Console

    events = sum(one.events for one in result.tests)
    abuse = sum(one.positives for one in result.tests)
    nights = ", ".join(one.as_of for one in result.tests)
    print(
        f"{result.name}: trained as of {nights}; compared on {events:,} labelled events after "
        f"that, {abuse:,} of them abuse, of {result.units:,} {result.over}"
    )
    console = Console(markup=False, emoji=False)
    for at in range(len(result.metrics)):
        console.print(_table(result, at))
    for note in result.notes:
        print(note)
    print(result.summary)
    print(f"page  {page}")


def _table(result: ExperimentResult, at: int) -> Table:
    from rich.table import Table

    from training.experiment import metric_words
    from training.report.experiment import figure, interval, signed

    name = result.metrics[at]
    table = Table(title=f"{metric_words(name)}; all intervals hold with 95 %")
    table.add_column("", overflow="fold")
    for column in ("figure", "difference", "interval"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("conclusion", overflow="fold")
    table.add_row("champion", figure(result.champion.figures[name]), "", "", "")
    for one in result.challengers:
        if one.error:
            table.add_row(one.name, "", "", "", "failed")
            continue
        found = one.differences[at]
        said = "too little evidence" if result.thin else found.conclusion
        table.add_row(
            one.name, figure(found.challenger), signed(found.difference), interval(found), said
        )
    return table
