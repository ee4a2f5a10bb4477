"""What is known of the labels at a moment: who judged, how late, how often it was taken back.

What enters: an output folder and a moment. What leaves: counts and the curve of delays, from which
`labels.maturity` is chosen. The history of one event or subject is in `pipelines.label_history`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.dataset import subject_columns
from pipelines.label_history import made_otherwise, published_until
from pipelines.layout import DAY_US, Layout, day_us, require_folder
from scoring.files import Place
from training.delays import DelayCurve, delay_curve
from training.known_labels import (
    about_subjects,
    by_what_is_judged,
    judge_subjects,
    label_events,
)
from training.label_counts import (
    Conflict,
    SubjectCounts,
    VerdictCounts,
    count_conflicts,
    count_subjects,
    count_verdicts,
)
from training.label_model import SourceQuality, source_qualities
from training.labels import (
    NEGATIVE,
    POSITIVE,
    UNLABELLED,
    first_known,
    unexpired,
)
from training.source_alarms import SourceAlarm, source_alarms

SHARES = (0.5, 0.9, 0.95, 0.99)


@dataclasses.dataclass(frozen=True)
class LabelReport:
    """The state of the labels just before a day.

    Attributes:
      as_of: labels are those known before this day.
      events: scored events before it.
      positive, negative: events by the verdict that stands.
      matured: negative by age alone (`labels.maturity`).
      young: without a label, for want of a verdict and of age.
      early: without a label, since a verdict has an earlier time than the event.
      expired: without a label, since all verdicts about it are older than `labels.expires`.
      unknown_subjects: judged ids that are no scored event of the published days.
      verdicts: counts by source, and of reversals, of verdicts that have not expired.
      conflicts: sources that disagree, by the same, about events and subjects.
      qualities: how good each source is, by its agreement with the others, about both.
      curve: of the delays of first verdicts.
      maturity_us: of the config.
      alarms: sources that stopped or flood.
      suspected: without a label, since a subject of theirs stood as abusive when they happened, and
        no verdict speaks of them.
      by_subject: events whose label is by a verdict about a subject; subjects: these verdicts, by
        the columns of `labels.subjects`.
      other: days that were made under another config.
    """

    as_of: dt.date
    events: int
    positive: int
    negative: int
    matured: int
    young: int
    early: int
    expired: int
    unknown_subjects: int
    verdicts: VerdictCounts
    conflicts: tuple[Conflict, ...]
    qualities: tuple[SourceQuality, ...]
    curve: DelayCurve
    maturity_us: int | None
    alarms: tuple[SourceAlarm, ...] = ()
    suspected: int = 0
    by_subject: int = 0
    subjects: tuple[SubjectCounts, ...] = ()
    other: tuple[dt.date, ...] = ()

    @property
    def come_by_maturity(self) -> tuple[float, float, float] | None:
        """The share of verdicts that comes before an event counts as no abuse, and its bounds."""
        return None if self.maturity_us is None else self.curve.at(self.maturity_us)

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON; the curve by its quantiles and once a day."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        last = int(self.curve.delays[-1]) // DAY_US + 1 if self.curve.events else 0
        return plain | {
            "as_of": str(self.as_of),
            "other": list(map(str, self.other)),
            "verdicts": dataclasses.asdict(self.verdicts),
            "conflicts": [dataclasses.asdict(one) for one in self.conflicts],
            "alarms": [dataclasses.asdict(one) for one in self.alarms],
            "subjects": [dataclasses.asdict(one) for one in self.subjects],
            "qualities": [dataclasses.asdict(one) for one in self.qualities],
            "curve": {
                "events": self.curve.events,
                "quantiles_us": {str(share): self.curve.quantile(share) for share in SHARES},
                "by_day": [self.curve.at(day * DAY_US) for day in range(1, last + 1)],
            },
            "come_by_maturity": self.come_by_maturity,
        }


def report_labels(spec: Spec, out: Place, as_of: dt.date | None = None) -> LabelReport:
    """Reads the published days of an output folder.

    Args:
      spec: the use, with labels.
      out: the folder.
      as_of: labels known before this day; None: all that is published.

    Raises:
      ConfigError: the spec has no labels.
      InputError: no day is published, or none before `as_of`, or `as_of` is beyond them.
    """
    if spec.labels is None:
        raise ConfigError(f"the config {spec.name!r} has no labels section; add one")
    require_folder(out)
    layout = Layout(out)
    as_of = published_until(layout, as_of)
    moment = day_us(as_of)
    days = [day for day in layout.published() if day < as_of]
    wanted = list(dict.fromkeys([EVENT_ID, EVENT_TIME, *subject_columns(spec.labels)]))
    table = read_features(layout, days, wanted)
    ids, times = table.column(EVENT_ID), table.column(EVENT_TIME).to_numpy()
    verdicts = read_verdicts(layout, days[-1])
    named = {name: table.column(name) for name in subject_columns(spec.labels)}
    about = judge_subjects(spec.labels, times, named, verdicts, moment)
    labels, judged, early, by_subject = label_events(
        spec.labels, ids, times, named, verdicts, moment
    )
    counting = unexpired(spec.labels, verdicts, moment)
    every = by_what_is_judged(spec.labels, counting)
    suspected = (labels == UNLABELLED) & ~early & ~judged & about.suspected
    subjects = pc.unique(verdicts.column("subject").drop_null())
    known = pc.is_in(subjects, value_set=ids.combine_chunks())
    return LabelReport(
        as_of=as_of,
        events=len(times),
        positive=int((labels == POSITIVE).sum()),
        negative=int(((labels == NEGATIVE) & judged).sum()),
        matured=int(((labels == NEGATIVE) & ~judged).sum()),
        young=int(((labels == UNLABELLED) & ~early & ~judged & ~suspected).sum()),
        early=int(early.sum()),
        expired=int(((labels == UNLABELLED) & ~early & judged).sum()),
        unknown_subjects=len(subjects) - (pc.sum(known).as_py() or 0),
        verdicts=count_verdicts(ids, counting, moment, spec.labels.precedence),
        conflicts=count_conflicts(every, moment),
        qualities=source_qualities(every, moment, spec.labels.precedence),
        curve=_curve(ids, times, verdicts, moment),
        maturity_us=spec.labels.maturity_us,
        alarms=source_alarms(by_what_is_judged(spec.labels, verdicts), moment),
        suspected=int(suspected.sum()),
        by_subject=int(by_subject.sum()),
        subjects=tuple(
            count_subjects(
                one.of,
                about_subjects(one, counting, moment),
                spec.labels.precedence,
                table.column(one.of),
            )
            for one in spec.labels.subjects
        ),
        other=made_otherwise(spec, layout, days),
    )


def _curve(
    ids: pa.ChunkedArray, times: npt.NDArray[np.int64], verdicts: pa.Table, moment: int
) -> DelayCurve:
    first = first_known(ids, verdicts, moment)
    seen = (first < moment) & (first >= times)
    return delay_curve(first[seen] - times[seen], moment - times[seen])
