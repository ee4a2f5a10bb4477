"""What parity says of decisions that it does not compare."""

from pathlib import Path

import pytest

from pipelines.parity import log
from pipelines.parity.log import Base, TimeSpan, lost_before, nothing_in_range

HOUR = 3_600_000_000
DELETED = "their log was deleted (`lockstep stream --keep-log-days`)"
NO_STATE = "the state before them is not kept"


def deleted(asked=""):
    return (
        f"decisions before step 8 (events up to 1970-01-01T08:00:00){asked} are not compared: "
        f"{DELETED}"
    )


def logged(first, last, to, asked=""):
    return (
        f"decisions of steps {first} to {last} (events up to 1970-01-01T{to}:00:00){asked} are "
        f"logged, but not compared: {NO_STATE}"
    )


@pytest.mark.parametrize(
    ("first", "base", "start_hour", "words"),
    [
        (0, -1, None, []),
        (8, 7, None, [deleted()]),
        (0, 4, None, [logged(0, 4, "05")]),
        (8, 11, None, [deleted(), logged(8, 11, 12)]),
        (8, 11, 10, [logged(8, 11, 12, ", of the range that begins at 1970-01-01T10:00:00,")]),
        (8, 11, 13, []),
    ],
)
def test_the_part_that_is_named_is_the_part_that_is_missing(
    monkeypatch, first, base, start_hour, words
):
    """A step an hour, step 0 at midnight; the log begins with `first`, a state was after `base`."""
    monkeypatch.setattr(log, "list_segments", lambda state: [(first, Path("segment"))])
    monkeypatch.setattr(log, "_first_time", lambda state, step: (step + 1) * HOUR)
    span = None if start_hour is None else TimeSpan(start_hour * HOUR, None)
    told = lost_before(Path("state"), Base(base, Path("snapshot")), span)
    assert told == "; ".join(words)


def test_a_log_whose_only_state_is_at_its_end_is_not_called_empty(monkeypatch):
    """Steps 8 to 11 are logged; the scorer ended, and the one snapshot left is of step 11."""
    monkeypatch.setattr(log, "list_segments", lambda state: [(8, Path("segment"))])
    times = {7: 8 * HOUR, 11: None}
    monkeypatch.setattr(log, "_first_time", lambda state, step: times[step])
    monkeypatch.setattr(log, "newest_decision", lambda state: 12 * HOUR)
    told = str(nothing_in_range(Path("state"), Base(11, Path("snapshot")), None))
    assert "it holds none that can be compared, and others up to 1970-01-01T12:00:00" in told
    assert f"{DELETED}; {logged(8, 11, 12)}" in told


def test_a_range_beyond_the_log_is_told_all_that_the_log_holds(monkeypatch):
    """Not only what came after the newest state, from which such a range is replayed."""
    monkeypatch.setattr(log, "list_segments", lambda state: [(0, Path("segment"))])
    monkeypatch.setattr(log, "require_segments", lambda state: [(0, Path("segment"))])
    monkeypatch.setattr(log, "list_snapshots", lambda state: [(11, Path("snapshot"))])
    monkeypatch.setattr(log, "_first_time", lambda state, step: (step + 2) * HOUR)
    monkeypatch.setattr(log, "newest_decision", lambda state: 20 * HOUR)
    late = TimeSpan(100 * HOUR, None)
    told = str(nothing_in_range(Path("state"), Base(11, Path("snapshot")), late))
    assert "it holds decisions from 1970-01-01T01:00:00 to 1970-01-01T20:00:00" in told
