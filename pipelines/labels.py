"""What is known of the labels at a moment: who judged, how late, how often it was taken back.

What enters: an output folder and a moment. What leaves: counts and the curve of delays, from which
`labels.maturity` is chosen; or the whole history of one event.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, InputError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.layout import DAY_US, Layout, day_us, require_folder
from scoring.files import Place
from training.delays import DelayCurve, delay_curve
from training.label_model import SourceQuality, source_qualities
from training.labels import (
    NEGATIVE,
    POSITIVE,
    UNLABELLED,
    Conflict,
    VerdictCounts,
    count_conflicts,
    count_verdicts,
    first_known,
    is_judged,
    is_judged_early,
    resolve,
)

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
      unknown_subjects: judged ids that are no scored event of the published days.
      verdicts: counts by source, and of reversals.
      conflicts: sources that disagree.
      qualities: how good each source is, by its agreement with the others.
      curve: of the delays of first verdicts.
      maturity_us: of the config.
    """

    as_of: dt.date
    events: int
    positive: int
    negative: int
    matured: int
    young: int
    early: int
    unknown_subjects: int
    verdicts: VerdictCounts
    conflicts: tuple[Conflict, ...]
    qualities: tuple[SourceQuality, ...]
    curve: DelayCurve
    maturity_us: int | None

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
            "verdicts": dataclasses.asdict(self.verdicts),
            "conflicts": [dataclasses.asdict(one) for one in self.conflicts],
            "qualities": [dataclasses.asdict(one) for one in self.qualities],
            "curve": {
                "events": self.curve.events,
                "quantiles_us": {str(share): self.curve.quantile(share) for share in SHARES},
                "by_day": [self.curve.at(day * DAY_US) for day in range(1, last + 1)],
            },
            "come_by_maturity": self.come_by_maturity,
        }


@dataclasses.dataclass(frozen=True)
class Known:
    """A verdict about an event: when it became known, what it says (None: nothing), and by whom."""

    time_us: int
    positive: bool | None
    source: str | None


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
    table = table.take(pa.array(np.argsort(table.column(EVENT_TIME).to_numpy(), kind="stable")))
    there = "source" in table.column_names
    sources = table.column("source").to_pylist() if there else [None] * table.num_rows
    times, said = table.column(EVENT_TIME).to_pylist(), table.column("positive").to_pylist()
    moment = day_us(published[-1] + dt.timedelta(days=1))
    label = int(resolve(spec.labels, pa.array([event]), np.array([time_us]), table, moment)[0])
    return tuple(map(Known, times, said, sources)), label if label != UNLABELLED else None


def time_of_event(layout: Layout, event: str) -> int:
    """The time of a scored event of the published days, microseconds UTC.

    Raises:
      InputError: there is none of that id.
    """
    for day in reversed(layout.published()):
        table = read_features(layout, [day], [EVENT_ID, EVENT_TIME])
        at = pc.index(table.column(EVENT_ID), event).as_py()
        if at >= 0:
            return int(table.column(EVENT_TIME)[at].as_py())
    raise InputError(f"no scored event of that id is in the days published in {layout.root}")


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
    published = layout.published()
    end = published[-1] + dt.timedelta(days=1) if published else None
    if end is None or (as_of is not None and not published[0] < as_of <= end):
        there = f"{published[0]}..{published[-1]}" if published else "no day"
        raise InputError(
            f"{layout.root} holds {there}; run `lockstep backfill`, or give an --as-of day behind "
            "the first one and not beyond the day after the last one"
        )
    as_of = as_of or end
    moment = day_us(as_of)
    days = [day for day in published if day < as_of]
    table = read_features(layout, days, [EVENT_ID, EVENT_TIME])
    ids, times = table.column(EVENT_ID), table.column(EVENT_TIME).to_numpy()
    verdicts = read_verdicts(layout, days[-1])
    labels = resolve(spec.labels, ids, times, verdicts, moment)
    judged = is_judged(ids, verdicts, moment)
    early = is_judged_early(ids, times, verdicts, moment)
    subjects = pc.unique(verdicts.column("subject").drop_null())
    known = pc.is_in(subjects, value_set=ids.combine_chunks())
    return LabelReport(
        as_of=as_of,
        events=len(times),
        positive=int((labels == POSITIVE).sum()),
        negative=int(((labels == NEGATIVE) & judged).sum()),
        matured=int(((labels == NEGATIVE) & ~judged).sum()),
        young=int(((labels == UNLABELLED) & ~early).sum()),
        early=int(early.sum()),
        unknown_subjects=len(subjects) - (pc.sum(known).as_py() or 0),
        verdicts=count_verdicts(ids, verdicts, moment, spec.labels.precedence),
        conflicts=count_conflicts(verdicts, moment),
        qualities=source_qualities(verdicts, moment, spec.labels.precedence),
        curve=_curve(ids, times, verdicts, moment),
        maturity_us=spec.labels.maturity_us,
    )


def _curve(
    ids: pa.ChunkedArray, times: npt.NDArray[np.int64], verdicts: pa.Table, moment: int
) -> DelayCurve:
    first = first_known(ids, verdicts, moment)
    seen = (first < moment) & (first >= times)
    return delay_curve(first[seen] - times[seen], moment - times[seen])
