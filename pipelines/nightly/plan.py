"""What a nightly run is asked for, and what it will do: its days, its slices, what serves now.

`--dry-run` prints the plan. The backfills that a run begins with come one by one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, EvidenceError
from configs.schema import Labels, Spec, Training
from pipelines.backfill import BackfillPlan, BackfillRequest, make_backfill_plan
from pipelines.backfill.plan import START_SECONDS
from pipelines.layout import DAY_US, Days, Layout, day_of, day_us
from pipelines.runners import Running
from pipelines.sources import open_source
from scoring.files import Place
from scoring.store import Store
from training.dataset import Slices, TimeRange, slices
from training.labels import require_mature

# Measured by `python -m benchmarks.batch` on 2 cores, for --dry-run's estimate only: text, booster
# and baseline over the judged and the serving models' rows.
TRAINED_ROWS_PER_SECOND = 4_000


@dataclasses.dataclass(frozen=True)
class NightlyRequest:
    """What a scheduler asks for.

    Attributes:
      config: the YAML text, which the bundle keeps.
      source: events; must hold every day before `as_of`.
      as_of: nothing that became known on or after this day is used.
      since: the first day of a first run; None: as far back as training and windows reach.
      promote: whether a bundle that passes the gate serves at once.
      only_new_features: bring the published days up to a changed config first.
      allow_empty_days: go on though the source shows no event of the last days.
      scorer: the state folder of the scorer, whose log the gate's `parity` asks for.
      flags: of Beam, such as `--runner=FlinkRunner`, for all of its pipelines.
    """

    spec: Spec
    config: str
    source: str
    out: Place
    as_of: dt.date
    workers: int | None = None
    threads: int = 2
    since: dt.date | None = None
    promote: bool = True
    keep_states: int = 14
    scorer: Path | None = None
    allow_empty_days: bool = False
    only_new_features: bool = False
    flags: tuple[str, ...] = ()

    @property
    def as_of_us(self) -> int:
        """Microseconds UTC."""
        return day_us(self.as_of)

    @property
    def running(self) -> Running:
        """Where its pipelines run."""
        return Running(self.workers or 1, self.flags)


@dataclasses.dataclass(frozen=True)
class NightlyPlan:
    """What a nightly run would do.

    Attributes:
      cut: the slices of time.
      rows: events that are trained on, young ones among them, estimated.
      backfill: the days that are made first; two plans where published ones are brought up to a
        changed config.
      serving: the bundle that the new one is compared with; None: none serves.
    """

    request: NightlyRequest
    cut: Slices
    rows: int
    backfill: tuple[BackfillPlan, ...]
    serving: str | None

    @property
    def seconds(self) -> float:
        """Estimated wall time."""
        train = START_SECONDS + self.rows / TRAINED_ROWS_PER_SECOND
        return train + sum(plan.seconds for plan in self.backfill)

    def lines(self) -> list[str]:
        """In words."""
        cut, request = self.cut, self.request
        compared = (
            f"is compared with {self.serving}" if self.serving else "has none to be compared to"
        )
        then = (
            "serves if it passes the gate" if request.promote else "is kept if it passes the gate"
        )
        return [
            *(line for plan in self.backfill for line in plan.lines()),
            f"trains on {cut.fit}, calibrates on {cut.validation}, judges on {cut.gate}",
            *self._young(),
            f"with verdicts known before {request.as_of}; the bundle {compared}, and {then}",
            f"estimated: {self.seconds:,.0f} s in all; it trains on about {self.rows:,} events",
        ]

    def _young(self) -> list[str]:
        training, _ = sections(self.request.spec)
        if training.delayed_feedback == "none":
            return []
        young = TimeRange(self.cut.span.end_us, self.request.as_of_us)
        return [
            f"what serves learns also from {young}, whose verdicts are still to come "
            f"(training.delayed_feedback: {training.delayed_feedback})"
        ]

    def to_builtins(self) -> dict[str, Any]:
        """For machines."""
        ranges = {"fit": self.cut.fit, "validation": self.cut.validation, "gate": self.cut.gate}
        return {
            "as_of": str(self.request.as_of),
            "backfill": [plan.to_builtins() for plan in self.backfill],
            "slices": {name: [one.start_us, one.end_us] for name, one in ranges.items()},
            "serving": self.serving,
            "promote": self.request.promote,
            "rows": self.rows,
            "estimated_seconds": round(self.seconds, 1),
        }


def plan_nightly(request: NightlyRequest) -> NightlyPlan:
    """What a nightly run would do; nothing is written.

    Raises:
      LockstepError: what does not fit, as in the run itself.
    """
    training, _ = sections(request.spec)
    layout = Layout(request.out)
    cut = slices(training, request.as_of_us)
    plans = tuple(backfill_plans(request, layout, cut, dry=True))
    end_us = cut.span.end_us if training.delayed_feedback == "none" else request.as_of_us
    rows = min(training.train_rows, _count_events(layout, cut, end_us, plans))
    return NightlyPlan(request, cut, rows, plans, Store(layout.bundles).serving())


def backfill_plans(
    request: NightlyRequest, layout: Layout, cut: Slices, dry: bool = False
) -> Iterator[BackfillPlan]:
    """The backfills of a nightly run; the second plan is made when the first is carried out.

    Args:
      dry: it never is, so there is no second plan.
    """
    wanted = _backfill_request(request, layout, cut)
    published = [day for day in layout.published() if day <= wanted.days.last]
    if request.only_new_features and published:
        days = Days(published[0], published[-1])
        yield make_backfill_plan(dataclasses.replace(wanted, days=days, only_new_features=True))
        if dry:
            return
    yield make_backfill_plan(wanted)


def sections(spec: Spec) -> tuple[Training, Labels]:
    """What a nightly run needs of a spec.

    Raises:
      ConfigError: a section is missing, or labels ripen later than training ends.
    """
    if spec.training is None or spec.labels is None:
        raise ConfigError(
            f"the config {spec.name!r} has no training or no labels section; a nightly needs both"
        )
    require_mature(spec.labels, spec.training)
    return spec.training, spec.labels


def _count_events(layout: Layout, cut: Slices, end_us: int, plans: Sequence[BackfillPlan]) -> int:
    """Scored events from the span on: of published days as counted, of others as the plans say."""
    published, count = set(layout.published()), 0.0
    for day in Days(day_of(cut.span.start_us), day_of(end_us - 1)):
        planned = [plan for plan in plans if day in plan.days]
        if planned:
            count += planned[-1].events / len(planned[-1].days)
        elif day in published:
            count += layout.read_marker(day)["scored"]
    return round(count)


def _backfill_request(request: NightlyRequest, layout: Layout, cut: Slices) -> BackfillRequest:
    published = layout.published()
    last = request.as_of - dt.timedelta(days=1)
    first = published[0] if published else request.since or first_day(request, cut)
    if last < first:
        raise EvidenceError(
            f"--as-of {request.as_of} lies before the first day, {first}; nothing to train on"
        )
    return BackfillRequest(
        spec=request.spec,
        source=request.source,
        out=request.out,
        days=Days(first, last),
        workers=request.workers,
        keep_states=request.keep_states,
        allow_empty_days=request.allow_empty_days,
        flags=request.flags,
    )


def first_day(request: NightlyRequest, cut: Slices) -> dt.date:
    """As far back as the windows of the first training event reach, or the source does.

    A lifetime window reaches to the source's first day; where the source does not know it, as far
    as a key is remembered.
    """
    windows = [
        (entity, window)
        for entity in request.spec.entities.values()
        for aggregate in entity.aggregates
        for window in aggregate.windows
    ]
    lengths = [entity.retention_us if w.is_lifetime else w.length_us for entity, w in windows]
    reach = day_of(cut.span.start_us - max(lengths, default=DAY_US))
    times = [split.min_us for split in open_source(request.source, request.spec)]
    known = [time for time in times if time is not None]
    if not times or len(known) < len(times):
        return reach
    first = day_of(min(known))
    return first if any(w.is_lifetime for _, w in windows) else max(reach, first)
