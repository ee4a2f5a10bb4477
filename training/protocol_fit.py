"""Fits a protocol's model on the rows of a fold that train, and scores those that test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError, EvidenceError
from configs.schema import Spec, Training
from scoring.text_model import TextModel
from training.logistic import fit_sparse
from training.models import Span, class_weight, fit_models
from training.protocol import Fold

Raw = npt.NDArray[np.float64]


def score_rows(spec: Spec, inputs: str, span: Span, fold: Fold, threads: int = 2) -> Raw:
    """Log odds of the rows that test, by a model of those that train: float64, in their order.

    Args:
      spec: with training.
      inputs: "all" or "text".
      span: all rows.
      fold: which train and test.
      threads: of XGBoost.

    Raises:
      ConfigError: the spec has no training, or no text where that is asked for.
      EvidenceError: the rows that train have one class.
    """
    if spec.training is None:
        raise ConfigError(f"the config {spec.name!r} has no training section; add one")
    score = _text_alone if inputs == "text" else _all_inputs
    return score(spec, spec.training, span, fold, threads)


def _text_alone(spec: Spec, training: Training, span: Span, fold: Fold, threads: int) -> Raw:
    text, labels = span.transformed.text, span.labels
    if text is None:
        raise ConfigError(f"inputs: text, but the config {spec.name!r} has no inputs.text; add it")
    made = fit_sparse(
        text[fold.train].astype(np.float64),
        labels[fold.train],
        regularisation=training.text_regularisation,
        positive_weight=class_weight(training, labels[fold.train]),
    )
    if made is None:
        raise EvidenceError("the rows that train have one class; expected both")
    model = TextModel(made.weights, made.intercept)
    return model.score(text[fold.test]).astype(np.float64)


def _all_inputs(spec: Spec, training: Training, span: Span, fold: Fold, threads: int) -> Raw:
    """The served model's; a booster finds its rounds on the newest of the rows that train."""
    labels = span.labels
    every = np.flatnonzero(fold.train)
    weight, rounds, start = class_weight(training, labels[every]), None, None
    if training.model == "booster" and training.early_stopping:
        newest = len(every) - max(1, round(len(every) * training.validation_share))
        older, check = every[:newest], every[newest:]
        judged, rounds = fit_models(spec, span, older, weight, check, threads=threads)
        start = judged.linear
    models, _ = fit_models(spec, span, every, weight, None, rounds, threads, start)
    part = span.transformed.take(np.flatnonzero(fold.test))
    return models.raw(training.model, part, models.text_scores(part)).astype(np.float64)
