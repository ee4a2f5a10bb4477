"""The whole history of what became known of one event, or of all events of one subject.

What enters: an output folder, what is asked for, and a moment. What leaves: each verdict with its
time, its source and what it reversed; and the label of each judged event as of that moment, with
its reason.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, InputError
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.layout import Layout, day_us
from scoring.files import Place
from training.labels import (
    NEGATIVE,
    POSITIVE,
    UNLABELLED,
    is_judged,
    is_judged_early,
    resolve,
    unexpired,
)

EVENT = "event"


@dataclasses.dataclass(frozen=True)
class Known:
    """A verdict about an event: when it became known, what it says (None: nothing), and by whom.

    `reverses`: it says the opposite of the verdict before it. `expired`: it counts no longer.
    """

    time_us: int
    positive: bool | None
    source: str | None
    reverses: bool = False
    expired: bool = False


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
    """

    as_of: dt.date
    events: int
    positive: int
    negative: int
    unlabelled: int
    judged: tuple[EventHistory, ...]

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {"as_of": str(self.as_of)}


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
    found = []
    for day in days:
        table = read_features(layout, [day], list(dict.fromkeys([EVENT_ID, EVENT_TIME, column])))
        same = pc.equal(table.column(column).cast(pa.string()), value)
        found.append(table.select([EVENT_ID, EVENT_TIME]).filter(same))
    events = pa.concat_tables(found)
    if events.num_rows == 0:
        what = "scored event of that id" if kind == EVENT else f"scored event with that {kind}"
        raise InputError(f"no {what} is in the days before {as_of} in {layout.root}")
    verdicts = read_verdicts(layout, days[-1])
    ids = events.column(EVENT_ID)
    verdicts = verdicts.filter(pc.is_in(verdicts.column("subject"), value_set=ids.combine_chunks()))
    made = _histories(spec, events, verdicts, day_us(as_of))
    labels = [one.label for one in made]
    return SubjectHistory(
        as_of,
        len(made),
        labels.count(POSITIVE),
        labels.count(NEGATIVE),
        labels.count(None),
        tuple(one for one in made if one.verdicts or kind == EVENT),
    )


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
    table = read_verdicts(layout, published[-1])
    table = table.filter(pc.equal(table.column("subject"), event))
    events = pa.table({EVENT_ID: [event], EVENT_TIME: pa.array([time_us], pa.int64())})
    [made] = _histories(spec, events, table, day_us(published[-1] + dt.timedelta(days=1)))
    return made.verdicts, made.label


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


def _column(spec: Spec, kind: str) -> str:
    from transforms.selection import dataset_fields

    names = [field.name for field in dataset_fields(spec) if pa.types.is_string(field.type)]
    names = [name for name in names if name not in (EVENT_ID, KIND)]
    if kind not in names:
        raise InputError(
            f"published days keep no text column {kind!r}; expected {EVENT}:ID, or one of "
            f"{', '.join(names) or 'none'}, such as --subject {[*names, EVENT][0]}:VALUE"
        )
    return kind


def _histories(spec: Spec, events: pa.Table, verdicts: pa.Table, moment: int) -> list[EventHistory]:
    """Of events by time; `verdicts` are about these."""
    rule = spec.labels
    if rule is None:
        return []
    events = events.take(pa.array(np.argsort(events.column(EVENT_TIME).to_numpy(), kind="stable")))
    ids, times = events.column(EVENT_ID), events.column(EVENT_TIME).to_numpy()
    labels = resolve(rule, ids, times, verdicts, moment)
    early = is_judged_early(ids, times, verdicts, moment)
    counting = is_judged(ids, unexpired(rule, verdicts, moment), moment)
    verdicts = verdicts.filter(pc.less(verdicts.column(EVENT_TIME), moment))
    order = np.argsort(verdicts.column(EVENT_TIME).to_numpy(), kind="stable")
    of: dict[str, list[Known]] = {}
    oldest = moment - rule.expires_us if rule.expires_us is not None else None
    for row in verdicts.take(pa.array(order)).to_pylist():
        before = [one.positive for one in of.get(row["subject"], []) if one.positive is not None]
        said, time_us = row["positive"], row[EVENT_TIME]
        reverses = bool(before) and said is not None and said != before[-1]
        expired = oldest is not None and time_us < oldest
        known = Known(time_us, said, row.get("source"), reverses, expired)
        of.setdefault(row["subject"], []).append(known)
    made = []
    for at, event in enumerate(ids.to_pylist()):
        label = int(labels[at])
        own = tuple(of.get(event, ()))
        if early[at]:
            reason = "a verdict has an earlier time than the event"
        elif counting[at] and label != UNLABELLED:
            reason = "by verdict"
        elif any(one.positive is not None for one in own):
            reason = "its verdicts have expired"
        else:
            reason = "by its age alone" if label == NEGATIVE else "no verdict yet"
        shown = label if label != UNLABELLED else None
        made.append(EventHistory(event, int(times[at]), own, shown, reason))
    return made
