"""Fits a protocol's model on some rows and asks it about others, through the graph that serves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import ConfigError, EvidenceError
from configs.schema import Spec
from pipelines.analyze import analyze
from pipelines.protocol.read import Read
from scoring.text_model import TextModel
from training.fit import Span, class_weight, fit_models
from training.logistic import fit_sparse
from training.protocol import Fold
from transforms.constants import Transformed
from transforms.executor import Executor

Raw = npt.NDArray[np.float64]


def score_fold(spec: Spec, inputs: str, read: Read, fold: Fold, threads: int = 2) -> Raw:
    """Log odds of the rows that test, by a model of those that train: float64, in their order.

    Args:
      spec: with training.
      inputs: "all" or "text".
      read: all rows.
      fold: which train and test.
      threads: of XGBoost.
    """
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "graph"
        train = pa.array(fold.train)
        analyze(spec, read.numeric[fold.train], read.events.filter(train), graph)
        batch = read.events.combine_chunks().to_batches()[0]
        transformed = Executor(graph, spec).transform(read.numeric, batch)
    if inputs == "text":
        return _text_alone(spec, transformed, read.rows.labels, fold)
    return _all_inputs(spec, transformed, read, fold, threads)


def _text_alone(
    spec: Spec, transformed: Transformed, labels: npt.NDArray[np.int8], fold: Fold
) -> Raw:
    if transformed.text is None or spec.training is None:
        raise ConfigError(
            f"inputs: text, but the config {spec.name!r} has no inputs.text or no training; add it"
        )
    made = fit_sparse(
        transformed.text[fold.train].astype(np.float64),
        labels[fold.train],
        regularisation=spec.training.text_regularisation,
        positive_weight=class_weight(spec.training, labels[fold.train]),
    )
    if made is None:
        raise EvidenceError("the rows that train have one class; expected both")
    model = TextModel(made.weights, made.intercept)
    return model.score(transformed.text[fold.test]).astype(np.float64)


def _all_inputs(spec: Spec, transformed: Transformed, read: Read, fold: Fold, threads: int) -> Raw:
    """The served model's; a booster finds its rounds on the newest of the rows that train."""
    if spec.training is None:
        raise ConfigError(f"the config {spec.name!r} has no training section; add one")
    training, labels = spec.training, read.rows.labels
    span = Span(transformed, read.times, labels)
    every = np.flatnonzero(fold.train)
    weight, rounds, start = class_weight(training, labels[every]), None, None
    if training.model == "booster" and training.early_stopping:
        newest = len(every) - max(1, round(len(every) * training.validation_share))
        older, check = every[:newest], every[newest:]
        judged, rounds = fit_models(spec, span, older, weight, check, threads=threads)
        start = judged.linear
    models, _ = fit_models(spec, span, every, weight, None, rounds, threads, start)
    part = transformed.take(np.flatnonzero(fold.test))
    return models.raw(training.model, part, models.text_scores(part)).astype(np.float64)
