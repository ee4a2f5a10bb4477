"""Runs an experiment: contenders trained as of the same days, compared on the same events.

    features ─ models of the champion ─ models of each challenger ─ comparison ─ page

A contender's model of a day is compared on the events after it, which it cannot have seen, with the
labels of the champion's config as known when they have ripened (`training.delay` after the last of
those events). A challenger that fails is reported as such, and the others go on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import traceback
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import EvidenceError, LockstepError
from configs.experiment import CHAMPION, Contender
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.dataset import load_labels
from pipelines.experiment.features import FeatureDays, FeatureMaker
from pipelines.experiment.models import ModelMaker, ScoredNight
from pipelines.experiment.plan import FOLDER, ExperimentRequest, experiment_days
from pipelines.experiment.units import cluster_events
from pipelines.failures import explain_os_error
from pipelines.layout import Days, Layout, day_of, day_us, local_scratch, locked
from pipelines.logs import log
from pipelines.nightly.plan import sections
from pipelines.nightly.weighting import INVERSE_PROPENSITY
from pipelines.progress import Progress, Quiet
from pipelines.sources.listing import require_apart
from scoring.files import join, replace_file
from scoring.steps import ACTION, RAW
from training.dataset import slices
from training.experiment import (
    ContenderResult,
    ExperimentResult,
    JudgedStretch,
    TrainedNight,
    acted_on,
)
from training.groups import not_yet_known
from training.labels import NEGATIVE, POSITIVE, UNLABELLED
from training.paired import DRAWS, PairedEvents, Redrawn, compare_paired, paired_events
from training.report.experiment import render_experiment

PAGE, FACTS = "experiment.html", "experiment.json"
_EVENTS_NOTE = (
    "Events are taken for independent here. Those of one account or campaign are not, so the "
    "intervals are too narrow: set evaluation.group in the config, or say over: campaigns."
)
_WEIGHTING_NOTE = (
    "What a running scorer acted on has few labels and counts as harmless once it is old enough. "
    "`labels.weighting` heeds that in training; the tests here do not weigh, so they favour models "
    "that are like the one that acted. `lockstep selective` and a shadow measure it otherwise."
)


@dataclasses.dataclass(frozen=True)
class ExperimentOutcome:
    """What was found, and where its page is."""

    result: ExperimentResult
    page: str


@dataclasses.dataclass(frozen=True)
class _Judged:
    """Events after the nights that have a label, in total order night by night.

    Attributes:
      ids: string `[n]`; nights: int64 `[n]`, places in `as_of`.
      over: what units are; stretches: of each night.
    """

    ids: pa.Array
    events: PairedEvents
    over: str
    stretches: tuple[JudgedStretch, ...]


def run_experiment(
    request: ExperimentRequest, progress: Progress | None = None
) -> ExperimentOutcome:
    """Trains, compares, and writes the page.

    Raises:
      LockstepError: the champion cannot be trained or measured; a challenger's error does not end
        the experiment, and is in the result.
    """
    require_apart(request.source, str(request.out))
    root = Layout(join(request.out, FOLDER))
    try:
        with locked(root), local_scratch(root) as scratch:
            run = _Run(request, root, progress or Quiet())
            models = ModelMaker(
                root.root,
                request.out,
                scratch,
                request.source,
                request.experiment.test_us,
                request.workers,
                request.threads,
                request.flags,
                run.progress,
                request.scorer,
            )
            return run.write(run.compare(models))
    except OSError as error:
        raise explain_os_error(error) from error


class _Run:
    """An experiment under way."""

    def __init__(self, request: ExperimentRequest, root: Layout, progress: Progress) -> None:
        self.request, self.root, self.progress = request, root, progress
        self.experiment = request.experiment
        self.days = experiment_days(request)
        self.judged_as_of = self.days.last + dt.timedelta(days=1)
        self.features = FeatureMaker(
            Layout(request.out),
            join(root.root, "features"),
            request.source,
            self.days,
            request.workers,
            request.flags,
            progress,
        )

    def compare(self, models: ModelMaker) -> ExperimentResult:
        """All of it but the page."""
        experiment, metrics = self.experiment, self.experiment.metrics
        champion = experiment.champion
        days = self.features.find(champion.spec, CHAMPION)
        judged = self._judge(champion.spec, days.layout)
        nights = self._nights(champion, days, models, judged.ids)
        seed = sections(champion.spec)[0].seed
        first = Redrawn(judged.events, _ranks(judged, nights), metrics, DRAWS, seed)
        found = []
        for one in experiment.challengers:
            try:
                its_days = self.features.find(one.spec, one.name)
                its_nights = self._nights(one, its_days, models, judged.ids)
            except Exception as error:  # whatever ails one challenger, the others go on
                found.append(_failed(one, error))
                self.progress.say(f"{one.name} failed: {found[-1].message}")
                continue
            redrawn = Redrawn(judged.events, _ranks(judged, its_nights), metrics, DRAWS, seed)
            result = self._result(one, its_days, its_nights, judged, redrawn)
            differences = compare_paired(metrics, first, redrawn, len(experiment.challengers))
            found.append(dataclasses.replace(result, differences=differences))
        return ExperimentResult(
            name=experiment.name,
            about=experiment.about,
            config=champion.spec.name,
            over=judged.over,
            units=int(judged.events.units.max(initial=-1)) + 1,
            labels_as_of=str(self.judged_as_of),
            metrics=tuple(map(str, metrics)),
            confidence=0.95,
            draws=DRAWS,
            tests=judged.stretches,
            champion=self._result(champion, days, nights, judged, first),
            challengers=tuple(found),
            thin=judged.events.thin,
            notes=tuple(self._notes(judged.over)),
        )

    def _notes(self, over: str) -> Iterator[str]:
        """What someone should know before they read the figures."""
        if over == "events":
            yield _EVENTS_NOTE
        labels = [one.spec.labels for one in self.experiment.contenders]
        if any(one is not None and one.weighting == INVERSE_PROPENSITY for one in labels):
            yield _WEIGHTING_NOTE

    def write(self, result: ExperimentResult) -> ExperimentOutcome:
        """Writes the page, the same as JSON, and each challenger's config."""
        folder = join(self.root.root, result.name)
        for one in self.experiment.challengers:
            replace_file(join(folder, f"{one.name}.yaml"), one.text.encode())
        replace_file(join(folder, FACTS), result.to_json())
        replace_file(join(folder, PAGE), render_experiment(result).encode())
        return ExperimentOutcome(result, join(folder, PAGE))

    def _judge(self, spec: Spec, layout: Layout) -> _Judged:
        """The events that all are compared on."""
        experiment, group = self.experiment, spec.evaluation.group
        columns = [EVENT_ID, EVENT_TIME, *filter(None, [group])]
        tables, nights = [], []
        for place, as_of in enumerate(experiment.as_of):
            start = day_us(as_of)
            end = start + experiment.test_us
            days = Days(as_of, day_of(end - 1))
            table = read_features(layout, list(days), columns)
            times = table.column(EVENT_TIME).to_numpy()
            tables.append(table.filter(pa.array((times >= start) & (times < end))))
            nights.append(np.full(tables[-1].num_rows, place, np.int64))
        table, night = pa.concat_tables(tables).combine_chunks(), np.concatenate(nights)
        ids, times = table.column(EVENT_ID).combine_chunks(), table.column(EVENT_TIME).to_numpy()
        labels = load_labels(spec, layout, ids, times, day_us(self.judged_as_of)).labels
        kept = labels != UNLABELLED
        if spec.evaluation.drop_known and group is not None:
            kept &= self._new_accounts(spec, layout, table, times)
        stretches = tuple(
            self._stretch(as_of, labels[kept & (night == place)])
            for place, as_of in enumerate(experiment.as_of)
        )
        table, kept_rows = table.filter(pa.array(kept)), np.flatnonzero(kept)
        clusters = cluster_events(self.request, table)
        events = paired_events(labels[kept_rows], night[kept_rows], clusters)
        return _Judged(table.column(EVENT_ID).combine_chunks(), events, experiment.over, stretches)

    def _stretch(self, as_of: dt.date, labels: npt.NDArray[np.int8]) -> JudgedStretch:
        positives = int(np.count_nonzero(labels == POSITIVE))
        negatives = int(np.count_nonzero(labels == NEGATIVE))
        start = day_us(as_of)
        if not positives or not negatives:
            raise EvidenceError(
                f"as_of {as_of}: the events that are tested have {positives:,} positives and "
                f"{negatives:,} negatives with a label before {self.judged_as_of}; expected some "
                "of each: choose other days, or a longer test"
            )
        end = start + self.experiment.test_us
        return JudgedStretch(str(as_of), start, end, len(labels), positives, negatives)

    def _new_accounts(
        self, spec: Spec, layout: Layout, table: pa.Table, times: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Events of accounts of which nothing was known yet (`evaluation.drop_known`)."""
        group = str(spec.evaluation.group)
        cut = slices(sections(spec)[0], day_us(self.experiment.as_of[0]))
        days = [day for day in Days(day_of(cut.span.start_us), self.days.last)]
        there = set(layout.published())
        history = read_features(layout, [one for one in days if one in there], [EVENT_ID, group])
        history = history.rename_columns([EVENT_ID, "group"])
        verdicts = read_verdicts(layout, self.days.last)
        return not_yet_known(table.column(group), times, history, verdicts)

    def _nights(
        self, contender: Contender, days: FeatureDays, models: ModelMaker, ids: pa.Array
    ) -> list[ScoredNight]:
        """Its model of each night, with scores of the judged events only."""
        made = []
        for as_of in self.experiment.as_of:
            self.progress.say(f"{contender.name}, as of {as_of} …")
            made.append(models.make(contender, days.layout, as_of))
        scored = pa.concat_tables([one.scores for one in made]).column(EVENT_ID)
        at = pc.index_in(ids, value_set=scored.combine_chunks())
        if at.null_count:
            raise EvidenceError(
                f"{contender.name} does not score {at.null_count:,} of the {len(ids):,} events "
                "that the champion scores; let both score the same events"
            )
        return made

    def _result(
        self,
        contender: Contender,
        days: FeatureDays,
        nights: Sequence[ScoredNight],
        judged: _Judged,
        redrawn: Redrawn,
    ) -> ContenderResult:
        names = [str(one) for one in self.experiment.metrics]
        actions = _aligned(judged, nights, ACTION)
        acted = pc.not_equal(actions, contender.spec.policy.default)
        acted = acted.to_numpy(zero_copy_only=False)
        return ContenderResult(
            name=contender.name,
            about=contender.about,
            changes=contender.differences,
            features=days.words,
            nights=tuple(
                TrainedNight(
                    str(as_of),
                    one.bundle,
                    dict(zip(names, redrawn.by_night[place].tolist(), strict=True)),
                    one.gate,
                    one.reused,
                )
                for place, (as_of, one) in enumerate(
                    zip(self.experiment.as_of, nights, strict=True)
                )
            ),
            figures=dict(zip(names, redrawn.figures.tolist(), strict=True)),
            acted=acted_on(acted, judged.events.labels, judged.events.units),
        )


def _aligned(judged: _Judged, nights: Sequence[ScoredNight], column: str) -> pa.Array:
    """A column of the scores, of the judged events in their order."""
    scores = pa.concat_tables([one.scores for one in nights]).combine_chunks()
    at = pc.index_in(judged.ids, value_set=scores.column(EVENT_ID).combine_chunks())
    return scores.column(column).take(at).combine_chunks()


def _ranks(judged: _Judged, nights: Sequence[ScoredNight]) -> npt.NDArray[np.float64]:
    return np.asarray(_aligned(judged, nights, RAW).to_numpy(), np.float64)


def _failed(contender: Contender, error: Exception) -> ContenderResult:
    """What is said of a challenger that failed; of a bug, its traceback on standard error."""
    message = "a bug: see standard error"
    if isinstance(error, OSError):
        error = explain_os_error(error)
    if isinstance(error, LockstepError):
        message = str(error)
    else:
        with contextlib.suppress(OSError):
            log("ERROR", "".join(traceback.format_exception(error)).rstrip())
    return ContenderResult(
        contender.name,
        contender.about,
        contender.differences,
        "",
        error=type(error).__name__,
        message=message,
    )
