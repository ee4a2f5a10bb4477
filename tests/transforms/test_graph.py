"""The graph's parts, each against a plain Python or numpy account of what it should do."""

import functools
import math
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from graph_world import SHIPPED, WORDS, analysed, as_batch, make_rows, shipped_spec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.schema import TextInput
from transforms.executor import Executor
from transforms.quiet import import_tensorflow

import_tensorflow()

import tensorflow as tf  # noqa: E402

from transforms.graph import (  # noqa: E402
    QUANTILES,
    _bounds,
    _CountStrings,
    _MomentsFn,
    graph_batch,
    hash_ngrams,
    most_frequent,
    sorted_places,
    split_words,
)

BUCKETS = 4096
texts = st.lists(st.text(max_size=40) | st.lists(st.sampled_from(WORDS)).map(" ".join), max_size=6)


def grams(text, how):
    """The strings that a text is hashed by."""
    parts = text.encode().split()[: how.max_tokens]
    words = parts if how.tokens == "spaces" else plain_words(text)[: how.max_tokens]
    low, high = how.word_ngrams
    found = [
        b" ".join(words[i : i + n]) for n in range(low, high + 1) for i in range(len(words) - n + 1)
    ]
    if how.char_ngrams:
        low, high = how.char_ngrams
        for n in range(low, high + 1):
            for word in parts:
                padded = f" {word.decode()} "
                found += [f"{n}\0{padded[i : i + n]}".encode() for i in range(len(padded) - n + 1)]
    return found


def plain_words(text):
    """Runs of two or more letters, marks, numbers and underscores."""
    apart = "".join(c if c == "_" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return [word.encode() for word in apart.split() if len(word) > 1]


def ascii_spaces(text):
    """Only what TensorFlow takes for white space parts words; `bytes.split` takes the same."""
    return text.replace("\x0b", "").replace("\x0c", "").replace("\x1c", "")


HOWS = [
    TextInput("t", BUCKETS, (1, 1), None, 5),
    TextInput("t", BUCKETS, (1, 2), None, 8),
    TextInput("t", BUCKETS, (2, 3), (1, 2), 8),
    TextInput("t", BUCKETS, (1, 2), (3, 5), 256),
    TextInput("t", BUCKETS, (1, 2), None, 8, "words"),
    TextInput("t", BUCKETS, (1, 1), (3, 5), 256, "words"),
]


@functools.lru_cache(maxsize=len(HOWS))
def traced(how):
    """The n-grams as one graph, as they serve."""
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(lambda t: hash_ngrams(t, how), input_signature=signature)


@pytest.mark.parametrize("how", HOWS, ids=str)
@settings(max_examples=30)
@given(batch=texts)
def test_ngrams_are_those_of_the_plain_account(how, batch):
    batch = [ascii_spaces(text) for text in batch]
    if how.tokens == "words":  # TensorFlow and Python know the new characters of other years
        batch = ["".join(c for c in text if ord(c) < 256) for text in batch]
    data = tf.constant([text.encode() for text in batch], tf.string)
    made = traced(how)(data)
    rows = made.indices.numpy()[:, 0]
    ids = made.values.numpy()
    for row, text in enumerate(batch):
        expected = grams(text, how)
        hashed = tf.strings.to_hash_bucket_fast(tf.constant(expected, tf.string), BUCKETS).numpy()
        assert sorted(ids[rows == row].tolist()) == sorted(hashed.tolist())
    assert made.shape[0] == len(batch)


def test_punctuation_parts_words_and_single_characters_are_none():
    texts = ["FREE!!!entry, a 2-for-1 at www.win_it.com", "मुफ़्त में", "¿año?\u200b日本 x", "", "!!"]
    made = split_words(tf.constant(texts)).to_list()
    assert [[word.decode() for word in words] for words in made] == [
        ["FREE", "entry", "for", "at", "www", "win_it", "com"],
        ["मुफ़्त", "में"],
        ["año", "日本"],
        [],
        [],
    ]


def test_hashes_are_the_same_in_every_release():
    words = tf.constant([b"", b"win", b"win money", "日本".encode()])
    made = tf.strings.to_hash_bucket_fast(words, 65_536).numpy().tolist()
    assert made == [16463, 47854, 35905, 19403]


blocks = st.lists(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=2, max_size=2),
    max_size=20,
)


@example(parts=[[[float("nan"), 0.0], [0.0, 1.401298464324817e-45]]])
@given(parts=st.lists(blocks, min_size=1, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(parts):
    combine = _MomentsFn(2)
    arrays = [np.array(part, np.float32).reshape(-1, 2) for part in parts]
    made = [combine.add_input(combine.create_accumulator(), (one,)) for one in arrays]
    mean, deviation = combine.extract_output(combine.merge_accumulators(made))
    whole = np.concatenate(arrays).astype(np.float64)
    assert mean.dtype == deviation.dtype == np.float32
    for column in range(2):
        known = whole[~np.isnan(whole[:, column]), column]
        expected = known.mean() if len(known) else 0.0
        spread = known.std() if len(known) else 0.0
        scale = max(1.0, abs(known).max(initial=0))
        assert math.isclose(mean[column], expected, rel_tol=1e-6, abs_tol=1e-6 * scale)
        if np.float32(spread) == 0:  # a constant, or nothing that float32 can tell from one
            assert deviation[column] == 1
        elif spread > abs(expected) * 1e-5:
            assert math.isclose(deviation[column], spread, rel_tol=1e-4, abs_tol=1e-6 * scale)


@given(values=st.lists(st.floats(-100, 100, width=32) | st.just(float("nan")), max_size=300))
def test_bounds_part_the_values_into_equal_shares(values):
    column = np.array(values, np.float32)[:, None]
    bounds = _bounds([column], 1)[0]
    known = np.sort(column[~np.isnan(column)])
    assert len(bounds) == QUANTILES - 1
    assert (np.diff(bounds) >= 0).all()
    if len(known):
        below = np.searchsorted(known, bounds, side="left") / len(known)
        assert (below <= np.arange(1, QUANTILES) / QUANTILES + 1e-9).all()


def test_quantile_scaling_keeps_order_and_null():
    spec, folder = analysed("full", "quantile")
    numeric, table = make_rows(spec, 300, seed=1, width=3)
    made = Executor(folder, spec).transform(numeric, as_batch(table)).numeric
    assert np.isnan(made).tolist() == np.isnan(numeric).tolist()
    for column in range(3):
        known = ~np.isnan(numeric[:, column])
        order = np.argsort(numeric[known, column])
        assert (np.diff(made[known, column][order]) >= 0).all()
        assert made[known, column].min() >= 0 and made[known, column].max() <= 1
        assert abs(made[known, column].mean() - 0.5) < 0.05


def test_values_beyond_all_that_was_seen_stay_numbers():
    for scaling in ("zscore", "quantile"):
        spec, folder = analysed("full", scaling)
        _, table = make_rows(spec, 2, width=3)
        numeric = np.array([[3e38, -3e38, 0.0], [1e-45, -0.0, 1.0]], np.float32)
        made = Executor(folder, spec).transform(numeric, as_batch(table)).numeric
        assert np.isfinite(made).all()


counts = st.dictionaries(
    st.binary(max_size=4), st.tuples(st.integers(1, 5), st.integers(0, 1 << 62)), max_size=20
)


@given(counts=counts, size=st.integers(1, 10), least=st.integers(1, 4))
def test_the_most_frequent_come_first_ties_by_bytes(counts, size, least):
    made = most_frequent(counts, size, least)
    assert len(made) <= size and len(set(made)) == len(made)
    keys = [(-counts[text][0], text) for text in made]
    assert keys == sorted(keys)
    left = [(-n, text) for text, (n, _) in counts.items() if n >= least and text not in made]
    assert all(keys[-1] < one for one in left) if keys and len(made) == size else not left


def test_a_vocabulary_of_nothing_is_one_entry():
    hashes, places = sorted_places({}, 10, 1)
    assert (len(hashes), places.tolist()) == (1, [0])


@given(parts=st.lists(st.lists(st.sampled_from([b"", b"a", b"b"]), max_size=9), max_size=4))
def test_counts_of_parts_are_those_of_the_whole(parts):
    combine = _CountStrings()

    def count(values):
        array = np.array(values, object)
        return combine.add_input(
            combine.create_accumulator(), (array, np.array([len(one) for one in values], np.int64))
        )

    merged = combine.merge_accumulators([count(part) for part in parts])
    whole = [one for part in parts for one in part]
    assert merged == {one: (whole.count(one), len(one)) for one in set(whole)}


def test_unknown_values_share_the_buckets_after_the_vocabulary():
    spec, folder = analysed("full", "zscore")
    numeric, table = make_rows(spec, 40, seed=1, width=3)
    index = table.schema.get_field_index("terminal")
    other = table.set_column(index, "terminal", pa.array([f"never seen {i}" for i in range(40)]))
    made = Executor(folder, spec).transform(numeric, as_batch(other)).categories[:, 0]
    assert set(made.tolist()) == {5, 6}  # a vocabulary of 5, then 2 buckets
    again = Executor(folder, spec).transform(numeric, as_batch(other)).categories[:, 0]
    assert again.tolist() == made.tolist()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_graph_takes_what_the_spec_names(name):
    spec = shipped_spec(name)
    numeric, table = make_rows(spec, 5)
    arrays = graph_batch(spec, numeric, as_batch(table))
    categories = [f"category_{i}" for i in range(len(spec.inputs.categorical))]
    assert list(arrays) == ["numeric", *categories, *(["text"] if spec.inputs.text else [])]
    for key, value in arrays.items():
        assert len(value) == 5
        assert key == "numeric" or all(isinstance(one, bytes) for one in value)
