"""One training: text model, booster, baseline, calibration, thresholds, and how good they are.

Evaluation goes through `scoring`, so what is measured is what serves. No files, no Beam, no
randomness but `training.seed`.

    fit slice      -> text model (out of fold for the booster), booster, baseline
    validation     -> where boosting stops, calibration
    gate slice     -> thresholds, metrics
    whole span     -> the same models again (`training.refit`), which then serve
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse
from threadpoolctl import threadpool_limits

from configs.errors import ConfigError
from configs.schema import Spec, Training
from scoring.booster import BoosterModel
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy
from scoring.linear import LinearModel
from scoring.models import Models, input_names, model_inputs, with_text
from scoring.text_model import TextModel
from training.boosting import Sample, fit_booster, total_gain
from training.calibrate import fit_calibration, redraw_calibrations
from training.campaigns import begun_earlier
from training.dataset import LabelCounts, Slices, count_labels, require_both_classes
from training.evaluate import Metrics, evaluate
from training.folds import chain_forward, time_blocks
from training.groups import encode_groups
from training.labels import POSITIVE, UNLABELLED
from training.logistic import Weights, fit_sparse
from training.newton import MOST_COLUMNS, Design, fit_newton
from training.thresholds import choose_thresholds
from transforms.constants import Transformed
from transforms.ticks import DAY_US

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Report = Callable[[float], None]


def _ignore(parts: float) -> None:
    """Nobody watches."""


@dataclasses.dataclass(frozen=True)
class Span:
    """The scored events of a training span, in total order.

    Attributes:
      transformed: `[n]` rows of the TFT graph.
      event_times: int64 `[n]`, microseconds UTC, not falling.
      labels: int8 `[n]`: 1, 0, -1.
      groups: string `[n]` (`spec.evaluation.group`), or None.
      campaigns: int64 `[n]` (-1: none), which no slice or fold is to part; None: there are none.
      clusters: int64 `[n]` (-1: none), what intervals count with; None: the groups.
      share: of the span's scored events that these are.
      weights: float64 `[n]`, of what is learnt from; None: all weigh 1. Metrics do not have them.
    """

    transformed: Transformed
    event_times: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int8]
    groups: pa.Array | pa.ChunkedArray | None = None
    share: float = 1.0
    campaigns: Rows | None = None
    clusters: Rows | None = None
    weights: npt.NDArray[np.float64] | None = None

    def weights_of(self, rows: Rows) -> npt.NDArray[np.float64] | None:
        """Of some rows."""
        return None if self.weights is None else self.weights[rows]


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


def fit_parts(spec: Spec) -> int:
    """How many parts a training has, about: a model each, and one for each fold of the text."""
    training = _training(spec)
    text = training.text_folds if spec.inputs.text is not None else 0
    booster = 1 if training.model == "booster" else 0
    return (text + 1 + booster) * (2 if training.refit else 1)


def fit(spec: Spec, span: Span, cut: Slices, threads: int = 2, report: Report = _ignore) -> Fitted:
    """Trains on a span.

    Args:
      spec: the use; `spec.training` is there.
      span: scored events of `cut.span`, in total order.
      cut: the slices of time.
      threads: for XGBoost; fixed, since sums depend on it.
      report: called with how many parts (`fit_parts`) were done since it was called before.

    Raises:
      EvidenceError: a slice holds one class only.
    """
    # One thread for linear algebra: its sums do not depend on the machine then, and on two shared
    # cores it is three times as fast as two threads that wait for each other.
    with threadpool_limits(1, user_api="blas"):
        return _fit(spec, span, cut, threads, report)


def _fit(spec: Spec, span: Span, cut: Slices, threads: int, report: Report) -> Fitted:
    training = _training(spec)
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
    models = judged
    if training.refit:
        models, _ = fit_models(
            spec, span, every, weight, None, rounds, threads, judged.linear, report
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
        },
        left_out=left,
        redrawn=redraw_calibrations(
            made[training.model], labels[check_rows],
            _accounts(span, check_rows), weights, seed=training.seed,
        ),
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


def fit_models(
    spec: Spec,
    span: Span,
    rows: Rows,
    positive_weight: float,
    check_rows: Rows | None,
    rounds: int | None = None,
    threads: int = 2,
    start: LinearModel | None = None,
    report: Report = _ignore,
) -> tuple[Models, int]:
    """Text model, baseline and booster of some labelled rows; and the booster's rounds.

    Args:
      rows: labelled rows of the span, ascending.
      positive_weight: of a positive against a negative.
      check_rows: later labelled rows that end the boosting; None: exactly `rounds`.
      start: the baseline of nearly the same rows, from which this one's solver starts.
      report: as in `fit`.
    """
    training = _training(spec)
    transformed, labels, weights = span.transformed, span.labels, span.weights_of(rows)
    scores, last = _text_scores(training, span, rows, positive_weight, report)
    text = _fit_text(training, span, rows, positive_weight, last)
    if text is not None:
        report(1)
    linear = _fit_linear(
        spec, transformed.take(rows), scores, labels[rows], positive_weight, start, weights
    )
    report(1)
    booster, used = None, 0
    if training.model == "booster":
        sample = Sample(model_inputs(transformed.take(rows), scores), labels[rows], weights)
        check = None
        if check_rows is not None and training.early_stopping:
            later = transformed.take(check_rows)
            later_scores = text.score(later.text) if text and later.text is not None else None
            check = Sample(
                model_inputs(later, later_scores), labels[check_rows], span.weights_of(check_rows)
            )
        boosted = fit_booster(
            training,
            input_names(spec),
            sample,
            positive_weight,
            check=check,
            rounds=rounds if rounds is not None else training.rounds,
            threads=threads,
            report=report,
        )
        booster, used = BoosterModel(boosted.booster), boosted.rounds
    return Models(spec, text, linear, booster), used


def class_weight(
    training: Training,
    labels: npt.NDArray[np.int8],
    weights: npt.NDArray[np.float64] | None = None,
) -> float:
    """The weight of a positive against a negative that the config asks for.

    Args:
      training: the protocol.
      labels: int8[n], 0 or 1.
      weights: float64[n], of the rows; None: all weigh 1.

    >>> class_weight(Training(1, 1, positive_weight="balanced"), np.array([1, 0, 0], np.int8))
    2.0
    """
    if training.positive_weight != "balanced":
        return float(training.positive_weight)
    positives = int(np.count_nonzero(labels == POSITIVE))
    if weights is not None and positives:
        found = float(weights[labels == POSITIVE].sum())
        return (float(weights.sum()) - found) / found
    return (len(labels) - positives) / max(positives, 1)


def _training(spec: Spec) -> Training:
    if spec.training is None or spec.labels is None:
        raise ConfigError(
            f"the config {spec.name!r} has no training or no labels section; add both to train"
        )
    return spec.training


def _served(training: Training) -> tuple[str, ...]:
    return tuple(dict.fromkeys((training.model, "linear")))


def _fit_text(
    training: Training,
    span: Span,
    rows: Rows,
    positive_weight: float,
    start: TextModel | None = None,
) -> TextModel | None:
    if span.transformed.text is None:
        return None
    made = fit_sparse(
        span.transformed.text[rows].astype(np.float64),
        span.labels[rows],
        regularisation=training.text_regularisation,
        positive_weight=positive_weight,
        weights=span.weights_of(rows),
        start=None if start is None else Weights(start.weights, start.intercept),
    )
    return None if made is None else TextModel(made.weights, made.intercept)


def _text_scores(
    training: Training, span: Span, rows: Rows, positive_weight: float, report: Report
) -> tuple[Floats | None, TextModel | None]:
    """Scores of the text model for its own training rows, out of fold by time; and the last model.

    Each block's model starts where that of the block before ended, which saves most of its steps
    and leads to the same optimum; so may the model of all rows, from the last one.
    """
    csr = span.transformed.text
    if csr is None:
        return None, None
    made: list[TextModel] = []

    def fit_and_score(known: Rows, asked: Rows) -> Floats | None:
        start = made[-1] if made else None
        model = _fit_text(training, span, rows[known], positive_weight, start)
        report(1)
        if model is None:
            return None
        made.append(model)
        return model.score(csr[rows[asked]])

    blocks = time_blocks(span.event_times[rows], training.text_folds)
    campaigns = None if span.campaigns is None else span.campaigns[rows]
    scores = chain_forward(blocks, fit_and_score, campaigns)
    return scores, made[-1] if made else None


def _fit_linear(
    spec: Spec,
    transformed: Transformed,
    text_scores: Floats | None,
    labels: npt.NDArray[np.int8],
    positive_weight: float,
    start: LinearModel | None,
    weights: npt.NDArray[np.float64] | None = None,
) -> LinearModel | None:
    numeric = np.nan_to_num(with_text(transformed.numeric, text_scores), nan=0.0)
    sizes = [one.vocabulary + one.oov_buckets for one in spec.inputs.categorical]
    begin = None
    if start is not None:
        ids = [start.categories[column, :size] for column, size in enumerate(sizes)]
        begin = Weights(np.concatenate([start.numeric, *ids]), start.intercept)
    design = Design(numeric, transformed.categories, tuple(sizes))
    if design.width <= MOST_COLUMNS:
        made = fit_newton(
            design, labels, positive_weight=positive_weight, start=begin, weights=weights
        )
    else:
        numbers = scipy.sparse.csr_matrix(numeric.astype(np.float64))
        wide = scipy.sparse.hstack([numbers, design.one_hot()], "csr")
        made = fit_sparse(
            wide, labels, positive_weight=positive_weight, start=begin, weights=weights
        )
    if made is None:
        return None
    by_category = np.zeros((len(sizes), max(sizes, default=0)))
    at = numeric.shape[1]
    for column, size in enumerate(sizes):
        by_category[column, :size] = made.weights[at : at + size]
        at += size
    return LinearModel(made.weights[: numeric.shape[1]], by_category, made.intercept)


def _raw_on(models: Models, which: str, span: Span, rows: Rows) -> Floats:
    part = span.transformed.take(rows)
    return models.raw(which, part, models.text_scores(part))


def _gains(spec: Spec, models: Models) -> dict[str, float]:
    if models.booster is not None:
        return total_gain(models.booster.booster)
    if models.linear is None:
        return {}
    names = [*input_names(spec)[: len(models.linear.numeric)]]
    return dict(zip(names, np.abs(models.linear.numeric).tolist(), strict=False))
