"""The analysed TFT graph as TensorFlow runs it, and what analysis found in it.

TensorFlow takes seconds to import. So whoever analyses also writes down the constants of the graph
(`write_constants`), and `transforms.constants` makes the same bits of them in compiled code. The
graph stays what is true: constants are written only where both give the same bits for `probes`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse

from configs.schema import EVENT_ID, Spec
from transforms.constants import (
    CONSTANTS,
    Constants,
    Transformed,
    apply_constants,
    bag,
    same_bits,
)
from transforms.graph import NUMERIC, TEXT, category_name, graph_batch
from transforms.ngrams import PROBES
from transforms.quiet import import_tensorflow

CHUNK = 4096
_LANES = 8
_PROBED = 128


class SavedGraph:
    """The loaded graph. A row's bits do not depend on the batch that it is in.

    Kernels of TensorFlow take rows eight at a time and the rest one by one, and a few give other
    last bits in the rest (DESIGN section 4): batches are padded to a multiple of eight, and cut at
    `CHUNK` rows, so the rest is always empty.

    Args:
      folder: as `transforms.steps.graph.AnalyzeGraph` wrote it.
      spec: the use that it was analysed for.
    """

    def __init__(self, folder: Path | str, spec: Spec) -> None:
        self.spec = spec
        self._run, self.width = _load(str(folder))
        self._constants = _find_constants(str(folder), spec, self.width)

    def transform(self, numeric: npt.NDArray[np.float32], batch: pa.RecordBatch) -> Transformed:
        """Applies the graph; see `Executor.transform`."""
        arrays = graph_batch(self.spec, numeric, batch)
        parts = [
            self._chunk({name: value[at : at + CHUNK] for name, value in arrays.items()})
            for at in range(0, max(len(numeric), 1), CHUNK)
        ]
        texts = [part.text for part in parts if part.text is not None]
        return Transformed(
            np.concatenate([part.numeric for part in parts]),
            np.concatenate([part.categories for part in parts]),
            scipy.sparse.vstack(texts, "csr") if texts else None,
        )

    def constants(self) -> Constants | None:
        """The graph's constants, if compiled code makes the graph's bits of them; else None."""
        found = self._constants
        if found is None:
            return None
        numeric, batch = probes(self.spec, found)
        made = apply_constants(self.spec, found, numeric, batch)
        return found if same_bits(made, self.transform(numeric, batch)) else None

    def _chunk(self, arrays: dict[str, npt.NDArray[Any]]) -> Transformed:
        count = len(arrays[NUMERIC])
        padded = max(_LANES, -(-count // _LANES) * _LANES)
        made = self._run({name: _pad(value, padded) for name, value in arrays.items()})
        inputs = self.spec.inputs
        categories = [
            made[category_name(i)].numpy()[:count] for i in range(len(inputs.categorical))
        ]
        text = None
        if inputs.text is not None:
            text = bag(*_ragged(made[TEXT], count), inputs.text.buckets)
        return Transformed(
            made[NUMERIC].numpy()[:count],
            np.stack(categories, 1) if categories else np.empty((count, 0), np.int64),
            text,
        )


def write_constants(folder: str, spec: Spec) -> None:
    """Writes an analysed graph's constants beside it, where compiled code makes its bits of them.

    Args:
      folder: of the graph; of this machine or of a filesystem that TensorFlow knows.
      spec: the use that it was analysed for.
    """
    import_tensorflow()
    import tensorflow as tf

    constants = SavedGraph(folder, spec).constants()
    if constants is not None:
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **constants.arrays())
        with tf.io.gfile.GFile(f"{folder.rstrip('/')}/{CONSTANTS}", "wb") as file:
            file.write(data.getvalue())


def probes(spec: Spec, constants: Constants) -> tuple[npt.NDArray[np.float32], pa.RecordBatch]:
    """Rows for which graph and compiled code are compared: float32 `[n, K]`, and their events.

    Numbers about the means, the bounds themselves, and those at which float32 ends; the texts of
    `transforms.ngrams.PROBES` as texts and categories.
    """
    rng = np.random.default_rng(0)
    usual = constants.mean + constants.deviation * rng.standard_normal((_PROBED, constants.width))
    bounds = constants.bounds.T
    rows = [usual, usual * 10.0 ** rng.integers(-30, 30, usual.shape), bounds]
    rows += [np.nextafter(bounds, np.float32(to)) for to in (-np.inf, np.inf)]
    ends = (0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-38, 3.4028235e38, -3.4028235e38)
    rows += [np.full((1, constants.width), value) for value in ends]
    with np.errstate(over="ignore"):
        numeric = np.concatenate(rows).astype(np.float32)
    texts = pa.array([PROBES[i % len(PROBES)] for i in range(len(numeric))])
    names = [one.column for one in spec.inputs.categorical]
    names += [spec.inputs.text.column] if spec.inputs.text else []
    columns = {EVENT_ID: texts, **dict.fromkeys(names, texts)}
    return numeric, pa.RecordBatch.from_pydict(columns)


def _load(folder: str) -> tuple[Any, int]:
    """The graph as one `tf.function`, and K: 0.9 ms per 1000 rows, where op by op takes 12.7.

    Never kept by path: every nightly run analyses anew into the same folder.
    """
    import_tensorflow()
    import tensorflow as tf
    import tensorflow_transform as tft

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


def _find_constants(folder: str, spec: Spec, width: int) -> Constants | None:
    """What analysis put into a graph of `transforms.graph`; None: it is made otherwise."""
    import tensorflow as tf

    function = tf.saved_model.load(f"{folder.rstrip('/')}/transform_fn").transform_fn
    captured = function.captured_inputs
    placeholders = function.graph.inputs[len(function.graph.inputs) - len(captured) :]
    values = {
        placeholder.name: value
        for placeholder, value in zip(placeholders, captured, strict=True)
        if value.dtype in (tf.float32, tf.int64)
    }
    outputs = dict(
        zip(sorted(function.structured_outputs), function.graph.outputs, strict=False)
    )  # `text`, of several tensors, comes last
    try:
        found = [
            _vocabulary(outputs[category_name(i)], values)
            for i in range(len(spec.inputs.categorical))
        ]
        scaling = spec.inputs.scaling if width else "none"
        mean, deviation = np.zeros(width, np.float32), np.ones(width, np.float32)
        bounds = np.empty((width, 0), np.float32)
        if scaling == "zscore":
            scaled = _operation(_operation(outputs[NUMERIC], "SelectV2").inputs[2], "RealDiv")
            mean = _value(_operation(scaled.inputs[0], "Sub").inputs[1], values)
            deviation = _value(scaled.inputs[1], values)
        elif scaling == "quantile":
            turned = _operation(outputs[NUMERIC], "Transpose")
            ranks = _operation(_operation(turned.inputs[0], "SelectV2").inputs[2], "RealDiv")
            place = _operation(_operation(ranks.inputs[0], "Cast").inputs[0], "Reshape")
            search = _operation(place.inputs[0], "UpperBound")
            bounds = _value(_operation(search.inputs[0], "Reshape").inputs[0], values)
    except LookupError:
        return None
    return Constants(mean, deviation, bounds, tuple(found))


def _vocabulary(output: Any, values: dict[str, Any]) -> tuple[Any, Any]:
    """Of `look_up`: known hashes and their places."""
    chosen = _operation(output, "SelectV2")
    equal = _operation(chosen.inputs[0], "Equal")
    known = _operation(equal.inputs[0], "GatherV2").inputs[0]
    _operation(equal.inputs[1], "StringToHashBucketFast")
    places = _operation(chosen.inputs[1], "GatherV2").inputs[0]
    _operation(chosen.inputs[2], "AddV2")
    return _value(known, values), _value(places, values)


def _operation(tensor: Any, kind: str) -> Any:
    operation = tensor.op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    if operation.type != kind:
        raise LookupError(kind)
    return operation


def _value(tensor: Any, values: dict[str, Any]) -> Any:
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return values[tensor.name].numpy()


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
