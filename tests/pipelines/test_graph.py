"""`lockstep graph`: a snapshot is that of the pure functions over all events, and never changes."""

import dataclasses
import datetime as dt
import json
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from social_world import AS_OF, CONFIG, DAY, EXPIRES, PUBLISHED, make_events, spec

from configs.errors import ConfigError, InputError
from configs.loader import loads
from pipelines.graph import make_snapshot, read_snapshot
from pipelines.layout import day_us
from pipelines.shard_files import SnapshotRequest
from transforms.catalog import CATALOG
from transforms.social import EDGES, Standing, feature_names, graph_of, node_features


def expected(config, events):
    """By the pure functions, of edges and judgements found here."""
    moment = day_us(AS_OF)
    rows, judged = [], {}
    for event in sorted(events, key=lambda one: (one["event_time"], one["event_id"])):
        time, whom, kind = event["event_time"], event["whom"], event["kind"]
        if time >= moment or whom is None:
            continue
        if kind == "verdict":
            if time >= moment - 300 * DAY:
                judged[whom] = event["bad"]
        elif kind != "post" or (event["weight"] or 0) > 0:
            relation, days = EXPIRES[kind]
            edge = {"from": event["who"], "to": whom, "relation": relation}
            if time + days * DAY > moment:
                times = {"since": time, "time": time, "until": time + days * DAY}
                rows.append(edge | times)
    graph = graph_of(pa.Table.from_pylist(rows, EDGES), {"friend": "request"})
    standing = Standing(
        *(graph.numbers(pa.array([a for a in judged if judged[a] is bad])) for bad in (False, True))
    )
    features = node_features(graph, standing, moment, config.graph.features)
    return graph.ids, features.astype(np.float32), len(graph.out.to)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Events, their snapshot, and the request that made it."""
    folder = tmp_path_factory.mktemp("graph")
    events = make_events()
    (folder / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(events), folder / "in" / "all.parquet")
    request = SnapshotRequest(spec(), str(folder / "in"), folder / "out", AS_OF, PUBLISHED)
    return events, make_snapshot(request), request


def test_the_snapshot_is_that_of_the_definition(world):
    events, made, request = world
    ids, features, edges = expected(request.spec, events)
    table = read_snapshot(request.out, AS_OF)
    assert table["account"].combine_chunks().equals(ids)
    assert made.features == feature_names(request.spec.graph.features)
    assert len(made.features) == 27
    found = np.column_stack([table[name].to_numpy() for name in made.features])
    assert found.tobytes() == features.tobytes()
    assert (made.accounts, made.edges) == (len(ids), edges)
    assert made.honest and made.abusive
    assert made.known_from == day_us(AS_OF) + 3 * DAY // 24
    assert made.published == "2026-03-12T01:30:00+00:00"


def test_verdicts_about_accounts_judge_as_verdicts_that_name_them(world, tmp_path):
    events, made, request = world
    bans = ", subjects: {who: {column: banned, kind: ban}}}"
    text = CONFIG.replace("SHARDS", "4").replace("maturity: 1d}", f"maturity: 1d{bans}")
    text = text.replace("  bad: {", "  banned: {type: string}\n  bad: {", 1)
    text = text.replace("  verdict:", "  ban: {required: [bad]}\n  verdict:", 1)
    for at, event in enumerate(events := [one | {"banned": None} for one in events]):
        if event["kind"] == "verdict" and at % 2:
            event |= {"kind": "ban", "banned": event["whom"], "whom": None, "subject": None}
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(events), tmp_path / "in" / "all.parquet")
    banning = dataclasses.replace(
        request,
        spec=loads(text, "bans.yaml", CATALOG),
        source=str(tmp_path / "in"),
        out=tmp_path / "out",
    )
    found = make_snapshot(banning)
    assert (found.honest, found.abusive) == (made.honest, made.abusive)
    one, other = (read_snapshot(asked.out, AS_OF) for asked in (banning, request))
    assert one["account"].equals(other["account"])
    for name in made.features:
        assert one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes()


def test_other_files_order_repeats_and_shards_give_the_same_accounts(world, tmp_path):
    events, made, request = world
    shuffled = events + events[::3]
    random.Random(1).shuffle(shuffled)
    (tmp_path / "in").mkdir()
    for part in range(3):
        table = pa.Table.from_pylist(shuffled[part::3])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    other = dataclasses.replace(
        request, spec=spec(shards=3), source=str(tmp_path / "in"), out=tmp_path / "out"
    )
    make_snapshot(other)
    one, found = (read_snapshot(out, AS_OF) for out in (request.out, other.out))
    assert found["account"].equals(one["account"])
    for name in made.features:
        assert found[name].to_numpy().tobytes() == one[name].to_numpy().tobytes()


def test_a_snapshot_is_kept_as_it_is(world):
    _, made, request = world
    later = dataclasses.replace(request, published=PUBLISHED + dt.timedelta(days=1))
    assert make_snapshot(later) == dataclasses.replace(made, already=True)
    fewer = make_snapshot(dataclasses.replace(later, spec=spec(graph="  features: [age]\n")))
    assert fewer == dataclasses.replace(made, already=True)  # it has that feature, and others


def test_snapshots_of_several_configs_live_side_by_side(world, tmp_path):
    _, made, request = world
    specs = [spec(graph="  features: [age]\n"), request.spec, spec(shorter="4d")]
    asked = [dataclasses.replace(request, spec=one, out=tmp_path) for one in specs]
    there = [make_snapshot(one) for one in asked]
    assert there[1] == dataclasses.replace(made, files=there[1].files)
    assert [make_snapshot(one) for one in asked] == [
        dataclasses.replace(one, already=True) for one in there
    ]
    assert len(list((tmp_path / "graph").glob("*.json"))) == 3
    assert read_snapshot(tmp_path, AS_OF).num_columns == 1 + len(there[0].features)
    one, found = (read_snapshot(out, AS_OF, request.spec) for out in (request.out, tmp_path))
    assert found["account"].equals(one["account"])
    for name in made.features:
        assert found[name].to_numpy().tobytes() == one[name].to_numpy().tobytes()
    other = read_snapshot(tmp_path, AS_OF, specs[2])
    assert len(other) == there[2].accounts
    assert any(
        other[name].to_numpy().tobytes() != one[name].to_numpy().tobytes() for name in made.features
    )


def test_a_damaged_shard_is_made_anew_as_the_message_says(world, monkeypatch):
    _, made, request = world
    shard = request.out / made.files[0]["path"]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"is damaged.*; or remove .*run `lockstep graph`") as said:
        read_snapshot(request.out, AS_OF)
    marker = Path(re.search(r"remove (\S+\.json)", str(said.value))[1])
    assert marker.exists()
    marker.unlink()
    flushed = []
    monkeypatch.setattr(
        "scoring.files.flush_all",
        lambda _: flushed.append((marker.exists(), shard.read_bytes() == whole)),
    )
    again = make_snapshot(request)
    assert again == made
    assert flushed == [(False, True), (True, True)], "the marker is seen after its flushed files"
    assert read_snapshot(request.out, AS_OF).num_rows == made.accounts


def test_what_makes_no_snapshot_is_said(world, tmp_path):
    _, _, request = world
    other = dataclasses.replace(request, out=tmp_path / "out")
    without = loads(CONFIG.split("graph:")[0].replace("SHARDS", "2"), "friends.yaml", CATALOG)
    with pytest.raises(ConfigError, match="no section graph"):
        make_snapshot(dataclasses.replace(other, spec=without))
    with pytest.raises(InputError, match="no event before 2020-01-01 that makes an edge"):
        make_snapshot(dataclasses.replace(other, as_of=dt.date(2020, 1, 1)))
    with pytest.raises(InputError, match="no graph as of 2020-01-01"):
        read_snapshot(other.out, dt.date(2020, 1, 1))
    bad = tmp_path / "bad"
    bad.mkdir()
    lines = [json.dumps({**event, "who": None}) for event in make_events(50)]
    (bad / "events.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"dead letters .*missing"):
        make_snapshot(dataclasses.replace(other, source=str(bad)))
    assert not list((tmp_path / "out").rglob("*.arrow"))


def test_accounts_that_share_a_group_are_linked_whatever_the_shards(tmp_path):
    """Two groups of different shards may link the same two; one of too many links nobody."""
    rows = [("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("b", "y", 1), ("c", "y", 2)]
    rows += [(f"m{n}", "everybody", 4) for n in range(5)] + [("a", "old", -9), ("c", "old", 1)]
    (tmp_path / "in").mkdir()
    for part in range(2):
        events = [
            {"event_id": f"{number}", "event_time": day_us(AS_OF) - DAY + hour * DAY // 24,
             "kind": "ask", "who": who, "whom": group}
            for number, (who, group, hour) in enumerate(rows)
        ][part::2]  # fmt: skip
        for one in events:
            if one["whom"] == "old" and one["who"] == "a":
                one["event_time"] -= 9 * DAY  # it has expired
        pq.write_table(pa.Table.from_pylist(events), tmp_path / "in" / f"{part}.parquet")
    edge = "together: {of: ask, from: who, group: whom, expires: 5d, most_accounts: 4}"
    made = []
    for shards in (1, 4):
        text = CONFIG.replace("SHARDS", str(shards)).split("  edges:")[0]
        text += "  features: [in_degree, out_degree, reciprocity, age]\n"
        shared = loads(f"{text}  edges: {{{edge}}}\n", "friends.yaml", CATALOG)
        out = tmp_path / f"out-{shards}"
        asked = SnapshotRequest(shared, str(tmp_path / "in"), out, AS_OF, PUBLISHED)
        made.append((make_snapshot(asked).edges, read_snapshot(out, AS_OF).to_pydict()))
    assert made[0] == made[1]
    edges, table = made[0]
    assert edges == 6, "a, b and c, each to each"
    assert table["account"] == ["a", "b", "c"]
    assert table["in_degree"] == table["out_degree"] == [2.0, 2.0, 2.0]
    assert table["reciprocity"] == [1.0, 1.0, 1.0]
    hours = [(24 - first) * 3600.0 for first in (2, 2, 2)]
    assert table["age"] == hours, "an edge is there once both are in the group"
