"""The models of one training: text model, booster and baseline of some rows of a span."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse

from configs.errors import ConfigError
from configs.schema import Spec, Training
from scoring.booster import BoosterModel
from scoring.linear import LinearModel
from scoring.models import Models, input_names, model_inputs, with_text
from scoring.text_model import TextModel
from training.boosting import Sample, fit_booster
from training.folds import chain_forward, time_blocks
from training.labels import POSITIVE
from training.logistic import Weights, fit_sparse
from training.newton import MOST_COLUMNS, Design, fit_newton
from transforms.constants import Transformed

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Report = Callable[[float], None]


def ignore(parts: float) -> None:
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


def fit_models(
    spec: Spec,
    span: Span,
    rows: Rows,
    positive_weight: float,
    check_rows: Rows | None,
    rounds: int | None = None,
    threads: int = 2,
    start: LinearModel | None = None,
    report: Report = ignore,
) -> tuple[Models, int]:
    """Text model, baseline and booster of some labelled rows; and the booster's rounds.

    Args:
      rows: labelled rows of the span, ascending.
      positive_weight: of a positive against a negative.
      check_rows: later labelled rows that end the boosting; None: exactly `rounds`.
      start: the baseline of nearly the same rows, from which this one's solver starts.
      report: as in `fit`.
    """
    training = training_of(spec)
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


def training_of(spec: Spec) -> Training:
    if spec.training is None or spec.labels is None:
        raise ConfigError(
            f"the config {spec.name!r} has no training or no labels section; add both to train"
        )
    return spec.training


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
