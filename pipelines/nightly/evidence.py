"""What a nightly run shows besides metrics: labels, false positives, drift, trend, cold start.

Ids of events are in it, since someone has to look them up; texts, values of private columns and
account ids are not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping

import msgspec
import numpy as np
import pyarrow as pa

from configs.schema import EVENT_ID, Spec
from configs.units import format_duration
from pipelines.backfill import read_verdicts
from pipelines.dataset import Dataset
from pipelines.layout import REPORT_FACTS, Layout, day_of, day_us, parse_day
from scoring.files import files_below, join, read_file
from training.dataset import Slices
from training.drift import SCORE, InputDrift, InputSummary, summarise_inputs
from training.fit import Fitted
from training.groups import encode_groups
from training.known_labels import by_what_is_judged
from training.label_counts import VerdictCounts, count_verdicts
from training.label_flow import LabelFlow, label_flow
from training.labels import NEGATIVE, unexpired
from training.report.facts import NightlyReport, WrongEvent
from training.source_alarms import SourceAlarm, source_alarms
from transforms.inputs import numeric_names
from transforms.signature import is_private

MOST_WRONG = 10
MOST_PAST = 14
_MOST_READ = 30
"""Nights that a run looks back on: each report.json has hundreds of kilobytes."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is shown besides metrics.

    Attributes:
      judged: slice -> labelled events that are not abuse by a verdict, not by age alone.
      verdicts: about the events of the span, without expired ones.
      early: events of the span that have an earlier verdict than themselves.
      wrong: the events that are not abuse with the highest scores on the gate slice.
      inputs: of the gate slice, and the score, kept for the next run; `drifts`: how they moved.
      drift_since: the run that they are compared with, microseconds UTC; None: there is none.
      alarms: sources of verdicts that stopped or flood.
      flow: of verdicts, by source and day.
    """

    judged: Mapping[str, int]
    verdicts: VerdictCounts
    early: int
    wrong: tuple[WrongEvent, ...]
    inputs: tuple[InputSummary, ...]
    drifts: tuple[InputDrift, ...]
    drift_since: int | None
    alarms: tuple[SourceAlarm, ...] = ()
    flow: LabelFlow | None = None


def gather_evidence(
    spec: Spec,
    layout: Layout,
    cut: Slices,
    as_of_us: int,
    span: Dataset,
    gate: Dataset,
    fitted: Fitted,
) -> Evidence:
    """Looks at a run whose model is fitted.

    Args:
      span, gate: events of the training span and of its gate slice, in total order.
      fitted: with its scores of `gate`.
    """
    ranges = {"fit": cut.fit, "validation": cut.validation, "gate": cut.gate, "span": cut.span}
    by_verdict = span.judged & (span.labels == NEGATIVE)
    before = last_inputs(layout, as_of_us)
    other = {one.column: gate.events.column(one.column) for one in spec.inputs.categorical}
    shown = [name for name in other if not is_private(spec, name)]
    if spec.inputs.text is not None:
        other[spec.inputs.text.column] = gate.events.column(spec.inputs.text.column)
    said = read_verdicts(layout, day_of(as_of_us - 1))
    every = by_what_is_judged(spec.labels, said) if spec.labels else said
    block = np.column_stack([gate.numeric, fitted.gate_scores.astype(np.float32)])
    group = gate.group(spec)
    inputs, drifts = summarise_inputs(
        (*numeric_names(spec), SCORE),
        block,
        other,
        shown,
        before.inputs if before else (),
        None if group is None else encode_groups(group),
    )
    return Evidence(
        judged={
            name: int(np.count_nonzero(by_verdict & where.mask(span.times)))
            for name, where in ranges.items()
        },
        verdicts=count_verdicts(
            span.events.column(EVENT_ID),
            unexpired(spec.labels, said, as_of_us) if spec.labels else said,
            as_of_us,
            spec.labels.precedence if spec.labels else (),
        ),
        early=int(np.count_nonzero(span.early)),
        wrong=_worst_false_positives(gate, fitted),
        inputs=inputs,
        drifts=drifts,
        drift_since=before.as_of_us if before else None,
        alarms=source_alarms(every, as_of_us),
        flow=label_flow(every, as_of_us, span.events.column(EVENT_ID), span.times),
    )


def last_inputs(layout: Layout, as_of_us: int) -> NightlyReport | None:
    """The newest earlier report that kept its inputs."""
    kept = [report for report in past_reports(layout, as_of_us) if report.inputs]
    return kept[-1] if kept else None


def cold_start(spec: Spec, layout: Layout, cut: Slices) -> str:
    """Whether windows of the span's first events reach beyond the first published day, in words."""
    days = layout.published()
    windows = [w for e in spec.entities.values() for a in e.aggregates for w in a.windows]
    longest = max((w.length_us for w in windows), default=0)  # of a lifetime: 0
    if not days:
        return ""
    full_us = day_us(days[0]) + longest
    if full_us <= cut.span.start_us:
        return ""
    has_lifetime = any(w.is_lifetime for w in windows)
    part = "all" if full_us >= cut.span.end_us else f"the part before {day_of(full_us)}"
    return (
        f"Cold start: the output directory begins on {days[0]}, and the longest window is "
        f"{format_duration(longest)}, so {part} of the training span has windows that are not full "
        'yet. Counts are too low there and "first seen" too recent; figures of the coming runs '
        "may differ."
        + (" Lifetime windows begin on that day for every key." if has_lifetime else "")
    )


def _worst_false_positives(gate: Dataset, fitted: Fitted) -> tuple[WrongEvent, ...]:
    rows = np.flatnonzero(gate.labels == NEGATIVE)
    rows = rows[np.argsort(-fitted.gate_ranks[rows], kind="stable")[:MOST_WRONG]]
    ids = gate.events.column(EVENT_ID).take(pa.array(rows)).to_pylist()
    actions = fitted.policy.decide(fitted.gate_scores[rows]).tolist()
    return tuple(
        WrongEvent(
            event_id=str(event_id),
            time_us=int(gate.times[row]),
            score=float(fitted.gate_scores[row]),
            action=fitted.policy.names[action],
            judged=bool(gate.judged[row]),
        )
        for event_id, row, action in zip(ids, rows.tolist(), actions, strict=True)
    )


def past_reports(
    layout: Layout, as_of_us: int, first: dt.date | None = None
) -> list[NightlyReport]:
    """Reports of earlier moments of knowing, oldest first.

    Args:
      layout: of the output folder.
      as_of_us: they are earlier than this, microseconds UTC.
      first: the earliest night; None: the newest `_MOST_READ`.
    """
    nights = []
    for path in files_below(layout.reports):
        night, _, name = path.partition("/")
        if name == REPORT_FACTS and parse_day(night) < day_of(as_of_us):
            nights.append(night)
    nights = sorted(nights)[-_MOST_READ:] if first is None else sorted(nights)
    found = []
    for night in nights:
        if first is not None and parse_day(night) < first:
            continue
        try:
            text = read_file(join(layout.reports, night, REPORT_FACTS))
            found.append(NightlyReport.from_json(text))
        except (OSError, msgspec.DecodeError):
            continue  # of another release, or being removed: the trend does without it
    return found
