"""`lockstep publish`: events of a file to a Pub/Sub topic."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(publish)


def publish(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    source: Annotated[str, typer.Option("--input", help="JSON Lines or Parquet files.")],
    topic: Annotated[str, typer.Option(help="projects/P/topics/T")],
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
    seed: Annotated[int, typer.Option(help="Same seed, same order.")] = 0,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Publish events, shuffled, doubled and delayed on request."""
    from pipelines.commands._shared import load_config
    from pipelines.progress import choose_progress
    from pipelines.publish import PublishSettings
    from pipelines.publish import publish as run
    from pipelines.pubsub.admin import ensure_subscription, ensure_topic
    from pipelines.pubsub.publisher import TopicPublisher

    if create:
        ensure_topic(topic, endpoint)
        if subscription:
            ensure_subscription(subscription, topic, endpoint=endpoint)
    settings = PublishSettings(rate, shuffle, duplicates, late, late_seconds, seed)
    with (
        TopicPublisher(topic, endpoint) as publisher,
        choose_progress(quiet).step("publish", 0, "messages") as step,
    ):
        sent = run(source, load_config(config), publisher.publish, settings, step.advance)
    print(f"{sent:,} messages to {topic}")
