"""What an experiment is asked for, and which days it needs."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from configs.errors import LockstepError
from configs.experiment import CHAMPION, Experiment
from pipelines.layout import DAY_US, Days, Layout, day_of, day_us
from pipelines.nightly.plan import NightlyRequest, first_day, sections
from scoring.files import Place
from training.dataset import slices

FOLDER = "experiments"


@dataclasses.dataclass(frozen=True)
class ExperimentRequest:
    """What is asked.

    Attributes:
      source: events; must hold all days up to the last label.
      out: the output folder of backfills and nightly runs, or another one.
      now: the launcher's clock, written into snapshots of campaigns that are made.
      workers, flags: of the pipelines; threads: of XGBoost.
      scorer: the state folder of the scorer, whose log says what was acted on; contenders with
        `labels.weighting: inverse_propensity` need it.
    """

    experiment: Experiment
    source: str
    out: Place
    now: dt.datetime
    workers: int | None = None
    threads: int = 2
    flags: tuple[str, ...] = ()
    scorer: Path | None = None


def experiment_days(request: ExperimentRequest) -> Days:
    """From the first day that there is, or else that any window needs, to the last label's.

    Raises:
      LockstepError: the champion's config cannot be trained.
    """
    experiment = request.experiment
    delay_us = sections(experiment.champion.spec)[0].delay_us
    end_us = day_us(experiment.as_of[-1]) + experiment.test_us + delay_us
    last = day_of(-(-end_us // DAY_US) * DAY_US - 1)
    published = Layout(request.out).published()
    return Days(published[0] if published else _first_day(request), last)


def _first_day(request: ExperimentRequest) -> dt.date:
    """The earliest that a contender needs; what cannot be trained needs nothing."""
    as_of, found = request.experiment.as_of[0], []
    for one in request.experiment.contenders:
        night = NightlyRequest(one.spec, one.text, request.source, request.out, as_of)
        try:
            found.append(first_day(night, slices(sections(one.spec)[0], day_us(as_of))))
        except LockstepError:
            if one.name == CHAMPION:
                raise
    return min(found)
