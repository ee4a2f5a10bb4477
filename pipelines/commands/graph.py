"""`lockstep graph`: a snapshot of the social graph as of a day, or of each of some days."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands._snapshots import AsJson, AsOf, Out, Quiet, Source, Workers, asked

if TYPE_CHECKING:
    from pipelines.graph import PublishedSnapshot


def graph(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="YAML file with a section graph.")],
    source: Source,
    out: Out,
    as_of: AsOf,
    workers: Workers = 1,
    store: Annotated[
        str | None,
        typer.Option(help="Copy accounts there too: bigtable:PROJECT/INSTANCE/TABLE."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compute features of every account from who is linked to whom; one that is there is kept.

    Other options are Beam's, as for backfill.
    """
    from pipelines.graph import make_snapshots
    from pipelines.progress import choose_progress

    request, days = asked(context, config, source, out, as_of, workers)
    for made in make_snapshots(request, days, choose_progress(quiet or as_json), store):
        print(json.dumps(dataclasses.asdict(made)) if as_json else _words(made, out))


def _words(made: PublishedSnapshot, out: str) -> str:
    there = "is there already" if made.already else "made"
    known = dt.datetime.fromtimestamp(made.known_from / 1e6, dt.UTC)
    return (
        f"{made.name} {there} in {out}: {made.accounts:,} accounts, {made.edges:,} edges, "
        f"{made.honest:,} accounts judged honest, {made.abusive:,} abusive; "
        f"{len(made.features)} features, known from {known:%Y-%m-%d %H:%M:%S} UTC"
    )
