"""What a scorer begins with, what it leaves out as the night's, and what it refuses to stream."""

import json
import logging

import pytest
from backfill_world import CONFIG
from explorer_world import World
from fold_world import SPEC
from stream_world import NIGHT, after_night, hear, publish, request

from configs.errors import ConfigError, InputError, StateError
from configs.loader import load, loads, shipped
from pipelines.layout import DAY_US, day_us
from pipelines.pubsub import admin
from pipelines.streaming.counts import Counts
from pipelines.streaming.journal import Journal, list_segments
from pipelines.streaming.restore import restore
from pipelines.streaming.run import stream
from pipelines.streaming.start import Decoder, begin, check_streamable, night_end_us
from pipelines.streaming.timings import STAGE_BOUNDS_S, Histogram
from scoring.engine import Resident
from scoring.fits import check_events, check_fits
from transforms.catalog import CATALOG

END_US = day_us(NIGHT) + DAY_US


def payload(seconds_before_end, number=0):
    at = END_US - int(seconds_before_end * 1e6)
    return json.dumps(
        {"id": f"e{number}", "at": at, "kind": "post", "who": "w", "where": "a", "amount": 1.0}
    ).encode()


def test_what_the_night_holds_is_left_out_counted_and_told_of_once(tiny_spec, caplog):
    counts, seconds = Counts(), Histogram(STAGE_BOUNDS_S)
    decode = Decoder(tiny_spec, END_US, counts, seconds)
    with caplog.at_level(logging.WARNING):
        made = decode([payload(3601, 0), b"{", payload(3599, 1), payload(9999, 2)])
        decode([payload(9999, 3)])
    assert made.batch.column("event_id").to_pylist() == ["e1"]
    assert made.positions.tolist() == [2]
    assert [letter.position for letter in made.dead] == [1]
    assert counts.before_start == 3
    assert len([r for r in caplog.records if "before_start" in r.getMessage()]) == 1
    assert seconds.buckets()[-1] == ("+Inf", 2.0)
    everything = Decoder(tiny_spec, None, counts, seconds)([payload(9999)])
    assert everything.batch.num_rows == 1


def test_the_rule_holds_after_a_restart_without_the_option(stream_house, server, tmp_path):
    folder, events, _ = stream_house
    live = after_night(events)
    old = [e for e in events if e["kind"] == "post" and e["at"] < "2026-03-08T20"][-30:]
    publish(server, live[:50], disorder=1)
    assert stream(request(folder, server, tmp_path / "state")).counts.before_start == 0
    assert night_end_us(tmp_path / "state") == END_US
    publish(server, old + live[50:80], disorder=1)
    report = stream(request(folder, server, tmp_path / "state", from_night=None))
    assert report.counts.before_start == len(old)
    assert report.counts.late == 0
    posts = {event["id"] for event in live[:80] if event["kind"] == "post"}
    assert {one["event_id"] for one in hear(server)} == posts


def test_a_cold_start_has_no_night(tiny_spec, tmp_path):
    begin(tiny_spec, Journal(tmp_path))
    assert night_end_us(tmp_path) is None
    (tmp_path / "start" / "origin.json").write_text("{")
    with pytest.raises(StateError, match=r"origin\.json is damaged.*write it anew"):
        night_end_us(tmp_path)
    assert night_end_us(tmp_path / "of an earlier build") is None


@pytest.mark.parametrize("name", ["card_fraud", "card_fraud_handbook"])
def test_rules_that_make_later_events_are_not_streamed(name):
    spec = load(shipped(name), CATALOG)
    with pytest.raises(ConfigError, match=r"'verdict' \(604,800 s\).*by itself, with its kind"):
        check_streamable(spec)


def test_columns_of_the_log_are_no_columns_of_events():
    taken = CONFIG.replace(
        "columns:\n", "columns:\n  step: {type: integer}\n  action: {type: string}\n"
    )
    with pytest.raises(ConfigError, match=r"named action, step; .*\{action: event_action\}"):
        check_streamable(loads(taken, "taken.yaml", CATALOG))


@pytest.mark.parametrize("name", ["chat", "video_comments", "mail"])
def test_other_configs_are_streamed(name):
    check_streamable(load(shipped(name), CATALOG))


def test_a_seek_needs_messages_that_are_kept(server):
    topic, kept, lost = (
        "projects/p/topics/seek", "projects/p/subscriptions/kept", "projects/p/subscriptions/lost",
    )  # fmt: skip
    admin.ensure_topic(topic, server)
    admin.ensure_subscription(kept, topic, server)
    admin.ensure_subscription(lost, topic, server, retain_acked=False)
    admin.check_seekable(kept, END_US, server)
    with pytest.raises(InputError, match=r"lost keeps no message.*retain_acked_messages"):
        admin.check_seekable(lost, END_US, server)
    with pytest.raises(InputError, match="NOT_FOUND"):
        admin.check_seekable("projects/p/subscriptions/none", END_US, server)


def test_a_topic_that_keeps_messages_is_enough_for_a_seek(server):
    from google.pubsub_v1 import PublisherClient

    from pipelines.pubsub import connect

    topic, name = "projects/p/topics/keeps", "projects/p/subscriptions/of_it"
    client = PublisherClient(transport=connect.publisher_transport(server))
    client.create_topic(request={"name": topic, "message_retention_duration": {"seconds": 3600}})
    client.transport.close()
    admin.ensure_subscription(name, topic, server, retain_acked=False)
    admin.check_seekable(name, END_US, server)


MORE = CONFIG.replace(
    "  text: {type: string}\n", "  text: {type: string}\n  size: {type: number}\n"
)


@pytest.mark.parametrize(
    ("change", "what", "fits"),
    [
        (MORE, "column 'size'", True),
        (CONFIG.replace("dedup: 1h", "dedup: 1h, disorder: 9s"), "events", True),
        (CONFIG.replace("name: tiny", "name: other"), "is of 'other'", True),
        (
            CONFIG.replace("amount: {type: number}", "amount: {type: number, maximum: 9}"),
            "'amount'",
            False,
        ),
        (CONFIG.replace("required: [who]", "required: [who, amount]"), "kind 'post'", False),
        (CONFIG.replace("dedup: 1h", "dedup: 2h"), "events", False),
    ],
)
def test_a_bundle_that_reads_events_otherwise_needs_a_restart(tiny_spec, change, what, fits):
    """On the scorer's own state, unless other events would have made another state."""
    wanted = loads(change, "tiny.yaml", CATALOG)
    if fits:
        check_fits(tiny_spec, wanted)
    else:
        with pytest.raises(StateError, match=r"state of entity .*--from-night"):
            check_fits(tiny_spec, wanted)
    with pytest.raises(StateError, match=what):
        check_events(tiny_spec, wanted)
    check_events(tiny_spec, loads(CONFIG.replace("rounds: 20", "rounds: 7"), "t.yaml", CATALOG))


def test_an_old_log_is_replayed_under_a_spec_with_one_more_column(tmp_path):
    world = World(tmp_path, [("x", 10 * n, "a", 1.0, "p") for n in range(9)])
    for place in range(9):
        world.arrive([place])
        world.take(5)
    world.journal.close()
    assert list_segments(tmp_path)
    spec = loads(battery("  size: {type: number}\n"), "battery.yaml", CATALOG)
    restored = restore(spec, Journal(tmp_path))
    same = restore(SPEC, Journal(tmp_path))
    assert restored.next_step == same.next_step == world.service.next_step
    for entity, state in same.resident.states.items():
        assert restored.resident.states[entity].to_table().equals(state.to_table())
    assert isinstance(restored.resident, Resident)


def battery(more):
    from fold_world import CONFIG as BATTERY

    return BATTERY.replace("  label: {type: string}\n", "  label: {type: string}\n" + more)


def test_an_old_log_with_another_type_is_refused(tmp_path):
    old = loads(battery("  size: {type: number}\n"), "battery.yaml", CATALOG)
    new = loads(battery("  size: {type: string}\n"), "battery.yaml", CATALOG)
    from scoring.engine import logged_events
    from transforms.decode import no_events

    with pytest.raises(StateError, match=r"'size' is double in the log, and string.*--from-night"):
        logged_events(new, no_events(old).batch)
