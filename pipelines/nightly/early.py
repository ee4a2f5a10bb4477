"""The days whose labels are still to come, and how such estimates turned out on those before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipelines.dataset import Dataset, load_dataset
from pipelines.layout import Layout
from pipelines.nightly.evidence import past_reports
from pipelines.nightly.plan import NightlyRequest, sections
from training.calibrate import apply_all
from training.dataset import Slices
from training.early import DayFigures, ExpectedFigures, figures_by_day
from training.fit import Fitted
from training.report import NightlyReport
from transforms.executor import Executor

MOST_EVENTS = 200_000
"""Of the young days, drawn by the hash of their ids: shares need no more."""


def expect_days(
    request: NightlyRequest,
    layout: Layout,
    cut: Slices,
    gate: Dataset,
    fitted: Fitted,
    graph: Path,
) -> tuple[DayFigures, ...]:
    """Figures of the gate's days, foretold and as they turned out, and of the days after it.

    Args:
      request, layout, cut: of the run.
      gate: events of the gate slice, with labels.
      fitted: whose judged models and thresholds foretell, with its scores of `gate`.
      graph: folder of the analysed graph.
    """
    spec, as_of_us = request.spec, request.as_of_us
    training, _ = sections(spec)
    thresholds = [
        (one.action, one.value) for one in fitted.policy.thresholds if one.value is not None
    ]
    before = first_expected(past_reports(layout, as_of_us))
    known = [
        dataclasses.replace(one, then=before.get(one.day_us))
        for one in figures_by_day(
            gate.times,
            fitted.gate_scores,
            gate.labels,
            thresholds,
            apply_all(fitted.redrawn, fitted.gate_ranks),
        )
    ]
    if cut.span.end_us >= as_of_us:  # training.delay 0s: no day is young
        return tuple(known)
    young = load_dataset(spec, layout, cut.span.end_us, as_of_us, as_of_us, MOST_EVENTS)
    if not len(young):
        return tuple(known)
    transformed = Executor(graph, spec).transform(young.numeric, young.batch())
    models = fitted.judged
    raw = models.raw(training.model, transformed, models.text_scores(transformed))
    scores = np.asarray(fitted.calibration.apply(raw), np.float64)
    others = apply_all(fitted.redrawn, raw)
    return (*known, *figures_by_day(young.times, scores, None, thresholds, others))


def first_expected(reports: Iterable[NightlyReport]) -> dict[int, ExpectedFigures]:
    """By day, what the run that first saw it expected while its labels were young.

    Args:
      reports: oldest first.
    """
    found: dict[int, ExpectedFigures] = {}
    for report in reports:
        for one in report.early:
            if one.young:
                found.setdefault(one.day_us, one.expected)
    return found
