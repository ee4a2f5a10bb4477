"""Verdict events become labels of the events that they judge, as known at one moment.

What enters: the ids and times of scored events, and a table of verdict events. What leaves: one
int8 per event: 1 abuse, 0 not, -1 unlabelled. The file exists so that there is one answer to
"what did we know at T": a verdict counts from the moment when it became known (its own event
time), never from the moment that it speaks of; and strictly later than what it judges, whatever
its time says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError
from configs.schema import Labels, Training
from configs.units import format_duration

POSITIVE = 1
NEGATIVE = 0
UNLABELLED = -1

VERDICT_COLUMNS = ("event_id", "event_time", "subject", "positive")

_NEVER = np.iinfo(np.int64).max
_MOST_BYTES = 2**31 - 1  # of an Arrow string array, whose offsets are int32


@dataclasses.dataclass(frozen=True)
class SubjectLabels:
    """What verdicts about subjects say of events (`training.known_labels`); arrays `[n]`.

    Attributes:
      labels: int8: 1, 0, -1 where none speaks of the event, or all of them have expired.
      weakness: int64, the rank of the source that the label is by; the strongest has 0.
      judged: bool, one speaks of it, expired or not.
      suspected: bool, none does, and one of its subjects stood as abusive when it happened.
    """

    labels: npt.NDArray[np.int8]
    weakness: npt.NDArray[np.int64]
    judged: npt.NDArray[np.bool_]
    suspected: npt.NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> SubjectLabels:
        """Of events that nobody judged so."""
        return cls(
            np.full(count, UNLABELLED, np.int8),
            np.full(count, _NEVER, np.int64),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )


def require_mature(labels: Labels, training: Training) -> None:
    """Does nothing if every event of a training span is old enough to count as not abuse.

    Raises:
      ConfigError: the newest ones are not: of them only judged abuse would have a label, and what
        a model does to everything else would be in no figure.

    >>> require_mature(Labels("verdict", "subject_id", None, maturity_us=1), Training(9, 1))
    """
    if labels.maturity_us is not None and labels.maturity_us > training.delay_us:
        mature, delay = format_duration(labels.maturity_us), format_duration(training.delay_us)
        raise ConfigError(
            f"labels.maturity is {mature} and training.delay is {delay}: the newest events of the "
            "training span would have a label only if they were judged; expected a delay of at "
            f"least the maturity: set training.delay to {mature}"
        )


def is_judged(
    event_ids: pa.Array | pa.ChunkedArray, verdicts: pa.Table, as_of_us: int
) -> npt.NDArray[np.bool_]:
    """Which events a verdict was known of just before `as_of_us`: bool[n].

    The others have their label, if any, by age alone (`labels.maturity`).

    >>> table = pa.table({"event_id": ["1"], "event_time": [5], "subject": ["a"],
    ...                   "positive": [False]})
    >>> is_judged(pa.array(["a", "b"]), table, as_of_us=6).tolist()
    [True, False]
    """
    subjects, _ = latest_verdicts(verdicts, as_of_us)
    if len(subjects) == 0 or len(event_ids) == 0:
        return np.zeros(len(event_ids), np.bool_)
    return _positions(event_ids, subjects)[0]


def resolve(
    labels: Labels,
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
    verdicts: pa.Table,
    as_of_us: int,
    about: SubjectLabels | None = None,
) -> npt.NDArray[np.int8]:
    """Labels of events as they were known just before `as_of_us`.

    Of the verdicts about an event that were known before `as_of_us` (strictly), the last in total
    order counts, so an appeal reverses and a second look reverses again; with `labels.precedence`,
    the last of the strongest source that judged, so that no late report overrules a person. With
    `labels.expires_us` verdicts older than that are left out, and an event that has no other one is
    unlabelled, however old it is: somebody judged it. An event without any verdict is negative
    once it is `labels.maturity_us` old, else unlabelled. A verdict
    of the same time as its event is known a microsecond later; if one has an earlier time, the
    event is unlabelled: what its features saw may hold the answer.

    Args:
      labels: the rule; only `maturity_us`, `precedence` and `expires_us` are read here, the rest
        has made the table.
      event_ids: string[n], the scored events.
      event_times: int64[n], microseconds UTC.
      verdicts: columns `event_id` string, `event_time` int64 µs UTC, `subject` string (the id of
        the judged event), `positive` bool. A row with a null subject or a null `positive` judges
        nothing. Rows of one time in total order, as a backfill publishes them; verdicts about
        events that are not asked for do no harm.
      as_of_us: the moment of knowing, microseconds UTC.
      about: what verdicts about the events' subjects say, where there are `labels.subjects`
        (`training.known_labels.judge_subjects`).

    Returns:
      int8[n]: 1, 0 or -1 (`POSITIVE`, `NEGATIVE`, `UNLABELLED`).

    Raises:
      ValueError: a column is missing, ids and times differ in length, or `about` is missing.

    >>> verdicts = pa.table({
    ...     "event_id": ["v1", "v2"], "event_time": [50, 90],
    ...     "subject": ["a", "a"], "positive": [True, False]})
    >>> rule = Labels("verdict", "subject_id", None, maturity_us=100)
    >>> ids, times = pa.array(["a", "b"]), np.array([10, 20])
    >>> resolve(rule, ids, times, verdicts, as_of_us=90).tolist()
    [1, -1]
    >>> resolve(rule, ids, times, verdicts, as_of_us=120).tolist()
    [0, 0]
    """
    return resolve_by(labels, event_ids, event_times, verdicts, as_of_us, about)[0]


def resolve_by(
    labels: Labels,
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
    verdicts: pa.Table,
    as_of_us: int,
    about: SubjectLabels | None = None,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """As `resolve`, and which labels are by verdicts about subjects: bool[n]."""
    if len(event_ids) != len(event_times):
        raise ValueError(f"{len(event_ids)} event ids and {len(event_times)} times: must be equal")
    if labels.subjects and about is None:
        raise ValueError("labels.subjects label events too; pass what they say (about)")
    if about is None:
        about = SubjectLabels.none(len(event_times))
    resolved = _without_verdict(event_times, labels.maturity_us, as_of_us)
    by_subject = about.labels != UNLABELLED
    resolved[about.suspected | about.judged] = UNLABELLED
    resolved[by_subject] = about.labels[by_subject]
    if labels.expires_us is not None:
        resolved[is_judged(event_ids, verdicts, as_of_us) & ~by_subject] = UNLABELLED
    early = is_judged_early(event_ids, event_times, verdicts, as_of_us)
    by_subject &= ~early
    resolved[early] = UNLABELLED
    counting = unexpired(labels, verdicts, as_of_us)
    subjects, positive, weakness = _standing(counting, as_of_us, labels.precedence)
    if len(subjects) == 0 or len(event_ids) == 0:
        return resolved, by_subject
    times = np.asarray(event_times)
    judged, position = _positions(event_ids, subjects)
    standing = np.zeros(len(times), np.int8)
    standing[judged] = positive[position]
    known = judged & (times + 1 < as_of_us) & ~early
    # Of equally strong sources the one that looked at the event itself counts.
    known[judged] &= weakness[position] <= about.weakness[judged]
    resolved[known] = standing[known]
    return resolved, by_subject & ~known


def unexpired(labels: Labels, verdicts: pa.Table, as_of_us: int) -> pa.Table:
    """The verdicts that are no older than `labels.expires_us` at a moment.

    >>> rule = Labels("verdict", "subject_id", None, maturity_us=None, expires_us=10)
    >>> unexpired(rule, pa.table({"event_time": [4, 5, 6]}), 15)["event_time"].to_pylist()
    [5, 6]
    """
    if labels.expires_us is None:
        return verdicts
    oldest = as_of_us - labels.expires_us
    return verdicts.filter(pc.greater_equal(verdicts["event_time"], oldest))


def is_judged_early(
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
    verdicts: pa.Table,
    as_of_us: int,
) -> npt.NDArray[np.bool_]:
    """Which events have a verdict with an earlier time than their own, known by then: bool[n].

    Nobody judges what has not happened: the time of the one or the other is wrong, and features of
    the event may hold its answer. So it has no label, whatever later verdicts say.

    >>> table = pa.table({"event_id": ["1"], "event_time": [5], "subject": ["a"],
    ...                   "positive": [True]})
    >>> is_judged_early(pa.array(["a", "b"]), np.array([6, 6]), table, as_of_us=9).tolist()
    [True, False]
    """
    first = first_known(event_ids, verdicts, as_of_us)
    return np.asarray(first < np.asarray(event_times), np.bool_)


def latest_verdicts(
    verdicts: pa.Table, as_of_us: int, precedence: Sequence[str] = ()
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """The verdict that stands on each judged event just before `as_of_us`.

    Args:
      verdicts: as in :func:`resolve`.
      as_of_us: microseconds UTC; verdicts at or after it are invisible.
      precedence: sources, the strongest first (`labels.precedence`).

    Returns:
      `(subjects string[s], positive bool[s])`, each subject once.

    Raises:
      ValueError: a column is missing.

    >>> table = pa.table({"event_id": ["9", "10"], "event_time": [5, 5],
    ...                   "subject": ["a", "a"], "positive": [True, False]})
    >>> subjects, positive = latest_verdicts(table, as_of_us=6)
    >>> subjects.to_pylist(), positive.tolist()
    (['a'], [False])
    """
    return _standing(verdicts, as_of_us, precedence)[:2]


def _standing(
    verdicts: pa.Table, as_of_us: int, precedence: Sequence[str]
) -> tuple[pa.Array, npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """As `latest_verdicts`, and the rank of the source of each."""
    known = strongest_last(in_order(verdicts, as_of_us), precedence)
    if known.num_rows == 0:
        return pa.array([], pa.string()), np.zeros(0, np.bool_), np.zeros(0, np.int64)
    encoded = strings(known["subject"]).dictionary_encode()
    # Assigning through repeated indices leaves the last value, which is the latest verdict.
    standing = np.zeros(len(encoded.dictionary), np.bool_)
    standing[encoded.indices.to_numpy()] = (
        known["positive"].combine_chunks().to_numpy(zero_copy_only=False)
    )
    weakness = np.zeros(len(encoded.dictionary), np.int64)
    weakness[encoded.indices.to_numpy()] = source_ranks(known, precedence)
    return encoded.dictionary, standing, weakness


def first_positive_known(
    event_ids: pa.Array | pa.ChunkedArray, verdicts: pa.Table
) -> npt.NDArray[np.int64]:
    """When an event was first known to be abuse, by the times of its verdicts.

    Args:
      event_ids: string[n].
      verdicts: as in :func:`resolve`.

    Returns:
      int64[n], the event time of its first positive verdict, µs UTC; the largest int64 if none.

    >>> table = pa.table({"event_id": ["2", "1"], "event_time": [8, 5],
    ...                   "subject": ["a", "a"], "positive": [True, True]})
    >>> first_positive_known(pa.array(["a", "b"]), table).tolist()
    [5, 9223372036854775807]
    """
    known = _known(verdicts, _NEVER)
    return _first_known(event_ids, known.filter(known["positive"]))


def first_known(
    event_ids: pa.Array | pa.ChunkedArray, verdicts: pa.Table, as_of_us: int
) -> npt.NDArray[np.int64]:
    """The time of each event's earliest verdict that was known by then; the largest int64 if none.

    >>> table = pa.table({"event_id": ["2", "1"], "event_time": [8, 5],
    ...                   "subject": ["a", "a"], "positive": [True, False]})
    >>> first_known(pa.array(["a"]), table, as_of_us=9).tolist()
    [5]
    """
    return _first_known(event_ids, _known(verdicts, as_of_us))


def _first_known(event_ids: pa.Array | pa.ChunkedArray, known: pa.Table) -> npt.NDArray[np.int64]:
    """The earliest time of some verdicts about each event: int64[n]."""
    first = np.full(len(event_ids), _NEVER, np.int64)
    if known.num_rows == 0 or len(event_ids) == 0:
        return first
    encoded = strings(known["subject"]).dictionary_encode()
    earliest = np.full(len(encoded.dictionary), _NEVER, np.int64)
    np.minimum.at(earliest, encoded.indices.to_numpy(), known["event_time"].to_numpy())
    judged, position = _positions(event_ids, encoded.dictionary)
    first[judged] = earliest[position]
    return first


def _without_verdict(
    event_times: npt.NDArray[np.int64], maturity_us: int | None, as_of_us: int
) -> npt.NDArray[np.int8]:
    if maturity_us is None:
        return np.full(len(event_times), UNLABELLED, np.int8)
    mature = np.asarray(event_times) <= as_of_us - maturity_us
    return np.where(mature, NEGATIVE, UNLABELLED).astype(np.int8)


def _known(verdicts: pa.Table, as_of_us: int, subject: str = "subject") -> pa.Table:
    missing = [name for name in VERDICT_COLUMNS if name not in verdicts.column_names]
    if missing:
        raise ValueError(
            f"the verdict table has columns {verdicts.column_names}; {missing} are missing"
        )
    judges = pc.and_(verdicts[subject].is_valid(), verdicts["positive"].is_valid())
    return verdicts.filter(pc.and_(judges, pc.less(verdicts["event_time"], as_of_us)))


def in_order(verdicts: pa.Table, as_of_us: int, subject: str = "subject") -> pa.Table:
    """The verdicts that were known, in total order; those of one time already are.

    Args:
      verdicts: as in :func:`resolve`.
      as_of_us: microseconds UTC.
      subject: the column without which a verdict judges nothing here.
    """
    known = _known(verdicts, as_of_us, subject)
    return known.take(pa.array(np.argsort(known["event_time"].to_numpy(), kind="stable")))


def strongest_last(known: pa.Table, precedence: Sequence[str]) -> pa.Table:
    """Verdicts in total order, those of stronger sources behind those of weaker ones."""
    if not precedence or "source" not in known.column_names:
        return known
    return known.take(pa.array(np.argsort(-source_ranks(known, precedence), kind="stable")))


def source_ranks(known: pa.Table, precedence: Sequence[str]) -> npt.NDArray[np.int64]:
    """The rank of each verdict's source, 0 for the strongest: int64 `[n]`.

    >>> source_ranks(pa.table({"source": ["user", "appeal"]}), ["appeal"]).tolist()
    [1, 0]
    """
    if not precedence or "source" not in known.column_names:
        return np.zeros(known.num_rows, np.int64)
    rank = pc.index_in(known["source"], value_set=pa.array(list(precedence), pa.string()))
    return np.asarray(pc.fill_null(rank, len(precedence)).to_numpy(), np.int64)


def _positions(
    event_ids: pa.Array | pa.ChunkedArray, subjects: pa.Array
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which events are among the subjects, and, for those, where."""
    ids = strings(event_ids)
    found = pc.index_in(ids, value_set=subjects.cast(ids.type))
    judged = found.is_valid().to_numpy(zero_copy_only=False)
    return judged, found.drop_null().to_numpy().astype(np.int64)


def strings(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array of strings; more than 2 GB of them need 64-bit offsets."""
    wide = column.nbytes > _MOST_BYTES
    column = column.cast(pa.large_string() if wide else pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
