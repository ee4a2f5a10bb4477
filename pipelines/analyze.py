"""Analyses the TFT graph over training rows: one Beam pipeline, the same result every time.

What enters: a table of scored events and their numeric block. What leaves: a folder with TFT's
`transform_fn` (a SavedModel) and the schema of what enters it. Batches have a fixed size and order,
since float sums depend on both; rows beyond `training.analyse_rows` are left out by the hash of
their id, so the same night chooses the same rows. Texts need no analysis, so none is written down.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError
from configs.schema import EVENT_ID, Spec
from pipelines.signals import held
from transforms.hashing import hash_column
from transforms.quiet import import_tensorflow

BATCH = 8192
_SEED = 0x616E616C


def analyze(spec: Spec, numeric: npt.NDArray[np.float32], events: pa.Table, folder: Path) -> None:
    """Writes the analysed graph of a spec into a folder.

    Args:
      spec: its `inputs` and `training.analyse_rows`.
      numeric: float32 `[n, K]`.
      events: `[n]` rows with `event_id` and the categorical and text columns.
      folder: made here, whole or not at all; must not exist.

    Raises:
      InputError: there are no rows, or the folder exists.
      ValueError: the block and the events differ in rows.
    """
    if len(numeric) == 0:
        raise InputError("no rows to analyse: the training span holds no scored events")
    if len(numeric) != events.num_rows:
        raise ValueError(f"a numeric block of {len(numeric)} rows for {events.num_rows} events")
    if folder.exists():
        raise InputError(f"{folder} is there already; remove it, or analyse into another folder")
    most = spec.training.analyse_rows if spec.training else len(numeric)
    chosen = sample_rows(events.column(EVENT_ID), most)
    if len(chosen) < len(numeric):
        numeric, events = numeric[chosen], events.take(pa.array(chosen))
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".analyze-", dir=folder.parent))
    try:
        rows = scratch / "rows.arrow"
        _write_rows(spec, numeric, events, rows)
        _run(spec, numeric.shape[1], str(rows), str(scratch / "tft"), str(scratch / "graph"))
        os.rename(scratch / "graph", folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def sample_rows(ids: pa.ChunkedArray | pa.Array, most: int) -> npt.NDArray[np.int64]:
    """`most` rows, chosen by the hash of their id, in their order: int64 `[m]`.

    >>> sample_rows(pa.array(["a", "b"]), 5).tolist()
    [0, 1]
    >>> len(sample_rows(pa.array(["a", "b"]), 1))
    1
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    hashes = hash_column(ids, _SEED)
    return np.flatnonzero(hashes <= np.partition(hashes, most - 1)[most - 1])


def _write_rows(spec: Spec, numeric: npt.NDArray[np.float32], events: pa.Table, path: Path) -> None:
    import_tensorflow()
    from transforms.graph import NUMERIC, TEXT, graph_batch

    with pa.OSFile(str(path), "wb") as sink:
        writer = None
        for start in range(0, len(numeric), BATCH):
            part = events.slice(start, BATCH).combine_chunks().to_batches()[0]
            arrays = graph_batch(spec, numeric[start : start + BATCH], part)
            if TEXT in arrays:
                arrays[TEXT] = np.full(len(part), b"", object)
            columns = {
                name: _list_column(value, value.shape[1] if name == NUMERIC else 1)
                for name, value in arrays.items()
            }
            batch = pa.RecordBatch.from_pydict(columns)
            writer = writer or pa.ipc.new_file(sink, batch.schema)
            writer.write(batch)
        if writer is not None:
            writer.close()


def _list_column(values: npt.NDArray[Any], width: int) -> pa.ListArray:
    """Fixed-length lists, as TFT's tensor adapter reads dense tensors from."""
    offsets = np.arange(len(values) + 1, dtype=np.int32) * width
    flat = values.ravel()
    kind = pa.binary() if values.dtype == object else pa.float32()
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, kind))


def _read_rows(path: str) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(path) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _run(spec: Spec, width: int, rows: str, scratch: str, folder: str) -> None:
    """Builds and runs the pipeline; in a function, since TFT in module globals crashes at exit."""
    import_tensorflow()
    import logging

    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils
    from tfx_bsl.tfxio import tensor_adapter, tensor_representation_util

    from transforms.graph import NUMERIC, TEXT, category_name, make_preprocessing_fn

    for name in ("apache_beam", "tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    features: dict[str, Any] = {NUMERIC: tf.io.FixedLenFeature([width], tf.float32)}
    for index in range(len(spec.inputs.categorical)):
        features[category_name(index)] = tf.io.FixedLenFeature([], tf.string)
    if spec.inputs.text is not None:
        features[TEXT] = tf.io.FixedLenFeature([], tf.string)
    schema = schema_utils.schema_from_feature_spec(features)
    arrow_schema = next(_read_rows(rows)).schema
    representations = tensor_representation_util.InferTensorRepresentationsFromSchema(schema)
    adapter = tensor_adapter.TensorAdapterConfig(arrow_schema, representations)
    with (
        held(),
        beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline,
        tft_beam.Context(temp_dir=scratch, desired_batch_size=BATCH),
    ):
        batches = (
            pipeline | "Rows" >> beam.Create([rows], reshuffle=False) | beam.FlatMap(_read_rows)
        )
        analysed = (batches, adapter) | tft_beam.AnalyzeDataset(make_preprocessing_fn(spec))
        _ = analysed | tft_beam.WriteTransformFn(folder)
    raw = os.path.join(folder, tft.TFTransformOutput.RAW_METADATA_DIR)
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), raw)
