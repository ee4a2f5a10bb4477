"""The whole path over the real protocol: what the stream decides is what a backfill computes."""

import datetime as dt

import pytest
from backfill_world import CONFIG
from stream_world import EVENTS, NIGHT, after_night, backfilled, hear, logged, publish, request

from configs.errors import StateError
from configs.loader import loads
from pipelines.nightly import NightlyRequest, nightly
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.streaming.run import stream
from scoring.store import Store
from transforms.catalog import CATALOG


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
    assert report.counts["duplicates"] > 0


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
    assert sum(n for name, n in first.counts.items() if name.startswith("dead")) == 4
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
    store = Store(folder / "house" / "bundles")
    half = len(live) // 2
    publish(either_server, live[:half], disorder=1)
    stream(request(folder, either_server, tmp_path / "state"))
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
        publish(either_server, live[half:], disorder=1)
        stream(request(folder, either_server, tmp_path / "state", from_night=None))
        assert {one["bundle"] for one in hear(either_server)} == {made.bundle, later.bundle}
    finally:
        store.rollback()
