"""Analyses the TFT graph: over the published days in the workers, or over rows in memory.

The result is the same every time and on every runner: rows are cut into batches of `BATCH` from the
start of each file, and rows beyond `training.analyse_rows` are left out by the hash of their id.
Texts need no analysis, so none is passed on; the files of a text encoder are put beside the graph.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError
from configs.schema import EVENT_ID, Spec, TextInput
from pipelines.read_days import ReadDays, sample_hashes, sample_limit
from pipelines.runners import Running, run_pipeline
from transforms.encoder import ENCODER
from transforms.encoder_model import copy_encoder
from transforms.steps.graph import ANALYSIS_ROWS as BATCH
from transforms.steps.graph import AnalyzeGraph, AnalyzeTensors, tensor_rows


def analyze_days(
    spec: Spec,
    parts: Sequence[str],
    start_us: int,
    end_us: int,
    limit: int,
    folder: Path,
    running: Running,
) -> None:
    """Writes the analysed graph of published events into a folder; workers read the events.

    Args:
      spec: its `inputs`.
      parts: files of published days.
      start_us, end_us: half-open range of event times.
      limit: the largest hash of an event's id (`sample_hashes`) that is analysed.
      folder: made here, whole or not at all; must not exist.
      running: where the pipeline runs.

    Raises:
      InputError: the folder exists, or a file is not what it should be.
    """

    def build(pipeline: beam.Pipeline, scratch: Path) -> None:
        rows = pipeline | ReadDays(parts, spec, start_us, end_us, str(scratch), limit, BATCH)
        _ = rows | AnalyzeGraph(spec, str(scratch / "graph"), str(scratch / "tft"))

    _write(folder, build, running, spec.inputs.text)


def analyze(spec: Spec, numeric: npt.NDArray[np.float32], events: pa.Table, folder: Path) -> None:
    """Writes the analysed graph of rows in memory into a folder.

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
    most = spec.training.analyse_rows if spec.training else len(numeric)
    chosen = sample_rows(events.column(EVENT_ID), most)
    if len(chosen) < len(numeric):
        numeric, events = numeric[chosen], events.take(pa.array(chosen))

    def build(pipeline: beam.Pipeline, scratch: Path) -> None:
        rows = str(scratch / "rows.arrow")
        _write_rows(spec, numeric, events, rows)
        tensors = (
            pipeline
            | "Rows" >> beam.Create([rows], reshuffle=False)
            | beam.FlatMap(_read_rows).with_output_types(pa.RecordBatch)
        )
        folders = (str(scratch / "graph"), str(scratch / "tft"))
        _ = tensors | AnalyzeTensors(spec, numeric.shape[1], *folders)

    _write(folder, build, Running(), spec.inputs.text)


def sample_rows(ids: pa.ChunkedArray | pa.Array, most: int) -> npt.NDArray[np.int64]:
    """`most` rows, chosen by the hash of their id, in their order: int64 `[m]`.

    >>> sample_rows(pa.array(["a", "b"]), 5).tolist()
    [0, 1]
    >>> len(sample_rows(pa.array(["a", "b"]), 1))
    1
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    hashes = sample_hashes(ids)
    return np.flatnonzero(hashes <= sample_limit(hashes, most))


def _write(
    folder: Path,
    build: Callable[[beam.Pipeline, Path], None],
    running: Running,
    text: TextInput | None,
) -> None:
    """Runs an analysis in a folder next to this one, and renames what it has made."""
    if folder.exists():
        raise InputError(f"{folder} is there already; remove it, or analyse into another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".analyze-", dir=folder.parent.resolve()))
    try:
        (scratch / "failures").mkdir()
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)
        run_pipeline(lambda pipeline: build(pipeline, scratch), running, str(scratch))
        if text is not None and text.encoder:
            copy_encoder(text, scratch / "graph" / ENCODER)
        os.rename(scratch / "graph", folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_rows(spec: Spec, numeric: npt.NDArray[np.float32], events: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as sink:
        writer = None
        for start in range(0, len(numeric), BATCH):
            part = events.slice(start, BATCH).combine_chunks().to_batches()[0]
            batch = tensor_rows(spec, numeric[start : start + BATCH], part)
            writer = writer or pa.ipc.new_file(sink, batch.schema)
            writer.write(batch)
        if writer is not None:
            writer.close()


def _read_rows(path: str) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(path) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
