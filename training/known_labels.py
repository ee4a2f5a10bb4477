"""Labels of events by all that was known: verdicts about them, and about their subjects.

A subject is what an event belongs to and what can be judged as a whole: its account, its channel,
its link's domain (`labels.subjects`). A verdict that names no event is about the first subject that
it names, and speaks of the subject's events that came before it, as far back as `reach` says.

    verdict about u1        day 3: abuse            day 6: not abuse (an appeal)
    reach 2d          |<--- these events --->|
                      day 1                  day 3
    what it reverses  |<---------------- these events ----------------->|   by day 6's verdict

A verdict that says the opposite of the one before it takes that one back, with all that it
reached, and so on for reversals of reversals. Of several verdicts that speak of an event those of
the strongest source count (`labels.precedence`); of these the one about the event itself, which
somebody has looked at; then the latest. A subject that stands as abusive when an event happens is
not cleared of it by age: such an event has no label until somebody judges it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import JudgedSubject, Labels
from training.labels import (
    SubjectLabels,
    first_positive_known,
    in_order,
    is_judged,
    is_judged_early,
    resolve_by,
    source_ranks,
    strings,
)
from transforms.selection import SUBJECT_COLUMN, SUBJECT_VALUE

_ALWAYS = np.iinfo(np.int64).min

Columns = Mapping[str, pa.Array | pa.ChunkedArray]
Integers = npt.NDArray[np.int64]


class KnownLabels(NamedTuple):
    """Labels of events as known at a moment, with what they come from; arrays `[n]`.

    Attributes:
      labels: int8: 1, 0, -1.
      judged: bool, whether a verdict was known; other labels come from age alone.
      early: bool, whether one has an earlier time than the event, which has no label then.
      by_subject: bool, whether the label is by a verdict about one of the event's subjects.
    """

    labels: npt.NDArray[np.int8]
    judged: npt.NDArray[np.bool_]
    early: npt.NDArray[np.bool_]
    by_subject: npt.NDArray[np.bool_]

    def take(self, kept: npt.NDArray[np.bool_]) -> KnownLabels:
        """Of some of the events."""
        labels, judged, early, by_subject = self
        return KnownLabels(labels[kept], judged[kept], early[kept], by_subject[kept])


def label_events(
    labels: Labels,
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: Integers,
    named: Columns,
    verdicts: pa.Table,
    as_of_us: int,
) -> KnownLabels:
    """What was known of events just before a moment.

    Args:
      labels: the rule.
      event_ids: string `[n]`; event_times: int64 `[n]`, microseconds UTC.
      named: `[n]`, by the columns of `labels.subjects`: whose events they are.
      verdicts: as in :func:`training.labels.resolve`, and those about subjects.
      as_of_us: microseconds UTC.

    Raises:
      ValueError: a column of `labels.subjects` is missing.
    """
    about = judge_subjects(labels, event_times, named, verdicts, as_of_us)
    made, by_subject = resolve_by(labels, event_ids, event_times, verdicts, as_of_us, about)
    return KnownLabels(
        made,
        is_judged(event_ids, verdicts, as_of_us) | about.judged,
        is_judged_early(event_ids, event_times, verdicts, as_of_us),
        by_subject,
    )


def judge_subjects(
    labels: Labels,
    event_times: Integers,
    named: Columns,
    verdicts: pa.Table,
    as_of_us: int,
) -> SubjectLabels:
    """What verdicts about subjects say of events; arguments as in :func:`label_events`.

    >>> from configs.schema import JudgedSubject, Labels
    >>> rule = Labels("verdict", "of", None, None, subjects=(JudgedSubject("who", "who"),))
    >>> table = pa.table({"event_id": ["v"], "event_time": [9], "subject": pa.nulls(1, pa.string()),
    ...     "positive": [True], "subject_column": ["who"], "subject_value": ["ann"]})
    >>> who = pa.array(["ann", "ann", "bob", None])
    >>> made = judge_subjects(rule, np.array([5, 9, 5, 5]), {"who": who}, table, as_of_us=20)
    >>> made.labels.tolist(), made.suspected.tolist()
    ([1, -1, -1, -1], [False, True, False, False])
    """
    made = SubjectLabels.none(len(event_times))
    best = np.full(len(event_times), -1, np.int64)
    for rule in labels.subjects:
        if rule.of not in named:
            raise ValueError(f"events lack {rule.of!r}, whose verdicts label them; pass it")
        known = about_subjects(rule, verdicts, as_of_us)
        if known.num_rows:
            _judge(rule, labels, known, event_times, named[rule.of], as_of_us, made, best)
    made.suspected[made.judged] = False
    return made


def about_subjects(rule: JudgedSubject, verdicts: pa.Table, as_of_us: int) -> pa.Table:
    """The known verdicts about subjects of one column, in total order.

    With columns `event_time`, `subject_value`, `positive`, `source` where there is one, and
    `place`: int64, in the order of all verdicts.
    """
    if SUBJECT_COLUMN not in verdicts.column_names:
        return pa.table({})
    known = in_order(verdicts, as_of_us, subject=SUBJECT_VALUE)
    known = known.append_column("place", pa.array(np.arange(known.num_rows)))
    return known.filter(pc.equal(known[SUBJECT_COLUMN], rule.of))


def by_what_is_judged(labels: Labels, verdicts: pa.Table) -> pa.Table:
    """Verdicts with `subject` being whatever each is about, so that all are counted alike.

    That is an event's id, or a column of `labels.subjects` and a value of it.

    >>> rule = Labels("v", "of", None, None, subjects=(JudgedSubject("who", "who"),))
    >>> table = pa.table({"subject": ["a", None], "subject_column": [None, "who"],
    ...                   "subject_value": [None, "ann"]})
    >>> by_what_is_judged(rule, table)["subject"].to_pylist()
    ['a', 'who\\x00ann']
    """
    if SUBJECT_COLUMN not in verdicts.column_names or not labels.subjects:
        return verdicts
    value = pc.binary_join_element_wise(verdicts[SUBJECT_COLUMN], verdicts[SUBJECT_VALUE], "\0")
    about = pc.coalesce(verdicts["subject"], value)
    return verdicts.set_column(verdicts.column_names.index("subject"), "subject", about)


def _judge(
    rule: JudgedSubject,
    labels: Labels,
    known: pa.Table,
    event_times: Integers,
    values: pa.Array | pa.ChunkedArray,
    as_of_us: int,
    made: SubjectLabels,
    best: Integers,
) -> None:
    """Adds what the verdicts about one column say; `best` is the place of what counts until now."""
    known, code, rows, whose = _by_subject(known, values)
    if not len(rows):
        return
    when = np.asarray(event_times)[rows]
    time, place = known["event_time"].to_numpy(), known["place"].to_numpy()
    said = known["positive"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.bool_)
    start = reaches(code, time, said, rule.reach_us)
    rank = source_ranks(known, labels.precedence)
    counts = time >= (as_of_us - labels.expires_us if labels.expires_us is not None else _ALWAYS)

    reached = last_until(code, start, whose, when)
    made.judged[rows] |= (reached >= 0) & (time[reached] > when)
    abusive = np.zeros(len(rows), np.bool_)
    for one in np.unique(rank)[::-1]:  # the weakest first
        own = np.flatnonzero((rank == one) & counts)
        stood = last_until(code[own], time[own], whose, when)
        abusive[stood >= 0] = said[own[stood[stood >= 0]]]
        reached = last_until(code[own], start[own], whose, when)
        speaks = (reached >= 0) & (time[own[reached]] > when) if len(own) else reached >= 0
        event, verdict = rows[speaks], own[reached[speaks]]
        wins = (one < made.weakness[event]) | (
            (one == made.weakness[event]) & (place[verdict] > best[event])
        )
        event, verdict = event[wins], verdict[wins]
        made.labels[event], made.weakness[event] = said[verdict], one
        best[event] = place[verdict]
    made.suspected[rows] |= abusive


def _by_subject(
    known: pa.Table, values: pa.Array | pa.ChunkedArray
) -> tuple[pa.Table, Integers, Integers, Integers]:
    """Verdicts about subjects, by subject and in their order there, beside the events of these.

    Returns:
      The verdicts; the number of each one's subject, int64 `[k]`, ascending; which events are of a
      subject that is among them, int64 `[r]`; and of which, int64 `[r]`.
    """
    values, of = strings(values), strings(known[SUBJECT_VALUE]).dictionary_encode()
    code = of.indices.to_numpy().astype(np.int64)
    order = np.argsort(code, kind="stable")
    asked = pc.index_in(values, value_set=of.dictionary.cast(values.type))
    rows = np.flatnonzero(asked.is_valid().to_numpy(zero_copy_only=False))
    whose = asked.drop_null().to_numpy().astype(np.int64)
    return known.take(pa.array(order)), code[order], rows, whose


def first_positive(
    labels: Labels,
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: Integers,
    named: Columns,
    verdicts: pa.Table,
    as_of_us: int,
) -> Integers:
    """When each event was first known to be abuse, by verdicts about it or about its subjects.

    Arguments as in :func:`label_events`. Later reversals do not count.

    Returns:
      int64 `[n]`, microseconds UTC, before `as_of_us`; the largest int64 if it was not.

    >>> rule = Labels("v", "of", None, None, subjects=(JudgedSubject("who", "w", reach_us=4),))
    >>> table = pa.table({"event_id": ["v"], "event_time": [9], "subject": pa.nulls(1, pa.string()),
    ...     "positive": [True], "subject_column": ["who"], "subject_value": ["ann"]})
    >>> ids, who = pa.array(["a", "b", "c", "d"]), pa.array(["ann", "ann", "ann", "bob"])
    >>> made = first_positive(rule, ids, np.array([4, 5, 9, 5]), {"who": who}, table, as_of_us=20)
    >>> (made == 9).tolist()
    [False, True, False, False]
    """
    first = first_positive_known(
        event_ids, verdicts.filter(pc.less(verdicts["event_time"], as_of_us))
    )
    for rule in labels.subjects:
        known = about_subjects(rule, verdicts, as_of_us)
        if not known.num_rows or not pc.any(known["positive"]).as_py():
            continue
        known, code, rows, whose = _by_subject(known.filter(known["positive"]), named[rule.of])
        time, when = known["event_time"].to_numpy(), np.asarray(event_times)[rows]
        before = last_until(code, time, whose, when)
        later = np.where(before >= 0, before + 1, np.searchsorted(code, whose))
        place = np.minimum(later, len(code) - 1)
        speaks = (later < len(code)) & (code[place] == whose)
        if rule.reach_us is not None:
            speaks &= time[place] - rule.reach_us <= when
        first[rows[speaks]] = np.minimum(first[rows[speaks]], time[place[speaks]])
    return first


def subject_weights(
    labels: Labels, by_subject: npt.NDArray[np.bool_], named: Columns
) -> npt.NDArray[np.float64] | None:
    """What events weigh in training, so that no judged subject rules: float64 `[n]`.

    Args:
      labels: the rule.
      by_subject: bool `[n]`, which labels are by a verdict about a subject.
      named: `[n]`, by the columns of `labels.subjects`.

    Returns:
      At most 1 each; None: all weigh 1.

    >>> rule = Labels("v", "of", None, None, subjects=(JudgedSubject("who", "who", most_weight=2),))
    >>> who = {"who": pa.array(["ann", "ann", "ann", "ann", "bob", "ann"])}
    >>> subject_weights(rule, np.array([True] * 5 + [False]), who).tolist()
    [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
    """
    made = np.ones(len(by_subject))
    for rule in labels.subjects:
        values = strings(named[rule.of]).dictionary_encode()
        codes = values.indices.fill_null(-1).to_numpy().astype(np.int64)
        codes[~by_subject] = -1
        rows = np.flatnonzero(codes >= 0)
        counts = np.bincount(codes[rows], minlength=len(values.dictionary))
        made[rows] = np.minimum(made[rows], rule.most_weight / counts[codes[rows]])
    return made if (made < 1.0).any() else None


def reaches(
    subjects: Integers, times: Integers, positive: npt.NDArray[np.bool_], reach_us: int | None
) -> Integers:
    """From which time on each verdict speaks of its subject's events: int64 `[v]`.

    Args:
      subjects: int64 `[v]`, ascending; times: int64 `[v]`, ascending within a subject.
      positive: bool `[v]`.
      reach_us: how far a verdict reaches back; None: as far as there are events.

    >>> reaches(np.array([0, 0, 0]), np.array([30, 60, 90]), np.array([True, False, False]), 20)
    array([10, 10, 70])
    """
    if reach_us is None:
        return np.full(len(times), _ALWAYS, np.int64)
    reversing = np.zeros(len(times), np.bool_)
    reversing[1:] = (np.diff(subjects) == 0) & (positive[1:] != positive[:-1])
    # Of verdicts that reverse each other, one after the other, the first reaches back furthest.
    first = np.maximum.accumulate(np.where(reversing, 0, np.arange(len(times))))
    made: Integers = (times - reach_us)[first]
    return made


def last_until(
    keys: Integers, values: Integers, asked: Integers, until: Integers
) -> npt.NDArray[np.int64]:
    """The last row of a key whose value is not above one: int64 `[n]`, -1 where there is none.

    Args:
      keys, values: int64 `[v]`, sorted by key, then value.
      asked, until: int64 `[n]`.

    >>> keys, values = np.array([0, 0, 1]), np.array([3, 5, 4])
    >>> last_until(keys, values, np.array([0, 0, 1]), np.array([5, 4, 3]))
    array([ 1,  0, -1])
    """
    count = len(keys)
    if not count:
        return np.full(len(asked), -1, np.int64)
    later = np.concatenate([np.zeros(count, np.bool_), np.ones(len(asked), np.bool_)])
    every = np.concatenate([keys, asked]), np.concatenate([values, until])
    order = np.lexsort((later, every[1], every[0]))
    last = np.maximum.accumulate(np.where(later[order], -1, order))
    found = np.empty(len(asked), np.int64)
    found[order[later[order]] - count] = last[later[order]]
    found[(found >= 0) & (keys[found] != asked)] = -1
    return found
