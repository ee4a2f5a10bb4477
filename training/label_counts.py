"""Counts of verdicts: by source, of reversals, and of sources that disagree.

What enters: a table of verdicts, as in `training.labels`; without those that expired
(`training.labels.unexpired`), where what stands is asked. What leaves: figures for people.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.labels import UNLABELLED, in_order, strings, strongest_last

_UNSAID, _OTHER, _MOST_SOURCES = "(none)", "(other)", 10


@dataclasses.dataclass(frozen=True)
class SourceVerdicts:
    """Verdicts of one source: how many, of these abuse, and how many reversed the one before."""

    source: str
    verdicts: int
    positive: int
    reversing: int


@dataclasses.dataclass(frozen=True)
class VerdictCounts:
    """Verdicts about some events, as known at a moment.

    Attributes:
      verdicts: all about these events; `events`: with at least one.
      positive, negative: events whose standing verdict says abuse, or not.
      to_positive, to_negative: events whose standing verdict says the opposite of their first: a
        second look found abuse, or an appeal was granted.
      sources: by who or what judged (`labels.source`), most verdicts first; the rarest together.
    """

    verdicts: int
    events: int
    positive: int
    negative: int
    to_positive: int
    to_negative: int
    sources: tuple[SourceVerdicts, ...] = ()


def count_verdicts(
    event_ids: pa.Array | pa.ChunkedArray,
    verdicts: pa.Table,
    as_of_us: int,
    precedence: Sequence[str] = (),
) -> VerdictCounts:
    """Counts of the verdicts about events that were known just before `as_of_us`.

    >>> table = pa.table({"event_id": ["1", "2", "3"], "event_time": [5, 6, 7],
    ...                   "subject": ["a", "a", "b"], "positive": [True, False, True]})
    >>> made = count_verdicts(pa.array(["a", "b"]), table, as_of_us=8)
    >>> made.verdicts, made.events, made.positive, made.to_negative
    (3, 2, 1, 1)
    """
    known = in_order(verdicts, as_of_us)
    about = pc.is_in(known["subject"], value_set=strings(event_ids).cast(known["subject"].type))
    known = known.filter(about)
    encoded = strings(known["subject"]).dictionary_encode()
    subject = encoded.indices.to_numpy()
    said = known["positive"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.bool_)
    first, last = np.zeros((2, len(encoded.dictionary)), np.bool_)
    last[subject] = said
    first[subject[::-1]] = said[::-1]
    if precedence:
        strongest = strongest_last(known, precedence)
        stands = pc.index_in(strings(strongest["subject"]), value_set=encoded.dictionary)
        last[stands.to_numpy()] = strongest["positive"].to_numpy()
    return VerdictCounts(
        verdicts=len(said),
        events=len(last),
        positive=int(last.sum()),
        negative=int((~last).sum()),
        to_positive=int((last & ~first).sum()),
        to_negative=int((first & ~last).sum()),
        sources=_by_source(known["source"], subject, said)
        if "source" in known.schema.names
        else (),
    )


@dataclasses.dataclass(frozen=True)
class SubjectCounts:
    """Verdicts about subjects of one column (`labels.subjects`), as known at a moment.

    Attributes:
      of: the scored events' column.
      verdicts: all of them; subjects: that they are about.
      positive, negative: subjects by the verdict that stands.
      reversed: subjects whose standing verdict says the opposite of their first.
      unknown: subjects that no event has.
      sources: by who or what judged, as in `VerdictCounts`.
    """

    of: str
    verdicts: int
    subjects: int
    positive: int
    negative: int
    reversed: int
    unknown: int = 0
    sources: tuple[SourceVerdicts, ...] = ()


def count_subjects(
    of: str, known: pa.Table, precedence: Sequence[str], events: pa.Array | pa.ChunkedArray
) -> SubjectCounts:
    """Counts of verdicts about subjects.

    Args:
      of: the scored events' column that names them.
      known: of `training.known_labels.about_subjects`.
      precedence: sources, the strongest first.
      events: string `[n]`, what the events have in that column.

    >>> table = pa.table({"subject_value": ["a", "a", "b"], "positive": [True, False, True]})
    >>> made = count_subjects("who", table, (), pa.array(["a", "c"]))
    >>> made.verdicts, made.subjects, made.positive, made.negative, made.reversed, made.unknown
    (3, 2, 1, 1, 1, 1)
    """
    if not known.num_rows:
        return SubjectCounts(of, 0, 0, 0, 0, 0)
    encoded = strings(known["subject_value"]).dictionary_encode()
    names = encoded.dictionary
    first, last = np.zeros((2, len(names)), np.bool_)
    for stands, rows in ((first, known[::-1]), (last, strongest_last(known, precedence))):
        at = pc.index_in(strings(rows["subject_value"]), value_set=names).to_numpy()
        stands[at] = rows["positive"].combine_chunks().to_numpy(zero_copy_only=False)
    positive = int(last.sum())
    turned = int((first != last).sum())
    there = pc.sum(pc.is_in(names, value_set=strings(pc.unique(events)).cast(names.type))).as_py()
    said = known["positive"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.bool_)
    return SubjectCounts(
        of,
        known.num_rows,
        len(names),
        positive,
        len(names) - positive,
        turned,
        len(names) - there,
        _by_source(known["source"], encoded.indices.to_numpy(), said)
        if "source" in known.column_names
        else (),
    )


@dataclasses.dataclass(frozen=True)
class Conflict:
    """Two sources whose last words about the same events differ: on how many of how many."""

    one: str
    other: str
    differ: int
    both: int


def count_conflicts(verdicts: pa.Table, as_of_us: int) -> tuple[Conflict, ...]:
    """Pairs of sources that judged the same events, and how often they disagree; most first.

    >>> table = pa.table({"event_id": ["1", "2", "3"], "event_time": [5, 6, 7],
    ...                   "subject": ["a", "a", "a"], "positive": [True, False, True],
    ...                   "source": ["bot", "person", "bot"]})
    >>> count_conflicts(table, as_of_us=8)
    (Conflict(one='bot', other='person', differ=1, both=1),)
    """
    names, words = last_words(verdicts, as_of_us)
    made = []
    for one, other in itertools.combinations(range(len(names)), 2):
        both = (words[one] != UNLABELLED) & (words[other] != UNLABELLED)
        differ = int((words[one] != words[other])[both].sum())
        if both.any():
            made.append(Conflict(names[one], names[other], differ, int(both.sum())))
    return tuple(sorted(made, key=lambda pair: -pair.differ))


def last_words(verdicts: pa.Table, as_of_us: int) -> tuple[list[str], npt.NDArray[np.int8]]:
    """What each source said last of each judged event: names, and int8 `[sources, events]`.

    1 abuse, 0 not, -1 nothing; the most frequent sources, by name.

    >>> table = pa.table({"event_id": ["1", "2"], "event_time": [5, 6], "subject": ["a", "b"],
    ...                   "positive": [True, False], "source": ["bot", "person"]})
    >>> last_words(table, as_of_us=8)[1].tolist()
    [[1, -1], [-1, 0]]
    """
    known = in_order(verdicts, as_of_us)
    if "source" not in known.schema.names or known.num_rows == 0:
        return [], np.zeros((0, 0), np.int8)
    subject = strings(known["subject"]).dictionary_encode()
    source = strings(pc.fill_null(known["source"], _UNSAID)).dictionary_encode()
    names = source.dictionary.to_pylist()
    code = source.indices.to_numpy()
    counts = np.bincount(code, minlength=len(names))
    kept = sorted(np.argsort(-counts, kind="stable")[:_MOST_SOURCES], key=lambda at: names[at])
    row = np.full(len(names), -1)
    row[kept] = np.arange(len(kept))
    words = np.full((len(kept), len(subject.dictionary)), UNLABELLED, np.int8)
    said = known["positive"].combine_chunks().to_numpy(zero_copy_only=False)
    shown = row[code] >= 0
    # Of several words of a source the last one stays.
    words[row[code][shown], subject.indices.to_numpy()[shown]] = said[shown]
    return [names[at] for at in kept], words


def mark_reversals(
    subject: npt.NDArray[np.int32], said: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which verdicts say the opposite of the one before about the same subject: bool `[n]`.

    Args:
      subject: int32 `[n]`, a number per subject; verdicts are in total order.
      said: bool `[n]`, what each says.

    >>> mark_reversals(np.array([0, 1, 0]), np.array([True, True, False])).tolist()
    [False, False, True]
    """
    by_subject = np.argsort(subject, kind="stable")
    again = np.diff(subject[by_subject], prepend=-1) == 0
    other = np.diff(said[by_subject].astype(np.int8), prepend=0) != 0
    reversing = np.zeros(len(said), np.bool_)
    reversing[by_subject] = again & other
    return reversing


def _by_source(
    source: pa.ChunkedArray, subject: npt.NDArray[np.int32], said: npt.NDArray[np.bool_]
) -> tuple[SourceVerdicts, ...]:
    """Counts by source of verdicts in total order."""
    reversing = mark_reversals(subject, said)
    encoded = strings(pc.fill_null(source, _UNSAID)).dictionary_encode()
    names, code = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    counts = np.bincount(code, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda at: (-counts[at], names[at]))
    groups = [(names[at], code == at) for at in ranked[:_MOST_SOURCES]]
    if len(ranked) > _MOST_SOURCES:
        groups.append((_OTHER, ~np.isin(code, ranked[:_MOST_SOURCES])))
    return tuple(
        SourceVerdicts(
            name, int(rows.sum()), int((rows & said).sum()), int((rows & reversing).sum())
        )
        for name, rows in groups
    )
