"""The TFT graph: the numeric block scaled, categories looked up, text hashed to n-gram ids.

What enters: tensors `numeric` float32 `[batch, K]`, one string tensor per categorical column, and
one for the text. What leaves: `numeric` float32 `[batch, K]` (null stays NaN), `category_i` int64
`[batch]`, and `text` as sparse n-gram ids. `make_preprocessing_fn` builds it from a spec; TFT
analyses it once per training (`pipelines.analyze`) and the saved result serves
(`transforms.constants`).

The numeric block is one vector, not K scalars (400k rows x 60: 9 s against minutes, DESIGN
section 4), and its moments and the vocabularies are found by analyzers of ours that take whole
batches at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft

from configs.schema import Categorical, Spec, TextInput
from transforms.constants import HASH_SPACE

NUMERIC, TEXT = "numeric", "text"

_BETWEEN_WORDS = r"[^\pL\pM\pN_]+"

QUANTILES = 100
"""How many intervals quantile scaling has."""

Tensors = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


def category_name(index: int) -> str:
    """The graph's name for the i-th categorical column, in and out.

    >>> category_name(0)
    'category_0'
    """
    return f"category_{index}"


def make_preprocessing_fn(spec: Spec) -> Callable[[Tensors], dict[str, Any]]:
    """The graph of a spec, for TFT.

    Args:
      spec: its `inputs` say everything; K comes with the tensors.
    """

    def preprocessing_fn(inputs: Tensors) -> dict[str, Any]:
        outputs = {NUMERIC: scale(inputs[NUMERIC], spec.inputs.scaling)}
        for index, categorical in enumerate(spec.inputs.categorical):
            name = category_name(index)
            outputs[name] = look_up(inputs[name], categorical, name)
        if spec.inputs.text is not None:
            outputs[TEXT] = hash_ngrams(inputs[TEXT], spec.inputs.text)
        return outputs

    return preprocessing_fn


def scale(numeric: Any, how: str) -> Any:
    """The numeric block scaled column by column; NaN stays NaN.

    z-score: less the mean, divided by the standard deviation (1 where it is 0), both of the values
    that are there; what overflows becomes the largest float32. Quantile: the share of `QUANTILES`
    intervals that lie below, from 0 to 0.99.

    Args:
      numeric: float32 `[batch, K]`.
      how: "zscore", "quantile" or "none".
    """
    width = numeric.shape[1]
    if how == "none" or width == 0:
        return tf.identity(numeric)
    if how == "zscore":
        mean, deviation = tft.experimental.ptransform_analyzer(
            [numeric], _Moments(width), [tf.float32, tf.float32], [[width], [width]]
        )
        scaled = (numeric - mean) / deviation
        # One value sent to overflow must not stop a training run: XGBoost learns from no infinity.
        return tf.where(tf.math.is_inf(scaled), tf.sign(scaled) * scaled.dtype.max, scaled)
    (bounds,) = tft.experimental.ptransform_analyzer(
        [numeric], _Quantiles(width), [tf.float32], [[width, QUANTILES - 1]]
    )
    columns = tf.transpose(numeric)
    ranks = tf.cast(tf.searchsorted(bounds, columns, side="right"), tf.float32) / QUANTILES
    return tf.transpose(tf.where(tf.math.is_nan(columns), columns, ranks))


def look_up(values: Any, categorical: Categorical, name: str) -> Any:
    """Ids of strings: frequent ones from 0 on, others hashed into the buckets after them.

    Args:
      values: string `[batch]`; null is "".
      categorical: size of the vocabulary, buckets, least frequency.
      name: of the vocabulary's file.
    """
    hashes = tf.strings.to_hash_bucket_fast(values, HASH_SPACE)
    known, places = tft.experimental.ptransform_analyzer(
        [values, hashes],
        _Vocabulary(categorical.vocabulary, categorical.min_frequency),
        [tf.int64, tf.int64],
        [[None], [None]],
        name=name,
    )
    # A binary search in sorted hashes: a table would need a file, equality a matrix.
    at = tf.minimum(tf.searchsorted(known, hashes), tf.size(known) - 1)
    found = tf.equal(tf.gather(known, at), hashes)
    size = tf.size(known, tf.int64) - 1  # the last entry stands for nothing, so none is empty
    other = size + tf.strings.to_hash_bucket_fast(values, categorical.oov_buckets)
    return tf.where(found, tf.gather(places, at), other)


def hash_ngrams(texts: Any, text: TextInput) -> Any:
    """Hashed ids of a text's word n-grams, and of character n-grams if asked for.

    FarmHash64 (`tf.strings.to_hash_bucket_fast`, stable by its documentation) into `buckets`. Words
    are as `tokens` says; the first `max_tokens` count. Character n-grams are taken within what
    white space parts, with a space at each end (scikit-learn's "char_wb"), punctuation and all.

    Args:
      texts: string `[batch]`; null is "".
      text: sizes.

    Returns:
      Sparse int64 `[batch, most n-grams]`.
    """
    parts = tf.strings.split(texts)[:, : text.max_tokens]
    words = parts if text.tokens == "spaces" else split_words(texts)[:, : text.max_tokens]
    low, high = text.word_ngrams
    grams = [words if n == 1 else tf.strings.ngrams(words, n) for n in range(low, high + 1)]
    if text.char_ngrams is not None:
        padded = tf.strings.join([" ", parts.flat_values, " "])
        letters = tf.strings.unicode_split(padded, "UTF-8")
        low, high = text.char_ngrams
        for n in range(low, high + 1):
            within = tf.strings.ngrams(letters, n, separator="")
            by_text = tf.RaggedTensor.from_nested_row_splits(
                within.flat_values, [parts.row_splits, within.row_splits]
            )
            # The width goes into the hashed string: "ab" as a word is no character pair.
            grams.append(tf.strings.join([f"{n}\x00", by_text.merge_dims(1, 2)]))
    ids = [
        one.with_values(tf.strings.to_hash_bucket_fast(one.flat_values, text.buckets))
        for one in grams
    ]
    return tf.concat(ids, 1).to_sparse()


def split_words(texts: Any) -> Any:
    """Runs of two or more letters, digits and underscores: ragged strings `[batch, words]`.

    scikit-learn's default, ``\\w\\w+``, but for one thing: marks belong to their letters (Python's
    ``\\w`` cuts the words of Hindi and of Arabic at their vowels).

    Args:
      texts: string `[batch]`.
    """
    words = tf.strings.split(tf.strings.regex_replace(texts, _BETWEEN_WORDS, " "))
    long = tf.strings.length(words.flat_values, unit="UTF8_CHAR") > 1
    return tf.ragged.boolean_mask(words, words.with_values(long))


def graph_batch(
    spec: Spec, numeric: npt.NDArray[np.float32], batch: pa.RecordBatch
) -> dict[str, Any]:
    """What the graph takes of some scored events: arrays by tensor name.

    Args:
      spec: the use.
      numeric: float32 `[n, K]`.
      batch: events `[n]` with the categorical and text columns.
    """
    arrays: dict[str, Any] = {NUMERIC: numeric}
    for index, categorical in enumerate(spec.inputs.categorical):
        arrays[category_name(index)] = to_bytes(batch.column(categorical.column))
    if spec.inputs.text is not None:
        arrays[TEXT] = to_bytes(batch.column(spec.inputs.text.column))
    return arrays


def to_bytes(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """Strings as an object array of bytes, as TensorFlow takes them; null is b"".

    >>> to_bytes(pa.array(["a", None])).tolist()
    [b'a', b'']
    """
    plain = array.cast(pa.binary()).fill_null(b"")
    values: npt.NDArray[np.object_] = plain.to_numpy(zero_copy_only=False)
    return values


class _Moments(beam.PTransform):
    """Mean and standard deviation per column, without NaN, in float64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def expand(self, pcoll: Any) -> Any:
        merged = pcoll | beam.CombineGlobally(_MomentsFn(self._width))
        mean = merged | "Mean" >> beam.Map(lambda made: made[0])
        deviation = merged | "Deviation" >> beam.Map(lambda made: made[1])
        return mean, deviation


Moments = tuple[Floats, Floats, Floats]
"""Of some rows, per column: count, mean, sum of squared deviations."""


class _MomentsFn(beam.CombineFn):
    """Gathers each batch's moments, and merges them in an order of their own at the end.

    Float sums depend on their order, and that in which batches come on the runner; a batch's
    moments are three numbers a column, so all of them fit.
    """

    def __init__(self, width: int) -> None:
        self._width = width

    def create_accumulator(self) -> list[Moments]:
        return []

    def add_input(self, accumulator: list[Moments], element: Iterable[Any]) -> list[Moments]:
        (block,) = element
        values = np.asarray(block, np.float64)
        known = ~np.isnan(values)
        count = known.sum(0).astype(np.float64)
        filled = np.where(known, values, 0.0)
        mean = filled.sum(0) / np.maximum(count, 1)
        spread = (np.where(known, values - mean, 0.0) ** 2).sum(0)
        accumulator.append((count, mean, spread))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Moments]]) -> list[Moments]:
        return [moments for one in accumulators for moments in one]

    def extract_output(
        self, accumulator: list[Moments]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        merged: Moments = (np.zeros(self._width), np.zeros(self._width), np.zeros(self._width))
        for one in sorted(accumulator, key=lambda moments: b"".join(m.tobytes() for m in moments)):
            merged = _merge_moments(merged, one)
        count, mean, spread = merged
        deviation = np.sqrt(spread / np.maximum(count, 1)).astype(np.float32)
        tiny = ~(deviation > np.abs(mean).astype(np.float32) * 1e-6)  # a constant, but for rounding
        return mean.astype(np.float32), np.where(tiny, np.float32(1), deviation)


def _merge_moments(one: Moments, other: Moments) -> Moments:
    """Chan, Golub and LeVeque's pairwise update (1983)."""
    count = one[0] + other[0]
    safe = np.maximum(count, 1)
    delta = other[1] - one[1]
    mean = one[1] + delta * other[0] / safe
    spread = one[2] + other[2] + delta**2 * one[0] * other[0] / safe
    return count, mean, spread


class _Quantiles(beam.PTransform):
    """Bounds of equally full intervals per column; exact, of the rows that are analysed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def expand(self, pcoll: Any) -> Any:
        width = self._width
        return (
            pcoll
            | "Blocks" >> beam.Map(lambda element: np.asarray(element[0], np.float32))
            | beam.CombineGlobally(_Stack())
            | "Bounds" >> beam.Map(lambda blocks: _bounds(blocks, width)),
        )


class _Stack(beam.CombineFn):
    """Gathers blocks of rows."""

    def create_accumulator(self) -> list[npt.NDArray[np.float32]]:
        return []

    def add_input(
        self, accumulator: list[npt.NDArray[np.float32]], element: npt.NDArray[np.float32]
    ) -> list[npt.NDArray[np.float32]]:
        accumulator.append(element)
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[list[npt.NDArray[np.float32]]]
    ) -> list[npt.NDArray[np.float32]]:
        return [block for one in accumulators for block in one]

    def extract_output(
        self, accumulator: list[npt.NDArray[np.float32]]
    ) -> list[npt.NDArray[np.float32]]:
        return accumulator


def _bounds(blocks: list[npt.NDArray[np.float32]], width: int) -> npt.NDArray[np.float32]:
    rows = np.concatenate(blocks) if blocks else np.empty((0, width), np.float32)
    shares = np.arange(1, QUANTILES) / QUANTILES
    bounds = np.zeros((width, QUANTILES - 1), np.float32)
    for column in range(width):
        values = np.sort(rows[~np.isnan(rows[:, column]), column])
        if len(values):
            bounds[column] = values[np.minimum((shares * len(values)).astype(int), len(values) - 1)]
    return bounds


class _Vocabulary(beam.PTransform):
    """The most frequent strings, ties by their bytes, as sorted hashes and their places."""

    def __init__(self, size: int, least: int) -> None:
        super().__init__()
        self._size, self._least = size, least

    def expand(self, pcoll: Any) -> Any:
        size, least = self._size, self._least
        made = (
            pcoll
            | beam.CombineGlobally(_CountStrings())
            | "Sort" >> beam.Map(lambda counts: sorted_places(counts, size, least))
        )
        hashes = made | "Hashes" >> beam.Map(lambda pair: pair[0])
        places = made | "Places" >> beam.Map(lambda pair: pair[1])
        return hashes, places


Counts = dict[bytes, tuple[int, int]]
"""String -> how often it came, and its hash."""


def most_frequent(counts: Mapping[bytes, tuple[int, int]], size: int, least: int) -> list[bytes]:
    """At most `size` strings that came at least `least` times, most frequent first.

    Null, which is "", is a value like any other.

    >>> most_frequent({b"b": (2, 0), b"a": (2, 0), b"c": (1, 0), b"": (9, 0)}, 10, 2)
    [b'', b'a', b'b']
    """
    kept = [(-count, text) for text, (count, _) in counts.items() if count >= least]
    return [text for _, text in sorted(kept)[:size]]


def sorted_places(
    counts: Mapping[bytes, tuple[int, int]], size: int, least: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A vocabulary's hashes, ascending, and their places; one more entry stands for nothing."""
    chosen = [counts[text][1] for text in most_frequent(counts, size, least)]
    hashes = np.array([*chosen, HASH_SPACE], np.int64)
    order = np.argsort(hashes, kind="stable")
    return hashes[order], order.astype(np.int64)


class _CountStrings(beam.CombineFn):
    """Counts strings; a batch is counted by Arrow at once."""

    def create_accumulator(self) -> Counts:
        return {}

    def add_input(self, accumulator: Counts, element: Iterable[Any]) -> Counts:
        values, hashes = (np.asarray(one).ravel() for one in element)
        encoded = pa.array(values, pa.binary()).dictionary_encode()
        codes = encoded.indices.to_numpy()
        counts = np.bincount(codes, minlength=len(encoded.dictionary))
        hash_of = np.zeros(len(counts), np.int64)
        hash_of[codes] = hashes
        texts = encoded.dictionary.to_pylist()
        for text, count, hashed in zip(texts, counts.tolist(), hash_of.tolist(), strict=True):
            accumulator[text] = (accumulator.get(text, (0, 0))[0] + count, hashed)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        merged: Counts = {}
        for one in accumulators:
            for text, (count, hashed) in one.items():
                merged[text] = (merged.get(text, (0, 0))[0] + count, hashed)
        return merged

    def extract_output(self, accumulator: Counts) -> Counts:
        return accumulator
