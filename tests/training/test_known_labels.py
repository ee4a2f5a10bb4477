"""Labels by verdicts about subjects: against a plain reading of the rules, one event at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import JudgedSubject, Labels
from training.known_labels import first_positive, label_events, subject_weights
from training.labels import resolve

RANKED = ("appeal", "person")
SUBJECTS = (JudgedSubject("who", "named", reach_us=6), JudgedSubject("link", "page"))
RULE = Labels("v", "of", None, maturity_us=3, source="by", precedence=RANKED, subjects=SUBJECTS)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Said:
    """A verdict: about an event (column None), or a value of a column."""

    time: int
    column: str | None
    value: str
    positive: bool | None
    source: str | None


def table_of(said):
    return pa.table(
        {
            "event_id": pa.array([f"v{at}" for at in range(len(said))], pa.string()),
            "event_time": pa.array([one.time for one in said], pa.int64()),
            "subject": pa.array([None if one.column else one.value for one in said], pa.string()),
            "positive": pa.array([one.positive for one in said], pa.bool_()),
            "source": pa.array([one.source for one in said], pa.string()),
            "subject_column": pa.array([one.column for one in said], pa.string()),
            "subject_value": pa.array(
                [one.value if one.column else None for one in said], pa.string()
            ),
        }
    )


def begins(own, at, reach):
    """From when on the verdict at a place of its subject's verdicts speaks."""
    if reach is None:
        return -(10**9)
    while at and own[at - 1].positive != own[at].positive:
        at -= 1
    return own[at].time - reach


def plain_label(rule, event, said, as_of):
    """The rules as docs/labels.md has them."""
    known = sorted((one for one in said if one.time < as_of and one.positive is not None),
                   key=lambda one: one.time)  # fmt: skip
    time = event["time"]
    oldest = as_of - rule.expires_us if rule.expires_us is not None else -(10**9)

    def rank(one):
        return RANKED.index(one.source) if one.source in RANKED else len(RANKED)

    candidates, judged, suspected = [], False, False
    for order, one in enumerate(known):
        if one.column is None and one.value == event["id"]:
            if one.time < time:
                return -1
            judged |= rule.expires_us is not None
            if time + 1 < as_of and one.time >= oldest:
                candidates.append((-rank(one), 1, order, one.positive))
    for subject in rule.subjects:
        own = [one for one in known if (one.column, one.value) == (subject.of, event[subject.of])]
        before = []
        for at, one in enumerate(own):
            if one.time <= time:
                if one.time >= oldest:
                    before.append((-rank(one), at, one.positive))
            elif begins(own, at, subject.reach_us) <= time:
                judged = True
                if one.time >= oldest:
                    candidates.append((-rank(one), 0, known.index(one), one.positive))
        suspected |= bool(before) and max(before)[2]
    if candidates:
        return int(max(candidates)[3])
    if judged or suspected:
        return -1
    return 0 if rule.maturity_us is not None and time <= as_of - rule.maturity_us else -1


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 20),
        st.sampled_from(["ann", "bob", None]),
        st.sampled_from(["x", "y", None]),
    ),
    max_size=8,
)
VERDICTS = st.lists(
    st.builds(
        Said,
        st.integers(0, 20),
        st.none() | st.sampled_from(["who", "link"]),
        st.sampled_from(["a", "b", "ann", "bob", "x"]),
        st.none() | st.booleans(),
        st.sampled_from(["appeal", "person", "user", None]),
    ),
    max_size=10,
    unique_by=lambda one: (one.time, one.column, one.value, one.positive, one.source),
)


def labels_of(rule, events, said, as_of):
    """Verdicts of one time are in the order given, as a backfill publishes them."""
    columns = list(zip(*events, strict=True)) if events else [(), (), (), ()]
    named = {name: pa.array(columns[at], pa.string()) for name, at in (("who", 2), ("link", 3))}
    times = np.array(columns[1], np.int64)
    ids = pa.array(columns[0], pa.string())
    return label_events(rule, ids, times, named, table_of(said), as_of)


@given(EVENTS, VERDICTS, st.integers(0, 22), st.none() | st.integers(1, 15))
def test_labels_are_the_rules_read_one_event_at_a_time(events, said, as_of, expires):
    rule = dataclasses.replace(RULE, expires_us=expires)
    made = labels_of(rule, events, said, as_of)
    plain = [
        plain_label(
            rule, {"id": one[0], "time": one[1], "who": one[2], "link": one[3]}, said, as_of
        )
        for one in events
    ]
    assert made.labels.tolist() == plain


@given(EVENTS, VERDICTS, st.integers(0, 22))
def test_what_becomes_known_later_changes_nothing(events, said, as_of):
    known = [one for one in said if one.time < as_of]
    for made, expected in zip(
        labels_of(RULE, events, said, as_of), labels_of(RULE, events, known, as_of), strict=True
    ):
        assert made.tolist() == expected.tolist()


def labels_by(said, rule=RULE, as_of=99):
    """Of ann's events at 1, 5, 9 and 13."""
    events = [(f"e{time}", time, "ann", None) for time in (1, 5, 9, 13)]
    return labels_of(rule, events, said, as_of)


def test_a_verdict_speaks_of_what_came_before_it_as_far_as_it_reaches():
    made = labels_by([Said(10, "who", "ann", True, "person")])
    assert made.labels.tolist() == [0, 1, 1, -1]
    assert made.judged.tolist() == made.by_subject.tolist() == [False, True, True, False]


def test_a_reversal_takes_back_all_that_was_reached_and_its_reversal_brings_it_back():
    banned, granted = (
        Said(10, "who", "ann", True, "person"),
        Said(20, "who", "ann", False, "person"),
    )
    assert labels_by([banned, granted]).labels.tolist() == [0, 0, 0, 0]
    again = labels_by([banned, granted, Said(30, "who", "ann", True, "person")])
    assert again.labels.tolist() == [0, 1, 1, 1]
    assert labels_by([banned, granted], as_of=20).labels.tolist() == [0, 1, 1, -1]


def test_what_is_said_of_the_event_itself_counts_before_what_is_said_of_its_account():
    banned = Said(10, "who", "ann", True, "person")
    cleared = Said(7, None, "e5", False, "person")
    assert labels_by([banned, cleared]).labels.tolist() == [0, 0, 1, -1]
    weaker = dataclasses.replace(cleared, source="user")
    made = labels_by([banned, weaker])
    assert made.labels.tolist() == [0, 1, 1, -1]
    assert made.by_subject.tolist() == [False, True, True, False]
    granted = Said(12, "who", "ann", False, "appeal")
    judged = Said(11, None, "e9", True, "person")
    assert labels_by([banned, judged, granted]).labels.tolist() == [0, 0, 0, 0]


def test_an_account_that_stands_as_abusive_is_not_cleared_by_age():
    made = labels_by([Said(3, "who", "ann", True, "person")])
    assert made.labels.tolist() == [1, -1, -1, -1]
    assert made.judged.tolist() == [True, False, False, False]
    cleared = [Said(3, "who", "ann", True, "person"), Said(6, "who", "ann", False, "person")]
    assert labels_by(cleared).labels.tolist() == [0, 0, 0, 0]


def test_an_event_id_that_is_an_accounts_name_is_not_judged_with_it():
    made = labels_of(RULE, [("ann", 5, "bob", None)], [Said(7, "who", "ann", True, "user")], 99)
    assert made.labels.tolist() == [0]


def test_of_several_subjects_the_latest_verdict_counts():
    events = [("e", 5, "ann", "x")]
    person, page = Said(7, "who", "ann", True, "user"), Said(8, "link", "x", False, "user")
    assert labels_of(RULE, events, [person, page], 99).labels.tolist() == [0]
    later = dataclasses.replace(person, time=9)
    assert labels_of(RULE, events, [later, page], 99).labels.tolist() == [1]


def test_many_events_of_one_account_weigh_as_a_few():
    rule = dataclasses.replace(RULE, subjects=(JudgedSubject("who", "who", most_weight=10),))
    who = {"who": pa.array(["ann"] * 1000 + ["bob"] * 5 + [None])}
    made = subject_weights(rule, np.ones(1006, np.bool_), who)
    assert made[:1000].sum() == pytest.approx(10) and made[1000:].tolist() == [1.0] * 6
    assert subject_weights(rule, np.zeros(1006, np.bool_), who) is None


def test_columns_that_are_not_given_are_missed():
    ids, times, none = pa.array(["a"]), np.array([1]), table_of([])
    with pytest.raises(ValueError, match="lack 'who'"):
        label_events(RULE, ids, times, {}, none, 9)
    with pytest.raises(ValueError, match="pass what they say"):
        resolve(RULE, ids, times, none, 9)


def test_days_from_before_there_were_such_verdicts_have_none():
    before = table_of([]).drop_columns(["subject_column", "subject_value"])
    named = {"who": pa.array(["ann"]), "link": pa.array(["x"])}
    made = label_events(RULE, pa.array(["a"]), np.array([1]), named, before, 99)
    assert made.labels.tolist() == [0]


def test_the_first_word_of_abuse_about_an_event_or_its_account_is_found():
    """Against the rule said event by event, on random verdicts with and without reach."""
    rng = np.random.default_rng(4)
    for reach in (None, 5):
        rule = Labels(
            "v", "of", None, None, subjects=(JudgedSubject("who", "who", reach_us=reach),)
        )
        times = rng.integers(0, 40, 60)
        ids, who = [f"e{at}" for at in range(60)], [f"u{at}" for at in rng.integers(0, 6, 60)]
        said = [
            {"event_id": f"v{at}", "event_time": int(rng.integers(0, 50)), "positive": bool(at % 2),
             "subject": None if at % 3 else f"e{rng.integers(0, 60)}",
             "subject_column": "who" if at % 3 else None,
             "subject_value": f"u{rng.integers(0, 6)}" if at % 3 else None}
            for at in range(40)
        ]  # fmt: skip
        verdicts = pa.Table.from_pylist(sorted(said, key=lambda one: one["event_time"]))
        made = first_positive(rule, pa.array(ids), times, {"who": pa.array(who)}, verdicts, 45)
        expected = []
        for event, account, time in zip(ids, who, times, strict=True):
            known = [
                one["event_time"] for one in said
                if one["positive"] and one["event_time"] < 45 and (
                    one["subject"] == event
                    or (one["subject_value"] == account and one["event_time"] > time
                        and (reach is None or one["event_time"] - reach <= time))
                )
            ]  # fmt: skip
            expected.append(min(known, default=np.iinfo(np.int64).max))
        assert made.tolist() == expected
        assert 5 < sum(one < 45 for one in expected) < 60
