"""Stable seeded hashes of Arrow columns: shards, keys and sketches all start from these.

What enters: Arrow arrays of the five column types. What leaves: XXH64 (Yann Collet, xxHash 0.8;
https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) of each value's canonical bytes as
uint64. Python's ``hash`` changes with every process and Arrow's with its version; state that
lives for months needs one that never changes.

Canonical bytes: strings are their UTF-8; integers and timestamps 8 bytes, little endian, two's
complement; numbers 8 bytes of IEEE 754 with -0.0 written as 0.0 and one NaN; booleans one byte.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UInt64s = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)


def hash_column(array: pa.Array | pa.ChunkedArray, seed: int) -> UInt64s:
    """XXH64 of every value of a column; 0 where it is null (see `valid_mask`).

    Args:
      array: string, large_string, binary, integer, timestamp, float or boolean values `[n]`,
        sliced or not; dictionary-encoded ones hash as their values.
      seed: any integer; taken modulo 2^64.

    Returns:
      uint64 `[n]`.

    Raises:
      TypeError: a type that has no canonical bytes.

    >>> hash_column(pa.array(["spam", None]), seed=0).tolist()
    [6695651547989661444, 0]
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count == len(array):  # as many columns of a few events are
        return np.zeros(len(array), np.uint64)
    if pa.types.is_dictionary(array.type):
        entries = hash_column(array.dictionary, seed)
        codes = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        hashes = entries[codes] if len(entries) else np.zeros(len(array), np.uint64)
    else:
        hashes = _hash_values(array, np.uint64(seed % 2**64))
    if array.null_count:
        hashes[~valid_mask(array)] = 0
    return hashes


def valid_mask(array: pa.Array) -> Mask:
    """True where a value is there: bool `[n]`.

    >>> valid_mask(pa.array([1, None])).tolist()
    [True, False]
    """
    if array.null_count == 0:
        return np.ones(len(array), np.bool_)
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


def hash_text(text: str, seed: int = 0) -> int:
    """XXH64 of one string's UTF-8.

    >>> hash_text("spam") == int(hash_column(pa.array(["spam"]), seed=0)[0])
    True
    """
    data = np.frombuffer(text.encode(), np.uint8)
    return int(_hash_slices(np.array([0, len(data)], np.int64), data, np.uint64(seed % 2**64))[0])


def key_hash(
    batch: pa.RecordBatch, columns: Sequence[str], entity: str, seed: int
) -> tuple[UInt64s, Mask]:
    """The key of every event for one entity: its hash, and whether there is one.

    The seed is mixed with the entity's name, so equal values of two entities are unrelated keys.
    Several columns combine by hashing their 8-byte hashes one after the other, so ("ab", "c") and
    ("a", "bc") differ.

    Args:
      batch: events or derived batch of n rows.
      columns: the columns that form the key, in the order of the spec; at least one.
      entity: the entity's name.
      seed: `Spec.hash_seed`.

    Returns:
      uint64 `[n]` (0 where not valid) and bool `[n]`: False where a key column is null.

    >>> batch = pa.RecordBatch.from_pydict({"author": ["u1", None], "channel": ["c", "c"]})
    >>> hashes, valid = key_hash(batch, ["author", "channel"], "pair", seed=0)
    >>> valid.tolist(), int(hashes[1])
    ([True, False], 0)
    """
    mixed = hash_text(entity, seed)
    arrays = [batch.column(name) for name in columns]
    valid = valid_mask(arrays[0])
    for array in arrays[1:]:
        valid &= valid_mask(array)
    if len(arrays) == 1:
        return hash_column(arrays[0], mixed), valid
    return combine_hashes([hash_column(array, mixed) for array in arrays], valid, mixed), valid


def combine_hashes(hashes: Sequence[UInt64s], valid: Mask, seed: int) -> UInt64s:
    """XXH64 of the concatenated 8-byte hashes of several columns; 0 where not valid.

    Args:
      hashes: one uint64 `[n]` per column.
      valid: bool `[n]`.
      seed: any integer; taken modulo 2^64.

    >>> one = np.array([1], np.uint64)
    >>> combine_hashes([one, one], np.array([False]), seed=0).tolist()
    [0]
    """
    stacked = np.ascontiguousarray(np.stack(hashes, axis=1)).view(np.uint8).reshape(-1)
    offsets = np.arange(len(valid) + 1, dtype=np.int64) * (8 * len(hashes))
    combined: UInt64s = _hash_slices(offsets, stacked, np.uint64(seed % 2**64))
    combined[~valid] = 0
    return combined


def string_buffers(
    array: pa.Array,
) -> tuple[npt.NDArray[np.int32] | npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets `[n + 1]` into the bytes of a string or binary array, and those bytes; no copy.

    >>> offsets, data = string_buffers(pa.array(["xx", "ab", "c"])[1:])
    >>> offsets.tolist(), data[2:5].tobytes()
    ([2, 4, 5], b'abc')
    """
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype: Any = np.int64 if wide else np.int32
    _, offsets, data = array.buffers()
    if offsets is None or offsets.size == 0:
        return np.zeros(1, dtype), np.zeros(0, np.uint8)
    view = np.frombuffer(offsets, dtype)[array.offset : array.offset + len(array) + 1]
    return view, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def hex_column(hashes: npt.NDArray[np.uint64], null: npt.NDArray[np.bool_]) -> pa.Array:
    """uint64 `[n]` as strings of 16 hex digits, null where `null` is true.

    >>> hex_column(np.array([255, 1], np.uint64), np.array([False, True])).to_pylist()
    ['00000000000000ff', None]
    """
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * 16
    array = pa.StringArray.from_buffers(
        len(hashes), pa.py_buffer(offsets), pa.py_buffer(_hex_digits(hashes))
    )
    return pc.if_else(pa.array(null), pa.scalar(None, pa.string()), array)


@numba.njit(cache=True, nogil=True)
def _hex_digits(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    text = np.empty(16 * len(hashes), np.uint8)
    for row in range(len(hashes)):
        left = hashes[row]
        for place in range(16 * row + 15, 16 * row - 1, -1):
            nibble = left & np.uint64(15)
            text[place] = nibble + np.uint64(48 if nibble < 10 else 87)
            left >>= np.uint64(4)
    return text


def _hash_values(array: pa.Array, seed: np.uint64) -> UInt64s:
    """Hashes without regard to nulls (their slots hash whatever lies there)."""
    kind = array.type
    hashes: UInt64s
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        hashes = _hash_slices(*string_buffers(array), seed)
    elif pa.types.is_boolean(kind):
        flags = _filled(array, False)
        hashes = _hash_flags(flags.view(np.uint8), seed)
    elif pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        whole = array.cast(pa.timestamp("us")) if pa.types.is_timestamp(kind) else array
        values = _filled(_cast(whole, pa.int64()), 0)
        hashes = _hash_words(values.view(np.uint64), seed)
    elif pa.types.is_floating(kind):
        numbers = _filled(_cast(array, pa.float64()), 0.0) + 0.0
        numbers[np.isnan(numbers)] = np.nan
        hashes = _hash_words(numbers.view(np.uint64), seed)
    elif pa.types.is_null(kind):
        hashes = np.zeros(len(array), np.uint64)
    else:
        raise TypeError(f"a column of type {kind} cannot be hashed; cast it to a column type first")
    return hashes


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)


def _filled(array: pa.Array, value: Any) -> npt.NDArray[Any]:
    filled = array.fill_null(value) if array.null_count else array
    return filled.to_numpy(zero_copy_only=False)


@numba.njit(cache=True, inline="always")
def _rotate(x: np.uint64, bits: int) -> np.uint64:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@numba.njit(cache=True, inline="always")
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _P2, 31) * _P1


@numba.njit(cache=True, inline="always")
def _merge(h: np.uint64, lane: np.uint64) -> np.uint64:
    return (h ^ _round(np.uint64(0), lane)) * _P1 + _P4


@numba.njit(cache=True, inline="always")
def _avalanche(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@numba.njit(cache=True, inline="always")
def _word(data: npt.NDArray[np.uint8], at: int) -> np.uint64:
    word, first = np.uint64(0), np.uint64(at)  # of an index without a sign it makes one load
    for i in range(8):
        word |= np.uint64(data[first + np.uint64(i)]) << np.uint64(8 * i)
    return word


@numba.njit(cache=True)
def hash_bytes(data: npt.NDArray[np.uint8], start: int, end: int, seed: np.uint64) -> np.uint64:
    """XXH64 of ``data[start:end]``, as in the specification; for other kernels.

    >>> hash_bytes(np.frombuffer(b"spam", np.uint8), 0, 4, np.uint64(0)) == hash_text("spam")
    True
    """
    at = start
    if end - start >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while end - at >= 32:
            a = _round(a, _word(data, at))
            b = _round(b, _word(data, at + 8))
            c = _round(c, _word(data, at + 16))
            d = _round(d, _word(data, at + 24))
            at += 32
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        h = _merge(_merge(_merge(_merge(h, a), b), c), d)
    else:
        h = seed + _P5
    h += np.uint64(end - start)
    while end - at >= 8:
        h = _rotate(h ^ _round(np.uint64(0), _word(data, at)), 27) * _P1 + _P4
        at += 8
    if end - at >= 4:
        half = np.uint64(0)
        for i in range(4):
            half |= np.uint64(data[np.uint64(at) + np.uint64(i)]) << np.uint64(8 * i)
        h = _rotate(h ^ (half * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        h = _rotate(h ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    return _avalanche(h)


@numba.njit(cache=True)
def _hash_slices(
    offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], seed: np.uint64
) -> UInt64s:
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(hashes)):
        hashes[i] = hash_bytes(data, offsets[i], offsets[i + 1], seed)
    return hashes


@numba.njit(cache=True)
def _hash_words(words: UInt64s, seed: np.uint64) -> UInt64s:
    hashes = np.empty(len(words), np.uint64)
    for i in range(len(words)):
        h = (seed + _P5 + np.uint64(8)) ^ _round(np.uint64(0), words[i])
        hashes[i] = _avalanche(_rotate(h, 27) * _P1 + _P4)
    return hashes


@numba.njit(cache=True)
def _hash_flags(flags: npt.NDArray[np.uint8], seed: np.uint64) -> UInt64s:
    hashes = np.empty(len(flags), np.uint64)
    for i in range(len(flags)):
        h = (seed + _P5 + np.uint64(1)) ^ (np.uint64(flags[i]) * _P5)
        hashes[i] = _avalanche(_rotate(h, 11) * _P1)
    return hashes
