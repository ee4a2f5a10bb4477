"""The flow of verdicts: sums, reversals and delays that can be counted by hand."""

import numpy as np
import pyarrow as pa
import pytest

from training.label_flow import ALL, MOST_SOURCES, label_flow
from transforms.ticks import DAY_US

HOUR = DAY_US // 24


def table(rows, source=True):
    """Verdicts (day, hour, subject, says, source)."""
    made = pa.table({
        "event_id": pa.array([f"v{at}" for at in range(len(rows))], pa.string()),
        "event_time": pa.array([day * DAY_US + hour * HOUR for day, hour, *_ in rows], pa.int64()),
        "subject": pa.array([row[2] for row in rows], pa.string()),
        "positive": pa.array([row[3] for row in rows], pa.bool_()),
        "source": pa.array([row[4] for row in rows], pa.string()),
    })  # fmt: skip
    return made if source else made.drop_columns(["source"])


ROWS = [
    (1, 2, "a", True, "bot"),
    (1, 5, "b", True, "bot"),
    (2, 1, "a", False, "person"),  # reverses
    (3, 9, "a", False, "appeal"),  # says the same again
    (3, 10, "b", True, "bot"),
    (4, 0, "a", True, "person"),  # not known yet
    (2, 0, None, True, "bot"),  # judges nothing
]
IDS, TIMES = pa.array(["a", "b"]), np.array([DAY_US, DAY_US])


def test_days_sources_and_reversals_are_counted():
    made = label_flow(table(ROWS), 4 * DAY_US, IDS, TIMES)
    assert made.days == (DAY_US, 2 * DAY_US, 3 * DAY_US)
    by = {one.source: one for one in made.sources}
    assert [one.source for one in made.sources] == ["bot", "appeal", "person"]
    assert by["bot"].by_day == (2, 0, 1) and by["person"].by_day == (0, 1, 0)
    assert by["person"].reversed_by_day == (0, 1, 0) and by["person"].reversing == 1
    assert by["bot"].reversing == by["appeal"].reversing == 0
    assert (by["bot"].verdicts, by["bot"].positive, by["appeal"].positive) == (3, 3, 0)


def test_a_delay_is_of_the_first_verdict_of_a_source_on_an_event():
    by = {one.source: one for one in label_flow(table(ROWS), 4 * DAY_US, IDS, TIMES).sources}
    assert (by["bot"].delays, by["bot"].median_us, by["bot"].late_us) == (2, 2 * HOUR, 5 * HOUR)
    assert by["appeal"].median_us == 2 * DAY_US + 9 * HOUR
    none = label_flow(table(ROWS), 4 * DAY_US, pa.array(["z"]), np.array([DAY_US]))
    assert {(one.delays, one.median_us) for one in none.sources} == {(0, None)}
    later = label_flow(table(ROWS), 4 * DAY_US, IDS, TIMES + 2 * DAY_US)
    assert {one.source: one.delays for one in later.sources} == {"bot": 1, "appeal": 1, "person": 0}


def test_older_days_are_left_out_of_days_and_sums_but_their_verdicts_can_be_reversed():
    made = label_flow(table(ROWS), 4 * DAY_US, IDS, TIMES, most_days=2)
    by = {one.source: one for one in made.sources}
    assert made.days == (2 * DAY_US, 3 * DAY_US)
    assert by["bot"].by_day == (0, 1) and by["bot"].verdicts == 1
    assert by["person"].reversing == 1


def test_without_a_source_all_are_one_and_of_many_the_rare_are_one():
    (alone,) = label_flow(table(ROWS, source=False), 4 * DAY_US, IDS, TIMES).sources
    assert alone.source == ALL and alone.by_day == (2, 1, 2) and alone.reversing == 1
    many = [
        (1, 1, f"e{source}-{at}", True, f"s{source}")
        for source in range(MOST_SOURCES + 3)
        for at in range(source + 1)
    ]
    made = label_flow(table(many), 2 * DAY_US, IDS, TIMES).sources
    assert len(made) == MOST_SOURCES + 1
    assert made[-1].source == "(other)" and made[-1].verdicts == 1 + 2 + 3
    assert sum(one.verdicts for one in made) == len(many)


@pytest.mark.parametrize("rows", [[], ROWS[-1:]])
def test_no_verdict_is_no_flow(rows):
    assert label_flow(table(rows), 4 * DAY_US, IDS, TIMES).days == ()
