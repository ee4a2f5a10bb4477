"""Compiled n-grams are those of the TFT graph, for every length, width and script."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.schema import TextInput
from transforms.ngrams import PROBES, text_ids
from transforms.quiet import import_tensorflow

INPUTS = (
    TextInput("t", 65_536, (1, 2), None, 64),
    TextInput("t", 1 << 20, (1, 1), (3, 5), 256),
    TextInput("t", 997, (2, 3), (1, 2), 5),
    TextInput("t", 512, (1, 2), (9, 11), 12),
)


def of_graph(texts, text):
    """Sorted ids per text, as the TFT graph gives them."""
    import_tensorflow()
    import tensorflow as tf

    from transforms.graph import hash_ngrams

    sparse = hash_ngrams(tf.constant([one.encode() for one in texts]), text)
    made = [[] for _ in texts]
    for (row, _), value in zip(sparse.indices.numpy(), sparse.values.numpy(), strict=True):
        made[row].append(int(value))
    return [sorted(one) for one in made]


def of_kernel(array, text):
    ids, starts = text_ids(array, text)
    return [sorted(ids[a:b].tolist()) for a, b in itertools.pairwise(starts)]


@pytest.mark.parametrize("text", INPUTS, ids=str)
def test_the_probes(text):
    assert of_kernel(pa.array(PROBES), text) == of_graph(PROBES, text)


@pytest.mark.parametrize(
    "alphabet",
    ["ab ", "\u00e9\u00df\u65e5\U0001f600 \u00a0\u2028\t", "\x00\x01\x0b\x0c\x1c\x1f\x85 z"],
)
def test_every_length_of_word(alphabet):
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list(alphabet), size)) for size in range(300)]
    assert of_kernel(pa.array(texts), INPUTS[1]) == of_graph(texts, INPUTS[1])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=150), min_size=1, max_size=5), st.sampled_from(INPUTS))
def test_any_text(texts, text):
    assert of_kernel(pa.array(texts), text) == of_graph(texts, text)


def test_nulls_slices_and_other_kinds_of_string():
    texts = pa.array(["zero", None, "two words", "", "four"])
    expected = of_kernel(texts, INPUTS[0])
    assert expected[1] == expected[3] == []
    for kind in (pa.large_string(), pa.binary(), pa.string()):
        assert of_kernel(texts.cast(kind), INPUTS[0]) == expected
        assert of_kernel(texts.cast(kind).slice(2, 3), INPUTS[0]) == expected[2:]
    assert of_kernel(pa.array([], pa.string()), INPUTS[0]) == []
