"""Evaluates a bundle on published days, with labels as known at a later moment.

The bundle scores the days in a Beam pipeline, through `scoring`, exactly as it serves
(`pipelines.score_days`); what is measured comes to this machine.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs._yaml import did_you_mean
from configs.errors import EvidenceError, InputError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.campaign_units import CampaignUnits, reached, read_units
from pipelines.dataset import load_labels, published_parts
from pipelines.harm import ScoredEvents, find_harm
from pipelines.layout import Days, Layout, day_of, day_us, require_folder
from pipelines.progress import Progress, Quiet
from pipelines.runners import Running
from pipelines.score_days import (
    GROUP,
    MADE,
    ScoreRequest,
    count_daily,
    measure,
    score_days,
    trained_on,
)
from scoring.bundle import Bundle, load_bundle
from scoring.files import Place, exists, join, replace_file
from scoring.manifest import MANIFEST
from scoring.steps import SCORE
from scoring.store import Store
from training.by_slice import SliceMetrics, bin_numbers, evaluate_by_slice
from training.campaigns import CampaignMetrics, evaluate_campaigns
from training.dataset import count_labels
from training.evaluate import Metrics
from training.groups import encode_groups, not_yet_known
from training.harm import HarmBefore
from training.known_labels import KnownLabels, about_subjects
from training.labels import UNLABELLED
from training.subjects import SubjectMetrics, evaluate_subjects
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names
from transforms.selection import input_columns
from transforms.signature import is_private, marker_unlike


@dataclasses.dataclass(frozen=True)
class EvaluateRequest:
    """What is asked.

    Attributes:
      bundle: fingerprint (or a beginning of it), "serving", or a folder.
      days: of the scored events.
      as_of: labels are those known before this day; None: the day after the last published one.
      workers: processes of the embedded runner.
      flags: of Beam, such as `--runner=FlinkRunner`.
      by: inputs by whose values the figures are shown again; None: the categorical ones that are
        not private.
    """

    out: Place
    bundle: str
    days: Days
    as_of: dt.date | None = None
    workers: int = 1
    flags: tuple[str, ...] = ()
    by: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """What was found, and on what.

    Attributes:
      left_out: events that the spec's `drop_known` leaves out.
      early: events without a label, since one of their verdicts has an earlier time than they.
      trained_on_days: the part of `days` that the bundle was trained on, "" if none: the figures
        are then those of a model that has seen its own exam.
      silent: actions that never fire -> why, in words.
      contracts: other actions -> what each promises, and the evidence that the bundle keeps.
      scores: what was measured, a row per event in total order: `bundle`, `event_id`,
        `event_time` (int64 microseconds UTC), `label` (int8: 1, 0, null where not known), `judged`
        (whether by a verdict, or only by age), `raw`, `score`, `action`, and `split`: "trained"
        or "new" to the bundle.
      subjects: figures of accounts, where `evaluation.group` names them.
      campaigns: figures of campaigns, where `evaluation.campaigns` asks for them and the newest
        snapshot before `as_of`, `snapshot`, has some of these events.
    """

    bundle: str
    days: str
    as_of: str
    left_out: int
    early: int
    trained_on_days: str
    metrics: Metrics
    silent: dict[str, str]
    contracts: dict[str, tuple[str, str]]
    scores: pa.Table
    slices: dict[str, tuple[SliceMetrics, ...]] = dataclasses.field(default_factory=dict)
    subjects: SubjectMetrics | None = None
    campaigns: CampaignMetrics | None = None
    snapshot: str = ""
    harm: tuple[HarmBefore, ...] = ()
    harm_fault: str = ""

    def to_builtins(self) -> dict[str, Any]:
        """Plain values without the scores, for JSON."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain.pop("scores")
        slices = {
            name: [dataclasses.asdict(row) for row in rows] for name, rows in self.slices.items()
        }
        subjects = dataclasses.asdict(self.subjects) if self.subjects else None
        campaigns = dataclasses.asdict(self.campaigns) if self.campaigns else None
        more: dict[str, Any] = {"metrics": self.metrics.to_builtins(), "slices": slices}
        harm = [dataclasses.asdict(one) | {"spared": one.spared} for one in self.harm]
        more |= {"subjects": subjects, "campaigns": campaigns, "harm": harm}
        return plain | more


def evaluate_bundle(request: EvaluateRequest, progress: Progress | None = None) -> EvaluationResult:
    """Scores days with a bundle and measures it.

    Raises:
      BundleError: there is no such bundle, or it is damaged.
      InputError: a day is not there, or has no such input to show figures by.
      EvidenceError: no event of these days has a label yet.
    """
    say = (progress or Quiet()).say
    layout = Layout(request.out)
    require_folder(request.out)
    place = request.bundle
    if not exists(join(place, MANIFEST)):
        store = Store(layout.bundles)
        place = store.place(store.path(request.bundle).name)
    bundle = load_bundle(place, CATALOG)
    published = layout.published()
    if not published:
        raise InputError(
            f"{layout.root} holds no day; run `lockstep backfill` or `lockstep nightly` with this "
            "--out first"
        )
    end = published[-1] + dt.timedelta(days=1)
    as_of = request.as_of or end
    if as_of > end:
        raise InputError(
            f"--as-of {as_of}: {layout.root} ends at {published[-1]}, so verdicts up to {end} are "
            f"known; backfill later days, or give --as-of {end} or an earlier one"
        )
    _require_same_inputs(bundle, layout, request.days)
    by = _slice_columns(bundle.spec, request.by)
    say(f"scoring {request.days}, labels as known before {as_of} …")
    span = request.days
    scored = score_days(
        ScoreRequest(
            bundle.spec,
            place,
            published_parts(layout, span.start_us, span.end_us),
            span.start_us,
            span.end_us,
        ),
        Running(request.workers, request.flags),
        request.out,
    )
    total = scored.num_rows
    times = scored.column(EVENT_TIME).to_numpy()
    known = load_labels(bundle.spec, layout, scored.column(EVENT_ID), times, day_us(as_of))
    kept = known_before(bundle, layout, scored, span) if total else np.ones(0, np.bool_)
    subjects = _subjects(bundle, scored, known.labels, times, kept)
    harm, fault = _harm(bundle, layout, span, as_of, scored, known)
    units = read_units(bundle.spec, layout.root, as_of)
    campaigns = None
    if units is not None:
        campaigns = _campaigns(bundle, layout, span, scored, known.labels, units)
    daily = count_daily(
        bundle,
        scored,
        len(list(span)),
        units.clusters(scored.column(GROUP)) if units is not None else None,
    )
    scored = scored.filter(pa.array(kept))
    known = known.take(kept)
    counts = count_labels(known.labels)
    if counts.positives + counts.negatives == 0:
        raise EvidenceError(
            f"none of the {total:,} scored events of {span} has a label before {as_of}; "
            "wait for verdicts, or give a later --as-of"
        )
    clusters = units.clusters(scored.column(GROUP)) if units is not None else None
    return EvaluationResult(
        bundle=bundle.fingerprint,
        days=str(span),
        as_of=str(as_of),
        left_out=total - scored.num_rows,
        early=int(np.count_nonzero(known.early)),
        trained_on_days=_seen(bundle, span),
        metrics=measure(bundle, scored, known.labels, clusters=clusters, daily=daily),
        silent={one.action: one.reason for one in bundle.policy.thresholds if one.value is None},
        contracts={
            one.action: (one.contract, one.evidence)
            for one in bundle.policy.thresholds
            if one.evidence
        },
        scores=_scores(bundle, scored, known),
        slices=_slices(layout, span, scored, known.labels, by, clusters),
        subjects=subjects,
        campaigns=campaigns,
        snapshot=units.snapshot if units is not None else "",
        harm=harm,
        harm_fault=fault,
    )


def _harm(
    bundle: Bundle,
    layout: Layout,
    days: Days,
    as_of: dt.date,
    scored: pa.Table,
    known: KnownLabels,
) -> tuple[tuple[HarmBefore, ...], str]:
    """Harm before the first action, of all events of the days."""
    people, name = None, bundle.spec.evaluation.recipients
    if name is not None:
        column = _features_of(layout, days, scored, [name]).column(name)
        people = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
    events = ScoredEvents(
        scored.column(EVENT_ID),
        scored.column(EVENT_TIME).to_numpy(),
        scored.column(SCORE).to_numpy(),
        known.labels,
        known.judged,
        scored.column(GROUP) if GROUP in scored.column_names else None,
        people,
    )
    return find_harm(bundle.spec, layout.root, as_of, events, bundle.policy.thresholds)


def _features_of(layout: Layout, days: Days, scored: pa.Table, names: Sequence[str]) -> pa.Table:
    """Columns of published days, of these events in their order."""
    table = read_features(layout, list(days), [EVENT_ID, *names])
    ids = table.column(EVENT_ID).combine_chunks()
    return table.take(pc.index_in(scored.column(EVENT_ID), value_set=ids))


def _subjects(
    bundle: Bundle,
    scored: pa.Table,
    labels: npt.NDArray[np.int8],
    times: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
) -> SubjectMetrics | None:
    """Figures of accounts, where `evaluation.group` names them.

    An account takes part with all its events if at least one of them is kept (`drop_known`): one
    that was known before these days does not.
    """
    if GROUP not in scored.column_names:
        return None
    accounts = encode_groups(scored.column(GROUP))
    accounts = np.where(np.isin(accounts, accounts[kept]), accounts, -1)
    scores = scored.column(SCORE).to_numpy()
    return evaluate_subjects(scores, labels, times, accounts, bundle.policy.thresholds)


def _campaigns(
    bundle: Bundle,
    layout: Layout,
    days: Days,
    scored: pa.Table,
    labels: npt.NDArray[np.int8],
    units: CampaignUnits,
) -> CampaignMetrics | None:
    """Figures of campaigns, of all events of the days."""
    spec = bundle.spec
    recipients, named = None, False
    if spec.campaigns is not None and spec.campaigns.recipients in input_columns(spec):
        name = str(spec.campaigns.recipients)
        recipients, named = reached(spec, _features_of(layout, days, scored, [name]))
    return evaluate_campaigns(
        scored.column(SCORE).to_numpy(),
        labels,
        scored.column(EVENT_TIME).to_numpy(),
        units.of_events(scored.column(EVENT_ID)),
        units.began_us,
        bundle.policy.thresholds,
        recipients,
        named,
    )


def _slice_columns(spec: Spec, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The inputs that figures are shown by.

    Raises:
      InputError: one is no input, or private.
    """
    named = [one.column for one in spec.inputs.categorical]
    if asked is None:
        return tuple(one for one in named if not is_private(spec, one))
    known = (*named, *numeric_names(spec))
    for name in asked:
        if name not in known:
            hint = str(did_you_mean(name, known)) or "`lockstep features` lists them"
            raise InputError(f"--by {name}: {spec.name} has no such input; {hint}")
        computed = spec.inputs.computed.get(name)
        if any(is_private(spec, one) for one in (computed.columns if computed else (name,))):
            raise InputError(
                f"--by {name}: it is private, and its values would be shown; name another input"
            )
    return tuple(asked)


def _slices(
    layout: Layout,
    days: Days,
    scored: pa.Table,
    labels: npt.NDArray[np.int8],
    by: Sequence[str],
    clusters: npt.NDArray[np.int64] | None,
) -> dict[str, tuple[SliceMetrics, ...]]:
    if not by:
        return {}
    table = _features_of(layout, days, scored, by)
    if clusters is None and GROUP in scored.column_names:
        clusters = encode_groups(scored.column(GROUP))
    scores = scored.column(SCORE).to_numpy()
    made = {}
    for name in by:
        values = table.column(name)
        if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
            values = bin_numbers(values)
        made[name] = evaluate_by_slice(scores, labels, values, clusters=clusters)
    return made


def write_scores(found: Sequence[EvaluationResult], path: Path) -> None:
    """Writes the scores of all evaluations as one Parquet file, which is seen whole or not at all.

    Raises:
      InputError: it cannot be written.
    """
    table = pa.concat_tables([one.scores for one in found])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    try:
        replace_file(path, sink.getvalue().to_pybytes())
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}); give --scores a file in a folder that can "
            "be written"
        ) from error


def _scores(bundle: Bundle, scored: pa.Table, known: KnownLabels) -> pa.Table:
    trained = trained_on(bundle).mask(scored.column(EVENT_TIME).to_numpy())
    return pa.table(
        {
            "bundle": pa.array([bundle.fingerprint] * scored.num_rows, pa.string()),
            EVENT_ID: scored.column(EVENT_ID),
            EVENT_TIME: scored.column(EVENT_TIME),
            "label": pa.array(known.labels, mask=known.labels == UNLABELLED),
            "judged": pa.array(known.judged),
            **{name: scored.column(name) for name in MADE},
            "split": pa.array(["new", "trained"], pa.string()).take(pa.array(trained.astype(int))),
        }
    )


def _require_same_inputs(bundle: Bundle, layout: Layout, days: Days) -> None:
    for day in days:
        unlike = marker_unlike(bundle.spec, layout.read_marker(day))
        if unlike:
            raise InputError(
                f"the bundle {bundle.fingerprint} cannot be measured on {day} in {layout.root}: it "
                f"reads {unlike}. Backfill these days under the bundle's own spec.yaml into "
                "another --out, and evaluate there"
            )


def _seen(bundle: Bundle, days: Days) -> str:
    """The days among these that the bundle's models learnt from, in words."""
    trained = trained_on(bundle)
    start, end = max(days.start_us, trained.start_us), min(days.end_us, trained.end_us)
    return str(Days(day_of(start), day_of(end - 1))) if start < end else ""


def known_before(
    bundle: Bundle, layout: Layout, scored: pa.Table, days: Days
) -> npt.NDArray[np.bool_]:
    """Which events are left in: all, or those whose group was not known yet (`drop_known`)."""
    spec = bundle.spec
    if not spec.evaluation.drop_known or spec.evaluation.group is None:
        return np.ones(scored.num_rows, np.bool_)
    group = spec.evaluation.group
    first = day_of(int(bundle.provenance["trained_from_us"]))
    span = Days(first, days.last)
    history = read_features(layout, list(span), [EVENT_ID, group])
    history = pa.table({EVENT_ID: history.column(EVENT_ID), "group": history.column(group)})
    verdicts = read_verdicts(layout, days.last)
    times = scored.column(EVENT_TIME).to_numpy()
    about = [
        about_subjects(one, verdicts, days.end_us)
        for one in (spec.labels.subjects if spec.labels is not None else ())
        if one.of == group
    ]
    return not_yet_known(scored.column(GROUP), times, history, verdicts, *about)
