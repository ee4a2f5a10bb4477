"""Bands of a MinHash: how often near copies meet, and what a key must not depend on."""

import random
import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.derive.near_duplicate import NearDuplicate


def keys(texts, **settings):
    return (
        NearDuplicate("t", **settings)
        .apply(pa.RecordBatch.from_pydict({"t": pa.array(texts, pa.string())}))
        .to_pylist()
    )


def shingles(text, size=5):
    return {text[at : at + size] for at in range(max(len(text) - size + 1, 1))}


def likeness(one, other):
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


@pytest.fixture(scope="module")
def pairs():
    """Texts, copies with some letters changed, and their exact Jaccard similarities."""
    rng = random.Random(4)
    made = []
    for _ in range(4000):
        text = "".join(rng.choices(string.ascii_lowercase + "   ", k=100))
        copy = list(text)
        for place in rng.sample(range(100), rng.randint(0, 12)):
            copy[place] = rng.choice("#$%&0123456789")
        made.append((text, "".join(copy)))
    return made, np.array([likeness(*pair) for pair in made])


def test_near_copies_meet_as_often_as_is_stated(pairs):
    texts, alike = pairs
    met = np.zeros((len(texts), 4), np.bool_)
    for band in range(4):
        one = keys([text for text, _ in texts], band=band + 1)
        other = keys([copy for _, copy in texts], band=band + 1)
        met[:, band] = [a == b for a, b in zip(one, other, strict=True)]
    for low in np.arange(0.3, 1.0, 0.1):
        inside = (alike >= low) & (alike < low + 0.1)
        assert inside.sum() > 100
        for found, chance in (
            (met[inside, 0], alike[inside] ** 4),
            (met[inside].any(1), 1 - (1 - alike[inside] ** 4) ** 4),
        ):
            sigma = np.sqrt((chance * (1 - chance)).sum())
            assert abs(found.sum() - chance.sum()) <= 4 * sigma + 1e-9
    assert met[alike == 1.0].all()


def test_more_rows_ask_for_more_likeness(pairs):
    texts, _ = pairs
    shares = []
    for rows in (1, 4, 8):
        one, other = (keys([pair[at] for pair in texts], rows=rows) for at in (0, 1))
        shares.append(np.mean([a == b for a, b in zip(one, other, strict=True)]))
    assert shares[0] > shares[1] + 0.1 > shares[2] + 0.2


@given(st.lists(st.none() | st.text(max_size=30), max_size=6), st.integers(1, 7))
def test_a_key_is_that_of_the_set_of_shingles_alone(texts, size):
    made = keys(texts, shingle=size)
    assert made == [key for text in texts for key in keys([text], shingle=size)]
    known = {}
    for text, key in zip(texts, made, strict=True):
        assert (key is None) == (not text)
        if text:
            assert known.setdefault(frozenset(shingles(text, size)), key) == key


def test_shingles_are_of_letters_not_of_bytes():
    five = "\u0430\u0431\u0432\u0433\u0434"
    assert likeness(five * 3, five * 4) == 1.0
    assert keys([five * 3]) == keys([five * 4])
    assert keys(["\U0001f600" * 9]) == keys(["\U0001f600" * 5]) != keys(["\U0001f600" * 4])


def test_bands_are_independent_and_a_slice_gives_the_same():
    texts = ["free money for all of us today", "good morning", "free money for all of us today!"]
    assert len({keys(texts[:1], band=band)[0] for band in range(1, 65)}) == 64
    batch = pa.RecordBatch.from_pydict({"t": texts})
    whole = NearDuplicate("t").apply(batch).to_pylist()
    assert NearDuplicate("t").apply(batch.slice(1)).to_pylist() == whole[1:]


def test_keys_never_change():
    assert keys(["claim your free prize at once"]) == ["42a117cf4051b045"]
