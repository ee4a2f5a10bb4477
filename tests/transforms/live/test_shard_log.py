"""The shards of `Features` on unbounded input, in every order that a runner may choose."""

import json
import random

import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from live_world import MemoryCells, World, assert_as_expected, expected_rows, shard_keys

from configs.errors import StateError
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.inputs import numeric_names
from transforms.live.ids import Ids
from transforms.live.rejoin import part_blocks
from transforms.live.routes import Routes
from transforms.live.shard_log import ShardLog, put_arrived
from transforms.steps.shards import RECENT_IDS
from transforms.ticks import TickSettings
from transforms.velocity import ShardState

LAST = "      last_where: {op: last, of: post, column: where, values: [b, a]}\n"
TWO_DAYS = CONFIG.replace("dedup: 1h", "dedup: 2d").replace(
    "      places:", f"{LAST}      places:"
)  # no id is forgotten within a schedule
SPEC = loads(TWO_DAYS, "tiny.yaml", CATALOG)
NAMES = numeric_names(SPEC)
HOUR = 3_600_000_000
FIRST = 1_772_323_200_000_000  # 2026-03-01
TICKS = TickSettings(tick_us=HOUR, snapshot_ticks=3, homes=2)


def decoded(rows):
    """A batch of (event number, minutes, who, where, kind)."""
    records = []
    for number, minutes, who, where, kind in rows:
        at = f"2026-03-{1 + minutes // 1440:02d}T{minutes // 60 % 24:02d}:{minutes % 60:02d}:00Z"
        record = {"id": f"e{number}", "at": at, "kind": kind, "who": who, "where": where}
        record |= {"amount": number + 0.5, "text": "hello"} if kind == "post" else {}
        record |= {"subject": "e1", "bad": True} if kind == "verdict" else {}
        records.append(json.dumps(record).encode())
    return decode_json(SPEC, records, "events", 0).batch


facts = st.tuples(
    st.integers(0, 12),  # an id that another event may have
    st.integers(0, 400) | st.integers(1400, 1500),
    st.sampled_from(["x", "x", "y"]),
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["post", "post", "verdict"]),
)
given_batches = st.lists(
    st.tuples(st.lists(facts, min_size=1, max_size=5), st.integers(0, 240)),
    min_size=1, max_size=5,
)  # fmt: skip


@st.composite
def schedules(draw):
    """Batches, each with how far the watermark goes after it; and what happens to them."""
    return draw(given_batches), random.Random(draw(st.integers(0, 1 << 20)))


def explore(batches, choose):
    """A run with deaths, moves and failures; and what it is to give."""
    world, given_out, source = World(SPEC, TICKS), [], iter(batches)
    waiting = next(source, None)
    while True:
        actions = world.choices()
        if waiting is not None and (not actions or choose.random() < 0.3):
            facts_here, minutes = waiting
            batch = decoded(facts_here)
            given_out.append((world.source_us, batch))
            world.give(batch)
            world.reach(max(world.source_us, FIRST) + minutes * 60_000_000)
            waiting = next(source, None)
            if waiting is None:
                world.reach(1 << 60)
            continue
        if not actions:
            break
        what = choose.random()
        if what < 0.05:
            world.restart(choose.randrange(2))
        elif what < 0.15 and world.cells:
            world.move(choose.choice(shard_keys(world)))
        else:
            world.do(choose.choice(actions), fails=choose.random() < 0.1)
    return world, expected_rows(SPEC, given_out, TICKS.tick_us)


def check(schedule):
    world, outcome = explore(*schedule)
    assert_as_expected(SPEC, world, outcome, NAMES)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(schedules())
def test_no_schedule_changes_a_bit(schedule):
    check(schedule)


def found_by_the_explorer():
    @settings(max_examples=120, deadline=None, database=None, derandomize=True,
              phases=[Phase.generate], report_multiple_bugs=False)  # fmt: skip
    @given(schedules())
    def run(schedule):
        check(schedule)

    try:
        run()
    except Exception:
        return True
    return False


def trusts_any_resident_state(monkeypatch):
    fire = ShardLog.fire

    def trusting(self, cells, tick, resident, in_order=True):
        version = cells.version()
        if resident is not None and version is not None:
            resident.number = version[1:17]
        return fire(self, cells, tick, resident)

    monkeypatch.setattr(ShardLog, "fire", trusting)


def forgets_deltas(monkeypatch):
    monkeypatch.setattr("live_world.MemoryCells.deltas", lambda self: [])


def forgets_an_expiry(monkeypatch):
    monkeypatch.setattr(ShardState, "update", lambda self, delta: None)


def ties_in_order_of_arrival(monkeypatch):
    monkeypatch.setattr(
        "transforms.live.entity.total_order", lambda time, place: time.argsort(kind="stable")
    )


def folds_before_the_tombstones(monkeypatch):
    monkeypatch.setattr("transforms.live.entity.rows_to_keep", lambda codes, dropped: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [trusts_any_resident_state, forgets_deltas, forgets_an_expiry, ties_in_order_of_arrival,
     folds_before_the_tombstones],
)  # fmt: skip
def test_the_explorer_finds_planted_faults(plant, monkeypatch):
    plant(monkeypatch)
    assert found_by_the_explorer()


def test_resident_state_is_used_and_made_anew_when_it_is_another():
    world = World(SPEC, TICKS)
    for hour in range(6):
        world.give(decoded([(hour, 60 * hour, "x", "a", "post")]))
        world.reach(FIRST + (hour + 1) * HOUR + 10)
        world.run()
    assert world.rebuilt == 0
    world.restart(0)
    world.give(decoded([(6, 360, "x", "a", "post")]))
    world.reach(1 << 60)
    world.run()
    assert world.rebuilt >= 2, "of both entities at least"
    assert world.rows[-1].column("who_posts_1d").to_pylist() == [6.0]


def test_a_bundle_that_failed_is_not_folded_twice():
    world = World(SPEC, TICKS)
    world.give(decoded([(0, 0, "x", "a", "post")]))
    world.reach(1 << 60)
    while choices := world.choices():
        world.do(choices[0], fails=True)
        world.do(choices[0])
    assert sum(batch.num_rows for batch in world.rows) == 1
    assert world.rows[0].column("who_posts_1d").to_pylist() == [0.0]


@pytest.mark.parametrize(("seconds", "folded"), [(0.5, 1), (60.0, 2)])
def test_an_id_is_known_for_a_while_by_the_clock_however_fast_event_time_goes(seconds, folded):
    """A backlog: hours pass in seconds, and a message comes again before its lease can have ended.

    After a minute a tick its id is known no more: then memory counts.
    """
    spec = loads(CONFIG, "tiny.yaml", CATALOG)  # dedup: 1h
    settings = TickSettings(tick_us=HOUR, snapshot_ticks=1, homes=1, remember_s=90.0)
    log = ShardLog(Ids(spec, settings), settings, lambda: b"0" * 16, settings.remember_s)
    routes, cells = Routes(spec, settings, part_blocks(spec)), MemoryCells()
    resident, kept = None, 0
    for hour in range(30):
        number = hour if hour < 29 else 0  # as it was, at the end
        batch = decoded([(number, 60 * number, "x", "a", "post")])
        [block] = [
            block
            for key, block in routes.split_events(batch, FIRST + hour * HOUR)
            if key.group == RECENT_IDS
        ]
        [tick] = put_arrived(cells, block)
        fired = log.fire(cells, tick, resident, now_s=seconds * hour)
        resident = fired.resident
        kept += sum(len(ruled.kept) for ruled in fired.outputs if number == 0)
    assert kept == folded


def test_events_dropped_for_one_of_another_kind_are_counted():
    world, other_kind = World(SPEC, TICKS), 0
    world.give(decoded([(1, 0, "x", "a", "post"), (1, 1, "x", "a", "verdict")]))
    world.give(decoded([(1, 2, "x", "a", "post")]))
    world.reach(1 << 60)
    fold = world.routes.ids.fold
    found = []
    world.routes.ids.fold = lambda *of: found.append(fold(*of)) or found[-1]
    world.run()
    other_kind = sum(ruled.other_kind for _, ruled in found)
    assert (other_kind, sum(ruled.dropped.num_rows for _, ruled in found)) == (1, 2)


def test_state_stays_bounded_and_is_freed_in_the_end():
    world = World(SPEC, TICKS)
    sizes = []
    for hour in range(24 * 8):
        world.give(decoded([(hour, 60 * hour, "x", "a", "post")]))
        world.reach(FIRST + hour * HOUR)
        world.run()
        sizes.append(sum(cells.size for cells in world.cells.values()))
    assert max(sizes[100:]) <= 1.2 * max(sizes[50:100])
    for key, cells in world.cells.items():
        if key.group in world.logs:
            log = world.logs[key.group]
            assert not log.expire(cells, FIRST + 24 * 8 * HOUR)
            assert log.expire(cells, 1 << 60)
            assert cells.size == 0


@pytest.mark.parametrize("change", ["windows: [1h]", "shards: 4", "dedup: 2d"])
def test_other_state_is_refused_by_name(change):
    world = World(SPEC, TICKS)
    world.give(decoded([(0, 0, "x", "a", "post")]))
    world.reach(FIRST + 2 * HOUR)
    world.run()
    other = {"windows: [1h]": "windows: [2h]", "shards: 4": "shards: 8", "dedup: 2d": "dedup: 2h"}
    spec = loads(TWO_DAYS.replace(change, other[change], 1), "tiny.yaml", CATALOG)
    upgraded = World(spec, TICKS)
    upgraded.cells, upgraded.source_us = world.cells, world.source_us
    post = {"id": "e9", "at": "2026-03-01T05:00:00Z", "kind": "post", "who": "x", "where": "a"}
    batch = decode_json(spec, [json.dumps(post).encode()], "s", 0).batch
    upgraded.give(batch)
    upgraded.reach(1 << 60)
    if change == "shards: 4":
        for key in shard_keys(world):  # a shard of another cut has the number of an old one
            for new in ("who", "place"):
                if key.group == new:
                    upgraded.cells.update({type(key)(new, n): world.cells[key] for n in range(8)})
    with pytest.raises(StateError, match=r"entity 'place'|entity 'who'|event ids"):
        upgraded.run()


def test_large_runs_in_one_go_and_by_hours_are_the_same():
    events = make_events(600, days=3)
    events += events[::7]
    events.sort(key=lambda one: one["at"])
    random.Random(5).shuffle(events[:100])
    records = [json.dumps(one).encode() for one in events]
    batches = [
        decode_json(SPEC, records[at : at + 50], "s", at).batch for at in range(0, len(records), 50)
    ]
    world, given_out = World(SPEC, TICKS), []
    for batch in batches:
        given_out.append((world.source_us, batch))
        world.give(batch)
        world.reach(pa.compute.max(batch.column("event_time")).as_py() - 2 * HOUR)
        world.run()
    world.reach(1 << 60)
    world.run()
    assert_as_expected(SPEC, world, expected_rows(SPEC, given_out, HOUR), NAMES)
