"""Hashed n-grams of texts as compiled code: the bits of `transforms.graph.hash_ngrams`, sooner.

TensorFlow makes a string of every n-gram before it hashes it. Here bytes are hashed where they
stand, in Arrow's own buffers. The saved graph stays what is true: both are asked for the ids of
`PROBES`, and texts are left to TensorFlow where they differ (`transforms.saved_graph`).

The hash is FarmHash's `Fingerprint64` (Geoff Pike, 2014), which `tf.strings.to_hash_bucket_fast`
takes and whose values never change.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import TextInput
from transforms.hashing import string_buffers

PROBES = (
    "",
    " ",
    "a",
    "ab cd",
    "abc abc  abc",
    "one\ttwo\nthree\v4\f5\r6",
    "\u00e9t\u00e9 \u65e5\u672c \U0001f44d\U0001f3fd a-b.c",
    "\u0627\u0644\u0633\u0644 \u043f\u0440\u0438\u0432\u0435\u0442 \u0e2a\u0e27\u0e31\u0e2a",
    "x\u00a0y\u2003z\u0085w",
    "nul \x00 \x01word",
    " lead and trail ",
    "words " * 300,
    " ".join("q" * length for length in range(1, 70)),
    "s" * 127 + " " + "r" * 1000,
)
"""Texts with words of every length that the hash tells apart, white space, and several scripts."""

_K0, _K1 = np.uint64(0xC3A5C85C97CB3127), np.uint64(0xB492B66FBE98F273)
_K2 = np.uint64(0x9AE16A3B2F90404F)
_MOST_WIDTH = 16  # digits of an n-gram's width, and the zero after them

Bytes = npt.NDArray[np.uint8]


def text_ids(
    array: pa.Array, text: TextInput
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Ids of each text's n-grams, with repetitions, in no order: int32 `[m]`, and rows' starts.

    Args:
      array: strings or binary `[n]`; null is "".
      text: sizes.

    Returns:
      The ids, and int64 `[n + 1]`: where each row's begin.

    >>> ids, starts = text_ids(pa.array(["a b", None]), TextInput("t", 100))
    >>> len(ids), starts.tolist()
    (3, [0, 3, 3])
    """
    offsets, data = _plain(array)
    low, high = text.word_ngrams
    few, many = text.char_ngrams or (1, 0)
    lengths = np.diff(offsets)
    words = np.minimum((lengths + 1) // 2, text.max_tokens)
    most = words * (high - low + 1) + (lengths + 2 * words) * max(0, many - few + 1)
    ids = np.empty(int(most.sum()), np.int32)
    starts = np.zeros(len(array) + 1, np.int64)
    scratch = np.empty(int(lengths.max(initial=0)) + _MOST_WIDTH + 2, np.uint8)
    places = np.empty((2, text.max_tokens), np.int64)
    made = _hash_rows(
        data, offsets, low, high, few, many, np.uint64(text.buckets), scratch, places, ids, starts
    )
    return ids[:made], starts


def string_hashes(array: pa.Array) -> npt.NDArray[np.uint64]:
    """FarmHash's `Fingerprint64` of each string: uint64 `[n]`; null is "".

    >>> hashes = string_hashes(pa.array(["", None, "a"]))
    >>> bool(hashes[0] == hashes[1]), bool(hashes[0] == hashes[2])
    (True, False)
    """
    return _hash_strings(*_plain(array))  # type: ignore[no-any-return]


def _plain(array: pa.Array) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Offsets `[n + 1]` into the bytes of strings without nulls, and those bytes."""
    offsets, data = string_buffers(array.cast(pa.large_binary()).fill_null(b""))
    return offsets.astype(np.int64, copy=False), data


@numba.njit(cache=True, nogil=True)
def _hash_strings(offsets, data):  # type: ignore[no-untyped-def]
    made = np.empty(len(offsets) - 1, np.uint64)
    for row in range(len(made)):
        made[row] = _hash(data, offsets[row], offsets[row + 1] - offsets[row])
    return made


@numba.njit(cache=True, nogil=True)
def _hash_rows(data, offsets, low, high, few, many, buckets, scratch, places, ids, starts):  # type: ignore[no-untyped-def]
    at = 0
    begins, ends = places
    for row in range(len(offsets) - 1):
        words = _split(data, offsets[row], offsets[row + 1], begins, ends)
        for width in range(low, high + 1):
            for word in range(words - width + 1):
                if width == 1:
                    hashed = _hash(data, begins[word], ends[word] - begins[word])
                else:
                    size = 0
                    for one in range(word, word + width):
                        if one > word:
                            scratch[size] = 32
                            size += 1
                        for place in range(begins[one], ends[one]):
                            scratch[size] = data[place]
                            size += 1
                    hashed = _hash(scratch, 0, size)
                ids[at] = np.int32(hashed % buckets)
                at += 1
        for width in range(few, many + 1):
            head = _write_width(scratch, width)
            for word in range(words):
                at = _hash_letters(
                    data, begins[word], ends[word], width, buckets, scratch, head, ids, at
                )
        starts[row + 1] = at
    return at


@numba.njit(cache=True, nogil=True)
def _split(data, begin, end, begins, ends):  # type: ignore[no-untyped-def]
    """Words between ASCII white space, at most as many as there is room for."""
    words, inside = 0, False
    for place in range(begin, end):
        letter = data[place]
        if letter == 32 or 9 <= letter <= 13:
            if inside:
                ends[words] = place
                words += 1
                inside = False
        elif not inside:
            if words == len(begins):
                return words
            begins[words] = place
            inside = True
    if inside:
        ends[words] = end
        words += 1
    return words


@numba.njit(cache=True, nogil=True)
def _write_width(scratch, width):  # type: ignore[no-untyped-def]
    """The width in decimal and a zero byte; how many bytes that is."""
    digits, rest = 1, width
    while rest >= 10:
        rest //= 10
        digits += 1
    rest = width
    for place in range(digits - 1, -1, -1):
        scratch[place] = 48 + rest % 10
        rest //= 10
    scratch[digits] = 0
    return digits + 1


@numba.njit(cache=True, nogil=True)
def _hash_letters(data, begin, end, width, buckets, scratch, head, ids, at):  # type: ignore[no-untyped-def]
    """N-grams of UTF-8 letters of a word that has a space before and after it."""
    size = end - begin + 2
    first = -1  # -1 stands for the space before the word, `end` for the one after it
    while first < end - begin:
        place, letters, length = first, 0, head
        while letters < width and place <= end - begin:
            if place < 0 or place == end - begin:
                scratch[length] = 32
                length += 1
                place += 1
            else:
                scratch[length] = data[begin + place]
                length += 1
                place += 1
                while place < end - begin and data[begin + place] & 0xC0 == 0x80:
                    scratch[length] = data[begin + place]
                    length += 1
                    place += 1
            letters += 1
        if letters < width or length - head > size:
            return at
        ids[at] = np.int32(_hash(scratch, 0, length) % buckets)
        at += 1
        first += 1
        while 0 < first < end - begin and data[begin + first] & 0xC0 == 0x80:
            first += 1
    if width == 1:
        scratch[head] = 32
        ids[at] = np.int32(_hash(scratch, 0, head + 1) % buckets)
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _fetch(data, at):  # type: ignore[no-untyped-def]
    made, first = np.uint64(0), np.uint64(at)  # of an index without a sign it makes one load
    for place in range(8):
        made |= np.uint64(data[first + np.uint64(place)]) << np.uint64(8 * place)
    return made


@numba.njit(cache=True, nogil=True)
def _fetch_half(data, at):  # type: ignore[no-untyped-def]
    made, first = np.uint64(0), np.uint64(at)
    for place in range(4):
        made |= np.uint64(data[first + np.uint64(place)]) << np.uint64(8 * place)
    return made


@numba.njit(cache=True, nogil=True)
def _turn(value, by):  # type: ignore[no-untyped-def]
    return (value >> np.uint64(by)) | (value << np.uint64(64 - by))


@numba.njit(cache=True, nogil=True)
def _mix(value):  # type: ignore[no-untyped-def]
    return value ^ (value >> np.uint64(47))


@numba.njit(cache=True, nogil=True)
def _fold(one, other, factor):  # type: ignore[no-untyped-def]
    low = _mix((one ^ other) * factor)
    return _mix((other ^ low) * factor) * factor


@numba.njit(cache=True, nogil=True)
def _weak(data, at, one, other):  # type: ignore[no-untyped-def]
    first, last = _fetch(data, at), _fetch(data, at + 24)
    one = one + first
    other = _turn(other + one + last, 21)
    begun = one
    one = one + _fetch(data, at + 8) + _fetch(data, at + 16)
    other = other + _turn(one, 44)
    return one + last, other + begun


@numba.njit(cache=True, nogil=True)
def _hash(data, at, size):  # type: ignore[no-untyped-def]
    """FarmHash's `Fingerprint64` of some bytes."""
    length = np.uint64(size)
    end = at + size
    if size <= 16:
        factor = _K2 + length * np.uint64(2)
        if size >= 8:
            a, b = _fetch(data, at) + _K2, _fetch(data, end - 8)
            return _fold(_turn(b, 37) * factor + a, (_turn(a, 25) + b) * factor, factor)
        if size >= 4:
            a = _fetch_half(data, at)
            return _fold(length + (a << np.uint64(3)), _fetch_half(data, end - 4), factor)
        if size > 0:
            y = np.uint64(data[at]) + (np.uint64(data[at + (size >> 1)]) << np.uint64(8))
            z = length + (np.uint64(data[end - 1]) << np.uint64(2))
            return _mix((y * _K2) ^ (z * _K0)) * _K2
        return _K2
    if size <= 32:
        factor = _K2 + length * np.uint64(2)
        a, b = _fetch(data, at) * _K1, _fetch(data, at + 8)
        c, d = _fetch(data, end - 8) * factor, _fetch(data, end - 16) * _K2
        return _fold(_turn(a + b, 43) + _turn(c, 30) + d, a + _turn(b + _K2, 18) + c, factor)
    if size <= 64:
        factor = _K2 + length * np.uint64(2)
        a, b = _fetch(data, at) * _K2, _fetch(data, at + 8)
        c, d = _fetch(data, end - 8) * factor, _fetch(data, end - 16) * _K2
        y = _turn(a + b, 43) + _turn(c, 30) + d
        z = _fold(y, a + _turn(b + _K2, 18) + c, factor)
        e, f = _fetch(data, at + 16) * factor, _fetch(data, at + 24)
        g = (y + _fetch(data, end - 32)) * factor
        h = (z + _fetch(data, end - 24)) * factor
        return _fold(_turn(e + f, 43) + _turn(g, 30) + h, e + _turn(f + a, 18) + g, factor)
    seed = np.uint64(81)
    x, y = seed * _K2 + _fetch(data, at), seed * _K1 + np.uint64(113)
    z = _mix(y * _K2 + np.uint64(113)) * _K2
    v0 = v1 = w0 = w1 = np.uint64(0)
    last = at + ((size - 1) // 64) * 64
    place = at
    while place != last:
        x = _turn(x + y + v0 + _fetch(data, place + 8), 37) * _K1
        y = _turn(y + v1 + _fetch(data, place + 48), 42) * _K1
        x ^= w1
        y = y + v0 + _fetch(data, place + 40)
        z = _turn(z + w0, 33) * _K1
        v0, v1 = _weak(data, place, v1 * _K1, x + w0)
        w0, w1 = _weak(data, place + 32, z + w1, y + _fetch(data, place + 16))
        z, x = x, z
        place += 64
    factor = _K1 + ((z & np.uint64(0xFF)) << np.uint64(1))
    place = end - 64
    w0 = w0 + np.uint64((size - 1) & 63)
    v0 = v0 + w0
    w0 = w0 + v0
    x = _turn(x + y + v0 + _fetch(data, place + 8), 37) * factor
    y = _turn(y + v1 + _fetch(data, place + 48), 42) * factor
    x ^= w1 * np.uint64(9)
    y = y + v0 * np.uint64(9) + _fetch(data, place + 40)
    z = _turn(z + w0, 33) * factor
    v0, v1 = _weak(data, place, v1 * factor, x + w0)
    w0, w1 = _weak(data, place + 32, z + w1, y + _fetch(data, place + 16))
    z, x = x, z
    return _fold(_fold(v0, w0, factor) + _mix(y) * _K0 + z, _fold(v1, w1, factor) + x, factor)
