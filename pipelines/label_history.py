"""The whole history of what became known of one event, or of all events of one subject.

What enters: an output folder, what is asked for, and a moment. What leaves: each verdict with its
time, its source and what it reversed; and the label of each judged event as of that moment, with
its reason.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, InputError
from configs.fingerprint import dataset_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Labels, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.dataset import read_named, subject_columns
from pipelines.layout import Layout, day_us
from scoring.files import Place
from training.known_labels import about_subjects, judge_subjects, label_events
from training.labels import NEGATIVE, POSITIVE, UNLABELLED, is_judged, unexpired

EVENT = "event"


@dataclasses.dataclass(frozen=True)
class Known:
    """A verdict about an event: when it became known, what it says (None: nothing), and by whom.

    `reverses`: it says the opposite of the verdict before it. `expired`: it counts no longer.
    `about`: the event's column whose value it is about; None: the event itself, or what is asked
    for.
    """

    time_us: int
    positive: bool | None
    source: str | None
    reverses: bool = False
    expired: bool = False
    about: str | None = None


@dataclasses.dataclass(frozen=True)
class EventHistory:
    """Verdicts about one event in the order in which they became known, and where that leaves it.

    Attributes:
      label: 1, 0, or None where it has none.
      reason: of the label, or of there being none, in words.
    """

    event: str
    time_us: int
    verdicts: tuple[Known, ...]
    label: int | None
    reason: str


@dataclasses.dataclass(frozen=True)
class SubjectHistory:
    """What became known of a subject before a day.

    Attributes:
      as_of: what became known on it or later is left out.
      events: how many scored events the subject has before it.
      positive, negative, unlabelled: of these.
      judged: the histories of those that somebody judged, by time; of `event`, also if nobody did.
      about: verdicts about the subject itself; of `event`, about what it belongs to.
      by_subject: events that have their label by these.
      other: days that were made under another config.
    """

    as_of: dt.date
    events: int
    positive: int
    negative: int
    unlabelled: int
    judged: tuple[EventHistory, ...]
    about: tuple[Known, ...] = ()
    by_subject: int = 0
    other: tuple[dt.date, ...] = ()

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        other = [str(day) for day in self.other]
        return dataclasses.asdict(self) | {"as_of": str(self.as_of), "other": other}


def subject_history(
    spec: Spec, out: Place, kind: str, value: str, as_of: dt.date | None = None
) -> SubjectHistory:
    """What became known of one event (`kind` is "event"), or of all that have a value in a column.

    Args:
      spec: the use, with labels.
      out: the output folder.
      kind: "event", or a column that the published days keep, such as an account's.
      value: the event's id, or the column's value.
      as_of: as known before this day; None: all that is published.

    Raises:
      ConfigError: the spec has no labels.
      InputError: no such event or column, or a day that the folder does not reach.
    """
    if spec.labels is None:
        raise ConfigError(f"the config {spec.name!r} has no labels section; add one")
    layout = Layout(out)
    published = layout.published()
    as_of = published_until(layout, as_of)
    days = [day for day in published if day < as_of]
    column = EVENT_ID if kind == EVENT else _column(spec, kind)
    wanted = [EVENT_ID, EVENT_TIME, *_subject_columns(spec)]
    found = []
    for day in days:
        table = read_features(layout, [day], list(dict.fromkeys([*wanted, column])))
        same = pc.equal(table.column(column).cast(pa.string()), value)
        found.append(table.select(list(dict.fromkeys(wanted))).filter(same))
    events = pa.concat_tables(found)
    verdicts, moment = read_verdicts(layout, days[-1]), day_us(as_of)
    of = {kind: value} if kind != EVENT else _first_row(events, _subject_columns(spec))
    about = _about(spec, verdicts, of, moment, own=kind != EVENT)
    if events.num_rows == 0 and (kind == EVENT or not about):
        what = "scored event of that id" if kind == EVENT else f"scored event with that {kind}"
        raise InputError(f"no {what} is in the days before {as_of} in {layout.root}")
    made, by_subject = _histories(spec, events, _concerning(verdicts, events), moment)
    labels = [one.label for one in made]
    return SubjectHistory(
        as_of,
        len(made),
        labels.count(POSITIVE),
        labels.count(NEGATIVE),
        labels.count(None),
        tuple(one for one in made if one.verdicts or kind == EVENT),
        tuple(about),
        by_subject,
        made_otherwise(spec, layout, days),
    )


def _first_row(events: pa.Table, columns: Sequence[str]) -> dict[str, str | None]:
    """What the first event has in some columns, as text."""
    if not events.num_rows:
        return {}
    return {name: events.column(name)[0].cast(pa.string()).as_py() for name in columns}


def _concerning(verdicts: pa.Table, events: pa.Table) -> pa.Table:
    """Those about some events, and all about subjects."""
    ids = events.column(EVENT_ID).combine_chunks()
    concerned = pc.is_in(verdicts.column("subject"), value_set=ids)
    if "subject_value" in verdicts.column_names:
        concerned = pc.or_(concerned, verdicts.column("subject_value").is_valid())
    return verdicts.filter(concerned)


def label_history(
    spec: Spec, layout: Layout, event: str, time_us: int
) -> tuple[tuple[Known, ...], int | None]:
    """Verdicts about an event as they became known, and its label after the last published day.

    Args:
      spec: the use; without labels there is nothing to tell.
      layout: of the output folder.
      event: its id.
      time_us: its time.
    """
    published = layout.published()
    if spec.labels is None or not published:
        return (), None
    moment = day_us(published[-1] + dt.timedelta(days=1))
    table = read_verdicts(layout, published[-1])
    events = pa.table({EVENT_ID: [event], EVENT_TIME: pa.array([time_us], pa.int64())})
    columns = _subject_columns(spec)
    named = read_named(layout, events.column(EVENT_ID), np.array([time_us]), columns)
    for name in columns:
        events = events.append_column(name, named.column(name))
    [made], _ = _histories(spec, events, _concerning(table, events), moment)
    about = _about(spec, table, _first_row(named, columns), moment)
    together = sorted([*made.verdicts, *about], key=lambda one: one.time_us)
    return tuple(together), made.label


def published_until(layout: Layout, as_of: dt.date | None) -> dt.date:
    """A day as of which labels can be told: the one given, or the day after the last published one.

    Raises:
      InputError: no day is published, or none before `as_of`, or `as_of` is beyond them.
    """
    published = layout.published()
    end = published[-1] + dt.timedelta(days=1) if published else None
    if end is None or (as_of is not None and not published[0] < as_of <= end):
        there = f"{published[0]}..{published[-1]}" if published else "no day"
        raise InputError(
            f"{layout.root} holds {there}; run `lockstep backfill`, or give an --as-of day behind "
            "the first one and not beyond the day after the last one"
        )
    return as_of or end


def made_otherwise(spec: Spec, layout: Layout, days: Sequence[dt.date]) -> tuple[dt.date, ...]:
    """Published days that were made under another config, which may name verdicts otherwise."""
    own = dataset_fingerprint(spec)
    return tuple(day for day in days if layout.read_marker(day).get("spec") != own)


def _column(spec: Spec, kind: str) -> str:
    from transforms.selection import dataset_fields

    names = [field.name for field in dataset_fields(spec) if pa.types.is_string(field.type)]
    names = [name for name in names if name not in (EVENT_ID, KIND)]
    names += [name for name in _subject_columns(spec) if name not in names]
    if kind not in names:
        raise InputError(
            f"published days keep no text column {kind!r}; expected {EVENT}:ID, or one of "
            f"{', '.join(names) or 'none'}, such as --subject {[*names, EVENT][0]}:VALUE"
        )
    return kind


def _subject_columns(spec: Spec) -> list[str]:
    return subject_columns(spec.labels) if spec.labels is not None else []


def _about(
    spec: Spec, verdicts: pa.Table, of: Mapping[str, str | None], moment: int, own: bool = False
) -> list[Known]:
    """Verdicts about subjects as they became known; `own`: of one subject that is asked for."""
    if spec.labels is None:
        return []
    found = []
    for rule in spec.labels.subjects:
        known = about_subjects(rule, verdicts, moment)
        if known.num_rows and of.get(rule.of) is not None:
            rows = known.filter(pc.equal(known["subject_value"], of[rule.of]))
            found += _as_known(spec.labels, rows.to_pylist(), moment, None if own else rule.of)
    return sorted(found, key=lambda one: one.time_us)


def _as_known(
    rule: Labels, rows: Iterable[Mapping[str, Any]], moment: int, about: str | None = None
) -> list[Known]:
    """Verdicts about one event or subject, in order."""
    oldest = moment - rule.expires_us if rule.expires_us is not None else None
    found: list[Known] = []
    for row in rows:
        before = [one.positive for one in found if one.positive is not None]
        said, time_us = row["positive"], row[EVENT_TIME]
        reverses = bool(before) and said is not None and said != before[-1]
        expired = oldest is not None and time_us < oldest
        found.append(Known(time_us, said, row.get("source"), reverses, expired, about))
    return found


def _histories(
    spec: Spec, events: pa.Table, verdicts: pa.Table, moment: int
) -> tuple[list[EventHistory], int]:
    """Of events by time, and how many have their label by a verdict about a subject.

    Args:
      events: ids, times, and the columns of `labels.subjects`.
      verdicts: about these, or their subjects.
    """
    rule = spec.labels
    if rule is None:
        return [], 0
    events = events.take(pa.array(np.argsort(events.column(EVENT_TIME).to_numpy(), kind="stable")))
    ids, times = events.column(EVENT_ID), events.column(EVENT_TIME).to_numpy()
    named = {name: events.column(name) for name in _subject_columns(spec)}
    labels, judged, early, by_subject = label_events(rule, ids, times, named, verdicts, moment)
    suspected = judge_subjects(rule, times, named, verdicts, moment).suspected
    counting = is_judged(ids, unexpired(rule, verdicts, moment), moment)
    verdicts = verdicts.filter(pc.less(verdicts.column(EVENT_TIME), moment))
    order = np.argsort(verdicts.column(EVENT_TIME).to_numpy(), kind="stable")
    of: dict[str, list[dict[str, Any]]] = {}
    for row in verdicts.take(pa.array(order)).to_pylist():
        of.setdefault(row["subject"], []).append(row)
    columns, made = " or ".join(_subject_columns(spec)), []
    for at, event in enumerate(ids.to_pylist()):
        label = int(labels[at])
        own = tuple(_as_known(rule, of.get(event, ()), moment))
        if early[at]:
            reason = "a verdict has an earlier time than the event"
        elif by_subject[at]:
            reason = f"by a verdict about its {columns}"
        elif counting[at] and label != UNLABELLED:
            reason = "by verdict"
        elif judged[at]:
            reason = "its verdicts have expired"
        elif suspected[at] and label == UNLABELLED:
            reason = f"its {columns} stood as abusive when it happened, and nobody has judged it"
        else:
            reason = "by its age alone" if label == NEGATIVE else "no verdict yet"
        shown = label if label != UNLABELLED else None
        made.append(EventHistory(event, int(times[at]), own, shown, reason))
    return made, int(by_subject.sum())
