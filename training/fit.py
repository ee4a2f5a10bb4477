"""One training: text model, booster, baseline, calibration, thresholds, and how good they are.

Evaluation goes through `scoring`, so what is measured is what serves. No files, no Beam, no
randomness but `training.seed`.

    fit slice      -> text model (out of fold for the booster), booster, baseline
    validation     -> where boosting stops, calibration
    gate slice     -> thresholds, metrics
    whole span     -> the same models again (`training.refit`), which then serve; with
                      `training.delayed_feedback` also events after it, which are in no figure
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from configs.schema import Spec, Training
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy
from scoring.models import Models, input_names
from training.boosting import total_gain
from training.calibrate import fit_calibration, redraw_calibrations
from training.campaigns import begun_earlier
from training.dataset import LabelCounts, Slices, count_labels, require_both_classes
from training.delayed import RefitComparison, YoungSpan, compare_refit, join_young
from training.evaluate import Metrics, evaluate
from training.groups import encode_groups
from training.labels import UNLABELLED
from training.models import (
    Floats,
    Report,
    Rows,
    Span,
    class_weight,
    fit_models,
    ignore,
    training_of,
)
from training.thresholds import choose_thresholds
from transforms.ticks import DAY_US


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a training has made.

    Attributes:
      models: that serve, refitted on the whole span if the config says so.
      judged: that the metrics are of.
      calibration, policy: of the judged models, kept for the serving ones; each threshold with the
        evidence for it, or why there is none.
      metrics: of the serving kind of model on the gate slice.
      gate_scores, gate_ranks: of the gate slice's rows in their order, as the metrics are of.
      baseline: of the linear model on the same events, calibrated the same way, with thresholds of
        its own; None if it serves.
      redrawn: calibrations of bootstrapped accounts (`training.calibrate.redraw_calibrations`).
      left_out: bool `[n]`, events of the span that judge nothing, since their campaign has events
        in an earlier slice; None where campaigns are no units.
      counts: labels by slice, without those.
      gains: input -> gain of the judged booster (or |weight| of a linear model).
      notes: JSON-able provenance: rounds, class weight, why this calibration.
      refit: the models that serve against the judged ones, where they learnt from young events.
    """

    models: Models
    judged: Models
    calibration: Calibration
    policy: DecisionPolicy
    metrics: Metrics
    gate_scores: npt.NDArray[np.float64]
    gate_ranks: Floats
    baseline: Metrics | None
    counts: dict[str, LabelCounts]
    gains: dict[str, float]
    notes: dict[str, Any]
    left_out: npt.NDArray[np.bool_] | None = None
    redrawn: tuple[Calibration, ...] = ()
    refit: RefitComparison | None = None


def fit_parts(spec: Spec) -> int:
    """How many parts a training has, about: a model each, and one for each fold of the text."""
    training = training_of(spec)
    text = training.text_folds if spec.inputs.text is not None else 0
    booster = 1 if training.model == "booster" else 0
    return (text + 1 + booster) * (2 if training.refit else 1)


def fit(
    spec: Spec,
    span: Span,
    cut: Slices,
    threads: int = 2,
    report: Report = ignore,
    young: YoungSpan | None = None,
) -> Fitted:
    """Trains on a span.

    Args:
      spec: the use; `spec.training` is there.
      span: scored events of `cut.span`, in total order.
      cut: the slices of time.
      threads: for XGBoost; fixed, since sums depend on it.
      report: called with how many parts (`fit_parts`) were done since it was called before.
      young: events after the span, which only the models that serve learn from.

    Raises:
      EvidenceError: a slice holds one class only.
    """
    # One thread for linear algebra: its sums do not depend on the machine then, and on two shared
    # cores it is three times as fast as two threads that wait for each other.
    with threadpool_limits(1, user_api="blas"):
        return _fit(spec, span, cut, threads, report, young)


def _fit(
    spec: Spec, span: Span, cut: Slices, threads: int, report: Report, young: YoungSpan | None
) -> Fitted:
    training = training_of(spec)
    times, labels = span.event_times, span.labels
    where = {
        "fit": cut.fit.mask(times),
        "validation": cut.validation.mask(times),
        "gate": cut.gate.mask(times),
    }
    ranges = {"fit": cut.fit, "validation": cut.validation, "gate": cut.gate}
    known, left = labels != UNLABELLED, None
    if span.campaigns is not None:
        left = begun_earlier(span.campaigns, list(where.values()))
        labels = np.where(left, np.int8(UNLABELLED), labels)
    counts = {
        name: require_both_classes(name, ranges[name], labels[mask]) for name, mask in where.items()
    }
    every = np.flatnonzero(known)
    known = labels != UNLABELLED
    fit_rows = np.flatnonzero(where["fit"] & known)
    check_rows = np.flatnonzero(where["validation"] & known)
    gate_rows = np.flatnonzero(where["gate"])
    weight = class_weight(training, labels[fit_rows], span.weights_of(fit_rows))
    judged, rounds = fit_models(
        spec, span, fit_rows, weight, check_rows, threads=threads, report=report
    )
    made = {name: _raw_on(judged, name, span, check_rows) for name in _served(training)}
    weights = span.weights_of(check_rows)
    calibrations = {
        name: fit_calibration(raw, labels[check_rows], weights) for name, raw in made.items()
    }
    calibration = calibrations[training.model]
    raw = _raw_on(judged, training.model, span, gate_rows)
    scores, gate_labels = calibration.apply(raw), labels[gate_rows]
    groups = None if span.groups is None else span.groups.take(pa.array(gate_rows))
    accounts = _accounts(span, gate_rows)
    days = training.gate_us / DAY_US * span.share
    thresholds = choose_thresholds(scores, gate_labels, spec.policy.actions, accounts, days)
    metrics = evaluate(
        scores,
        gate_labels,
        times[gate_rows],
        ranks=raw,
        thresholds=thresholds,
        groups=groups,
        clusters=accounts,
        top=spec.evaluation.top,
        seed=training.seed,
    )
    baseline = None
    if training.model != "linear":
        plain = _raw_on(judged, "linear", span, gate_rows)
        said = calibrations["linear"].apply(plain)
        baseline = evaluate(
            said,
            gate_labels,
            times[gate_rows],
            ranks=plain,
            thresholds=choose_thresholds(said, gate_labels, spec.policy.actions, accounts, days),
            groups=groups,
            clusters=accounts,
            top=spec.evaluation.top,
            seed=training.seed,
        )
    models, learnt, refit = judged, span, None
    about: dict[str, Any] = {}
    if training.refit:
        if young is not None:
            expected = calibration.apply(_raw_on(judged, training.model, young.span))
            learnt, every, about = join_young(
                training.delayed_feedback, span, every, young, expected
            )
        models, _ = fit_models(
            spec, learnt, every, weight, None, rounds, threads, judged.linear, report
        )
        if young is not None:
            again = _raw_on(models, training.model, span, gate_rows)
            later = calibration.apply(_raw_on(models, training.model, young.span))
            refit = compare_refit(
                thresholds,
                gate_labels,
                (raw, scores, expected),
                (again, calibration.apply(again), later),
            )
    return Fitted(
        models=models,
        judged=judged,
        calibration=calibration,
        policy=DecisionPolicy(thresholds, spec.policy.default),
        metrics=metrics,
        gate_scores=scores,
        gate_ranks=raw,
        baseline=baseline,
        counts={**counts, "span": count_labels(span.labels)},
        gains=_gains(spec, judged),
        notes={
            "rounds": rounds,
            "positive_weight": weight,
            "calibration": calibration.reason,
            "refit": training.refit,
            **_effective(span, {"fit": fit_rows, "validation": check_rows}),
            "trained_from_us": cut.span.start_us,
            "trained_until_us": cut.span.end_us if training.refit else cut.validation.end_us,
            **about,
        },
        left_out=left,
        redrawn=redraw_calibrations(
            made[training.model], labels[check_rows],
            _accounts(span, check_rows), weights, seed=training.seed,
        ),
        refit=refit,
    )  # fmt: skip


def _accounts(span: Span, rows: Rows) -> Rows | None:
    """What intervals count with, of some rows; None: events."""
    if span.clusters is not None:
        return span.clusters[rows]
    return None if span.groups is None else encode_groups(span.groups.take(pa.array(rows)))


def _effective(span: Span, rows: dict[str, Rows]) -> dict[str, Any]:
    """How many events of equal weight the rows stand for (Kish 1965), where they are weighted."""
    if span.weights is None:
        return {}
    weights = {name: span.weights[one] for name, one in rows.items()}
    return {
        "effective_rows": {
            name: round(float(one.sum() ** 2 / np.maximum((one**2).sum(), 1e-300)), 1)
            for name, one in weights.items()
        }
    }


def _served(training: Training) -> tuple[str, ...]:
    return tuple(dict.fromkeys((training.model, "linear")))


def _raw_on(models: Models, which: str, span: Span, rows: Rows | None = None) -> Floats:
    part = span.transformed if rows is None else span.transformed.take(rows)
    return models.raw(which, part, models.text_scores(part))


def _gains(spec: Spec, models: Models) -> dict[str, float]:
    if models.booster is not None:
        return total_gain(models.booster.booster)
    if models.linear is None:
        return {}
    names = [*input_names(spec)[: len(models.linear.numeric)]]
    return dict(zip(names, np.abs(models.linear.numeric).tolist(), strict=False))
