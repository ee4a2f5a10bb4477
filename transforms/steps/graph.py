"""`AnalyzeGraph` and `ApplyGraph`: the TFT graph of a spec, found from rows and run over rows.

The analysed graph is the same whatever runner and workers: moments are summed in an order of the
batches' own, counts and quantiles need none. What it does depend on is how rows are cut into
batches (float sums do), so whoever wants equal bits gives equal batches.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.metrics import Metrics

from configs.schema import Spec
from transforms.constants import Transformed
from transforms.encoder import graph_spec
from transforms.executor import Executor
from transforms.inputs import input_arrays, numeric_names
from transforms.quiet import import_tensorflow

__all__ = [
    "ANALYSIS_ROWS",
    "AnalyzeGraph",
    "AnalyzeTensors",
    "ApplyGraph",
    "apply_graph",
    "tensor_rows",
]

ANALYSIS_ROWS = 8192
"""Rows of a batch that is analysed, by custom; TFT is told not to cut them anew."""


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class AnalyzeGraph(beam.PTransform):
    """Rows with features to the analysed graph: its folder, as `ApplyGraph` and bundles take it.

    Args:
      spec: its `inputs` say everything.
      folder: where the graph is written; of this machine or of a filesystem that TensorFlow knows.
        The files of a text encoder are not put there (`transforms.encoder_model.copy_encoder`).
      scratch: a folder for what TFT writes meanwhile, which all workers reach.

    The output is the folder's name, once it is complete.
    """

    spec: Spec
    folder: str
    scratch: str

    def expand(self, rows: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Applies it."""
        spec = self.spec
        tensors = rows | "ToTensors" >> beam.Map(
            lambda batch: tensor_rows(spec, *input_arrays(spec, pa.Table.from_batches([batch])))
        ).with_output_types(pa.RecordBatch)
        width = len(numeric_names(spec))
        return tensors | AnalyzeTensors(spec, width, self.folder, self.scratch)


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class AnalyzeTensors(beam.PTransform):
    """As `AnalyzeGraph`, from what `tensor_rows` gives.

    Args:
      spec, folder, scratch: as there.
      width: columns of the numeric block.
    """

    spec: Spec
    width: int
    folder: str
    scratch: str

    def expand(self, tensors: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Applies it; TFT is imported here, since it takes seconds."""
        import_tensorflow()
        import tensorflow_transform.beam as tft_beam
        from tfx_bsl.tfxio import tensor_adapter, tensor_representation_util

        from transforms.graph import make_preprocessing_fn

        spec, width, folder = graph_spec(self.spec), self.width, self.folder
        representations = tensor_representation_util.InferTensorRepresentationsFromSchema(
            _tensor_schema(spec, width)
        )
        adapter = tensor_adapter.TensorAdapterConfig(_arrow_schema(spec), representations)
        with tft_beam.Context(temp_dir=self.scratch, desired_batch_size=ANALYSIS_ROWS):
            analysed = (tensors, adapter) | tft_beam.AnalyzeDataset(make_preprocessing_fn(spec))
            return (
                analysed
                | tft_beam.WriteTransformFn(folder)
                | "WriteInputs"
                >> beam.Map(lambda _: _write_inputs(spec, width, folder)).with_output_types(str)
            )


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class ApplyGraph(beam.PTransform):
    """Rows with features to the same with what the model sees of them (`apply_graph`).

    Args:
      spec: the use.
      graph: folder of its analysed graph (a bundle's is `transform_graph`); workers can read it.
    """

    spec: Spec
    graph: str

    def expand(self, rows: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        return rows | "Apply" >> beam.ParDo(_Apply(self.spec, self.graph)).with_output_types(
            pa.RecordBatch
        )


def tensor_rows(
    spec: Spec, numeric: npt.NDArray[np.float32], events: pa.RecordBatch
) -> pa.RecordBatch:
    """What TFT analyses of some events: lists by tensor name; texts are left empty, it needs none.

    Args:
      spec: the use.
      numeric: float32 `[n, K]`.
      events: `[n]` rows with the categorical and text columns.
    """
    import_tensorflow()
    from transforms.graph import TEXT, graph_batch

    spec = graph_spec(spec)
    arrays = graph_batch(spec, numeric, events)
    if TEXT in arrays:
        arrays[TEXT] = np.full(len(numeric), b"", object)
    schema = _arrow_schema(spec)
    return pa.RecordBatch.from_arrays(
        [_lists(arrays[field.name], field) for field in schema], schema=schema
    )


def apply_graph(executor: Executor, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Appends what the graph makes of a batch, before any model.

    Args:
      executor: of the analysed graph.
      batch: scored events `[n]` with their features.

    Returns:
      The batch with `numeric` float32 `[K]` (scaled, NaN for null), `categories` int64 `[C]` and
      `text_ids`, the sorted buckets of the text's n-grams; each weighs 1 / sqrt(their number). With
      a text encoder `text_vector` float32 `[size]` is in place of the last; zeros for no text.
    """
    arrays = input_arrays(executor.spec, pa.Table.from_batches([batch]))
    made = executor.transform(*arrays)
    columns = {
        "numeric": _fixed(made.numeric, pa.float32()),
        "categories": _fixed(made.categories, pa.int64()),
    }
    inputs = executor.spec.inputs
    if made.text is not None and inputs.text is not None and inputs.text.encoder:
        columns["text_vector"] = _fixed(made.text.toarray(), pa.float32())
    else:
        columns["text_ids"] = _text_ids(made)
    for name, column in columns.items():
        batch = batch.append_column(name, column)
    return batch


class _Apply(beam.DoFn):
    def __init__(self, spec: Spec, graph: str) -> None:
        self._spec, self._graph = spec, graph
        self._rows = Metrics.counter("lockstep", "events_through_graph")
        self._executor: Executor | None = None

    def setup(self) -> None:
        self._executor = Executor(Path(self._graph), self._spec)

    def process(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        self._rows.inc(batch.num_rows)
        executor = self._executor or Executor(Path(self._graph), self._spec)
        return [apply_graph(executor, batch)]


def _text_ids(made: Transformed) -> pa.ListArray:
    if made.text is None:
        return pa.array([[]] * len(made), pa.list_(pa.int32()))
    offsets = made.text.indptr.astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(made.text.indices, pa.int32()))


def _fixed(block: npt.NDArray[Any], kind: pa.DataType) -> pa.FixedSizeListArray:
    item = pa.field("item", kind, nullable=False)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(block.ravel(), kind), type=pa.list_(item, block.shape[1])
    )


def _lists(values: npt.NDArray[Any], field: pa.Field) -> pa.ListArray:
    """Lists of one length, as TFT's tensor adapter reads dense tensors from."""
    width = values.shape[1] if values.ndim > 1 else 1
    offsets = np.arange(len(values) + 1, dtype=np.int32) * width
    flat = pa.array(values.ravel(), field.type.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _tensors(spec: Spec) -> tuple[str, ...]:
    """The graph's input tensors, the numeric block first."""
    from transforms.graph import NUMERIC, TEXT, category_name

    names = [category_name(index) for index in range(len(spec.inputs.categorical))]
    return (NUMERIC, *names, *([TEXT] if spec.inputs.text is not None else []))


def _arrow_schema(spec: Spec) -> pa.Schema:
    numeric, *strings = _tensors(spec)
    return pa.schema(
        {numeric: pa.list_(pa.float32()), **{name: pa.list_(pa.binary()) for name in strings}}
    )


def _tensor_schema(spec: Spec, width: int) -> Any:
    import tensorflow as tf
    from tensorflow_transform.tf_metadata import schema_utils

    numeric, *strings = _tensors(spec)
    features: dict[str, Any] = {numeric: tf.io.FixedLenFeature([width], tf.float32)}
    features |= {name: tf.io.FixedLenFeature([], tf.string) for name in strings}
    return schema_utils.schema_from_feature_spec(features)


def _write_inputs(spec: Spec, width: int, folder: str) -> str:
    """Writes what TFT does not write by itself: the schema of what enters, and the constants."""
    import_tensorflow()
    import tensorflow_transform as tft
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

    from transforms.saved_graph import write_constants

    raw = f"{folder.rstrip('/')}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(_tensor_schema(spec, width)), raw)
    write_constants(folder, spec)
    return folder
