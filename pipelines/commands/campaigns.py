"""`lockstep campaigns`: accounts that act together as of a day, or of each of some days."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.campaigns import PublishedCampaigns


def campaigns(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="YAML file with a section campaigns.")],
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
    """Find accounts that share texts, domains or addresses; a snapshot that is there is kept.

    Other options are Beam's, as for backfill.
    """
    from pipelines.campaigns import CampaignsRequest, make_campaigns
    from pipelines.commands._shared import beam_flags, load_config
    from pipelines.layout import Days
    from pipelines.progress import choose_progress

    days = Days.parse(as_of)
    request = CampaignsRequest(
        spec=load_config(config),
        source=source,
        out=out,
        as_of=days.first,
        published=dt.datetime.now(dt.UTC),
        workers=workers,
        flags=beam_flags(context),
    )
    for made in make_campaigns(request, days, choose_progress(quiet or as_json)):
        print(json.dumps(dataclasses.asdict(made)) if as_json else _words(made, out))


def _words(made: PublishedCampaigns, out: str) -> str:
    there = "is there already" if made.already else "made"
    known = dt.datetime.fromtimestamp(made.known_from / 1e6, dt.UTC)
    hubs = sum(one["values"] for one in made.hubs.values())
    return (
        f"{made.name} {there} in {out}: {made.campaigns:,} campaigns of {made.accounts:,} accounts "
        f"with {made.events:,} events, {made.continued:,} of them there the night before; "
        f"{hubs:,} popular values left out, {made.honest:,} of honest accounts; known from "
        f"{known:%Y-%m-%d %H:%M:%S} UTC"
    )
