"""`lockstep serve`: decisions over gRPC, on the state of a scorer that runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands._shared import MetricsHost, MetricsPort


def serve(
    bundles: Annotated[str, typer.Option(help="Bundle store; its serving bundle decides.")],
    state: Annotated[str, typer.Option(help="The scorer's --state; it is only read.")],
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 9188,
    host: Annotated[
        str, typer.Option(help="Whoever reaches it may ask: there is no authentication.")
    ] = "127.0.0.1",
    most_events: Annotated[int, typer.Option(min=1, help="Most events of a request.")] = 100,
    most_waiting: Annotated[
        int, typer.Option(min=1, help="Events that may wait for an answer; more are refused.")
    ] = 1000,
    most_bytes: Annotated[int, typer.Option(min=1024, help="Most bytes of a request.")] = 1 << 20,
    follow_ms: Annotated[
        int, typer.Option(min=1, help="How often the scorer's logs are looked at.")
    ] = 50,
    stale_seconds: Annotated[
        float, typer.Option(help="Nothing is served after no scorer has run for so long.")
    ] = 60.0,
    ahead_seconds: Annotated[
        float, typer.Option(help="As the scorer's; events further beyond the clock are refused.")
    ] = 10.0,
    grace_seconds: Annotated[
        float, typer.Option(help="After SIGTERM, requests that have come have so long.")
    ] = 5.0,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Answer events with decisions over gRPC, until SIGTERM; beside `lockstep stream`."""
    from pipelines.progress import choose_progress
    from pipelines.serve.answers import Limits
    from pipelines.serve.server import ServeRequest
    from pipelines.serve.server import serve as run
    from scoring.booster import import_xgboost_alone

    import_xgboost_alone()
    run(
        ServeRequest(
            bundles=bundles,
            state=Path(state),
            port=port,
            host=host,
            limits=Limits(
                request_events=most_events,
                waiting_events=most_waiting,
                ahead_us=round(ahead_seconds * 1e6),
            ),
            request_bytes=most_bytes,
            follow_s=follow_ms / 1000,
            stale_s=stale_seconds,
            grace_s=grace_seconds,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
        ),
        choose_progress(quiet),
    )
