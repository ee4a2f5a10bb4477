"""Where a scorer was, in its snapshots: read as written, also as earlier builds wrote it."""

import json

import pytest
from fold_world import SPEC, batch

from configs.errors import StateError
from pipelines.states import WHOLE_RECENT_IDS
from pipelines.streaming.arrivals import ArrivalLog, Done
from pipelines.streaming.restore import MANIFEST, read_done, read_snapshot, snapshot_files
from scoring.engine import Engine, Resident
from transforms.disorder import DisorderBuffer, OrderSettings
from transforms.order import position_of

ROWS = [("x", 5, "a", 1.0, "p"), ("x", 5, "a", 1.0, "p"), ("x", 6, "a", 1.0, "p")]


@pytest.fixture
def snapshot(tmp_path):
    """A snapshot after two events of one time, and its folder."""
    engine = Engine(SPEC, Resident.empty(SPEC), None)
    events = batch(ROWS)
    engine.step(events.slice(0, 2), events.column("event_time").to_numpy()[:2] < 0)
    for name, data in snapshot_files(SPEC, engine.resident, 3).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_a_snapshot_tells_the_position_of_the_last_event(snapshot):
    found = read_snapshot(SPEC, snapshot).position
    assert found == position_of(SPEC, batch(ROWS), 1)
    assert found != position_of(SPEC, batch(ROWS), 0)


def test_of_an_earlier_builds_snapshot_all_of_its_microsecond_went(snapshot):
    manifest = json.loads((snapshot / MANIFEST).read_text())
    time, _ = manifest.pop("position")
    del manifest["arrivals"], manifest["crc32"]
    (snapshot / MANIFEST).write_text(json.dumps({**manifest, "frontier": [time, "e00001"]}))
    position = read_snapshot(SPEC, snapshot).position
    assert position.time_us == time
    buffer = DisorderBuffer(SPEC, OrderSettings(0, ahead_us=None), position)
    events = batch(ROWS)
    buffer.add(events, events.column("event_time").to_numpy(), 0)
    buffer.flush()
    assert buffer.take(9).late.tolist() == [True, True, False]


def test_a_snapshot_tells_which_arrivals_are_done(snapshot):
    assert read_done(snapshot) == Done()
    engine = Engine(SPEC, read_snapshot(SPEC, snapshot), None)
    files = snapshot_files(SPEC, engine.resident, 3, Done(7, {9, 12}))
    (snapshot / MANIFEST).write_bytes(files[MANIFEST])
    assert read_done(snapshot) == Done(7, {9, 12})


def test_an_earlier_builds_state_goes_on_with_an_empty_arrival_log(snapshot):
    """What it held was not acknowledged: the server has it."""
    manifest = json.loads((snapshot / MANIFEST).read_text())
    del manifest["arrivals"], manifest["crc32"]
    (snapshot / MANIFEST).write_text(json.dumps(manifest))
    assert read_snapshot(SPEC, snapshot).position is not None
    assert ArrivalLog(snapshot).recover(read_done(snapshot)) == []


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", ["k.arrow", WHOLE_RECENT_IDS, MANIFEST])
def test_a_snapshot_with_a_changed_byte_is_refused_by_name(snapshot, name, place):
    assert {one.name for one in snapshot.iterdir()} == {"k.arrow", WHOLE_RECENT_IDS, MANIFEST}
    data = bytearray((snapshot / name).read_bytes())
    at = int(place * len(data))
    while name == MANIFEST and place and data[at : at + 1].isspace():
        at += 1  # spaces of the JSON mean nothing
    data[at] ^= 1
    (snapshot / name).write_bytes(data)
    with pytest.raises(StateError, match=rf"{name} is damaged.*--from-night"):
        read_snapshot(SPEC, snapshot)
