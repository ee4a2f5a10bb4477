"""Labels as of a moment: against a plain reading of the rule, one event at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import Labels
from training import labels as labels_module
from training.label_counts import count_verdicts
from training.labels import (
    first_positive_known,
    is_judged,
    is_judged_early,
    latest_verdicts,
    resolve,
)


def rule(maturity_us: int | None, expires_us: int | None = None) -> Labels:
    return Labels("verdict", "subject_id", None, maturity_us, expires_us=expires_us)  # type: ignore[arg-type]


def verdict_table(rows: list[tuple[str, int, str | None, bool | None]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return pa.table(
        {
            "event_id": pa.array(columns[0], pa.string()),
            "event_time": pa.array(columns[1], pa.int64()),
            "subject": pa.array(columns[2], pa.string()),
            "positive": pa.array(columns[3], pa.bool_()),
        }
    )


def one_by_one(
    maturity_us: int | None,
    events: list[tuple[str, int]],
    rows: list[tuple[str, int, str | None, bool | None]],
    as_of_us: int,
    expires_us: int = 10**9,
) -> list[int]:
    expected = []
    for event_id, event_time in events:
        standing, before, judged = None, False, False
        for _, time, subject, positive in sorted(rows, key=lambda row: row[1]):
            if time < as_of_us and subject == event_id and positive is not None:
                before |= time < event_time
                judged = expires_us < 10**9
                if max(time, event_time + 1) < as_of_us and time >= as_of_us - expires_us:
                    standing = positive
        if before:
            expected.append(-1)
        elif standing is not None:
            expected.append(int(standing))
        elif maturity_us is not None and not judged and event_time <= as_of_us - maturity_us:
            expected.append(0)
        else:
            expected.append(-1)
    return expected


IDS = st.sampled_from(["a", "b", "c", "é", "z\U0001f600", "￿"])
VERDICTS = st.lists(
    st.tuples(
        st.text("12é￿\U0001f600", min_size=1, max_size=3),
        st.integers(0, 30),
        st.none() | IDS,
        st.none() | st.booleans(),
    ),
    unique_by=lambda row: row[0],
    max_size=12,
)


@given(
    st.lists(st.tuples(IDS, st.integers(0, 30)), max_size=8),
    VERDICTS,
    st.integers(0, 31),
    st.none() | st.integers(0, 10),
    st.none() | st.integers(1, 20),
)
def test_resolve_is_the_rule_read_one_event_at_a_time(
    events, rows, as_of_us, maturity_us, expires_us
):
    ids = pa.array([event_id for event_id, _ in events], pa.string())
    times = np.array([time for _, time in events], np.int64)
    made = rule(maturity_us, expires_us)
    resolved = resolve(made, ids, times, verdict_table(rows), as_of_us)
    assert resolved.dtype == np.int8
    expected = one_by_one(maturity_us, events, rows, as_of_us, expires_us or 10**9)
    assert resolved.tolist() == expected


@given(VERDICTS, st.integers(0, 31))
def test_verdicts_of_the_future_change_nothing(rows, as_of_us):
    known = [row for row in rows if row[1] < as_of_us]
    ids, times = pa.array(["a", "b", "c"]), np.array([1, 2, 3])
    expected = resolve(rule(5), ids, times, verdict_table(known), as_of_us)
    assert resolve(rule(5), ids, times, verdict_table(rows), as_of_us).tolist() == expected.tolist()


def test_a_verdict_is_known_strictly_after_its_time():
    rows = verdict_table([("v", 10, "a", True)])
    ids, times = pa.array(["a"]), np.array([1])
    assert resolve(rule(None), ids, times, rows, as_of_us=10).tolist() == [-1]
    assert resolve(rule(None), ids, times, rows, as_of_us=11).tolist() == [1]


def test_an_appeal_reverses_and_of_one_time_the_last_in_total_order_counts():
    rows = verdict_table([("9", 10, "a", True), ("10", 10, "a", False), ("3", 20, "a", True)])
    ids, times = pa.array(["a"]), np.array([1])
    assert resolve(rule(None), ids, times, rows, as_of_us=15).tolist() == [0]
    assert resolve(rule(None), ids, times, rows, as_of_us=25).tolist() == [1]


def test_a_verdict_that_expired_leaves_no_label_and_an_older_appeal_does_not_come_back():
    rows = verdict_table([("u", 10, "a", True), ("v", 20, "a", False), ("w", 10, "b", True)])
    ids, times = pa.array(["a", "b", "c"]), np.array([1, 1, 1])
    assert resolve(rule(5, 15), ids, times, rows, as_of_us=25).tolist() == [0, 1, 0]
    assert resolve(rule(5, 15), ids, times, rows, as_of_us=26).tolist() == [0, -1, 0]
    assert resolve(rule(5, 15), ids, times, rows, as_of_us=36).tolist() == [-1, -1, 0]
    ranked = dataclasses.replace(rule(5, 15), precedence=("person",))
    sourced = rows.append_column("source", pa.array(["person", "bot", "person"]))
    assert resolve(ranked, ids, times, sourced, as_of_us=25).tolist() == [1, 1, 0]
    assert resolve(ranked, ids, times, sourced, as_of_us=26).tolist() == [0, -1, 0]


def test_a_label_is_known_strictly_after_its_event():
    ids, times = pa.array(["a"]), np.array([10])
    same = verdict_table([("v", 10, "a", True)])
    assert resolve(rule(0), ids, times, same, as_of_us=11).tolist() == [0]
    assert resolve(rule(0), ids, times, same, as_of_us=12).tolist() == [1]


def test_an_event_that_may_have_seen_its_verdict_has_no_label():
    early = verdict_table([("v", 9, "a", True), ("w", 30, "a", True), ("x", 30, "b", True)])
    ids, times = pa.array(["a", "b"]), np.array([10, 10])
    assert resolve(rule(0), ids, times, early, as_of_us=99).tolist() == [-1, 1]


def test_without_maturity_silence_is_no_label():
    ids, times = pa.array(["a"]), np.array([0])
    assert resolve(rule(None), ids, times, verdict_table([]), 10**15).tolist() == [-1]
    assert resolve(rule(100), ids, times, verdict_table([]), 100).tolist() == [0]
    assert resolve(rule(100), ids, times, verdict_table([]), 99).tolist() == [-1]


def test_chunked_dictionary_and_large_string_ids_resolve_alike():
    rows = verdict_table([("v", 10, "b", True)])
    times = np.array([1, 2])
    plain = pa.array(["a", "b"])
    for ids in (
        plain,
        pa.chunked_array([["a"], ["b"]]),
        plain.dictionary_encode(),
        plain.cast(pa.large_string()),
    ):
        assert resolve(rule(0), ids, times, rows, 11).tolist() == [0, 1]


def test_more_than_two_gigabytes_of_ids_take_wide_offsets(monkeypatch):
    monkeypatch.setattr(labels_module, "_MOST_BYTES", 127)
    ids = pa.chunked_array([["a" * 200], ["b"]])
    assert labels_module.strings(ids).type == pa.large_string()


def test_nothing_in_nothing_out():
    none = pa.array([], pa.string())
    assert resolve(rule(1), none, np.zeros(0, np.int64), verdict_table([]), 5).tolist() == []
    assert latest_verdicts(verdict_table([]), 5)[0].to_pylist() == []


def test_a_table_that_is_no_verdict_table_is_refused():
    with pytest.raises(ValueError, match=r"\['positive'\] are missing"):
        latest_verdicts(verdict_table([]).drop_columns(["positive"]), 5)
    with pytest.raises(ValueError, match="2 event ids and 1 times"):
        resolve(rule(1), pa.array(["a", "b"]), np.array([1]), verdict_table([]), 5)


def test_first_positive_is_the_moment_of_first_knowing():
    rows = verdict_table(
        [("1", 9, "a", True), ("2", 4, "a", False), ("3", 7, "a", True), ("4", 1, "b", False)]
    )
    never = np.iinfo(np.int64).max
    assert first_positive_known(pa.array(["a", "b", "c"]), rows).tolist() == [7, never, never]


def test_verdicts_are_counted_by_source_and_reversals_by_who_reversed():
    said = [
        ("1", 10, "a", True, "rule"),
        ("2", 20, "a", False, "appeal"),
        ("3", 30, "a", True, "moderator"),
        ("4", 15, "b", True, "rule"),
        ("5", 16, "b", True, "moderator"),
        ("6", 17, "c", False, None),
        ("7", 99, "c", True, "moderator"),
        ("8", 18, "elsewhere", True, "rule"),
    ]
    names = ("event_id", "event_time", "subject", "positive", "source")
    table = pa.table(dict(zip(names, map(list, zip(*said, strict=True)), strict=True)))
    shuffled = table.take(pa.array([6, 2, 0, 5, 1, 7, 3, 4]))
    counts = count_verdicts(pa.array(["a", "b", "c", "d"]), shuffled, as_of_us=99)
    assert (counts.verdicts, counts.events, counts.positive, counts.negative) == (6, 3, 2, 1)
    assert (counts.to_positive, counts.to_negative) == (0, 0), "a ended where it began"
    found = [(one.source, one.verdicts, one.positive, one.reversing) for one in counts.sources]
    assert found == [
        ("moderator", 2, 2, 1), ("rule", 2, 2, 0), ("(none)", 1, 0, 0), ("appeal", 1, 0, 1)
    ]  # fmt: skip
    assert count_verdicts(pa.array(["d"]), shuffled, as_of_us=99).events == 0
    later = count_verdicts(pa.array(["c"]), shuffled, as_of_us=100)
    assert (later.to_positive, later.positive) == (1, 1)
    without = count_verdicts(pa.array(["a"]), table.drop_columns(["source"]), as_of_us=99)
    assert without.sources == ()


def test_a_verdict_that_is_known_judges_and_age_does_not():
    rows = verdict_table([("1", 10, "a", False), ("2", 20, "b", True), ("3", 30, "c", None)])
    ids = pa.array(["a", "b", "c", "d"])
    assert is_judged(ids, rows, 20).tolist() == [True, False, False, False]
    assert is_judged(ids, rows, 99).tolist() == [True, True, False, False]


def test_a_verdict_before_its_event_is_found_and_never_gives_a_label():
    table = pa.table(
        {
            "event_id": ["v1", "v2", "v3", "v4"],
            "event_time": [5, 50, 10, 90],
            "subject": ["a", "a", "b", "c"],
            "positive": [True, True, True, None],
        }
    )
    ids, times = pa.array(["a", "b", "c"]), np.array([10, 10, 95])
    assert is_judged_early(ids, times, table, as_of_us=99).tolist() == [True, False, False]
    assert is_judged_early(ids, times, table, as_of_us=5).tolist() == [False, False, False]
    assert resolve(rule(1), ids, times, table, as_of_us=99).tolist() == [-1, 1, 0]


def table_of(*rows):
    names = ("event_id", "event_time", "subject", "positive", "source")
    return pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))


# Rows: id, time, subject, abuse?, source.
ARGUED = table_of(
    ("1", 10, "a", True, "report"),
    ("2", 20, "a", False, "person"),
    ("3", 30, "a", True, "report"),  # a late report does not overrule the person
    ("4", 40, "b", False, "person"),
    ("5", 50, "b", True, "person"),  # a second look does
    ("6", 60, "b", False, "appeal"),
    ("7", 70, "b", True, "person"),  # nor does a person overrule an appeal,
    ("8", 80, "b", True, "appeal"),  # which may be reversed itself,
    ("9", 90, "b", False, "appeal"),  # and again
    ("10", 100, "c", True, None),  # who judged is not known
    ("11", 110, "c", False, "report"),
)
RANKED = ("appeal", "person")


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (15, [1, -1, -1]),
        (25, [0, -1, -1]),
        (35, [0, -1, -1]),
        (55, [0, 1, -1]),
        (65, [0, 0, -1]),
        (75, [0, 0, -1]),
        (85, [0, 1, -1]),
        (95, [0, 0, -1]),
        (105, [0, 0, 1]),
        (115, [0, 0, 0]),
    ],
)
def test_the_strongest_source_that_judged_has_the_last_word(as_of, expected):
    rule = Labels("verdict", "subject", None, None, "source", RANKED)
    ids, times = pa.array(["a", "b", "c"]), np.array([1, 2, 3])
    assert resolve(rule, ids, times, ARGUED, as_of).tolist() == expected
    shuffled = ARGUED.take(pa.array(np.random.default_rng(as_of).permutation(len(ARGUED))))
    assert resolve(rule, ids, times, shuffled, as_of).tolist() == expected


def test_without_precedence_the_latest_counts_and_counts_follow_it():
    ids, times = pa.array(["a", "b", "c"]), np.array([1, 2, 3])
    latest = Labels("verdict", "subject", None, None, "source")
    assert resolve(latest, ids, times, ARGUED, 75).tolist() == [1, 1, -1]
    ranked = count_verdicts(ids, ARGUED, 75, RANKED)
    assert (ranked.positive, ranked.negative, ranked.to_negative) == (0, 2, 1)
    plain = count_verdicts(ids, ARGUED, 75)
    assert (plain.positive, plain.negative, plain.to_positive) == (2, 0, 1)
    days_before_sources = ARGUED.drop_columns("source")
    rule = Labels("verdict", "subject", None, None, "source", RANKED)
    assert resolve(rule, ids, times, days_before_sources, 75).tolist() == [1, 1, -1]
