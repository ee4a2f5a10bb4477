"""`lockstep campaigns`: accounts that act together as of a day, or of each of some days."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands._snapshots import AsJson, AsOf, Out, Quiet, Source, Workers, asked

if TYPE_CHECKING:
    from pipelines.campaigns import PublishedCampaigns


def campaigns(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="YAML file with a section campaigns.")],
    source: Source,
    out: Out,
    as_of: AsOf,
    workers: Workers = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find accounts that share texts, domains or addresses; a snapshot that is there is kept.

    Other options are Beam's, as for backfill.
    """
    from pipelines.campaigns import make_campaigns
    from pipelines.progress import choose_progress

    request, days = asked(context, config, source, out, as_of, workers)
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
