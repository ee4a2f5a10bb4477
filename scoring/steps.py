"""`Score`: events with their features to the same with score, action and model inputs.

For Beam's own `RunInference` see `scoring.handlers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.metrics import Metrics

from configs.schema import PUBLISHED_COLUMNS
from scoring.scorer import Scorer
from scoring.serving import POLL_SECONDS, Serving, shared_serving
from transforms.batches import RecordBatchCoder
from transforms.inputs import input_arrays

__all__ = [
    "ACTION",
    "BUNDLE",
    "MODEL_INPUTS",
    "RAW",
    "SCORE",
    "RecordBatchCoder",
    "Score",
    "score_batch",
]

RAW = "raw"
SCORE, ACTION, MODEL_INPUTS = PUBLISHED_COLUMNS
BUNDLE = b"lockstep.bundle"
"""In the schema's metadata of a scored batch: the fingerprint of the bundle that scored it."""


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class Score(beam.PTransform):
    """Batches of `Features` to the same with more columns: score, action, model inputs.

    Args:
      bundle: folder of a model bundle, or of a store of them: then the one that serves, whichever
        that is from batch to batch. Every worker can read it.
      poll_seconds: how often a store's pointer is looked at.
      columns: what is appended, in this order (`score_batch`).
    """

    bundle: str
    poll_seconds: float = POLL_SECONDS
    columns: tuple[str, ...] = PUBLISHED_COLUMNS

    def expand(self, rows: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        return rows | "Score" >> beam.ParDo(
            _Score(self.bundle, self.poll_seconds, self.columns)
        ).with_output_types(pa.RecordBatch)


def score_batch(
    scorer: Scorer, batch: pa.RecordBatch, columns: Sequence[str] = PUBLISHED_COLUMNS
) -> pa.RecordBatch:
    """Appends score float64, action string and model inputs float32 `[inputs]`.

    Args:
      scorer: of a loaded bundle, whose fingerprint goes into the metadata (`BUNDLE`).
      batch: scored events `[n]` with the columns of `transforms.inputs.numeric_names`, and those
        of categories and text.
      columns: which of these are appended, and in what order; there is `RAW`, float32, as well.

    Raises:
      InputError: a column is missing, or of a type that does not fit.
    """
    scored = scorer.score(*input_arrays(scorer.bundle.spec, pa.Table.from_batches([batch])))
    made: dict[str, Callable[[], pa.Array]] = {
        RAW: lambda: pa.array(scored.raw),
        SCORE: lambda: pa.array(scored.score, pa.float64()),
        ACTION: scored.actions,
        MODEL_INPUTS: lambda: _vectors(scored.inputs),
    }
    metadata = {**(batch.schema.metadata or {}), BUNDLE: scorer.bundle.fingerprint}
    for name in columns:
        batch = batch.append_column(name, made[name]())
    return batch.replace_schema_metadata(metadata)


def _vectors(block: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Each row as one vector, without nulls."""
    item = pa.field("item", pa.float32(), nullable=False)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(block.ravel()), type=pa.list_(item, block.shape[1])
    )


class _Score(beam.DoFn):
    def __init__(self, bundle: str, poll_seconds: float, columns: tuple[str, ...]) -> None:
        self._bundle, self._poll_seconds, self._columns = bundle, poll_seconds, columns
        self._scored = Metrics.counter("lockstep", "events_scored_by_model")
        self._swaps = Metrics.counter("lockstep", "bundle_swaps")
        self._serving: Serving | None = None

    def setup(self) -> None:
        """Loads the model bundle, once per process."""
        self._serving = shared_serving(self._bundle, self._poll_seconds)

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Scores a batch by one model bundle."""
        serving = self._serving or shared_serving(self._bundle, self._poll_seconds)
        before = serving.swaps
        scorer = serving.current()
        self._swaps.inc(serving.swaps - before)
        self._scored.inc(batch.num_rows)
        yield score_batch(scorer, batch, self._columns)
