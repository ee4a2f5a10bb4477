"""Column hashes equal the reference library's, whatever the Arrow layout."""

import struct

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from transforms.hashing import hash_column, hash_text, key_hash, valid_mask

seeds = st.integers(0, 2**64 - 1)
texts = st.lists(st.none() | st.text(max_size=80), max_size=12)


def _expected(payloads: list[bytes | None], seed: int) -> list[int]:
    return [0 if p is None else xxhash.xxh64_intdigest(p, seed) for p in payloads]


@given(texts, seeds, st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
def test_strings_match_the_reference_when_sliced(values, seed, kind, start):
    array = pa.array(values, kind)[start:]
    payloads = [None if v is None else v.encode() for v in values[start:]]
    assert hash_column(array, seed).tolist() == _expected(payloads, seed)


@pytest.mark.parametrize("length", range(0, 100))
def test_every_length_around_the_stripes(length):
    text = "".join(chr(33 + i % 90) for i in range(length))
    assert hash_text(text, 7) == xxhash.xxh64_intdigest(text.encode(), 7)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=12), seeds)
def test_integers(values, seed):
    payloads = [None if v is None else struct.pack("<q", v) for v in values]
    assert hash_column(pa.array(values, pa.int64())[1:], seed).tolist() == _expected(
        payloads[1:], seed
    )


@given(st.lists(st.none() | st.floats(allow_nan=False), max_size=12), seeds)
def test_numbers(values, seed):
    payloads = [None if v is None else struct.pack("<d", v + 0.0) for v in values]
    assert hash_column(pa.array(values, pa.float64()), seed).tolist() == _expected(payloads, seed)


@given(st.lists(st.none() | st.booleans(), max_size=12), seeds)
def test_booleans(values, seed):
    payloads = [None if v is None else bytes([v]) for v in values]
    assert hash_column(pa.array(values, pa.bool_())[1:], seed).tolist() == _expected(
        payloads[1:], seed
    )


def test_negative_zero_is_zero():
    zero, negative = hash_column(pa.array([0.0, -0.0]), 3).tolist()
    assert zero == negative


def test_timestamps_hash_as_their_microseconds():
    stamps = pa.array([1_000, None], pa.timestamp("ms"))
    assert hash_column(stamps, 1).tolist() == hash_column(pa.array([1_000_000, None]), 1).tolist()


def test_dictionaries_hash_as_their_values():
    plain = pa.array(["a", None, "b", "a"])
    assert hash_column(plain.dictionary_encode(), 5).tolist() == hash_column(plain, 5).tolist()


def test_all_null_column():
    assert hash_column(pa.nulls(3), 1).tolist() == [0, 0, 0]
    assert valid_mask(pa.nulls(2, pa.string())).tolist() == [False, False]


def test_a_type_without_canonical_bytes_is_refused():
    with pytest.raises(TypeError, match="cannot be hashed"):
        hash_column(pa.array([[1]]), 0)


@given(st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.text(max_size=5))))
def test_combined_keys_match_the_written_rule(rows):
    batch = pa.RecordBatch.from_arrays(
        [pa.array([r[0] for r in rows], pa.string()), pa.array([r[1] for r in rows], pa.string())],
        names=["a", "b"],
    )
    mixed = xxhash.xxh64_intdigest(b"pair", 9)
    expected = [
        0
        if None in row
        else xxhash.xxh64_intdigest(
            b"".join(struct.pack("<Q", xxhash.xxh64_intdigest(v.encode(), mixed)) for v in row),
            mixed,
        )
        for row in rows
    ]
    hashes, valid = key_hash(batch, ["a", "b"], "pair", 9)
    assert hashes.tolist() == expected
    assert valid.tolist() == [None not in row for row in rows]


def test_entities_do_not_share_keys():
    batch = pa.RecordBatch.from_pydict({"a": ["x"]})
    assert key_hash(batch, ["a"], "author", 0)[0] != key_hash(batch, ["a"], "channel", 0)[0]
    assert key_hash(batch, ["a"], "author", 0)[0].dtype == np.uint64
