"""A sentence encoder in the place of hashed n-grams: each text becomes a vector of length 1.

A text is encoded alone, in a shape that its own length decides (`padded_width`), on one thread. So
its bits do not depend on the texts beside it, on the batch, or on how many cores there are. What
runs the network is handed in (`transforms.encoder_model`); here is only what is done around it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse

from configs.schema import Spec

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

ENCODER = "encoder"
"""The folder of its files, within that of the analysed graph."""
LEAST_WIDTH = 16


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A network with the tokens that it reads.

    Attributes:
      tokenize: the ids of a text, first and last mark included, at most `tokens`.
      forward: of ids and mask, int64 `[1, width]`: the last layer, float32 `[width, size]`.
      size: of a vector.
      tokens: most tokens of a text that are read.
      pad: the id that fills a shape up.
    """

    tokenize: Callable[[str], list[int]]
    forward: Callable[[Ids, Ids], Floats]
    size: int
    tokens: int
    pad: int

    def encode(self, texts: pa.Array) -> scipy.sparse.csr_matrix:
        """Vectors of texts: CSR float32 `[n, size]`, of length 1; zeros for null and no token.

        A text that occurs several times is encoded once.
        """
        kept = texts.dictionary_encode()
        known = [self._vector(text) for text in kept.dictionary.to_pylist()]
        codes = kept.indices.fill_null(-1).to_numpy()
        empty = np.empty(0, np.float32)
        rows = [known[code] if code >= 0 else empty for code in codes]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        data = np.concatenate(rows) if rows else empty
        indices = np.tile(np.arange(self.size, dtype=np.int32), len(data) // self.size)
        return scipy.sparse.csr_matrix((data, indices, starts), shape=(len(rows), self.size))

    def _vector(self, text: str) -> Floats:
        if not text or text.isspace():
            return np.empty(0, np.float32)
        ids = self.tokenize(text)
        if not ids:  # of characters that the tokenizer drops, where it adds no marks of its own
            return np.empty(0, np.float32)
        width = padded_width(len(ids), self.tokens)
        padded, mask = np.full((1, width), self.pad, np.int64), np.zeros((1, width), np.int64)
        padded[0, : len(ids)], mask[0, : len(ids)] = ids, 1
        return mean_of(self.forward(padded, mask), len(ids))


def padded_width(count: int, most: int) -> int:
    """How many places a text of so many tokens is given: a power of two, from 16, or `most`.

    >>> [padded_width(count, 100) for count in (2, 16, 17, 60, 65, 100)]
    [16, 16, 32, 64, 100, 100]
    """
    width = LEAST_WIDTH
    while width < count:
        width *= 2
    return min(width, most)


def mean_of(hidden: Floats, count: int) -> Floats:
    """The mean of the vectors of a text's own tokens, scaled to length 1: float32 `[size]`.

    Sentence-BERT's mean pooling (Reimers, Gurevych, EMNLP 2019), in float64.

    Args:
      hidden: float32 `[width, size]`.
      count: tokens of the text; the rest are padding.

    >>> mean_of(np.array([[3, 0], [3, 8], [9, 9]], np.float32), 2).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    mean = hidden[:count].astype(np.float64).sum(0) / count
    length = np.sqrt(np.sum(mean * mean))
    return np.asarray(mean / length if length > 0 else mean, np.float32)


def graph_spec(spec: Spec) -> Spec:
    """What the TFT graph is of: a text that an encoder reads is no part of it."""
    inputs: Any = spec.inputs
    if inputs.text is None or not inputs.text.encoder:
        return spec
    return dataclasses.replace(spec, inputs=dataclasses.replace(inputs, text=None))
