"""What the analysis of a TFT graph found, and compiled code that applies it, bit for bit.

Every operation is of one row, so a row's bits do not depend on the batch that it is in.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse

from configs.schema import Spec
from transforms.ngrams import string_hashes, text_ids

CONSTANTS = "constants.npz"
HASH_SPACE = 1 << 62
"""Strings are looked up by FarmHash64 in so many buckets."""

_LEAST_NORMAL = np.float32(np.finfo(np.float32).tiny)
_SHORT = 64  # ids of a row that are sorted by insertion

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Transformed:
    """What the graph makes of n events.

    Attributes:
      numeric: float32 `[n, K]`, scaled, NaN for null.
      categories: int64 `[n, C]`.
      text: CSR float32 `[n, buckets]`, or `[n, size]` of an encoder's vectors, rows of length 1 (or
        0) by the Euclidean norm; None without a text input.
    """

    numeric: Floats
    categories: Int64s
    text: scipy.sparse.csr_matrix | None

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, rows: npt.NDArray[Any]) -> Transformed:
        """Some rows: an index or a mask."""
        text = None if self.text is None else self.text[rows]
        return Transformed(self.numeric[rows], self.categories[rows], text)


@dataclasses.dataclass(frozen=True)
class Constants:
    """What analysis found.

    Attributes:
      mean, deviation: float32 `[K]`, for z-scores; 0 and 1 otherwise.
      bounds: float32 `[K, QUANTILES - 1]`, for quantiles; `[K, 0]` otherwise.
      vocabularies: per category, int64: known hashes, ascending, and their places.
    """

    mean: Floats
    deviation: Floats
    bounds: Floats
    vocabularies: tuple[tuple[Int64s, Int64s], ...]

    @property
    def width(self) -> int:
        """K."""
        return len(self.mean)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """By name, for a file."""
        made: dict[str, npt.NDArray[Any]] = {
            "mean": self.mean, "deviation": self.deviation, "bounds": self.bounds
        }  # fmt: skip
        for index, (known, places) in enumerate(self.vocabularies):
            made |= {f"known_{index}": known, f"places_{index}": places}
        return made

    @classmethod
    def read(cls, path: Path) -> Constants:
        """The reverse of `arrays`."""
        with np.load(path, allow_pickle=False) as found:
            count = sum(name.startswith("known_") for name in found)
            return cls(
                found["mean"],
                found["deviation"],
                found["bounds"],
                tuple((found[f"known_{i}"], found[f"places_{i}"]) for i in range(count)),
            )


def apply_constants(
    spec: Spec, constants: Constants, numeric: Floats, batch: pa.RecordBatch
) -> Transformed:
    """What `transforms.graph.make_preprocessing_fn` does, in compiled code.

    Args:
      spec: its `inputs` say everything.
      constants: of the analysed graph.
      numeric: float32 `[n, K]`.
      batch: the same n events.
    """
    inputs = spec.inputs
    categories = np.empty((len(numeric), len(inputs.categorical)), np.int64)
    for index, one in enumerate(inputs.categorical):
        hashes = string_hashes(batch.column(one.column))
        known, places = constants.vocabularies[index]
        looked_up = _look_up(hashes, known, places, np.uint64(one.oov_buckets))
        categories[:, index] = looked_up
    text = None
    if inputs.text is not None:
        text = bag(*text_ids(batch.column(inputs.text.column), inputs.text), inputs.text.buckets)
    return Transformed(_scale(numeric, constants, inputs.scaling), categories, text)


def same_bits(one: Transformed, other: Transformed) -> bool:
    """Whether two are equal as bytes: NaN equals NaN, 0.0 does not equal -0.0."""
    if one.numeric.tobytes() != other.numeric.tobytes():
        return False
    if not np.array_equal(one.categories, other.categories):
        return False
    if one.text is None or other.text is None:
        return one.text is other.text
    return all(
        getattr(one.text, part).tobytes() == getattr(other.text, part).tobytes()
        for part in ("data", "indices", "indptr")
    )


def bag(values: npt.NDArray[Any], starts: Int64s, buckets: int) -> scipy.sparse.csr_matrix:
    """N-gram ids as a set per row, scaled to length 1: CSR float32 `[n, buckets]`."""
    ids = np.empty(starts[-1], np.int32)
    weights = np.empty(starts[-1], np.float32)
    ends = _sets(values, starts, ids, weights)
    made = ends[-1]
    shape = (len(starts) - 1, buckets)
    return scipy.sparse.csr_matrix((weights[:made], ids[:made], ends), shape=shape)


def _scale(numeric: Floats, constants: Constants, how: str) -> Floats:
    made: Floats = numeric
    if how == "zscore":
        made = _z_scores(numeric, constants.mean, constants.deviation)
    elif how == "quantile":
        # TensorFlow multiplies by the reciprocal of a constant that it is to divide by.
        share = np.float32(1) / np.float32(constants.bounds.shape[1] + 1)
        made = _shares(numeric, constants.bounds, share)
    return made


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _z_scores(numeric, mean, deviation):  # type: ignore[no-untyped-def]
    made = np.empty_like(numeric)
    largest = np.float32(np.finfo(np.float32).max)
    for row in range(len(numeric)):
        for column in range(numeric.shape[1]):
            less = _flushed(_flushed(numeric[row, column]) - _flushed(mean[column]))
            scaled = _flushed(less / _flushed(deviation[column]))
            if np.isinf(scaled):
                scaled = largest if scaled > 0 else -largest
            made[row, column] = scaled
    return made


@numba.njit(cache=True, nogil=True)
def _flushed(value):  # type: ignore[no-untyped-def]
    """TensorFlow takes what is smaller than a normal number for zero, and keeps the sign."""
    return np.float32(0) * value if abs(value) < _LEAST_NORMAL else value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _shares(numeric, bounds, share):  # type: ignore[no-untyped-def]
    made = np.empty_like(numeric)
    for row in range(len(numeric)):
        for column in range(numeric.shape[1]):
            value = numeric[row, column]
            if np.isnan(value):
                made[row, column] = value
            else:
                rank = np.searchsorted(bounds[column], value, side="right")
                made[row, column] = np.float32(rank) * share
    return made


@numba.njit(cache=True, nogil=True)
def _look_up(hashes, known, places, buckets):  # type: ignore[no-untyped-def]
    """Places of known strings; others go to the buckets after them."""
    made = np.empty(len(hashes), np.int64)
    last = len(known) - 1  # the last entry stands for nothing
    for row in range(len(hashes)):
        hashed = np.int64(hashes[row] % np.uint64(HASH_SPACE))
        at = min(np.searchsorted(known, hashed), last)
        if known[at] == hashed:
            made[row] = places[at]
        else:
            made[row] = last + np.int64(hashes[row] % buckets)
    return made


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
