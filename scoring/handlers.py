"""Model handlers for Beam's `RunInference`: they serve a model bundle, and really swap it.

    batches  | RunInference(BatchHandler("out/bundles"))    -> batches with score, action, inputs
    examples | RunInference(ExampleHandler("out/bundles"))  -> PredictionResult for each example

Beam's own handler for XGBoost predicts one element at a time, and a model that a side input names
is taken over by no local runner: here the bundle store's pointer is looked at between two batches
(`scoring.serving`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from scoring.scorer import Scorer
from scoring.serving import POLL_SECONDS, Serving
from scoring.steps import ACTION, SCORE, score_batch
from transforms.columns import ARROW_TYPES
from transforms.inputs import input_arrays, numeric_names

Example = Mapping[str, Any]
_ROWS = 4096


class _Handler(ModelHandler):
    """What both have in common.

    Args:
      bundle: folder of a model bundle, or of a store, whose serving one is followed.
      poll_seconds: how often a store's pointer is looked at.
      max_batch_size: elements that are scored at once.
    """

    def __init__(self, bundle: str, poll_seconds: float, max_batch_size: int) -> None:
        super().__init__(max_batch_size=max_batch_size)
        self._bundle, self._poll_seconds = bundle, poll_seconds

    def load_model(self) -> Serving:
        """Once per process and path."""
        return Serving(self._bundle, self._poll_seconds)

    def update_model_path(self, model_path: str | None = None) -> None:
        """Takes what Beam's `model_metadata_pcoll` names: another bundle, or another store."""
        self._bundle = model_path or self._bundle

    def get_metrics_namespace(self) -> str:
        """Of Beam's own metrics of inference."""
        return "lockstep"


class BatchHandler(_Handler):
    """Arrow batches of events with features in, the same with `Score`'s columns out.

    Args:
      bundle: folder of a model bundle, or of a store, whose serving one is followed.
      poll_seconds: how often a store's pointer is looked at.
    """

    def __init__(self, bundle: str, poll_seconds: float = POLL_SECONDS) -> None:
        super().__init__(bundle, poll_seconds, max_batch_size=1)  # an element is a batch already

    def run_inference(
        self,
        batch: Sequence[pa.RecordBatch],
        model: Serving,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[pa.RecordBatch]:
        """Scores batches by one model bundle; its fingerprint is in their schema's metadata."""
        scorer = model.current()
        return [score_batch(scorer, one) for one in batch]

    def get_num_bytes(self, batch: Sequence[pa.RecordBatch]) -> int:
        """Of all columns."""
        return sum(one.nbytes for one in batch)


class ExampleHandler(_Handler):
    """Examples, each a mapping of column to value, in; a `PredictionResult` for each out.

    Its `inference` holds the raw log odds, the score and the action; `model_id` is the bundle's
    fingerprint. None is null; values of other columns than the model's inputs do no harm.

    Args:
      bundle: folder of a model bundle, or of a store, whose serving one is followed.
      poll_seconds: how often a store's pointer is looked at.
      max_batch_size: examples that are scored at once.
    """

    def __init__(
        self, bundle: str, poll_seconds: float = POLL_SECONDS, max_batch_size: int = _ROWS
    ) -> None:
        super().__init__(bundle, poll_seconds, max_batch_size)

    def run_inference(
        self,
        batch: Sequence[Example],
        model: Serving,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Scores examples together, by one model bundle.

        Raises:
          InputError: an example lacks a column, or has a value of another type.
        """
        scorer = model.current()
        scored = scorer.score(*input_arrays(scorer.bundle.spec, _table(scorer, batch)))
        made = zip(
            batch, scored.raw.tolist(), scored.score.tolist(), scored.actions().to_pylist(),
            strict=True,
        )  # fmt: skip
        return [
            PredictionResult(
                example, {"raw": raw, SCORE: score, ACTION: action}, scorer.bundle.fingerprint
            )
            for example, raw, score, action in made
        ]


def _table(scorer: Scorer, examples: Sequence[Example]) -> pa.Table:
    """The model's inputs of some examples; a column that one of them lacks is left out."""
    spec = scorer.bundle.spec
    types = {name: pa.float32() for name in numeric_names(spec)}
    other = [one.column for one in spec.inputs.categorical]
    other += [spec.inputs.text.column] if spec.inputs.text else []
    types |= {name: ARROW_TYPES[spec.column_type(name)] for name in other}
    there = {name: kind for name, kind in types.items() if all(name in one for one in examples)}
    return pa.table(
        {name: pa.array([one[name] for one in examples], kind) for name, kind in there.items()}
    )
