"""The whole path over the real protocol: what the stream decides is what a backfill computes."""

import dataclasses
import datetime as dt
import random
import shutil
import threading
import time

import pytest
from backfill_world import CONFIG
from nightly_world import request as night_request
from stream_world import (
    EVENTS,
    NIGHT,
    SUBSCRIPTION,
    after_night,
    backfilled,
    hear,
    logged,
    publish,
    request,
)

from configs.errors import StateError
from pipelines.nightly import nightly
from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.streaming.run import stream
from scoring.store import Store


def test_the_stream_decides_what_a_backfill_computes(
    stream_house, either_server, tiny_spec, tmp_path
):
    folder, events, made = stream_house
    live = after_night(events)
    publish(either_server, live, disorder=1, duplicates=0.05)
    report = stream(request(folder, either_server, tmp_path / "state"))
    posts = {event["id"] for event in live if event["kind"] == "post"}
    decisions = hear(either_server)
    assert {one["event_id"] for one in decisions} == posts
    assert len({one["decision_id"] for one in decisions}) == len(decisions)
    assert {one["bundle"] for one in decisions} == {made.bundle}
    online, offline = logged(tmp_path / "state", tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    for event, (numeric, score, row) in online.items():
        assert not row["lockstep_late"]
        assert numeric == offline[event][0], event
        assert score == offline[event][1], event
    assert report.counts.duplicates > 0


def test_a_restart_goes_on_and_a_poison_message_harms_nobody(
    stream_house, either_server, tiny_spec, tmp_path
):
    folder, events, _ = stream_house
    live = after_night(events)
    half = len(live) // 2
    with TopicPublisher(EVENTS, either_server) as publisher:
        publisher.publish([b"\xff", b"{", b"[]", b'{"id": "x", "at": "never", "kind": "post"}'])
    publish(either_server, live[:half], disorder=1)
    first = stream(request(folder, either_server, tmp_path / "state"))
    assert first.counts.dead_letters.total() == 4
    publish(either_server, live[half:], disorder=1)
    second = stream(request(folder, either_server, tmp_path / "state", from_night=None))
    assert second.next_step > first.next_step
    online, offline = logged(tmp_path / "state", tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == {event["id"] for event in live if event["kind"] == "post"}
    assert all(online[event][:2] == offline[event] for event in online)


def test_a_night_is_not_started_over_a_scorers_own_state(stream_house, either_server, tmp_path):
    folder, _, _ = stream_house
    stream(request(folder, either_server, tmp_path / "state"))
    publish(either_server, after_night(stream_house[1])[:50], disorder=1)
    stream(request(folder, either_server, tmp_path / "state", from_night=None))
    with pytest.raises(StateError, match="holds a scorer's own state"):
        stream(request(folder, either_server, tmp_path / "state"))


def test_a_swap_in_the_middle_is_followed_and_told(
    stream_house, either_server, tiny_spec, tmp_path
):
    folder, events, made = stream_house
    live = after_night(events)
    house = shutil.copytree(folder / "house", tmp_path / "house")
    half = len(live) // 2
    publish(either_server, live[:half], disorder=1)
    stream(request(tmp_path, either_server, tmp_path / "state"))
    other = CONFIG.replace("rounds: 20", "rounds: 7")
    night = NIGHT + dt.timedelta(days=1)  # again: it has seen the events of the gate
    later = nightly(night_request(str(folder / "input"), house, other, night, promote=False))
    Store(house / "bundles").promote(later.bundle)
    publish(either_server, live[half:], disorder=1)
    stream(request(tmp_path, either_server, tmp_path / "state", from_night=None))
    assert {one["bundle"] for one in hear(either_server)} == {made.bundle, later.bundle}
    check_served(tmp_path / "state", house / "bundles").require()


def test_what_comes_after_a_restart_and_belongs_before_it_is_late(
    stream_house, server, tiny_spec, tmp_path
):
    folder, events, _ = stream_house
    live = after_night(events)
    left_out, half = live[100:120], len(live) // 2
    publish(server, live[:100] + live[120:half], disorder=1)
    stream(request(folder, server, tmp_path / "state"))
    for _ in range(2):  # a restart from a snapshot, and one that had nothing to fold
        publish(server, left_out[:10], disorder=1)
        left_out = left_out[10:]
        stream(request(folder, server, tmp_path / "state", from_night=None))
    online = logged(tmp_path / "state", tiny_spec)
    late = {event for event, (_, _, row) in online.items() if row["lockstep_late"]}
    assert late == {event["id"] for event in live[100:120] if event["kind"] == "post"}


def test_what_the_night_should_have_known_is_late(stream_house, server, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    unknown = [event | {"id": "unknown"} for event in events if event["kind"] == "post"]
    before = [event for event in unknown if event["at"] < "2026-03-09"][-1]
    publish(server, [before], disorder=1)
    stream(request(folder, server, tmp_path / "state"))
    (row,) = (row for _, _, row in logged(tmp_path / "state", tiny_spec).values())
    assert row["event_id"] == "unknown" and row["lockstep_late"]


@pytest.mark.slow
def test_bursts_late_ones_and_idle_times_are_told_and_explained(
    stream_house, either_server, tiny_spec, tmp_path
):
    folder, events, made = stream_house
    live, rng = after_night(events), random.Random(3)
    held_back = {event["id"] for event in live if rng.random() < 0.02}
    late = [event for event in live if event["id"] in held_back]

    def produce():
        on_time = [event for event in live if event["id"] not in held_back]
        while on_time:
            size = rng.choice([1, 5, 200])
            publish(either_server, on_time[:size], disorder=1, duplicates=0.1, seed=size)
            on_time = on_time[size:]
            time.sleep(rng.choice([0.0, 0.0, 0.3]))
        time.sleep(1.0)  # the last ones are folded meanwhile
        publish(either_server, late, disorder=50)

    producer = threading.Thread(target=produce)
    producer.start()
    asked = request(folder, either_server, tmp_path / "state")
    source = dataclasses.replace(asked.source, end_after_idle_s=5.0)
    stream(dataclasses.replace(asked, source=source))
    producer.join()
    online, offline = logged(tmp_path / "state", tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == {event["id"] for event in live if event["kind"] == "post"}
    marked = {event for event, (_, _, row) in online.items() if row["lockstep_late"]}
    assert marked <= held_back and len(marked) > 5
    first = min(event["at"] for event in late)
    before = [e["id"] for e in live if e["at"] < first and e["kind"] == "post"]
    assert before and all(online[event][:2] == offline[event] for event in before)
    check_served(tmp_path / "state", made.folder.parent).require()
    ideal = check_ideal(tmp_path / "state", made.folder.parent)
    ideal.require()
    assert set(ideal.by_cause) == {"late"}


def test_sought_back_to_the_night_nothing_is_missed_or_folded_twice(
    stream_house, server, tiny_spec, tmp_path
):
    """Everything was read and acknowledged before; the seek brings it back, old events included."""
    folder, events, _ = stream_house
    publish(server, events, disorder=1)
    puller = Puller(PullSettings(SUBSCRIPTION, server, 100_000, 1 << 28, 60))
    try:
        while batch := puller.take(20_000, 2.0):
            puller.acknowledge([message.ack_id for message in batch])
    finally:
        puller.close()
    report = stream(request(folder, server, tmp_path / "state", seek=True))
    assert report.counts.duplicates > 0, "the night's last events came again, and were known"
    posts = {event["id"] for event in after_night(events) if event["kind"] == "post"}
    assert {one["event_id"] for one in hear(server)} == posts
    online, offline = logged(tmp_path / "state", tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    assert all(online[event][:2] == offline[event] for event in online)
