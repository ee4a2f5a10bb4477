"""What readers see of published snapshots: held, followed, made anew."""

import dataclasses
import json
import logging

import numpy as np
import pyarrow as pa
import pytest
from as_of_world import seeing_spec
from memory_files import memory_files

from configs.errors import InputError, StateError
from configs.fingerprint import graph_fingerprint
from pipelines.files import arrow_bytes, write_by_content
from pipelines.snapshots import Followed, HeldShards, read_snapshots
from transforms.social.shard_table import shard_table

SPEC = seeing_spec()


def publish(out, day, spec=SPEC, known_from=0):
    """A snapshot of two accounts in one shard; the marker's path."""
    columns = spec.graph.columns
    table = shard_table(pa.array(["a", "b"]), np.full((2, len(columns)), known_from, np.float32))
    folder = out / "graph" / f"as-of={day}"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"graph/{folder.name}"
    made = write_by_content(str(out), name, "accounts-000.arrow", arrow_bytes(table))
    marker = out / "graph" / f"{day}.json"
    said = {"name": f"{day}-{made['sha256'][:16]}", "known_from": known_from, "files": [made]}
    said |= {"spec": graph_fingerprint(spec), "features": columns}
    marker.write_text(json.dumps(said))
    return marker


def names(seen):
    return [one.name[:10] for one in seen.published]


@pytest.fixture
def followed(tmp_path):
    """A job that sees one snapshot, and its clock."""
    publish(tmp_path, "2026-03-10", known_from=1)
    clock = [0.0]
    job = Followed(str(tmp_path / "graph"), SPEC, clock=lambda: clock[0])
    assert names(job.current()) == ["2026-03-10"]
    return job, clock


def damage_marker(marker):
    marker.write_text("{}")


def damage_shard(marker):
    [shard] = (marker.parent / f"as-of={marker.stem}").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")


def lose_shard(marker):
    [shard] = (marker.parent / f"as-of={marker.stem}").iterdir()
    shard.unlink()


@pytest.mark.parametrize("harm", [damage_marker, damage_shard, lose_shard])
def test_a_job_goes_on_with_what_it_sees_when_the_next_one_is_damaged(
    followed, tmp_path, caplog, harm
):
    job, clock = followed
    there = job.current()
    harm(publish(tmp_path, "2026-03-11", known_from=2))
    assert job.current() is there, "not asked before it is due"
    with caplog.at_level(logging.ERROR):
        for clock[0] in (10.0, 15.0, 20.0):
            assert job.current() is there
    assert len(caplog.records) == 1, "logged once"
    publish(tmp_path, "2026-03-11", known_from=2)
    clock[0] = 29.0
    assert job.current() is there, "asked again when it is due, not at every batch"
    clock[0] = 30.0
    assert names(job.current()) == ["2026-03-10", "2026-03-11"]


def test_other_threads_go_on_while_one_looks(followed, tmp_path, monkeypatch):
    job, clock = followed
    there, inside = job.current(), []

    def open_slowly(snapshots):
        inside.append(job.current())  # as another thread: the lock is held by whoever opens

    monkeypatch.setattr("pipelines.snapshots.open_all", open_slowly)
    publish(tmp_path, "2026-03-11", known_from=2)
    clock[0] = 10.0
    assert names(job.current()) == ["2026-03-10", "2026-03-11"]
    assert inside == [there]


def test_without_any_snapshot_a_job_says_so(tmp_path):
    with pytest.raises(StateError, match=rf"graph has no .*make one .*--out {tmp_path}`$"):
        Followed(str(tmp_path / "graph"), SPEC).current()
    damage_marker(publish(tmp_path, "2026-03-10"))
    with pytest.raises(InputError, match="is damaged"):
        Followed(str(tmp_path / "graph"), SPEC).current()


def test_configs_of_one_name_see_each_their_own(tmp_path):
    other = dataclasses.replace(SPEC, graph=dataclasses.replace(SPEC.graph, delay_us=1))
    fewer = dataclasses.replace(SPEC, graph=dataclasses.replace(SPEC.graph, features=("age",)))
    publish(tmp_path, "2026-03-10")
    publish(tmp_path, "2026-03-11", other)
    seen = [Followed(str(tmp_path / "graph"), spec).current() for spec in (SPEC, other, fewer)]
    assert [names(one) for one in seen] == [["2026-03-10"], ["2026-03-11"], ["2026-03-10"]]
    assert seen[2].columns == fewer.graph.columns


def test_a_narrower_snapshot_stays_in_use_beside_a_wider_one(tmp_path):
    fewer = dataclasses.replace(SPEC, graph=dataclasses.replace(SPEC.graph, features=("age",)))
    for day, spec in (("2026-03-10", SPEC), ("2026-03-10-" + "0" * 16, fewer)):
        publish(tmp_path, day, spec, known_from=1)
    seen = [read_snapshots(tmp_path / "graph").of(spec).published for spec in (SPEC, fewer)]
    assert [[one.columns for one in all_of] for all_of in seen] == [
        [SPEC.graph.columns], [fewer.graph.columns]
    ]  # fmt: skip


def test_what_is_no_marker_is_not_read(tmp_path):
    publish(tmp_path, "2026-03-10")
    (tmp_path / "graph" / "notes.json").write_text("mine")
    assert names(read_snapshots(tmp_path / "graph")) == ["2026-03-10"]


def test_shards_are_held_of_the_snapshots_that_were_asked_for_last(tmp_path, monkeypatch):
    opened, shard = [], shard_table(pa.array(["a"]), np.zeros((1, 1), np.float32))

    def read(path, error):
        opened.append(path)
        return shard

    monkeypatch.setattr("pipelines.snapshots.read_shard", read)
    held = HeldShards(most=2)
    paths = [f"graph/as-of=2026-03-{day}/accounts-00{n}.arrow" for day in (10, 11, 12)
             for n in (0, 1)]  # fmt: skip
    for path in (*paths[:4], *paths[:4], *paths[4:], *paths[2:]):
        held.open(path)
    assert opened == paths, "each once, and the last two snapshots stay"
    held.open(paths[0])
    assert opened == [*paths, paths[0]]


def test_a_marker_that_is_made_anew_in_an_object_store_is_seen(tmp_path):
    store = memory_files()
    place = "lockstep-memory://snapshots/anew"
    publish(tmp_path, "2026-03-10", known_from=1)
    store.put_folder(tmp_path, place)
    [first] = read_snapshots(f"{place}/graph").published
    publish(tmp_path, "2026-03-10", known_from=2)  # of the same size
    store.put_folder(tmp_path, place)
    [second] = read_snapshots(f"{place}/graph").published
    assert (first.known_from, second.known_from) == (1, 2)
