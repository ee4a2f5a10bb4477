"""State that was made for another spec: refused by name, or dropped and not taken up again."""

import dataclasses
import json
from types import SimpleNamespace

import pyarrow as pa
import pytest
from backfill_world import CONFIG
from stream_world import NIGHT

from configs.errors import InputError, StateError
from configs.loader import loads
from pipelines.pubsub.session import ReaderSettings
from pipelines.runners import Running
from pipelines.streaming.job import JobRequest, make_job
from pipelines.streaming.journal import Journal, list_snapshots, save_snapshot
from pipelines.streaming.restore import ORIGIN, from_night, read_snapshot, restore, snapshot_files
from pipelines.streaming.sinks import segment_bytes, write_file
from pipelines.streaming.start import begin
from scoring.engine import STEP, Engine, Resident
from scoring.fits import check_fits
from transforms.catalog import CATALOG

PEOPLE = "      people: {op: distinct, of: post, column: who}\n"
MORE = CONFIG.replace(
    PEOPLE, PEOPLE + "      money: {op: sum, of: post, column: amount, decimals: 2}\n"
)

ONE_MORE = CONFIG.replace(
    "inputs:\n", "  other:\n    key: {post: [text]}\n    windows: [1h]\n"
    "    aggregates:\n      n: {op: count, of: post}\ninputs:\n", 1
)  # fmt: skip


def test_a_bundle_that_needs_other_state_is_refused(tiny_spec):
    other = loads(MORE, "tiny.yaml", CATALOG)
    with pytest.raises(StateError, match=r"entity 'place'.*--from-night"):
        check_fits(tiny_spec, other)
    with pytest.raises(StateError, match=r"entity 'other'.*--from-night"):
        check_fits(tiny_spec, loads(ONE_MORE, "tiny.yaml", CATALOG))
    check_fits(tiny_spec, loads(CONFIG.replace("rounds: 20", "rounds: 7"), "tiny.yaml", CATALOG))


def test_a_scorers_own_state_of_another_spec_is_refused(tiny_spec, tmp_path):
    save_snapshot(tmp_path, -1, snapshot_files(tiny_spec, Resident.empty(tiny_spec), -1))
    Journal(tmp_path)
    with pytest.raises(StateError, match=r"entity 'place'.*aggregates or windows changed"):
        restore(loads(MORE, "tiny.yaml", CATALOG), Journal(tmp_path))


def request(root, *flags, **more):
    """Of a job of an engine on a state folder."""
    reader = ReaderSettings("projects/p/subscriptions/events")
    running = Running(flags=("--runner=FlinkRunner", *flags))
    return JobRequest("bundles", reader, "projects/p/topics/done", str(root), running, **more)


def write_step(root, night=None):
    """What a job leaves: the night that it began with, and a step of its log."""
    write_file(f"{root}/start/{ORIGIN}", json.dumps({"night": night}).encode())
    step = pa.record_batch({STEP: pa.array([0], pa.int64())})
    write_file(f"{root}/log/date=2026-03-09/segment-{0:012d}.arrows", segment_bytes(step))


def test_a_job_does_not_write_over_the_log_of_an_embedded_scorer(tiny_spec, tmp_path):
    begin(tiny_spec, Journal(tmp_path))
    with pytest.raises(StateError, match=r"state of an embedded scorer.*fresh --state"):
        make_job(request(tmp_path), tiny_spec)
    with pytest.raises(StateError, match=r"state of an embedded scorer.*fresh --state"):
        make_job(request(tmp_path, "--savepoint_path=/s"), tiny_spec)


def test_an_embedded_scorer_does_not_write_into_the_log_of_a_job(tiny_spec, tmp_path):
    write_step(tmp_path)
    with pytest.raises(StateError, match=r"no snapshot of a scorer.*fresh --state"):
        begin(tiny_spec, Journal(tmp_path))
    assert not list_snapshots(tmp_path)


def test_a_job_that_begins_anew_does_not_write_over_the_log_of_another(tiny_spec, tmp_path):
    write_step(tmp_path)
    with pytest.raises(StateError, match=r"has the log of a job.*--savepoint_path"):
        make_job(request(tmp_path), tiny_spec)
    assert make_job(request(tmp_path, "--savepoint_path=/s"), tiny_spec).night is None
    with pytest.raises(StateError, match=f"began with the night None, not with {NIGHT}"):
        make_job(request(tmp_path, from_night=NIGHT), tiny_spec)


def test_a_job_that_goes_on_leaves_its_beginning_and_the_subscription_alone(
    tiny_spec, stream_house, tmp_path
):
    """The same options as at its start, `--seek` too; nobody answers that here."""
    write_step(tmp_path, str(NIGHT))
    before = sorted(tmp_path.rglob("*"))
    more = {"from_night": NIGHT, "out": str(stream_house[0] / "house"), "seek": True}
    job = make_job(request(tmp_path, "--savepoint_path=/s", **more), tiny_spec)
    assert job.night and sorted(tmp_path.rglob("*")) == before


def test_a_seek_that_is_refused_begins_nothing(tiny_spec, stream_house, server, tmp_path):
    running = request(
        tmp_path / "state", from_night=NIGHT, out=str(stream_house[0] / "house"), seek=True
    )
    reader = ReaderSettings("projects/p/subscriptions/nowhere", server)
    with pytest.raises(InputError, match="nowhere"):
        make_job(dataclasses.replace(running, reader=reader), tiny_spec)
    assert not (tmp_path / "state").exists()


def test_a_beginning_that_is_damaged_is_named(tiny_spec, tmp_path):
    write_step(tmp_path)
    (tmp_path / "start" / ORIGIN).write_text('{"night": ')
    with pytest.raises(StateError, match=r"origin.json is damaged.*write it anew"):
        make_job(request(tmp_path, "--savepoint_path=/s"), tiny_spec)


def test_a_nights_state_of_another_spec_is_refused(stream_house):
    folder = stream_house[0]
    with pytest.raises(StateError, match=r"entity 'place'.*aggregates or windows changed"):
        from_night(loads(MORE, "tiny.yaml", CATALOG), folder / "house", NIGHT)


def test_state_of_an_entity_that_a_bundle_does_without_is_dropped_and_not_taken_up_again(
    tiny_spec, tmp_path
):
    before = loads(ONE_MORE, "tiny.yaml", CATALOG)
    engine = Engine(before, Resident.empty(before), None)
    engine.swap(SimpleNamespace(bundle=SimpleNamespace(spec=tiny_spec)))
    assert "other" in before.entities
    assert engine.resident.states.keys() == set(tiny_spec.entities)
    files = snapshot_files(tiny_spec, Resident.empty(before), -1)  # one that began before the swap
    assert "other.arrow" not in files
    save_snapshot(tmp_path, -1, files)
    wanted = r"no state of entity 'other'.*--from-night.*promote a bundle without 'other'"
    with pytest.raises(StateError, match=wanted):
        restore(before, Journal(tmp_path))


def test_state_that_an_earlier_build_left_in_a_snapshot_is_not_taken_up(tiny_spec, tmp_path):
    before = loads(ONE_MORE, "tiny.yaml", CATALOG)
    stale = snapshot_files(before, Resident.empty(before), -1)["other.arrow"]
    files = snapshot_files(tiny_spec, Resident.empty(tiny_spec), -1) | {"other.arrow": stale}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(StateError, match="no state of entity 'other'"):
        read_snapshot(before, tmp_path)
