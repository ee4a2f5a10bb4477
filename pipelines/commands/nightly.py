"""`lockstep nightly`: the job that a scheduler starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def nightly(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    source: Annotated[str, typer.Option("--input", help="File, folder or glob of events.")],
    out: Annotated[str, typer.Option(help="Output folder: a path, or gs://…")],
    as_of: Annotated[str, typer.Option(help="2026-03-11 uses what was known before that day.")],
    since: Annotated[str | None, typer.Option(help="First day of a first run.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of the backfill; as many as pay if not given.")
    ] = None,
    promote: Annotated[bool, typer.Option(help="Serve a bundle that passes the gate.")] = True,
    scorer: Annotated[
        Path | None, typer.Option(help="The --state of `lockstep stream`, for `gate: {parity: …}`.")
    ] = None,
    allow_empty_days: Annotated[
        bool, typer.Option(help="Go on though the input shows no event of the last days.")
    ] = False,
    only_new_features: Annotated[
        bool, typer.Option(help="First bring the published days up to a changed config.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Print what the run would do; do nothing.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Bring features up to date, train, judge, and serve the bundle if it is good.

    Other options are Beam's, for the features, the analysis and the comparison with the model that
    serves: --runner=FlinkRunner …; without --runner they run here. What trains does so on this
    machine.
    """
    from pipelines.commands._shared import beam_flags, config_path, load_config, warn
    from pipelines.layout import parse_day
    from pipelines.nightly import NightlyRequest, plan_nightly
    from pipelines.nightly import nightly as run
    from pipelines.progress import choose_progress
    from pipelines.runners import forked_workers

    spec = load_config(config)
    request = NightlyRequest(
        spec=spec,
        config=config_path(config).read_text(),
        source=source,
        out=out,
        as_of=parse_day(as_of),
        workers=workers,
        since=parse_day(since) if since else None,
        promote=promote,
        scorer=scorer,
        allow_empty_days=allow_empty_days,
        only_new_features=only_new_features,
        flags=beam_flags(context),
    )
    if dry_run:
        plan = plan_nightly(request)
        print(json.dumps(plan.to_builtins()) if as_json else "\n".join(plan.lines()))
        return
    with forked_workers(workers, request.flags):
        outcome = run(request, choose_progress(quiet or as_json))
    warn(outcome.warnings)
    if as_json:
        print(json.dumps(json.loads(outcome.report.to_json())))
        return
    metrics = outcome.report.metrics
    print(outcome.report.summary)
    if metrics is not None:
        print(
            f"  AUC {metrics.auc:.3f}, average precision {metrics.average_precision:.3f} on "
            f"{metrics.labelled:,} events with {metrics.positives:,} positives"
        )
    report = outcome.report
    if report.rows:
        lost = ", ".join(f"{one.reason} {one.records:,}" for one in report.dead) or "none"
        print(f"  read    {report.rows:,} rows; dead letters: {lost}")
    print(f"  bundle  {outcome.folder}\n  page    {outcome.page}")
