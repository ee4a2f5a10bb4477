"""`lockstep campaigns`: a snapshot is that of the definition, and never changes."""

import dataclasses
import datetime as dt
import json
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from campaign_world import (
    AS_OF,
    CONFIG,
    DAY,
    HOUR,
    PUBLISHED,
    RARITY,
    expected,
    make_events,
    make_rare_events,
    spec,
)

from configs.errors import ConfigError, InputError
from configs.loader import loads
from pipelines.campaign_snapshots import TABLES, campaign_snapshots, campaigns_of_event
from pipelines.campaigns import (
    make_campaign_snapshot,
    make_campaigns,
    read_campaigns,
)
from pipelines.layout import day_us
from pipelines.shard_files import SnapshotRequest
from transforms.catalog import CATALOG


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Events, their snapshot, and the request that made it."""
    folder = tmp_path_factory.mktemp("campaigns")
    events = make_events()
    (folder / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(events), folder / "in" / "all.parquet")
    request = SnapshotRequest(spec(), str(folder / "in"), folder / "out", AS_OF, PUBLISHED)
    return events, make_campaign_snapshot(request), request


def found_in(out, as_of=AS_OF):
    """Accounts of each campaign -> ids of its events."""
    members, events = (read_campaigns(out, as_of, one).to_pylist() for one in ("members", "events"))
    made = {}
    for name in {row["campaign"] for row in members}:
        accounts = frozenset(row["account"] for row in members if row["campaign"] == name)
        made[accounts] = {row["event_id"] for row in events if row["campaign"] == name}
    return made


def digests(made):
    return [one["sha256"] for one in made.files]


def test_the_snapshot_is_that_of_the_definition(world):
    events, made, request = world
    wanted = expected(request.spec.campaigns, events)
    assert len(wanted) >= 4
    assert found_in(request.out) == wanted
    assert made.campaigns == len(wanted)
    assert made.accounts == sum(map(len, wanted))
    assert made.events == sum(map(len, wanted.values()))
    inside = [one for one in events if 0 < day_us(AS_OF) - one["event_time"] <= 8 * DAY]
    everybody = {
        one["who"]
        for one in inside
        if one["kind"] == "post" and one["site"] == "all.example" and (one["weight"] or 0) > 0
    }
    assert made.hubs["site"] == {"values": 1, "most_accounts": len(everybody)}
    assert made.honest > 0
    assert made.known_from == day_us(AS_OF) + 2 * HOUR
    assert made.published == "2026-03-12T01:30:00+00:00"


def test_a_campaign_says_when_it_was_seen_and_whom_it_reached(world):
    events, _, request = world
    by_id = {one["event_id"]: one for one in events}
    rows = {row["name"]: row for row in read_campaigns(request.out, AS_OF).to_pylist()}
    own = {}
    for row in read_campaigns(request.out, AS_OF, "events").to_pylist():
        own.setdefault(row["campaign"], []).append(by_id[row["event_id"]])
    assert sorted(rows) == [f"2026-03-12-{n:04d}" for n in range(1, len(rows) + 1)]
    for name, posts in own.items():
        times = [one["event_time"] for one in posts]
        row = rows[name]
        assert (row["first_seen"], row["last_seen"]) == (min(times), max(times))
        assert row["accounts"] == len({one["who"] for one in posts})
        assert row["events"] == len(posts)
        assert row["recipients"] == len({one["whom"] for one in posts} - {None})
    first = [rows[name]["first_seen"] for name in sorted(rows)]
    assert first == sorted(first)


@pytest.mark.parametrize("workers", [1, 2])
def test_other_files_order_repeats_shards_and_workers_give_the_same_bytes(world, tmp_path, workers):
    events, made, request = world
    shuffled = events + events[::3]
    random.Random(1).shuffle(shuffled)
    (tmp_path / "in").mkdir()
    for part in range(3):
        table = pa.Table.from_pylist(shuffled[part::3])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    other = dataclasses.replace(
        request,
        spec=spec(shards=3),
        source=str(tmp_path / "in"),
        out=tmp_path / "out",
        workers=workers,
    )
    again = make_campaign_snapshot(other)
    assert digests(again) == digests(made)
    assert dataclasses.replace(again, already=False) == made


@pytest.mark.parametrize("workers", [1, 2])
def test_by_rarity_too_shards_and_workers_give_the_same_bytes(tmp_path, workers):
    events = make_rare_events()
    made = []
    for shards, parts, count in ((4, 1, 1), (3, 2, workers)):
        source = tmp_path / f"in{parts}"
        source.mkdir()
        for part in range(parts):
            pq.write_table(pa.Table.from_pylist(events[part::parts]), source / f"{part}.parquet")
        asked = SnapshotRequest(
            spec(shards, RARITY), str(source), tmp_path / f"out{parts}", AS_OF, PUBLISHED, count
        )
        made.append(make_campaign_snapshot(asked))
    assert made[0] == made[1]
    rings = {f"r{ring}-{number}" for ring in range(4) for number in range(5)}
    found = found_in(tmp_path / "out2")
    assert sorted(map(len, found)) == [5] * 4
    assert set.union(*map(set, found)) == rings
    plain = SnapshotRequest(spec(), str(source), tmp_path / "plain", AS_OF, PUBLISHED)
    assert make_campaign_snapshot(plain).accounts > 100, "phrases that people share link them"


def test_names_last_from_night_to_night(world, tmp_path):
    _, _, request = world
    days = [AS_OF + dt.timedelta(days=days) for days in (-3, -2, -1, 0)]
    made = make_campaigns(dataclasses.replace(request, out=tmp_path), days)
    assert [one.previous for one in made] == ["", *(one.name for one in made[:-1])]
    assert made[-1].continued >= 4
    first, last = (read_campaigns(tmp_path, day).to_pylist() for day in (days[0], days[-1]))
    seen = {row["name"]: row["first_seen"] for row in first}
    rings = {row["name"]: row["first_seen"] for row in last}
    assert set(seen) & set(rings)
    for name in set(seen) & set(rings):
        assert rings[name] == seen[name], "first seen before the span of the last night"
    assert min(rings.values()) < day_us(AS_OF) - 8 * DAY
    assert found_in(tmp_path) == found_in(request.out)


def test_a_night_without_events_makes_an_empty_snapshot_and_ends_no_name(world, tmp_path, caplog):
    events, _, request = world
    short = dataclasses.replace(request, spec=spec(span="1d"), out=tmp_path / "out")
    gap = AS_OF - dt.timedelta(days=2)
    (tmp_path / "in").mkdir()
    day_before = [one for one in events if day_us(gap) - DAY <= one["event_time"] < day_us(gap)]
    again = [dict(one, event_id=f"{one['event_id']} again") for one in day_before]
    for one in again:
        one["event_time"] += 2 * DAY
    pq.write_table(pa.Table.from_pylist(day_before + again), tmp_path / "in" / "all.parquet")
    days = [gap + dt.timedelta(days=days) for days in range(3)]
    made = make_campaigns(dataclasses.replace(short, source=str(tmp_path / "in")), days)
    assert [one.campaigns > 0 for one in made] == [True, False, True]
    assert "no event before" in caplog.text
    assert (made[1].accounts, made[1].events) == (0, 0)
    assert read_campaigns(tmp_path / "out", days[1], "values").num_rows == 0
    assert made[2].previous == made[0].name
    assert made[2].continued == made[2].campaigns == made[0].campaigns
    names = [
        {
            row["name"]: row["first_seen"]
            for row in read_campaigns(tmp_path / "out", day).to_pylist()
        }
        for day in days
    ]
    assert names[0] == names[2] and names[1] == {}


def test_a_day_that_is_made_out_of_order_has_the_names_of_the_day_after(world, tmp_path):
    _, _, request = world
    days = [AS_OF - dt.timedelta(days=days) for days in (0, 2, 1)]
    made = make_campaigns(dataclasses.replace(request, out=tmp_path), days)
    last, first, between = (
        {row["name"] for row in read_campaigns(tmp_path, day).to_pylist()} for day in days
    )
    assert len(first & last) >= 3
    assert first & last <= between
    assert [one.previous for one in made] == ["", "", made[1].name]


def test_a_snapshot_that_is_made_anew_under_later_ones_is_the_same(world, tmp_path):
    _, _, request = world
    days = [AS_OF + dt.timedelta(days=days) for days in (-1, 0)]
    made = make_campaigns(dataclasses.replace(request, out=tmp_path), days)
    (tmp_path / "campaigns" / f"{days[0]}.json").unlink()
    again = make_campaign_snapshot(dataclasses.replace(request, out=tmp_path, as_of=days[0]))
    assert again == made[0]


def test_a_snapshot_is_kept_as_it_is(world):
    _, made, request = world
    later = dataclasses.replace(request, published=PUBLISHED + dt.timedelta(days=1))
    assert make_campaign_snapshot(later) == dataclasses.replace(made, already=True)


def test_snapshots_of_two_configs_live_side_by_side(world, tmp_path):
    _, made, request = world
    first = dataclasses.replace(request, out=tmp_path)
    other = dataclasses.replace(first, spec=spec(more="  least_accounts: 6\n"))
    days = [AS_OF - dt.timedelta(days=1), AS_OF]
    alone = make_campaigns(dataclasses.replace(other, out=tmp_path / "alone"), days)
    assert make_campaign_snapshot(first) == made
    beside = make_campaigns(other, days)
    assert [one.already for one in beside] == [False, False]
    assert beside[1].campaigns < made.campaigns
    assert [digests(one) for one in beside] == [digests(one) for one in alone]
    assert [one.previous for one in beside] == [one.previous for one in alone]
    for asked, wanted in ((first, made), (other, beside[1])):
        assert make_campaign_snapshot(asked) == dataclasses.replace(wanted, already=True)
        assert wanted.name in [one.name for one in campaign_snapshots(asked.spec, tmp_path)]
        found = read_campaigns(tmp_path, AS_OF, spec=asked.spec)
        assert found.num_rows == wanted.campaigns
    assert read_campaigns(tmp_path, AS_OF).num_rows == made.campaigns
    marker = tmp_path / "campaigns" / f"{AS_OF}.json"
    marker.write_text("{")
    with pytest.raises(InputError, match=r"is damaged.*`lockstep campaigns`"):
        make_campaign_snapshot(other)


def test_a_damaged_table_is_made_anew_as_the_message_says(world):
    _, made, request = world
    path = request.out / made.files[1]["path"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"is damaged.*`lockstep campaigns`") as said:
        read_campaigns(request.out, AS_OF, "members")
    Path(re.search(r"remove (\S+\.json)", str(said.value))[1]).unlink()
    assert make_campaign_snapshot(request) == made
    assert read_campaigns(request.out, AS_OF, "members").num_rows == made.accounts


def test_an_event_names_its_campaign_as_known_then_and_now(world):
    events, made, request = world
    rows = read_campaigns(request.out, AS_OF, "events").to_pylist()
    campaign = {row["event_id"]: row["campaign"] for row in rows}
    post = next(one for one in events if one["event_id"] == rows[0]["event_id"])
    name, known = campaign[post["event_id"]], day_us(AS_OF) + 2 * HOUR
    row = pa.RecordBatch.from_pylist([{"event_id": post["event_id"], "who": post["who"]}])
    for event, time, wanted in (
        (post["event_id"], post["event_time"], ("", "", name)),
        ("later", known - 1, ("", "", "")),
        ("later", known, (name, made.name, "")),
    ):
        found = campaigns_of_event(request.spec, request.out, event, time, row)
        assert found == wanted


def test_a_json_file_that_is_no_marker_does_not_stop_readers(world):
    _, made, request = world
    foreign = Path(request.out) / "campaigns" / "notes.json"
    foreign.write_text("[]")
    try:
        assert [one.name for one in campaign_snapshots(request.spec, request.out)] == [made.name]
    finally:
        foreign.unlink()


def test_no_text_and_no_value_is_in_a_snapshot(world):
    _, _, request = world
    for name in TABLES:
        shown = json.dumps(read_campaigns(request.out, AS_OF, name).to_pylist())
        assert not re.search(r'"[tu]\d\d"|"s\d+"|example', shown)


def test_what_makes_no_snapshot_is_said(world, tmp_path):
    _, _, request = world
    other = dataclasses.replace(request, out=tmp_path / "out")
    without = loads(CONFIG.split("campaigns:")[0].replace("SHARDS", "2"), "rings.yaml", CATALOG)
    with pytest.raises(ConfigError, match="no section campaigns"):
        make_campaign_snapshot(dataclasses.replace(other, spec=without))
    with pytest.raises(InputError, match="no campaigns as of 2020-01-01"):
        read_campaigns(other.out, dt.date(2020, 1, 1))
    assert not list((tmp_path / "out").rglob("*.arrow"))
