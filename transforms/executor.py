"""Runs the analysed TFT graph, so that a row's bits do not depend on the batch that it is in.

Kernels of TensorFlow take rows eight at a time and the rest one by one, and a few give other last
bits in the rest (DESIGN section 4): batches are padded to a multiple of eight, and cut at `CHUNK`
rows, so the rest is always empty.

N-grams of texts are hashed by compiled code of ours, as long as it gives the loaded graph's own ids
for a set of texts (`transforms.ngrams.PROBES`): words and letters in a fifth of TensorFlow's time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse

from configs.schema import Spec, TextInput
from transforms.ngrams import PROBES, text_ids
from transforms.quiet import import_tensorflow

CHUNK = 4096
_LANES = 8
_SHORT = 64  # ids of a row that are sorted by insertion


@dataclasses.dataclass(frozen=True)
class Transformed:
    """What the graph makes of n events.

    Attributes:
      numeric: float32 `[n, K]`, scaled, NaN for null.
      categories: int64 `[n, C]`.
      text: CSR float32 `[n, buckets]`, rows of length 1 (or 0) by the Euclidean norm; None without
        a text input.
    """

    numeric: npt.NDArray[np.float32]
    categories: npt.NDArray[np.int64]
    text: scipy.sparse.csr_matrix | None

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, rows: npt.NDArray[Any]) -> Transformed:
        """Some rows: an index or a mask."""
        text = None if self.text is None else self.text[rows]
        return Transformed(self.numeric[rows], self.categories[rows], text)


class Executor:
    """The loaded graph.

    Args:
      folder: as `transforms.steps.graph.AnalyzeGraph` wrote it.
      spec: the use that it was analysed for.
    """

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder, self.spec = folder, spec
        self._run, self._width = _load(str(folder))
        self._hashes_texts = spec.inputs.text is not None and self._agrees_on_texts(
            spec.inputs.text
        )

    def transform(self, numeric: npt.NDArray[np.float32], batch: pa.RecordBatch) -> Transformed:
        """Applies the graph.

        Args:
          numeric: float32 `[n, K]` (`transforms.inputs.numeric_block`).
          batch: the same n events.

        Raises:
          ValueError: the block and the events differ in rows, or the graph in columns.
        """
        from transforms.graph import TEXT, graph_batch

        count = len(numeric)
        if count != batch.num_rows:
            raise ValueError(f"a numeric block of {count} rows for {batch.num_rows} events")
        if numeric.shape[1] != self._width:
            raise ValueError(
                f"a numeric block of {numeric.shape[1]} columns for a graph of {self._width}"
            )
        arrays = graph_batch(self.spec, numeric, batch)
        own = None
        if self._hashes_texts and self.spec.inputs.text is not None:
            text = self.spec.inputs.text
            own = _bag(*text_ids(batch.column(text.column), text), text.buckets)
            arrays[TEXT] = np.full(count, b"", object)
        parts = [
            self._chunk({name: value[at : at + CHUNK] for name, value in arrays.items()})
            for at in range(0, max(count, 1), CHUNK)
        ]
        if own is None and parts[0].text is not None:
            own = scipy.sparse.vstack([part.text for part in parts], "csr")
        return Transformed(
            np.concatenate([part.numeric for part in parts]),
            np.concatenate([part.categories for part in parts]),
            own,
        )

    def _agrees_on_texts(self, text: TextInput) -> bool:
        """Whether the loaded graph hashes the probes as we do; one of another build may not."""
        from transforms.graph import NUMERIC, TEXT, category_name

        count = len(PROBES)
        arrays: dict[str, npt.NDArray[Any]] = {
            category_name(i): np.full(count, b"", object)
            for i in range(len(self.spec.inputs.categorical))
        }
        arrays[NUMERIC] = np.zeros((count, self._width), np.float32)
        arrays[TEXT] = np.array([probe.encode() for probe in PROBES], object)
        theirs = self._chunk(arrays).text
        ours = _bag(*text_ids(pa.array(PROBES), text), text.buckets)
        return (
            theirs is not None
            and np.array_equal(theirs.indptr, ours.indptr)
            and np.array_equal(theirs.indices, ours.indices)
        )

    def _chunk(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Transformed:
        from transforms.graph import NUMERIC, TEXT, category_name

        count = len(arrays[NUMERIC])
        padded = max(_LANES, -(-count // _LANES) * _LANES)
        made = self._run({name: _pad(value, padded) for name, value in arrays.items()})
        inputs = self.spec.inputs
        categories = [
            made[category_name(i)].numpy()[:count] for i in range(len(inputs.categorical))
        ]
        text = None
        if inputs.text is not None:
            text = _bag(*_ragged(made[TEXT], count), inputs.text.buckets)
        return Transformed(
            made[NUMERIC].numpy()[:count],
            np.stack(categories, 1) if categories else np.empty((count, 0), np.int64),
            text,
        )


def _pad(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if len(values) == size:
        return values
    padded = np.zeros((size, *values.shape[1:]), values.dtype)
    if values.dtype == object:
        padded[:] = b""
    padded[: len(values)] = values
    return padded


def _ragged(sparse: Any, count: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Values of a sparse tensor, and where each row's begin."""
    rows = sparse.indices.numpy()[:, 0]  # ascending
    return sparse.values.numpy(), np.searchsorted(rows, np.arange(count + 1))


def _bag(
    values: npt.NDArray[Any], starts: npt.NDArray[np.int64], buckets: int
) -> scipy.sparse.csr_matrix:
    """N-gram ids as a set per row, scaled to length 1: CSR float32 `[n, buckets]`."""
    ids = np.empty(starts[-1], np.int32)
    weights = np.empty(starts[-1], np.float32)
    ends = _sets(values, starts, ids, weights)
    made = ends[-1]
    shape = (len(starts) - 1, buckets)
    return scipy.sparse.csr_matrix((weights[:made], ids[:made], ends), shape=shape)


@numba.njit(cache=True, nogil=True)
def _sets(values, starts, ids, weights):  # type: ignore[no-untyped-def]
    """Sorts each row's ids, each once; writes them and 1 / sqrt(how many); returns rows' ends."""
    ends = np.zeros(len(starts), np.int32)
    at = 0
    for row in range(len(starts) - 1):
        held = values[starts[row] : starts[row + 1]].astype(np.int32)
        if len(held) > _SHORT:
            held.sort()
        else:
            for place in range(1, len(held)):
                one, low = held[place], place
                while low > 0 and held[low - 1] > one:
                    held[low] = held[low - 1]
                    low -= 1
                held[low] = one
        begin = at
        for one in held:
            if at == begin or ids[at - 1] != one:
                ids[at] = one
                at += 1
        for place in range(begin, at):
            weights[place] = np.float32(1.0 / np.sqrt(at - begin))
        ends[row + 1] = at
    return ends


def _load(folder: str) -> tuple[Any, int]:
    """The graph as one `tf.function`, and K: 0.9 ms per 1000 rows, where op by op takes 12.7.

    Never kept by path: every nightly run analyses anew into the same folder.
    """
    import_tensorflow()
    import tensorflow as tf
    import tensorflow_transform as tft

    from transforms.graph import NUMERIC

    output = tft.TFTransformOutput(folder)
    layer = output.transform_features_layer()
    signature = {
        name: tf.TensorSpec([None, *feature.shape], feature.dtype, name=name)
        for name, feature in output.raw_feature_spec().items()
    }

    @tf.function(input_signature=[signature], reduce_retracing=True)
    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = layer(inputs)
        return made

    return run, int(signature[NUMERIC].shape[1])
