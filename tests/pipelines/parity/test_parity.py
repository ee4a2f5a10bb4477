"""Parity of both modes, whole and by range, on logs of scorers that did nothing wrong."""

import dataclasses
import datetime as dt
import json
import shutil
import signal
import threading
import time

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, tree_bytes
from nightly_world import request as night_request
from stream_world import NIGHT, after_night, publish, request

from configs.errors import InputError
from pipelines.layout import DAY_US, day_us
from pipelines.nightly import nightly
from pipelines.parity import TimeSpan, check_ideal, check_served
from pipelines.parity import recompute as ideal_module
from pipelines.parity.log import find_base, logged_batches, newest_decision
from pipelines.streaming.journal import list_segments, list_snapshots
from pipelines.streaming.run import stream
from pipelines.streaming.service import ServiceSettings
from pipelines.streaming.stopping import Stopping
from scoring.parity.causes import Archived, OrderCauses
from scoring.parity.compare import COPY, DUPLICATE, HAND_OFF, LATE, MISSING, UNEXPLAINED, VERSION
from scoring.store import Store
from transforms.decode import event_schema
from transforms.duplicates import RecentIds

TENTH = day_us(dt.date(2026, 3, 10))


def both(state, bundles, archive=None, span=None):
    return check_served(state, bundles, span), check_ideal(state, bundles, archive, span)


def test_as_served_and_ideal_agree_on_an_orderly_stream(scored):
    state, bundles = scored("orderly", duplicates=0.1)
    before = tree_bytes(state)
    for report in both(state, bundles):
        assert report.events > 100
        assert report.differing == 0
        assert sum(report.compared) == report.events
        assert report.hints == report.faults == ()
        report.require()
    assert tree_bytes(state) == before, "parity only reads"


def some_late(live):
    kept = [event for i, event in enumerate(live) if i % 10]
    return kept + [event for i, event in enumerate(live) if i % 10 == 0]


def test_late_events_differ_from_the_ideal_and_are_named(scored):
    state, bundles = scored("late", some_late)
    served, ideal = both(state, bundles)
    assert served.differing == 0
    assert set(ideal.by_cause) == {LATE}
    assert ideal.features_of[LATE] == ideal.by_feature
    assert 0 < ideal.share(LATE) == ideal.differing / ideal.events < 1
    assert ideal.largest[0].effect == ideal.largest_effect[LATE] > 0
    assert [one.effect for one in ideal.largest] == sorted(
        (one.effect for one in ideal.largest), reverse=True
    )
    assert sum(ideal.differing_over_time[LATE]) == ideal.differing
    ideal.require()


def test_a_late_event_explains_nothing_before_itself(scored, tiny_spec):
    """Its own key's earlier events are not excused by it, its later ones are."""
    state, _ = scored("late", some_late)
    batches = [one.batch for one in logged_batches(state, find_base(state))]
    columns = [*event_schema(tiny_spec).names, "lockstep_late"]
    events = pa.Table.from_batches([one.select(columns) for one in batches])
    none = events.select(columns[:-1]).slice(0, 0)
    none = Archived(none, none)
    order = OrderCauses.of(tiny_spec, events, none, RecentIds(tiny_spec.events.dedup_us))
    rows, late = events.to_pylist(), {}
    for row in rows:
        if row["lockstep_late"] and row["who"]:
            late[row["who"]] = min(late.get(row["who"], 1 << 62), row["event_time"])
    told = {True: 0, False: 0}
    for row in rows:
        if row["who"] in late:
            reached = row["event_time"] >= late[row["who"]]
            cause = order.cause(row["event_id"], ["who_posts_1d"])
            assert cause == (LATE if reached else UNEXPLAINED)
            told[reached] += 1
    assert told[True] and told[False]


def test_one_time_of_long_ago_does_not_cost_decades(scored, monkeypatch):
    """It is late, and told so; the backfill makes the days of the log, not all since then."""

    def with_an_ancient_one(live):
        return [*live[:-1], {**live[-1], "id": "old", "kind": "post", "who": "w1",
                             "where": "a", "at": "2001-01-01T00:00:00+00:00"}]  # fmt: skip

    state, bundles = scored("ancient", with_an_ancient_one, cold=True)
    days = []
    made = ideal_module.backfill
    monkeypatch.setattr(
        ideal_module, "backfill", lambda asked: days.append(asked.days) or made(asked)
    )
    ideal = check_ideal(state, bundles)
    assert len(list(days[0])) <= 3
    assert set(ideal.by_cause) == {LATE}
    ideal.require()


def test_another_meaning_of_the_inputs_is_another_version(stream_house, scored, tmp_path):
    """A bundle under a spec with as many inputs, of which one is another, took over."""
    folder = stream_house[0]
    state, bundles = scored("orderly", duplicates=0.1)
    shutil.copytree(bundles, tmp_path / "house" / "bundles")
    house = tmp_path / "house"
    other = CONFIG.replace("  numeric: [amount]", '  computed: {twice: "amount + amount"}')
    night = NIGHT + dt.timedelta(days=1)
    source = str(folder / "input")
    made = nightly(night_request(source, house, other, night, promote=False))
    Store(house / "bundles").promote(made.bundle)
    ideal = check_ideal(state, house / "bundles")
    assert set(ideal.by_cause) == {VERSION}
    assert ideal.features_of[VERSION].keys() == {"twice"}
    ideal.require()


def test_an_event_that_never_came_is_found_in_the_archive(scored, stream_house):
    folder = stream_house[0]
    state, bundles = scored("dropped", lambda live: [e for i, e in enumerate(live) if i % 20 != 7])
    served, ideal = both(state, bundles, str(folder / "input"))
    assert served.differing == 0
    assert set(ideal.by_cause) == {MISSING}
    assert check_ideal(state, bundles).differing == 0, "without the archive nobody can know"


def test_a_copy_that_came_after_another_one_was_folded_is_named(scored, stream_house, tmp_path):
    """Offline the first is the first in total order, online what was folded first stays."""

    def copies(live):
        posts = [e for e in live if e["kind"] == "post"][-20:]
        moved = (dt.datetime.fromisoformat(e["at"]) - dt.timedelta(minutes=1) for e in posts)
        return [
            {**e, "at": at.isoformat(), "amount": 12345.0}
            for e, at in zip(posts, moved, strict=True)
        ]

    state, bundles = scored("copies", lambda live: [*live, *copies(live)])
    archive = tmp_path / "archive"
    shutil.copytree(stream_house[0] / "input", archive)
    more = "".join(json.dumps(one) + "\n" for one in copies(after_night(stream_house[1])))
    (archive / "copies.jsonl").write_text(more)
    assert check_ideal(state, bundles).differing == 0, "without the archive nobody can know"
    served, ideal = both(state, bundles, str(archive))
    assert served.differing == 0
    assert set(ideal.by_cause) == {COPY}
    assert ideal.by_cause[COPY] >= 20
    assert ideal.missing == 0
    ideal.require()


def test_a_gap_between_the_night_and_the_stream_is_a_hand_off(scored, stream_house):
    folder = stream_house[0]
    state, bundles = scored("gap", lambda live: [e for e in live if e["at"] >= "2026-03-09T06"])
    served, ideal = both(state, bundles, str(folder / "input"))
    assert served.differing == 0
    assert set(ideal.by_cause) == {HAND_OFF}


def test_an_event_that_comes_again_after_its_horizon_is_a_duplicate(scored):
    def again(live):
        morning = [e for e in live if e["at"] < "2026-03-09T03"]
        return [*live, *morning]

    forgets = ServiceSettings(remember_s=0.0)  # else its id is known for as long as a lease lasts
    state, bundles = scored("again", again, settings=forgets)
    served, ideal = both(state, bundles)
    assert served.differing == 0
    assert DUPLICATE in ideal.by_cause
    assert set(ideal.by_cause) <= {DUPLICATE, LATE}


def test_a_range_is_one_piece_of_the_log(scored):
    state, bundles = scored("orderly", duplicates=0.1)
    whole = check_served(state, bundles)
    ninth, tenth = TimeSpan.parse("2026-03-09"), TimeSpan.parse("2026-03-10")
    early, late = both(state, bundles, span=ninth), both(state, bundles, span=tenth)
    for one, other in zip(early, late, strict=True):
        assert one.differing == other.differing == 0
        assert one.events + other.events == whole.events
        assert one.last_us < TENTH <= other.first_us
    noon = TimeSpan.parse("2026-03-09T06:00..2026-03-09T18:00")
    part = check_served(state, bundles, noon)
    assert 0 < part.events < early[0].events
    with pytest.raises(InputError, match="this range"):
        check_ideal(state, bundles, span=TimeSpan.parse("2026-04-01"))


@pytest.mark.parametrize("text", ["yesterday", "2026-03-09T10:00..2026-03-09T09:00", "T1..T2"])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(InputError):
        TimeSpan.parse(text)


def test_a_range_is_replayed_from_the_last_state_before_it(stream_house, server, tmp_path):
    """Snapshots of each day stay, so that a long log need not be folded from its beginning."""
    folder, events, _ = stream_house
    live = after_night(events)
    state, bundles = tmp_path / "state", folder / "house" / "bundles"
    ends = ("2026-03-09T12", "2026-03-09T20", "2026-03-10T08", "2026-03-10T16", "2026-04")
    for number, end in enumerate(ends):  # each ends with a snapshot
        publish(server, [event for event in live if event["at"] < end], disorder=1)
        live = [event for event in live if event["at"] >= end]
        changes = {"from_night": None} if number else {}
        stream(request(folder, server, state, **changes))
    assert len(list_snapshots(state)) == 4, "the newest two, and the last before each day"
    span = TimeSpan.parse("2026-03-10")
    base = find_base(state, span)
    assert base.step > -1
    first = next(iter(logged_batches(state, base, span)))
    assert not first.inside.all(), "the base lies before the range"
    for report in both(state, bundles, span=span):
        assert report.events > 50
        assert report.differing == 0

    for _, path in list_segments(state):  # as when only the newest day of the log is kept
        if path.parent.name == "date=2026-03-09":
            path.unlink()
    assert find_base(state).step == find_base(state, span).step
    whole = check_served(state, bundles)
    assert whole.differing == 0
    assert whole.first_us >= TENTH - DAY_US // 4
    said = f"decisions before step {list_segments(state)[0][0]} (events up to 2026-03-"
    assert whole.hints[0].startswith(said)
    assert whole.hints[0].endswith("their log was deleted (`lockstep stream --keep-log-days`)")
    assert check_served(state, bundles, span).hints == (), "all of that range is there"
    with pytest.raises(InputError, match="it holds decisions from 2026-03-") as refusal:
        check_served(state, bundles, TimeSpan.parse("2026-03-09T00..2026-03-09T12"))
    assert "their log was deleted" in str(refusal.value)
    for step, snapshot in list_snapshots(state):
        if step >= find_base(state).step:
            shutil.rmtree(snapshot)
    with pytest.raises(InputError, match="no snapshot from there"):
        check_served(state, bundles)


def test_days_of_the_past_streamed_at_once_are_compared_from_the_first_on(
    stream_house, server, tmp_path
):
    """A catch-up of ten days of event time: the log's age is the scorer's clock's, not theirs."""
    folder, events, _ = stream_house
    publish(server, events, disorder=1)
    state, bundles = tmp_path / "state", folder / "house" / "bundles"
    settings = ServiceSettings(snapshot_steps=5, keep_log_days=7)
    stream(request(folder, server, state, from_night=None, settings=settings))
    posts = [event for event in events if event["kind"] == "post"]
    for report in both(state, bundles):
        assert report.events == len(posts)
        assert (report.differing, report.hints, report.faults) == (0, (), ())
        assert report.last_us - report.first_us > 9 * DAY_US
        report.require()


def test_a_log_that_is_being_written_is_compared_as_far_as_it_is_whole(scored, tmp_path):
    """The last step may be half on disk; the clock may move while parity reads."""
    state, bundles = scored("orderly", duplicates=0.1)
    whole = check_served(state, bundles)
    copy = tmp_path / "state"
    shutil.copytree(state, copy)
    *_, (_, last), (_, verdicts_only) = list_segments(copy)
    verdicts_only.unlink()
    data = last.read_bytes()
    seen = []
    for cut in (len(data) - 1, len(data) - 700, len(data) // 2, 40, 0):
        last.write_bytes(data[:cut])
        served = check_served(copy, bundles)
        assert served.differing == 0
        seen.append(served.events)
    assert seen == sorted(seen, reverse=True)
    assert 0 < seen[-1] < seen[0] < whole.events
    assert newest_decision(copy) < newest_decision(state)
    ideal = check_ideal(copy, bundles)
    assert (ideal.events, ideal.differing) == (seen[-1], 0)


def test_a_running_scorer_is_checked_while_it_goes_on(stream_house, server, tmp_path, monkeypatch):
    folder, events, _ = stream_house
    live = after_night(events)
    state, bundles = tmp_path / "state", folder / "house" / "bundles"
    made = request(folder, server, state)
    stopping = Stopping()  # ended by hand: a check may take longer than any idle end
    monkeypatch.setattr("pipelines.streaming.run.Stopping", lambda: stopping)
    settings = dataclasses.replace(made.source, batch_events=20, end_after_idle_s=None)
    running = threading.Thread(target=stream, args=(dataclasses.replace(made, source=settings),))
    running.start()
    seen = []
    try:
        for part in range(3):
            publish(server, live[100 * part : 100 * (part + 1)], disorder=1)
            while running.is_alive() and (newest_decision(state) or 0) <= max(seen, default=0):
                time.sleep(0.05)
            served = check_served(state, bundles)
            assert served.events > 0
            assert served.differing == 0
            seen.append(newest_decision(state))
        check_ideal(state, bundles).require()
        assert running.is_alive(), "it ran all the while"
    finally:
        if running.is_alive():
            stopping._on_signal(signal.SIGTERM)
        running.join()
    assert seen == sorted(set(seen))


def test_a_folder_that_holds_no_log_is_refused_and_left_alone(tmp_path, stream_house):
    with pytest.raises(InputError, match="holds no log"):
        check_served(tmp_path / "typo", stream_house[0] / "house" / "bundles")
    assert not (tmp_path / "typo").exists()


def test_a_report_is_plain_json(scored):
    state, bundles = scored("late", some_late)
    told = json.loads(json.dumps(check_ideal(state, bundles).to_builtins()))
    assert told["clean"] is True
    assert told["shares"]["late"] == told["by_cause"]["late"] / told["events"]
    assert np.isclose(told["largest"][0]["effect"], told["largest_effect"]["late"])
