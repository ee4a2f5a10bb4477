"""Accounts of snapshots in Bigtable (Google's emulator): the same bits as from files."""

import dataclasses
import json
import os
import pickle
import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest
from as_of_world import DAYS, make_world, of_days, rows_of
from engines import running_bigtable

from configs.errors import InputError, StateError
from pipelines import account_store
from pipelines.account_store import BigtableAccounts
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.snapshots import GRAPH, Followed, open_shard, read_snapshots
from transforms.decode import decode_json
from transforms.derive import derive
from transforms.social.as_of import Published
from transforms.social.shard_table import Shard, shard_table

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """The emulator, for the clients of this process."""
    before = os.environ.get("BIGTABLE_EMULATOR_HOST")
    with running_bigtable(tmp_path_factory.mktemp("bigtable") / "log") as address:
        os.environ["BIGTABLE_EMULATOR_HOST"] = address
        yield address
        if before is None:
            del os.environ["BIGTABLE_EMULATOR_HOST"]
        else:
            os.environ["BIGTABLE_EMULATOR_HOST"] = before


@pytest.fixture
def table(emulator, request):
    """The address of an empty table."""
    from google.cloud.bigtable import Client

    name = "t" + str(abs(hash(request.node.name)))
    table = Client(project="p", admin=True).instance("i").table(name)
    table.create(column_families={account_store.FAMILY: None})
    yield f"bigtable:p/i/{name}"
    table.delete()
    account_store._WHOLE.clear()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("accounts"))


def copy_all(world, table):
    store = BigtableAccounts(table)
    published = read_snapshots(world.out / GRAPH).published
    return [store.put(one, open_shard) for one in published]


def events_of(world):
    batch = decode_json(world.spec, [_json(one) for one in of_days(world)], "x", 0).batch
    return derive(world.spec, batch)


def _json(event):
    return json.dumps(event).encode()


def test_events_see_the_bits_that_they_see_in_files(world, table):
    counts = copy_all(world, table)
    assert counts == [one.accounts for one in sorted(world.snapshots, key=lambda one: one.as_of)]
    files = read_snapshots(world.out / GRAPH).of(world.spec)
    store = pickle.loads(pickle.dumps(read_snapshots(world.out / GRAPH, table).of(world.spec)))
    events = events_of(world)
    one, other = files.look(events), store.look(events)
    assert one.names.equals(other.names) and one.names.null_count < len(one.names)
    assert one.features.keys() == other.features.keys()
    for name, values in one.features.items():
        assert values.tobytes() == other.features[name].tobytes()
        assert np.isfinite(values).any()


def test_ids_of_any_kind_and_values_of_any_bits_come_back(table, tmp_path):
    ids = pa.array(["", "a#b", "ünï", "\x00", "日本", "a", "x" * 3000])
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    values[3] = np.frombuffer(b"\x01\x00\xc0\x7f\x00\x00\x00\x80", np.float32)  # a NaN, and -0
    shard = shard_table(ids, values)
    one = Published("2026-03-12-0123456789abcdef", 1_773_273_600_000_000, "g", ("v", "w"), ("x",))
    other = Published("2026-03-13-0123456789abcdef", 1_773_360_000_000_000, "g", ("v", "w"), ("x",))
    store = BigtableAccounts(table)
    for _ in range(2):  # again is the same
        assert store.put(one, lambda path: Shard(shard)) == 7
    store.put(other, lambda path: Shard(shard_table(ids, values + 100)))
    asked = pa.array(["ünï", None, "", "gone", "\x00", "x" * 3000, "ünï", "y" * 5000, "a#b"])
    found = store.find(one, asked, [1, 0])
    place = {name: number for number, name in enumerate(ids.to_pylist())}
    for name, row in zip(asked.to_pylist(), found, strict=True):
        if name in place:
            assert row.tobytes() == values[place[name], ::-1].tobytes()
        else:
            assert np.isnan(row).all()
    assert store.find(other, pa.array(["a"]), [0]) == values[5, 0] + 100
    assert store.find(one, pa.array([None], pa.string()), [0]).shape == (1, 1)


def test_what_was_not_copied_whole_is_not_used(world, table, monkeypatch):
    published = read_snapshots(world.out / GRAPH).published
    store = BigtableAccounts(table)
    with pytest.raises(StateError, match=published[0].name):
        store.find(published[0], pa.array(["u1"]), [0])

    def cut(path):
        if path == published[0].files[-1]:
            raise KeyboardInterrupt
        return open_shard(path)

    with pytest.raises(KeyboardInterrupt):
        store.put(published[0], cut)
    with pytest.raises(StateError, match="no whole copy"):
        store.require(published[0])
    with pytest.raises(StateError, match="no whole copy"):
        Followed(str(world.out / GRAPH), world.spec, store=table).look(events_of(world))
    request = BackfillRequest(
        world.spec, world.source, world.out.parent / "other", Days(DAYS[0], DAYS[-1])
    )
    shutil.copytree(world.out / GRAPH, request.out / GRAPH)
    with pytest.raises(StateError, match="no whole copy"):
        backfill(dataclasses.replace(request, graph_store=table))
    assert not (request.out / "features").exists()


def test_a_backfill_makes_the_same_files(world, table, tmp_path):
    copy_all(world, table)
    made = []
    for number, (store, workers) in enumerate([(None, 1), (table, 1), (table, 2)]):
        out = tmp_path / str(number)
        shutil.copytree(world.out / GRAPH, out / GRAPH)
        days = Days(DAYS[0], DAYS[-1])
        backfill(BackfillRequest(world.spec, world.source, out, days, workers, graph_store=store))
        made.append(rows_of(out))
    assert made[0].equals(made[1], null_equal=True) and made[0].equals(made[2], null_equal=True)
    assert np.isfinite(made[0]["author_graph_age"].to_numpy()).any()


def test_a_job_follows_what_is_copied(world, table):
    copy_all(world, table)
    events = events_of(world)
    files = Followed(str(world.out / GRAPH), world.spec).look(events)
    store = Followed(str(world.out / GRAPH), world.spec, store=table).look(events)
    for name, values in files.features.items():
        assert values.tobytes() == store.features[name].tobytes()


def test_a_table_that_is_not_there_and_one_without_the_family_are_named(world, table, emulator):
    from google.cloud.bigtable import Client

    published = read_snapshots(world.out / GRAPH).published
    gone = BigtableAccounts("bigtable:p/i/gone")
    with pytest.raises(InputError, match=r"p/i/gone: 11 of 11 rows.*families=f"):
        gone.put(published[0], open_shard)
    with pytest.raises(StateError, match=r"p/i/gone"):
        gone.require(published[0])
    bare = Client(project="p", admin=True).instance("i").table("bare")
    bare.create()
    with pytest.raises(InputError, match=r"p/i/bare: 11 of 11 rows.*families=f"):
        BigtableAccounts("bigtable:p/i/bare").put(published[0], open_shard)


def test_where_the_package_is_missing_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.bigtable", None)
    one = Published("2026-03-12-0123456789abcdef", 0, "g", ("v",), ())
    with pytest.raises(InputError, match=r"google-cloud-bigtable.*lockstep\[gcp\]"):
        BigtableAccounts("bigtable:p/i/no-package").require(one)


@pytest.mark.parametrize("address", ["bigtable:p/i", "redis:x", "", "bigtable:p/i/t/x"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="bigtable:PROJECT/INSTANCE/TABLE"):
        BigtableAccounts(address)


def test_an_id_that_is_too_long_for_a_key_is_told_without_the_id(table):
    long = "secret" * 1000
    shard = shard_table(pa.array([long]), np.zeros((1, 1), np.float32))
    one = Published("2026-03-12-0123456789abcdef", 0, "g", ("v",), ("x",))
    with pytest.raises(InputError, match="6,000 bytes") as told:
        BigtableAccounts(table).put(one, lambda path: Shard(shard))
    assert "secret" not in str(told.value)
