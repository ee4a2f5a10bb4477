"""The log on disk: a torn end is normal, any other damage is an error that names the file."""

import dataclasses
import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from explorer_world import Killed, World
from fold_world import SPEC

from configs.errors import InputError, StateError
from pipelines.layout import day_of
from pipelines.streaming import journal as journal_module
from pipelines.streaming.journal import (
    Journal,
    list_segments,
    list_snapshots,
    read_segment,
    read_steps,
    save_snapshot,
)
from pipelines.streaming.restore import read_snapshot, restore
from pipelines.streaming.sealed import seal
from scoring.engine import BUNDLE

DAY = 86_400


@pytest.fixture(autouse=True)
def no_flush_to_disk(monkeypatch):
    monkeypatch.setattr(journal_module.os, "fsync", lambda handle: None)


def folded(root, rows=14, steps=10**9, segment_bytes=None):
    """A scorer that has folded rows, one or a few a step, without a snapshot since."""
    world = World(root, [("x", 10 * n, "a", 1.0, "p") for n in range(rows)])
    world.service._settings = dataclasses.replace(world.service._settings, snapshot_steps=steps)
    world.service._snapshot_at = steps
    if segment_bytes:
        world.journal._segment_bytes = segment_bytes
    for place in range(rows):
        world.arrive([place])
        world.take(5)
    world.journal.close()
    return world


def places(path):
    """Where each message of a segment begins: the schema is left out."""
    found = []
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_stream(file)
        while True:
            found.append(file.tell())
            try:
                reader.read_next_batch()
            except StopIteration:
                return found[:-1]


def overwrite(path, place, data):
    content = bytearray(path.read_bytes())
    content[place : place + len(data)] = data
    path.write_bytes(content)


def numbers(root):
    return [step.number for step in read_steps(root)]


@pytest.mark.parametrize("left", [1, 7, 8, 100, -1])
def test_a_torn_last_step_is_left_out(tmp_path, left):
    world = folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    last = places(path)[-1]
    whole = numbers(tmp_path)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1 if left < 0 else last + left)
    (tmp_path / "cursor").write_text(str(whole[-2]))  # it was never published
    assert numbers(tmp_path) == whole[:-1]
    assert restore(SPEC, Journal(tmp_path)).next_step == world.service.next_step - 1


@pytest.mark.parametrize("damage", [bytes(8), b"\xff" * 16, b"\x00\x01\x02\x03" * 40])
def test_damage_before_whole_steps_is_an_error(tmp_path, damage):
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    overwrite(path, places(path)[5], damage)
    with pytest.raises(StateError, match=r"segment-0+\.arrows is damaged.*--from-night"):
        restore(SPEC, Journal(tmp_path))


def test_a_bit_that_changed_in_a_step_is_an_error(tmp_path):
    """Also in the last one, and where Arrow reads other values and finds nothing wrong."""
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    content, begins = path.read_bytes(), [*places(path), path.stat().st_size]
    head = 8 + int.from_bytes(content[begins[5] + 4 : begins[5] + 8], "little")
    inside = [begins[5] + head, (begins[5] + head + begins[6]) // 2, begins[6] - 1]
    inside += range(begins[5] + 8, begins[5] + head, 61)
    for at in (*inside, begins[-1] - 1):
        overwrite(path, at, bytes([content[at] ^ 4]))
        with pytest.raises(StateError, match=r"segment-0+\.arrows is damaged at byte"):
            numbers(tmp_path)
        path.write_bytes(content)


def test_a_last_step_with_a_hole_was_never_confirmed(tmp_path):
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    whole, begins = numbers(tmp_path), places(path)
    hole = path.stat().st_size // 512 * 512 - 512
    assert begins[-1] < hole
    overwrite(path, hole, bytes(512))
    assert numbers(tmp_path) == whole[:-1]


def test_a_log_of_an_earlier_build_has_no_checksums_and_is_read(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "seal", lambda batch: batch.serialize().to_pybytes())
        folded(tmp_path / "old")
    folded(tmp_path / "new")
    [old, new] = [list(read_steps(tmp_path / name)) for name in ("old", "new")]
    assert [one.batch.serialize().to_pybytes() for one in old] == [
        one.batch.serialize().to_pybytes() for one in new
    ]
    assert len(old) > 5


def test_a_damaged_cursor_is_named(tmp_path):
    folded(tmp_path)
    (tmp_path / "cursor").write_text("3x")
    with pytest.raises(StateError, match=r"cursor is damaged.*published again"):
        restore(SPEC, Journal(tmp_path))


def test_a_damaged_schema_before_whole_steps_is_an_error(tmp_path):
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    overwrite(path, 0, bytes(64))
    with pytest.raises(StateError, match=r"is damaged at byte 0"):
        numbers(tmp_path)


def test_a_segment_that_was_just_begun_is_all_torn(tmp_path):
    folded(tmp_path)
    before = numbers(tmp_path)
    folder = list_segments(tmp_path)[-1][1].parent
    for size in (0, 5, 40):
        (folder / f"segment-{before[-1] + 1:012d}.arrows").write_bytes(b"\xff\xff\xff\xff" * size)
        assert numbers(tmp_path) == before


def test_a_torn_end_that_a_later_segment_takes_up_is_no_damage(tmp_path):
    world = folded(tmp_path, segment_bytes=1)
    segments = list_segments(tmp_path)
    assert len(segments) > 5
    before = numbers(tmp_path)
    with open(segments[2][1], "ab") as file:
        file.write(segments[3][1].read_bytes()[-900:-400])
    assert numbers(tmp_path) == before
    os.truncate(segments[2][1], segments[2][1].stat().st_size - 501)
    with pytest.raises(StateError, match="next segment begins with step 3"):
        numbers(tmp_path)
    assert world.service.next_step == before[-1] + 1


def test_a_torn_segment_of_the_same_step_and_another_day_is_replaced(tmp_path):
    world = folded(tmp_path)
    step = world.service.next_step
    torn = tmp_path / "log" / "date=1999-01-01" / f"segment-{step:012d}.arrows"
    torn.parent.mkdir()
    torn.write_bytes(b"\xff\xff\xff\xff\x10")
    world.rows.append(("x", 500, "a", 1.0, "p"))
    world.arrive([14])
    world.intake._buffer.flush()
    assert world.take(5)
    assert not torn.exists()
    assert numbers(tmp_path)[-1] == step


def test_a_log_that_ends_before_what_was_published_is_an_error(tmp_path):
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    os.truncate(path, places(path)[-2])
    with pytest.raises(StateError, match=r"ends with step \d+, and step \d+ was published.*--seek"):
        restore(SPEC, Journal(tmp_path))


def test_a_log_that_begins_behind_the_snapshot_is_an_error(tmp_path):
    folded(tmp_path, segment_bytes=1)
    list_segments(tmp_path)[0][1].unlink()
    with pytest.raises(StateError, match=r"log begins with step 1; a segment is gone.*--seek"):
        restore(SPEC, Journal(tmp_path))


def test_a_segment_that_is_gone_from_the_middle_is_an_error(tmp_path):
    folded(tmp_path, segment_bytes=1)
    list_segments(tmp_path)[3][1].unlink()
    with pytest.raises(StateError, match="next segment begins with step 4"):
        restore(SPEC, Journal(tmp_path))


def test_a_segment_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)

    def refused(name, *given):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pa, "OSFile", refused)
    with pytest.raises(InputError, match=rf"{path.name} cannot be read \(Permission denied\)"):
        restore(SPEC, Journal(tmp_path))


def test_a_lost_cursor_republishes_step_by_step(tmp_path):
    world = folded(tmp_path)
    sent = list(world.topic.sent)
    (tmp_path / "cursor").unlink()
    restored = restore(SPEC, Journal(tmp_path))
    first = next(restored.unpublished)
    list_segments(tmp_path)[0][1].unlink()  # nothing was read ahead that is not open already
    assert first == (0, sent[:1])
    assert [one for _, some in restored.unpublished for one in some] == sent[1:]


def late_rows():
    """Three days in order, and with each step one event of another, earlier day."""
    in_order = [("x", 40 * DAY + 7200 * n, "a", 1.0, "p") for n in range(36)]
    return in_order, [("y", n * DAY, "a", 1.0, "p") for n in range(30)]


def test_late_events_open_no_segments_and_pin_no_snapshots(tmp_path):
    in_order, late = late_rows()
    world = World(tmp_path, in_order + late)
    for place in range(6):
        world.arrive([place])
        world.take(5)
    for place in range(30):
        world.arrive([6 + place, 36 + place])
        world.take(5)
    world.service._snapshot.join()
    segments = list_segments(tmp_path)
    days = [path.parent.name for _, path in segments]
    assert days == [f"date={day_of((40 + n) * DAY * 1_000_000)}" for n in range(3)]
    assert len(list_snapshots(tmp_path)) <= 2 + len(days)
    assert sum(step.batch.num_rows for step in read_steps(tmp_path)) > 60


def test_folders_are_flushed_when_a_file_appears_in_them(tmp_path, monkeypatch):
    flushed = []

    def note(handle):
        flushed.append(os.readlink(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(journal_module.os, "fsync", note)
    folded(tmp_path, rows=4, steps=2)
    [(_, path)] = list_segments(tmp_path)
    assert str(path.parent) in flushed and str(path.parent.parent) in flushed
    assert str(tmp_path / "snapshots") in flushed


def test_reading_leaves_a_segment_open_to_its_writer(tmp_path):
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    steps, whole = read_segment(path), len(places(path))
    next(steps)
    with open(path, "ab") as file:
        file.write(b"\xff\xff\xff\xff\x00\x02")
    assert len(list(steps)) == whole - 1


@pytest.mark.parametrize("steps_read", [-1, 0, 5])
def test_a_writer_that_goes_on_while_its_segment_ends_for_a_reader_is_no_damage(
    tmp_path, monkeypatch, steps_read
):
    """One step comes before the file's size is asked, one more before it is read."""
    folded(tmp_path)
    [(_, path)] = list_segments(tmp_path)
    content, begins, whole = path.read_bytes(), places(path), numbers(tmp_path)
    path.write_bytes(content[: begins[steps_read]] if steps_read >= 0 else b"")
    stat, read = Path.stat, Path.read_bytes

    def first(self, **given):
        if self == path and stat(self).st_size < begins[steps_read + 1]:
            path.write_bytes(content[: begins[steps_read + 1]])
        return stat(self, **given)

    def second(self):
        path.write_bytes(content)
        return read(self)

    monkeypatch.setattr(Path, "stat", first)
    monkeypatch.setattr(Path, "read_bytes", second)
    assert numbers(tmp_path) == whole


def test_the_log_stays_by_when_it_was_written_not_by_the_times_in_it(tmp_path):
    world = folded(tmp_path, rows=8, segment_bytes=1)
    segments = [path for _, path in list_segments(tmp_path)]
    assert len(segments) == 7
    for age, path in zip((9, 9, 1, 9, 1, 1, 1), segments, strict=True):
        os.utime(path, (100 * DAY - age * DAY, 100 * DAY - age * DAY))
    world.journal.forget(through=5, written_before_s=100 * DAY - 10 * DAY)
    assert [path for _, path in list_segments(tmp_path)] == segments
    world.journal.forget(through=1, written_before_s=100 * DAY - 7 * DAY)
    assert [path for _, path in list_segments(tmp_path)] == segments[1:], "of no snapshot yet"
    world.journal.forget(through=5, written_before_s=100 * DAY - 7 * DAY)
    assert [path for _, path in list_segments(tmp_path)] == segments[2:], "never a piece out of it"


def snapshot(root):
    """The only snapshot of a scorer, as files."""
    folded(root)
    [(step, folder)] = list_snapshots(root)
    return step, folder, {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_snapshot_of_the_same_step_is_never_gone(tmp_path, monkeypatch):
    step, folder, files = snapshot(tmp_path)

    def killed(*paths):
        raise Killed

    monkeypatch.setattr(journal_module.os, "rename", killed)
    save_snapshot(tmp_path, step, files)
    read_snapshot(SPEC, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_a_damaged_snapshot_of_the_same_step_is_mended(tmp_path):
    step, folder, files = snapshot(tmp_path)
    one, other, *_ = files
    (folder / one).write_bytes(files[one][:-9])
    (folder / other).unlink()
    (folder / "of_no_entity.arrow").write_bytes(b"stale")
    save_snapshot(tmp_path, step, files)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert list_snapshots(tmp_path) == [(step, folder)]


def kept_unconfirmed(tmp_path, monkeypatch):
    """A log whose step 5 stayed in its segment, though the disk failed, and is in the next too."""
    folded(tmp_path / "from")
    steps = list(read_steps(tmp_path / "from"))
    root = tmp_path / "to"
    journal = Journal(root)

    def fails(*given):
        raise OSError(errno.EIO, "Input/output error")

    def keeps(self, size):
        self._file.close()
        self._file = None
        fails()

    for step in steps:
        if step.number == 5:
            with monkeypatch.context() as patched:
                patched.setattr(journal_module.os, "fsync", fails)
                patched.setattr(Journal, "_cut", keeps)
                with pytest.raises(OSError):
                    journal.append(step.number, step.batch, day_of(0))
        journal.append(step.number, step.batch, day_of(0))
    journal.close()
    return root, [step.number for step in steps]


def test_a_step_that_could_not_be_cut_off_and_came_again_counts_once(tmp_path, monkeypatch):
    root, whole = kept_unconfirmed(tmp_path, monkeypatch)
    assert len(list_segments(root)) == 2
    assert numbers(root) == whole
    for after in range(3, 7):
        assert [step.number for step in read_steps(root, after)] == whole[after + 1 :]


def test_a_step_that_could_not_be_cut_off_and_came_again_torn_counts(tmp_path, monkeypatch):
    root, whole = kept_unconfirmed(tmp_path, monkeypatch)
    [_, (_, path)] = list_segments(root)
    begins, content = places(path), path.read_bytes()
    path.with_name(f"segment-{6:012d}.arrows").write_bytes(
        content[: begins[0]] + content[begins[1] :]
    )
    os.truncate(path, begins[0] + 40)  # killed while it was written again
    assert numbers(root) == whole
    for after in range(3, 7):
        assert [step.number for step in read_steps(root, after)] == whole[after + 1 :]


def test_a_step_that_came_again_as_another_one_is_an_error(tmp_path, monkeypatch):
    root, _ = kept_unconfirmed(tmp_path, monkeypatch)
    [_, (_, path)] = list_segments(root)
    step = next(read_segment(path))
    index = step.schema.get_field_index(BUNDLE)
    other = step.set_column(index, BUNDLE, pa.array(["11"] * step.num_rows))
    overwrite(path, places(path)[0], seal(other))
    with pytest.raises(StateError, match="step 5 follows step 5"):
        numbers(root)
