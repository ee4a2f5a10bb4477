"""`lockstep graph`: a snapshot of the social graph as of a day, or of each of some days."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.graph import PublishedSnapshot


def graph(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="YAML file with a section graph.")],
    source: Annotated[str, typer.Option("--input", help="File, folder or glob of events.")],
    out: Annotated[str, typer.Option(help="Output folder: a path, or gs://…")],
    as_of: Annotated[
        str,
        typer.Option(help="Of events before this day, UTC: 2026-03-12; or days: A..B."),
    ],
    workers: Annotated[int, typer.Option(min=1, help="Processes of the embedded runner.")] = 1,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Snapshots' markers as JSON, a line each.")
    ] = False,
) -> None:
    """Compute features of every account from who is linked to whom; one that is there is kept.

    Other options are Beam's, as for backfill.
    """
    from pipelines.commands._shared import beam_flags, load_config
    from pipelines.graph import GraphRequest, make_snapshots
    from pipelines.layout import Days
    from pipelines.progress import choose_progress

    days = Days.parse(as_of)
    request = GraphRequest(
        spec=load_config(config),
        source=source,
        out=out,
        as_of=days.first,
        published=dt.datetime.now(dt.UTC),
        workers=workers,
        flags=beam_flags(context),
    )
    for made in make_snapshots(request, days, choose_progress(quiet or as_json)):
        print(json.dumps(dataclasses.asdict(made)) if as_json else _words(made, out))


def _words(made: PublishedSnapshot, out: str) -> str:
    there = "is there already" if made.already else "made"
    known = dt.datetime.fromtimestamp(made.known_from / 1e6, dt.UTC)
    return (
        f"{made.name} {there} in {out}: {made.accounts:,} accounts, {made.edges:,} edges, "
        f"{made.honest:,} accounts judged honest, {made.abusive:,} abusive; "
        f"{len(made.features)} features, known from {known:%Y-%m-%d %H:%M:%S} UTC"
    )
