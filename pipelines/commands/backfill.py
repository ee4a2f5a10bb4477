"""`lockstep backfill`: features of past days, from the command line."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from pipelines.commands._shared import GraphStore


def backfill(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    source: Annotated[str, typer.Option("--input", help="File, folder or glob of events.")],
    out: Annotated[str, typer.Option(help="Output folder: a path, or gs://…")],
    days: Annotated[str, typer.Option(help="2026-03-01..2026-03-07, UTC, both included.")],
    workers: Annotated[
        int | None, typer.Option(help="Processes; as many as pay if not given.")
    ] = None,
    only_new_features: Annotated[
        bool, typer.Option(help="Compute just the features that the published days lack.")
    ] = False,
    bundle: Annotated[
        str | None,
        typer.Option(help="Add inputs, scores and due actions (no limits) of this model bundle."),
    ] = None,
    keep_states: Annotated[int, typer.Option(help="State snapshots of so many last days.")] = 14,
    allow_empty_days: Annotated[
        bool, typer.Option(help="Publish days after the newest event of the input.")
    ] = False,
    exchange: Annotated[
        str, typer.Option(help="How batches travel: files or engine; files if embedded.")
    ] = "",
    graph_store: GraphStore = None,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and its cost; do nothing.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Compute features of past days into a Parquet dataset; days that are there are kept.

    Other options are Beam's: --runner=FlinkRunner --flink_master=…; without --runner it runs here.
    """
    from pipelines.backfill import BackfillRequest, make_backfill_plan
    from pipelines.backfill import backfill as run
    from pipelines.commands._shared import beam_flags, load_config, warn
    from pipelines.layout import Days
    from pipelines.progress import choose_progress
    from pipelines.runners import forked_workers

    request = BackfillRequest(
        spec=load_config(config),
        source=source,
        out=out,
        days=Days.parse(days),
        workers=workers,
        only_new_features=only_new_features,
        bundle=bundle,
        keep_states=keep_states,
        allow_empty_days=allow_empty_days,
        flags=beam_flags(context),
        exchange=exchange,
        graph_store=graph_store,
    )
    if dry_run:
        plan = make_backfill_plan(request)
        print(json.dumps(plan.to_builtins()) if as_json else "\n".join(plan.lines()))
        return
    with forked_workers(workers, request.flags):
        report = run(request, choose_progress(quiet or as_json))
    warn(report.warnings)
    if as_json:
        print(json.dumps(dataclasses.asdict(report), default=str))
        return
    if not report.days:
        print(f"nothing to do: {days} is there already in {out}")
        return
    dead = ", ".join(f"{reason} {n:,}" for reason, n in report.dead.items()) or "none"
    print(
        f"{len(report.days)} day(s) made in {report.out}: {report.events:,} events, "
        f"{report.scored:,} scored, {report.verdicts:,} verdicts, {report.duplicates:,} "
        f"duplicates, dead letters: {dead}"
    )
    if report.empty:
        print(f"days without events: {', '.join(report.empty)}")
    keys = ", ".join(f"{entity} {n:,}" for entity, n in report.keys.items())
    print(f"live keys: {keys}; {report.state_bytes / 1e6:.1f} MB of state")
    print(f"--from-night can start from the state of: {', '.join(report.states) or 'no day'}")
    for line in report.metrics.lines():
        print(line)
    for usage in report.usage:
        print(f"  {usage.step:<22}{usage.seconds:8.1f} s{usage.peak_bytes / 1e6:10.0f} MB")
