"""Analyses the rows of a fold that train, and scores its others through the graph that serves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa

from configs.schema import Spec
from pipelines.analyze import analyze
from pipelines.protocol.read import ScoredRows
from training.models import Span
from training.protocol import Fold
from training.protocol_fit import Raw, score_rows
from transforms.executor import Executor


def score_fold(spec: Spec, inputs: str, read: ScoredRows, fold: Fold, threads: int = 2) -> Raw:
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
    span = Span(transformed, read.times, read.rows.labels)
    return score_rows(spec, inputs, span, fold, threads)
