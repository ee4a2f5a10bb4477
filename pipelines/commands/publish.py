"""`lockstep publish`: events of a file, or of the simulator, to a Pub/Sub topic."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated

import typer


def publish(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    topic: Annotated[str, typer.Option(help="projects/P/topics/T")],
    source: Annotated[
        str | None, typer.Option("--input", help="JSON Lines or Parquet files.")
    ] = None,
    simulate: Annotated[
        str | None, typer.Option(help="Instead of a file: about so many made-up chat events, 200k.")
    ] = None,
    days: Annotated[int, typer.Option(help="Of --simulate: how many days.")] = 1,
    start: Annotated[str, typer.Option(help="Of --simulate: first day, UTC.")] = "2026-03-01",
    endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT; else PUBSUB_EMULATOR_HOST, or Google Cloud.")
    ] = None,
    create: Annotated[bool, typer.Option(help="Make the topic if it is not there.")] = False,
    subscription: Annotated[
        str | None, typer.Option(help="Make this subscription too, with --create.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Messages a second; 0: as fast as it goes.")] = 0.0,
    shuffle: Annotated[float, typer.Option(help="Disorder, in seconds of event time.")] = 0.0,
    duplicates: Annotated[float, typer.Option(help="Share of events sent twice.")] = 0.0,
    late: Annotated[float, typer.Option(help="Share of events that come late.")] = 0.0,
    late_seconds: Annotated[float, typer.Option(help="By so much event time.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Same seed, same events, same order.")] = 0,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The count as JSON.")] = False,
) -> None:
    """Publish events, shuffled, doubled and delayed on request."""
    from pipelines.commands._shared import event_count, load_config
    from pipelines.layout import parse_day
    from pipelines.progress import choose_progress
    from pipelines.publish import PublishSettings, simulated
    from pipelines.publish import publish as run
    from pipelines.pubsub.admin import ensure_subscription, ensure_topic
    from pipelines.pubsub.names import require_name
    from pipelines.pubsub.publisher import TopicPublisher

    if (source is None) == (simulate is None):
        raise typer.BadParameter("give either --input or --simulate")
    require_name(topic, "topics")
    if subscription is not None:
        require_name(subscription, "subscriptions")
    spec, progress = load_config(config), choose_progress(quiet or as_json)
    if create:
        ensure_topic(topic, endpoint)
        if subscription:
            ensure_subscription(subscription, topic, endpoint=endpoint)
    settings = PublishSettings(rate, shuffle, duplicates, late, late_seconds, seed)
    with contextlib.ExitStack() as opened:
        events = source
        if simulate is not None:
            made = simulated(event_count(simulate), days, parse_day(start), seed, progress)
            events = opened.enter_context(made)
        publisher = opened.enter_context(TopicPublisher(topic, endpoint))
        step = opened.enter_context(progress.step("publish", 0, "messages"))
        sent = run(str(events), spec, publisher.publish, settings, step.advance)
    if as_json:
        print(json.dumps({"messages": sent, "topic": topic}))
        return
    print(f"{sent:,} messages to {topic}")
