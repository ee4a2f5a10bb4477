"""Sources that stop or flood are named; holidays as there were before and new sources are not."""

import numpy as np
import pyarrow as pa
import pytest

from training import source_alarms as module
from training.source_alarms import _alarm, source_alarms
from transforms.ticks import DAY_US


def table(**days):
    """Verdicts of sources, so many a day."""
    rows = [
        (day * DAY_US + at, source)
        for source, counts in days.items()
        for day, count in enumerate(counts)
        for at in range(count)
    ]
    return pa.table({
        "event_id": pa.array([str(at) for at in range(len(rows))], pa.string()),
        "event_time": pa.array([row[0] for row in rows], pa.int64()),
        "subject": pa.array(["a"] * len(rows), pa.string()),
        "positive": pa.array([True] * len(rows), pa.bool_()),
        "source": pa.array([row[1] for row in rows], pa.string()),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "days", "said"),
    [
        ([9] * 8, 8, None),
        ([9] * 8, 9, ("0", 1)),
        ([9, 9, 9, 9, 9, 0, 0, 9, 9, 9], 12, None),  # a weekend, as there was before
        ([9, 9, 9, 9, 9, 0, 0, 9, 9, 9], 13, ("0", 3)),
        ([1] * 8, 20, None),  # too few to tell
        ([9] * 4, 20, None),  # too new
        ([9] * 7 + [28], 8, ("28", 1)),
        ([9] * 7 + [27], 8, None),
        ([1] * 7 + [19], 8, None),  # small numbers vary
    ],
)
def test_a_source_that_stops_or_floods_is_named(counts, days, said):
    found = source_alarms(table(bot=counts, other=[9] * days), days * DAY_US)
    assert [(str(one.last), one.days) for one in found] == ([] if said is None else [said])
    assert all(one.source == "bot" for one in found)


def test_what_comes_later_changes_nothing_and_a_message_says_what_to_do():
    rows = table(bot=[9] * 8 + [500])
    assert source_alarms(rows, 8 * DAY_US) == ()
    assert source_alarms(rows, 9 * DAY_US) == source_alarms(
        table(bot=[9] * 8 + [500, 7]), 9 * DAY_US
    )
    [flood] = source_alarms(rows, 9 * DAY_US)
    assert "500 verdicts on the last day" in str(flood) and "labels.precedence" in str(flood)
    [stopped] = source_alarms(table(bot=[9] * 8), 10 * DAY_US)
    assert "no verdict for 2 days" in str(stopped) and "look whether it runs" in str(stopped)


def test_without_sources_or_verdicts_there_is_nothing_to_say():
    rows = table(bot=[9] * 8)
    assert source_alarms(rows.drop_columns(["source"]), 99 * DAY_US) == ()
    assert source_alarms(rows.slice(0, 0), 99 * DAY_US) == ()


def test_rare_sources_are_passed_over_and_the_others_are_told_apart(monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        module, "_alarm", lambda name, counts: looked_at.append(name) or _alarm(name, counts)
    )
    rare = {f"user-{at}": [1, 0, 2] for at in range(300)}
    days = 9
    rows = table(stops=[9] * 8, **rare, floods=[2] * 8 + [20], bot=[9] * days, few=[0] * 8 + [19])
    rows = rows.take(pa.array(np.random.default_rng(3).permutation(rows.num_rows)))
    found = [(one.source, one.last) for one in source_alarms(rows, days * DAY_US)]
    assert found == [("floods", 20), ("stops", 0)]
    assert looked_at == ["bot", "floods", "stops"]
