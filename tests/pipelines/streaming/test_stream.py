"""The whole path over the real protocol: what the stream decides is what a backfill computes."""

import dataclasses
import datetime as dt
import json
import random

import numpy as np
import polars as pl
import pytest
from backfill_world import CONFIG, make_events

from configs.errors import StateError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.server import running_server
from pipelines.streaming.journal import Journal
from pipelines.streaming.run import StreamRequest, stream
from pipelines.unbounded import SourceSettings
from scoring.store import Store
from transforms.catalog import CATALOG

NIGHT = dt.date(2026, 3, 8)
EVENTS, SUBSCRIPTION = "projects/p/topics/events", "projects/p/subscriptions/events"
DECISIONS, HEARD = "projects/p/topics/decisions", "projects/p/subscriptions/heard"


@pytest.fixture(scope="module")
def spec():
    return loads(CONFIG, "tiny.yaml", CATALOG)


@pytest.fixture(scope="module")
def world(tmp_path_factory, spec):
    """Ten days of events; a house whose night of the ninth is promoted; all days backfilled."""
    folder = tmp_path_factory.mktemp("stream")
    events = sorted(make_events(3000, days=10), key=lambda e: (e["at"], e["id"]))
    source = folder / "input"
    source.mkdir()
    (source / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    first = dt.date(2026, 3, 1)
    night = NIGHT + dt.timedelta(days=1)
    made = nightly(NightlyRequest(spec, CONFIG, str(source), folder / "house", night, since=first))
    whole = folder / "whole"
    backfill(
        BackfillRequest(
            spec, str(source), whole, Days(first, dt.date(2026, 3, 10)), bundle=made.folder
        )
    )
    return folder, events, made


@pytest.fixture
def server():
    with running_server() as running:
        endpoint = running.endpoint
        ensure_topic(EVENTS, endpoint)
        ensure_topic(DECISIONS, endpoint)
        ensure_subscription(SUBSCRIPTION, EVENTS, endpoint=endpoint)
        ensure_subscription(HEARD, DECISIONS, endpoint=endpoint)
        yield endpoint


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
    from transforms.inputs import numeric_names

    frame = pl.read_parquet(str(folder / "whole" / "features" / "**" / "*.parquet"))
    block = frame.select(numeric_names(spec)).to_numpy().astype(np.float32)
    scores = frame["score"].to_numpy()
    return {
        event: (block[i].tobytes(), np.float64(scores[i]).tobytes())
        for i, event in enumerate(frame["event_id"].to_list())
    }


def after_night(events):
    return [event for event in events if event["at"] >= "2026-03-09"]


def wide(spec_text):
    """The disorder bound in event time that covers the shuffling of `publish`."""
    return spec_text.replace("dedup: 1h", "dedup: 1h, disorder: 4h")


def test_the_stream_decides_what_a_backfill_computes(world, server, spec, tmp_path):
    folder, events, made = world
    live = after_night(events)
    publish(server, live, disorder=1, duplicates=0.05)
    report = stream(request(folder, server, tmp_path / "state"))
    posts = {event["id"] for event in live if event["kind"] == "post"}
    decisions = hear(server)
    assert {one["event_id"] for one in decisions} == posts
    assert len({one["decision_id"] for one in decisions}) == len(decisions)
    assert {one["bundle"] for one in decisions} == {made.bundle}
    online, offline = logged(tmp_path / "state", spec), backfilled(folder, spec)
    assert online.keys() == posts
    for event, (numeric, score, row) in online.items():
        assert not row["lockstep_late"]
        assert numeric == offline[event][0], event
        assert score == offline[event][1], event
    assert report.counts["duplicates"] > 0


def test_a_restart_goes_on_and_a_poison_message_harms_nobody(world, server, spec, tmp_path):
    folder, events, _ = world
    live = after_night(events)
    half = len(live) // 2
    with TopicPublisher(EVENTS, server) as publisher:
        publisher.publish([b"\xff", b"{", b"[]", b'{"id": "x", "at": "never", "kind": "post"}'])
    publish(server, live[:half], disorder=1)
    first = stream(request(folder, server, tmp_path / "state"))
    assert sum(n for name, n in first.counts.items() if name.startswith("dead")) == 4
    publish(server, live[half:], disorder=1)
    second = stream(request(folder, server, tmp_path / "state", from_night=None))
    assert second.next_step > first.next_step
    online, offline = logged(tmp_path / "state", spec), backfilled(folder, spec)
    assert online.keys() == {event["id"] for event in live if event["kind"] == "post"}
    assert all(online[event][:2] == offline[event] for event in online)


def test_a_night_is_not_started_over_a_scorers_own_state(world, server, tmp_path):
    folder, _, _ = world
    stream(request(folder, server, tmp_path / "state"))
    publish(server, after_night(world[1])[:50], disorder=1)
    stream(request(folder, server, tmp_path / "state", from_night=None))
    with pytest.raises(StateError, match="holds a scorer's own state"):
        stream(request(folder, server, tmp_path / "state"))


def test_a_swap_in_the_middle_is_followed_and_told(world, server, spec, tmp_path):
    folder, events, made = world
    live = after_night(events)
    store = Store(folder / "house" / "bundles")
    half = len(live) // 2
    publish(server, live[:half], disorder=1)
    stream(request(folder, server, tmp_path / "state"))
    other = CONFIG.replace("rounds: 20", "rounds: 7")
    later = nightly(
        NightlyRequest(
            loads(other, "tiny.yaml", CATALOG),
            other,
            str(folder / "input"),
            folder / "house",
            NIGHT + dt.timedelta(days=1),
        )
    )
    try:
        publish(server, live[half:], disorder=1)
        stream(request(folder, server, tmp_path / "state", from_night=None))
        assert {one["bundle"] for one in hear(server)} == {made.bundle, later.bundle}
    finally:
        store.rollback()
