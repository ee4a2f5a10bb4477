"""The worklist's precision: the handbook's definition, its removals, and what counts as known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.groups import group_precision, not_yet_known
from transforms.hashing import hash_column

DAY = 86_400_000_000


def handbooks(frame: pd.DataFrame, top: int) -> list[float]:
    """Chapter 4's `card_precision_top_k`, with ties broken by a hash, of the groups there are."""
    found: list[str] = []
    shares = []
    for _, day in frame.groupby("day"):
        today = day[~day.group.isin(found)].drop(columns="day").groupby("group").max()
        if today.empty:
            continue
        ranked = today.reset_index()
        ranked["hash"] = hash_column(pa.array(ranked.group), 0x67726F7570)
        ranked = ranked.sort_values(["score", "hash"], ascending=[False, True])
        detected = list(ranked.head(top).query("label == 1").group)
        shares.append(len(detected) / min(top, len(today)))
        found.extend(detected)
    return shares


ROWS = st.lists(
    st.tuples(
        st.integers(0, 4 * DAY - 1),
        st.sampled_from(["a", "b", "c", "d", "é", "z"]),
        st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]),
        st.sampled_from([0, 0, 1]),
    ),
    min_size=1,
    max_size=40,
)


@given(ROWS, st.integers(1, 5))
def test_the_worklist_is_the_handbooks(rows, top):
    times, groups, scores, labels = (list(column) for column in zip(*rows, strict=True))
    frame = pd.DataFrame({"group": groups, "score": scores, "label": labels})
    frame["day"] = np.array(times) // DAY
    made = group_precision(
        scores, np.array(labels, np.int8), np.array(times), pa.array(groups), top
    )
    assert made is not None
    expected = handbooks(frame, top)
    assert [day.precision for day in made.days] == expected
    assert made.mean == pytest.approx(float(np.mean(expected)))


@pytest.mark.parametrize("abusive", ["a", "z"])
def test_a_name_does_not_decide_between_equal_scores(abusive):
    """Of 400 groups with one score, 200 are abusive: those whose names sort first, or last."""
    other = "z" if abusive == "a" else "a"
    groups = [f"{letter}{one:03}" for letter in (abusive, other) for one in range(200)]
    labels = np.repeat(np.array([1, 0], np.int8), 200)
    made = group_precision(
        np.full(400, 0.5), labels, np.zeros(400, np.int64), pa.array(groups), top=100
    )
    assert made is not None and 0.4 < made.mean < 0.6


def test_a_found_group_is_not_looked_at_again():
    scores = np.array([0.9, 0.9, 0.1])
    labels = np.array([1, 1, 1], np.int8)
    groups = pa.array(["a", "a", "b"])
    made = group_precision(scores, labels, np.array([0, DAY, DAY]), groups, top=1)
    assert made is not None
    assert [(day.groups, day.found) for day in made.days] == [(1, 1), (1, 1)]


def test_events_without_label_or_group_take_no_part():
    labels = np.array([-1, 1], np.int8)
    times = np.array([0, 0])
    assert group_precision([1, 1], labels, times, pa.array(["a", None]), top=1) is None
    with pytest.raises(ValueError, match="top is 0"):
        group_precision([1, 1], labels, times, pa.array(["a", "b"]), top=0)


def test_a_group_is_known_from_the_day_after_its_verdict():
    history = pa.table({"event_id": ["1", "2", "3"], "group": ["a", "b", None]})
    verdicts = pa.table(
        {
            "event_id": ["v1", "v2", "v3", "v4"],
            "event_time": [DAY - 1, DAY, 5, 6],
            "subject": ["1", "2", "3", "not asked for"],
            "positive": [True, True, True, True],
        }
    )
    groups = pa.array(["a", "a", "b", "b", None, "new"])
    times = np.array([DAY - 1, DAY, DAY, 2 * DAY, DAY, DAY])
    keep = not_yet_known(groups, times, history, verdicts)
    assert keep.tolist() == [True, False, True, False, True, True]


def test_nobody_is_known_without_verdicts():
    history = pa.table({"event_id": ["1"], "group": ["a"]})
    verdicts = pa.table(
        {"event_id": ["v"], "event_time": [1], "subject": ["1"], "positive": [False]}
    )
    assert not_yet_known(pa.array(["a"]), np.array([DAY]), history, verdicts).tolist() == [True]


def test_a_verdict_about_the_group_itself_makes_it_known():
    history = pa.table({"event_id": ["p", "q"], "group": ["a", "b"]})
    none = pa.table(
        {
            "event_id": pa.array([], pa.string()),
            "event_time": pa.array([], pa.int64()),
            "subject": pa.array([], pa.string()),
            "positive": pa.array([], pa.bool_()),
        }
    )
    about = pa.table(
        {
            "subject_value": ["a", "b", "stranger"],
            "event_time": [5, 5, 5],
            "positive": [True, False, True],
        }
    )
    groups, times = pa.array(["a", "a", "b"]), np.array([6, DAY, DAY])
    assert not_yet_known(groups, times, history, none, about).tolist() == [True, False, True]
    assert not_yet_known(groups, times, history, none).tolist() == [True, True, True]
