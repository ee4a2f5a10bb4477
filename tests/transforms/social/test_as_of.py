"""What events see: by a loop over snapshots, whatever the shards, the batch and the hashes."""

import datetime as dt
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from social_world import CONFIG

from configs.errors import StateError
from configs.fingerprint import dataset_fingerprint, fingerprint, graph_fingerprint
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.inputs import describe_inputs, numeric_names
from transforms.signature import input_fingerprints
from transforms.social import shard_table as stored
from transforms.social.as_of import AsOf, Published, Snapshots, choose
from transforms.social.shard_table import Shard, lookup, shard_table
from transforms.velocity.rows import shard_of

NAMES = ["", "a", "b", "é", "日本", "a\0", "A", *(f"user-{number}" for number in range(40))]


def spec_of(graph="  accounts: {author: who}\n", config=CONFIG):
    return loads(config.replace("SHARDS", "4") + graph, "friends.yaml", CATALOG)


def files_of(accounts, values, shards):
    """A snapshot's tables by path, and its paths by shard."""
    of = shard_of(stored.account_hashes(pa.array(accounts, pa.string())), shards)
    tables = {}
    for shard in range(shards):
        rows = np.flatnonzero(of == shard)
        names = pa.array([accounts[row] for row in rows], pa.string())
        tables[f"{shard}"] = Shard(shard_table(names, values[rows]))
    return tables, list(tables)


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.lists(st.one_of(st.none(), st.sampled_from(NAMES), st.just("nobody"))),
    st.integers(1, 5),
    st.sampled_from([64, 3, 0]),
)
def test_a_lookup_is_that_of_a_dictionary(accounts, asked, shards, bits):
    """`bits`: how much of a hash is left, so that accounts collide, in part or all of them."""
    values = np.arange(2 * len(accounts), dtype=np.float32).reshape(-1, 2)
    whole = stored.account_hashes
    mask = np.uint64((2**64 - 1) ^ (2 ** (64 - bits) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "account_hashes", lambda names: whole(names) & mask)
        tables, files = files_of(accounts, values, shards)
        made = lookup(files, tables.__getitem__, pa.array(asked, pa.string()), [1, 0])
    there = dict(zip(accounts, values[:, ::-1].tolist(), strict=True))
    expected = [there.get(one, [np.nan, np.nan]) for one in asked]
    np.testing.assert_array_equal(made, np.array(expected, np.float32).reshape(-1, 2))


@given(st.lists(st.integers(-9, 9), unique=True), st.lists(st.integers(-12, 12)), st.integers(1, 4))
def test_the_newest_that_was_known_is_chosen_whatever_the_batch(known, times, size):
    known = sorted(known)
    expected = [max((i for i, one in enumerate(known) if one <= t), default=-1) for t in times]
    parts = [times[at : at + size] for at in range(0, len(times), size)]
    made = [choose(np.array(known, np.int64), np.array(part, np.int64)) for part in parts]
    assert [one for part in made for one in part.tolist()] == expected


def seen_by(spec, published, tables):
    return Snapshots("here", tuple(published), tables.__getitem__).of(spec)


def test_events_see_by_time_and_by_name():
    spec = spec_of("  features: [age]\n  accounts: {author: who, other: whom}\n")
    tables, published = {}, []
    for number, known_from in enumerate((20, 10)):  # in any order
        made, files = files_of(["a", "b"], np.full((2, 3), known_from, np.float32), 1)
        tables[f"{number}"] = made[files[0]]
        columns = ("age", "age_mean_1", "age_mean_2")
        name = f"s{known_from}"
        published.append(
            Published(name, known_from, graph_fingerprint(spec), columns, (f"{number}",))
        )
    sees = seen_by(spec, published, tables)
    events = pa.RecordBatch.from_pydict(
        {"event_time": [9, 10, 20, 25], "who": ["a", "a", "b", None], "whom": ["b", "c", None, "a"]}
    )
    made = sees.look(events)
    assert made.names.to_pylist() == [None, "s10", "s20", "s20"]
    assert made.features["graph:author"][:, 0].tolist()[1:3] == [10, 20]
    assert made.features["graph:other"][3].tolist() == [20, 20, 20]
    assert np.isnan(made.features["graph:author"][[0, 3]]).all()
    again = sees.look_by_name(events, pa.array(["s20", "s20", None, "s10"]))
    assert again.names.to_pylist() == ["s20", "s20", None, "s10"]
    assert again.features["graph:author"][0].tolist() == [20, 20, 20]
    assert np.isnan(again.features["graph:author"][2]).all()
    assert sees.names_between(0, 10) == []
    assert sees.names_between(0, 11) == ["s10"]
    assert sees.names_between(10, 21) == ["s10", "s20"]
    assert sees.names_between(20, 99) == ["s20"]
    with pytest.raises(StateError, match="names the snapshot gone"):
        sees.look_by_name(events.slice(0, 1), pa.array(["gone"]))
    empty = sees.look(events.slice(0, 0))
    assert empty.features["graph:author"].shape == (0, 3)


def test_who_sees_nothing_needs_nothing():
    assert seen_by(spec_of(""), [], {}) is None
    with pytest.raises(StateError, match=r"has no snapshot of its graph"):
        seen_by(spec_of(), [], {})


def test_a_set_of_snapshots_travels_to_workers():
    spec = spec_of("  features: [age]\n  accounts: {author: who}\n")
    one = Published("s", 1, graph_fingerprint(spec), spec.graph.columns, ())
    sees = Snapshots("here", (one,), shard_table).of(spec)
    assert pickle.loads(pickle.dumps(sees)).published == sees.published
    assert isinstance(sees, AsOf)


def test_the_meaning_of_an_input_is_that_of_its_feature_alone():
    spec = spec_of()
    before = input_fingerprints(spec)
    assert [one for one in before if "graph" in one] == [
        one for one in numeric_names(spec) if "graph" in one
    ]
    fewer = input_fingerprints(spec_of("  features: [age]\n  accounts: {author: who, x: whom}\n"))
    assert {one: before[one] for one in before if "graph_age" in one}.items() <= fewer.items()
    changes = {
        "delay": CONFIG.replace("delay: 3h", "delay: 2h"),
        "expires": CONFIG.replace("expires: 5d", "expires: 6d"),
        "where": CONFIG.replace("weight > 0", "weight > 1"),
        "reading": CONFIG.replace("weight: {type: number}", "weight: {type: number, maximum: 9}"),
    }
    for config in changes.values():
        other = input_fingerprints(spec_of(config=config))
        assert {one for one in before if before[one] != other[one]} == {
            one for one in before if "graph" in one
        }


def test_what_no_snapshot_reads_changes_none():
    """The fingerprint was of all columns, kinds and labels: any change asked for a new folder."""
    spec = spec_of()
    others = (
        CONFIG.replace("  subject:", "  more: {type: number}\n  subject:"),
        CONFIG.replace("  verdict: {req", "  more: {}\n  verdict: {req"),
        CONFIG.replace("maturity: 1d", "maturity: 2d"),
        CONFIG.replace("windows: [1h]", "windows: [2h]"),
    )
    for config in others:
        assert graph_fingerprint(spec_of(config=config)) == graph_fingerprint(spec)
    assert dataset_fingerprint(spec_of("")) != dataset_fingerprint(spec)
    assert fingerprint(spec_of("")) != fingerprint(spec)


def test_features_of_accounts_are_described():
    made = {one.name: one for one in describe_inputs(spec_of()) if one.role == "graph"}
    assert len(made) == 27
    assert "accounts judged honest" in made["author_graph_trust"].about
    assert "neighbours of neighbours" in made["author_graph_trust_mean_2"].about


def test_dates_are_not_wall_clocks():
    """A snapshot is known from a moment of event time, whenever it was published."""
    spec = spec_of()
    moment = int(dt.datetime(2026, 3, 12, 3, tzinfo=dt.UTC).timestamp() * 1e6)
    late = Published("s", moment, graph_fingerprint(spec), spec.graph.columns, ())
    sees = seen_by(spec, [late], {})
    times = np.array([moment - 1, moment], np.int64)
    assert sees.names_at(times).to_pylist() == [None, "s"]
