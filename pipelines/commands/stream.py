"""`lockstep stream`: the scorer, on a Pub/Sub subscription."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.commands._shared import GraphStore, MetricsHost, MetricsPort


def stream(
    context: typer.Context,
    bundles: Annotated[str, typer.Option(help="Bundle store; its serving bundle decides.")],
    subscription: Annotated[str, typer.Option(help="projects/P/subscriptions/S")],
    decisions: Annotated[str, typer.Option(help="projects/P/topics/T")],
    state: Annotated[str, typer.Option(help="Folder of log and snapshots.")],
    dead_letters: Annotated[
        str | None, typer.Option(help="Topic for messages that cannot be used.")
    ] = None,
    keep_dead_letters: Annotated[
        int, typer.Option(min=1, help="Days for which STATE/dead_letters is kept.")
    ] = 30,
    keep_log_days: Annotated[
        int,
        typer.Option(min=1, help="Days, by this machine's clock, for which `parity` has the log."),
    ] = 7,
    out: Annotated[str | None, typer.Option(help="A backfill's folder, for --from-night.")] = None,
    from_night: Annotated[
        str | None, typer.Option(help="Start from the state at the end of this day.")
    ] = None,
    seek: Annotated[
        bool, typer.Option(help="Set the subscription back to the end of that day.")
    ] = False,
    endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT; else PUBSUB_EMULATOR_HOST, or Google Cloud.")
    ] = None,
    batch_events: Annotated[int, typer.Option(help="Most events of a micro-batch.")] = 1000,
    latency_ms: Annotated[int, typer.Option(help="How long a micro-batch waits for more.")] = 50,
    buffer_events: Annotated[
        int, typer.Option(help="Unacknowledged events at which pulling stops.")
    ] = 200_000,
    create: Annotated[
        bool, typer.Option(help="Make the topics of decisions and dead letters if not there.")
    ] = False,
    ahead_seconds: Annotated[
        float, typer.Option(help="Events further than this beyond the clock are dead letters.")
    ] = 10.0,
    lease_seconds: Annotated[
        int,
        typer.Option(
            min=10,
            max=600,
            help="Ack deadline with --ack decided or --runner; extended while events are held.",
        ),
    ] = 30,
    ack: Annotated[
        Literal["arrived", "decided"],
        typer.Option(
            help="When a message is acknowledged: on disk in --state, or decided (slower restarts; "
            "for a --state whose disk may be lost).",
        ),
    ] = "arrived",
    decide: Annotated[
        Literal["in_order", "at_arrival"],
        typer.Option(
            help="When an event is decided: once, after the disorder bound; or at once, and again "
            "(revision 1) where its order makes another action of it.",
        ),
    ] = "in_order",
    idle_exit: Annotated[
        float | None, typer.Option(help="End when nothing came for so many seconds.")
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            help="A bundle that scores beside the one that decides, and never acts: its folder, or "
            "its fingerprint in --bundles.",
        ),
    ] = None,
    shadow_share: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Of one core that --shadow may take; beyond it drops events."
        ),
    ] = 0.25,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    readers: Annotated[
        int, typer.Option(min=1, help="With --runner: readers of the subscription.")
    ] = 2,
    tick_ms: Annotated[
        int, typer.Option(min=10, help="With --runner: event time that is folded at once.")
    ] = 1000,
    graph_store: GraphStore = None,
    detach: Annotated[
        bool, typer.Option(help="With --runner: leave the job running, and return.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON.")] = False,
) -> None:
    """Score a subscription until SIGTERM; decisions go to a topic, a log stays for parity.

    Other options are Beam's: --runner=FlinkRunner --flink_master=…; without --runner it runs here.
    """
    from pipelines.commands._shared import beam_flags
    from pipelines.pubsub.names import require_name

    flags = beam_flags(context)
    on_engine = any(flag.split("=")[0] == "--runner" for flag in flags)
    refuse_options(context, on_engine)
    require_name(subscription, "subscriptions")
    for topic in filter(None, (decisions, dead_letters)):
        require_name(topic, "topics")
    if on_engine:
        from pipelines.layout import parse_day
        from pipelines.progress import choose_progress
        from pipelines.pubsub.admin import ensure_topic
        from pipelines.pubsub.session import ReaderSettings
        from pipelines.runners import Running
        from pipelines.streaming.job import JobRequest, stream_job
        from transforms.ticks import TickSettings

        for topic in filter(None, (decisions, dead_letters) if create else ()):
            ensure_topic(topic, endpoint)
        stream_job(
            JobRequest(
                bundles=bundles,
                reader=ReaderSettings(
                    subscription,
                    endpoint,
                    readers=readers,
                    batch_events=batch_events,
                    latency_s=latency_ms / 1000,
                    buffer_events=buffer_events,
                    ahead_us=round(ahead_seconds * 1e6),
                    lease_s=lease_seconds,
                ),
                decisions=decisions,
                state=state,
                running=Running(flags=flags),
                dead_letters=dead_letters,
                out=out,
                from_night=parse_day(from_night) if from_night else None,
                seek=seek,
                ticks=TickSettings(tick_us=tick_ms * 1000),
                detach=detach,
                graph_store=graph_store,
            ),
            choose_progress(quiet or as_json),
        )
        return
    from pipelines.streaming.stopping import Stopping

    with Stopping():  # a signal ends it at once, also while the imports take their seconds
        from pipelines.layout import parse_day
        from pipelines.progress import choose_progress
        from pipelines.pubsub.admin import ensure_topic
        from pipelines.pubsub.settings import Ack, DecideAt, SourceSettings
        from pipelines.streaming.run import StreamRequest
        from pipelines.streaming.run import stream as run
        from pipelines.streaming.service import ServiceSettings
        from scoring.booster import import_xgboost_alone

        import_xgboost_alone()
    if create:
        for topic in filter(None, (decisions, dead_letters)):
            ensure_topic(topic, endpoint)
    report = run(
        StreamRequest(
            bundles=bundles,
            source=SourceSettings(
                subscription,
                endpoint,
                batch_events=batch_events,
                latency_s=latency_ms / 1000,
                buffer_events=buffer_events,
                ahead_us=round(ahead_seconds * 1e6),
                lease_s=lease_seconds,
                ack=Ack(ack),
                decide=DecideAt(decide),
                end_after_idle_s=idle_exit,
            ),
            decisions=decisions,
            state=Path(state),
            dead_letters=dead_letters,
            out=out,
            from_night=parse_day(from_night) if from_night else None,
            seek=seek,
            settings=ServiceSettings.for_lease(lease_seconds, keep_dead_letters, keep_log_days),
            metrics_port=metrics_port,
            metrics_host=metrics_host,
            shadow=shadow,
            shadow_share=shadow_share,
        ),
        choose_progress(quiet or as_json),
    )
    if as_json:
        print(json.dumps(report.counts.to_builtins()))
        return
    for name, (count, _) in report.counts.totals().items():
        print(f"{name.replace('_', ' '):<24}{count:>12,}")
    for action, count in sorted(report.counts.actions.items()):
        print(f"action {action:<17}{count:>12,}")
    for reason, count in sorted(report.counts.dead_letters.items()):
        print(f"dead letters {reason:<11}{count:>12,}")
    for aggregate, count in sorted(report.counts.saturated.items()):
        print(f"did not fit {aggregate:<12}{count:>12,}")


_EMBEDDED = {
    "idle_exit": "a job ends when it is cancelled",
    "metrics_port": "look at the engine's metrics, namespace lockstep",
    "metrics_host": "look at the engine's metrics, namespace lockstep",
    "ack": "an engine's job acknowledges what a checkpoint holds",
    "decide": "an engine's job decides in order",
    "shadow": "a shadow scores in the embedded scorer; start one beside the job",
    "shadow_share": "a shadow scores in the embedded scorer; start one beside the job",
    "keep_log_days": "a job keeps all of its log, which `lockstep parity` needs",
    "keep_dead_letters": "a job keeps all dead letters",
}
_OF_A_JOB = {
    "readers": "the embedded scorer reads by itself",
    "tick_ms": "the embedded scorer folds what is due at once",
    "detach": "the embedded scorer is a process of its own, which a supervisor keeps",
    "graph_store": "the embedded scorer maps the files of snapshots",
}
_WITH = {"seek": "from_night", "shadow_share": "shadow", "metrics_host": "metrics_port"}


def refuse_options(context: typer.Context, on_engine: bool) -> None:
    """Options that would be passed over: of the other scorer, or without the one they go with.

    Raises:
      typer.BadParameter: which one was given, and what to do instead.
    """

    def given(name: str) -> bool:
        source = context.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    for name, words in (_EMBEDDED if on_engine else _OF_A_JOB).items():
        if given(name) and not (name == "decide" and context.params[name] == "in_order"):
            goes = "does not go with" if on_engine else "goes with"
            raise typer.BadParameter(f"{_option(name)} {goes} --runner: {words}", context)
    for name, other in _WITH.items():
        if given(name) and context.params[name] and context.params[other] is None:
            raise typer.BadParameter(f"{_option(name)} goes with {_option(other)}", context)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
