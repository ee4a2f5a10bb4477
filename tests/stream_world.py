"""Helpers of the streaming tests: topics, publishing, listening, reading the log."""

import contextlib
import dataclasses
import datetime as dt
import json
import random

import numpy as np
import polars as pl
from google.api_core.exceptions import NotFound
from google.pubsub_v1 import PublisherClient, SubscriberClient

from pipelines.pubsub import connect
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.settings import SourceSettings
from pipelines.streaming.journal import Journal
from pipelines.streaming.run import StreamRequest, stream
from transforms.inputs import numeric_names

NIGHT = dt.date(2026, 3, 8)
EVENTS, SUBSCRIPTION = "projects/p/topics/events", "projects/p/subscriptions/events"
DECISIONS, HEARD = "projects/p/topics/decisions", "projects/p/subscriptions/heard"


def set_up_topics(endpoint, ack_deadline_s=60):
    """The topics and subscriptions of these tests, made anew where they are there."""
    publisher = PublisherClient(transport=connect.publisher_transport(endpoint))
    subscriber = SubscriberClient(transport=connect.subscriber_transport(endpoint))
    for topic, subscription in ((EVENTS, SUBSCRIPTION), (DECISIONS, HEARD)):
        with contextlib.suppress(NotFound):
            subscriber.delete_subscription(subscription=subscription)
        with contextlib.suppress(NotFound):
            publisher.delete_topic(topic=topic)
        ensure_topic(topic, endpoint)
        ensure_subscription(subscription, topic, endpoint, ack_deadline_s)
    publisher.transport.close()
    subscriber.transport.close()


def publish(endpoint, events, disorder=200, duplicates=0.0, seed=5):
    """Publishes events shuffled within a number of places, some of them twice."""
    rng = random.Random(seed)
    order = sorted(range(len(events)), key=lambda i: i + rng.random() * disorder)
    payloads = []
    for index in order:
        data = json.dumps(events[index]).encode()
        payloads += [data, data] if rng.random() < duplicates else [data]
    with TopicPublisher(EVENTS, endpoint) as publisher:
        publisher.publish(payloads)


def hear(endpoint, most=20_000):
    """Every decision that was published."""
    puller = Puller(PullSettings(HEARD, endpoint, 100_000, 1 << 28, 60))
    heard = []
    try:
        while batch := puller.take(most, 2.0):
            heard += [json.loads(message.data) for message in batch]
            puller.acknowledge([message.ack_id for message in batch])
    finally:
        puller.close()
    return heard


def request(folder, endpoint, state, **changes):
    made = StreamRequest(
        bundles=folder / "house" / "bundles",
        source=SourceSettings(
            SUBSCRIPTION, endpoint, batch_events=100, end_after_idle_s=2.0, idle_s=0.2
        ),
        decisions=DECISIONS,
        state=state,
        out=folder / "house",
        from_night=NIGHT,
    )
    return dataclasses.replace(made, **changes)


def logged(state, spec):
    """Scored events of the log: id -> (numeric bits, score bits, late)."""
    found = {}
    for step in Journal(state).steps():
        rows = step.batch.to_pylist()
        for row in rows:
            if row["score"] is not None:
                assert row["event_id"] not in found, "decided twice"
                bits = np.array(row["numeric"], np.float32).tobytes()
                found[row["event_id"]] = (bits, np.float64(row["score"]).tobytes(), row)
    return found


def backfilled(folder, spec):
    """The same of the backfill's dataset."""
    frame = pl.read_parquet(str(folder / "whole" / "features" / "**" / "*.parquet"))
    block = frame.select(numeric_names(spec)).to_numpy().astype(np.float32)
    scores = frame["score"].to_numpy()
    return {
        event: (block[i].tobytes(), np.float64(scores[i]).tobytes())
        for i, event in enumerate(frame["event_id"].to_list())
    }


def after_night(events):
    return [event for event in events if event["at"] >= "2026-03-09"]


def serve(asked):
    """A scorer, as what a process of its own does."""
    stream(asked)
