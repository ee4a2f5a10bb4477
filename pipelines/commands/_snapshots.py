"""What the verbs that make snapshots of days share: their options, and what is asked for."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.layout import Days
    from pipelines.shard_files import SnapshotRequest

Source = Annotated[str, typer.Option("--input", help="File, folder or glob of events.")]
Out = Annotated[str, typer.Option(help="Output folder: a path, or gs://…")]
AsOf = Annotated[
    str, typer.Option(help="Of events before this day, UTC: 2026-03-12; or days: A..B.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes of the embedded runner.")]
Quiet = Annotated[bool, typer.Option(help="No progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Snapshots' markers as JSON, a line each.")]


def asked(
    context: typer.Context, config: str, source: str, out: str, as_of: str, workers: int
) -> tuple[SnapshotRequest, Days]:
    """What the options of a command line ask for, and for which days.

    Raises:
      LockstepError: there is no such config, or it has mistakes; no such days.
      typer.BadParameter: an option that neither Lockstep nor Beam has.
    """
    from pipelines.commands._shared import beam_flags, load_config
    from pipelines.layout import Days
    from pipelines.shard_files import SnapshotRequest

    days = Days.parse(as_of)
    request = SnapshotRequest(
        spec=load_config(config),
        source=source,
        out=out,
        as_of=days.first,
        published=dt.datetime.now(dt.UTC),
        workers=workers,
        flags=beam_flags(context),
    )
    return request, days
