"""What a streaming job writes: steps of ticks that parity reads, and stable input where it acts."""

import os
import random

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import StateError
from pipelines.streaming.journal import read_steps
from pipelines.streaming.sinks import segment_bytes, steps_of, write_file
from scoring.engine import BUNDLE, EXPIRED, STEP
from transforms.ticks import DAY_US, PLACE_IN_TIME, TICK

SECOND = 1_000_000


def rows(tick, *events, bundle="b1"):
    """Log rows of one tick and shard: (seconds, id)."""
    count = len(events)
    return pa.RecordBatch.from_pydict(
        {
            "event_id": [name for _, name in events],
            "event_time": pa.array([at * SECOND for at, _ in events], pa.int64()),
            STEP: pa.array([0] * count, pa.int64()),
            EXPIRED: pa.array([None] * count, pa.int64()),
            BUNDLE: [bundle] * count,
            TICK: pa.array([tick * SECOND] * count, pa.int64()),
            PLACE_IN_TIME: pa.array([name.encode() for _, name in events], pa.binary()),
        }
    )


def ids(step):
    return step.column("event_id").to_pylist()


def test_whole_ticks_become_steps_in_the_order_of_the_fold_and_later_ones_wait():
    batches = [rows(7, (7, "d"), (7, "b")), rows(6, (6, "x")), rows(7, (7, "a"), (3, "late")),
               rows(9, (9, "wait"))]  # fmt: skip
    for seed in range(5):
        random.Random(seed).shuffle(batches)
        made, rest = steps_of(batches, 8, 4, 5, SECOND)
        assert [(tick, ids(step)) for tick, step in made] == [
            (6, ["x"]), (7, ["late", "a", "b", "d"]),
        ]  # fmt: skip
        assert [step.column(STEP)[0].as_py() for _, step in made] == [4, 5]
        assert [ids(one) for one in rest] == [["wait"]]


def test_the_first_tick_of_a_day_notes_that_silent_keys_were_freed():
    day = DAY_US // SECOND
    batches = [
        rows(day - 1, (day - 1, "a")),
        rows(day + 5, (day + 5, "b")),
        rows(day + 6, (1, "c")),
    ]
    made, _ = steps_of(batches, day + 10, 0, None, SECOND)
    assert [step.column(EXPIRED)[0].as_py() for _, step in made] == [None, DAY_US, None]


def test_a_tick_that_two_bundles_decided_is_a_step_for_each_stretch():
    batches = [rows(7, (7, "a"), (7, "c")), rows(7, (7, "d"), bundle="b2"),
               rows(7, (7, "b"), bundle="b2")]  # fmt: skip
    made, _ = steps_of(batches, 7, 0, 6, SECOND)
    assert [(ids(step), step.column(BUNDLE)[0].as_py()) for _, step in made] == [
        (["a"], "b1"), (["b"], "b2"), (["c"], "b1"), (["d"], "b2"),
    ]  # fmt: skip
    assert [step.column(STEP)[0].as_py() for _, step in made] == [0, 1, 2, 3]


def test_the_same_ticks_are_the_same_steps_whatever_is_written_at_once(tmp_path):
    """After a failure ticks are handed over again, some more or fewer of them at a time."""
    batches = [rows(tick, (tick, f"e{tick}"), (tick, "x")) for tick in range(20)]
    whole = [segment_bytes(step) for _, step in steps_of(batches, 19, 0, None, SECOND)[0]]
    rng, step, last, held, made = random.Random(3), 0, None, list(batches), []
    while held:
        through = held[0].column(TICK)[0].as_py() // SECOND + rng.randrange(4)
        some, held = steps_of(held, through, step, last, SECOND)
        made += [segment_bytes(one) for _, one in some]
        step, last = step + len(some), some[-1][0]
    assert made == whole


def test_parity_reads_the_steps_as_the_embedded_scorers(tmp_path):
    made, _ = steps_of([rows(t, (t, f"e{t}")) for t in range(3)], 5, 0, None, SECOND)
    for _, step in made:
        name = f"segment-{step.column(STEP)[0].as_py():012d}.arrows"
        write_file(str(tmp_path / "log" / "date=1970-01-01" / name), segment_bytes(step))
    assert [step.number for step in read_steps(tmp_path)] == [0, 1, 2]
    assert [ids(step.batch) for step in read_steps(tmp_path, 0)] == [["e1"], ["e2"]]
    assert np.all([step.batch.num_rows == 1 for step in read_steps(tmp_path)])


def test_a_step_that_another_writer_has_still_to_write_is_waited_for(tmp_path, monkeypatch):
    made, _ = steps_of([rows(t, (t, f"e{t}")) for t in range(4)], 5, 0, None, SECOND)
    folder = tmp_path / "log" / "date=1970-01-01"

    def write(number):
        name = f"segment-{number:012d}.arrows"
        write_file(str(folder / name), segment_bytes(made[number][1]))

    for number in (0, 2, 3):
        write(number)
    monkeypatch.setattr("pipelines.streaming.journal.time.sleep", lambda seconds: write(1))
    assert [step.number for step in read_steps(tmp_path)] == [0, 1, 2, 3]
    (folder / "segment-000000000001.arrows").unlink()
    os.utime(folder / "segment-000000000002.arrows", (0, 0))  # nobody has written for long
    with pytest.raises(StateError, match="ends before step 1"):
        list(read_steps(tmp_path))


@pytest.mark.parametrize("name", ["log/a", "b"])
def test_a_file_is_written_whole_into_a_folder_for_its_owner(name, tmp_path):
    path = tmp_path / "state" / name
    write_file(str(path), b"1")
    write_file(str(path), b"2")
    assert path.read_bytes() == b"2"
    assert path.parent.stat().st_mode & 0o077 == 0
    assert [one.name for one in path.parent.iterdir()] == [path.name]
