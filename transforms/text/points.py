"""Many texts as one array of code points, which compiled steps read and write."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.hashing import string_buffers

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts one after the other.

    Attributes:
      points: code points of all of them, uint32 `[P]`.
      offsets: where each begins, and the end of the last, int64 `[n + 1]`; the first is 0.
    """

    points: Points
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, strings: Sequence[str]) -> Texts:
        """Of Python strings.

        >>> Texts.of(["ab", "", "é"]).offsets.tolist()
        [0, 2, 2, 3]
        """
        offsets = np.zeros(len(strings) + 1, np.int64)
        np.cumsum([len(text) for text in strings], out=offsets[1:])
        encoded = "".join(strings).encode("utf-32-le", "surrogatepass")
        return cls(np.frombuffer(encoded, np.uint32), offsets)

    @classmethod
    def of_array(cls, array: pa.Array) -> Texts:
        """Of a string column `[n]`; a null is an empty text."""
        return cls(*_decode(*string_buffers(array)))

    def strings(self) -> list[str]:
        """As Python strings.

        >>> Texts.of(["ab", "é"]).strings()
        ['ab', 'é']
        """
        whole = self.points.tobytes().decode("utf-32-le", "surrogatepass")
        bounds = self.offsets.tolist()
        return [whole[a:b] for a, b in itertools.pairwise(bounds)]

    def array(self) -> pa.Array:
        """As a string column `[n]` without nulls."""
        ends, data = _encode(self.points, self.offsets)
        return pa.StringArray.from_buffers(len(self), pa.py_buffer(ends), pa.py_buffer(data))

    def take(self, rows: npt.NDArray[np.intp]) -> Texts:
        """Some of them, in this order."""
        return Texts(*_take(self.points, self.offsets, rows))

    def put(self, rows: npt.NDArray[np.intp], others: Texts) -> Texts:
        """With the texts of some rows replaced by others."""
        source = np.arange(len(self))
        source[rows] = len(self) + np.arange(len(others))
        both = Texts(
            np.concatenate([self.points, others.points]),
            np.concatenate([self.offsets, self.offsets[-1] + others.offsets[1:]]),
        )
        return both.take(source)


def map_strings(texts: Texts, function: Callable[[str], tuple[str, int]]) -> tuple[Texts, Counts]:
    """A step that is written in Python: of one text, the text made of it and what was undone."""
    made = [function(text) for text in texts.strings()]
    return Texts.of([text for text, _ in made]), np.array([count for _, count in made], np.int32)


@numba.njit(cache=True, nogil=True)
def _decode(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> tuple[Points, Offsets]:
    """UTF-8, which Arrow has checked, as code points."""
    points = np.empty(offsets[-1] - offsets[0], np.uint32)
    starts = np.zeros(len(offsets), np.int64)
    size = 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        while at < offsets[row + 1]:
            byte = np.uint32(data[at])
            if byte < 0x80:
                more, point = 0, byte
            elif byte < 0xE0:
                more, point = 1, byte & np.uint32(0x1F)
            elif byte < 0xF0:
                more, point = 2, byte & np.uint32(0x0F)
            else:
                more, point = 3, byte & np.uint32(0x07)
            for ahead in range(1, more + 1):
                point = (point << np.uint32(6)) | (np.uint32(data[at + ahead]) & np.uint32(0x3F))
            points[size] = point
            size, at = size + 1, at + 1 + more
        starts[row + 1] = size
    return points[:size], starts


@numba.njit(cache=True, nogil=True)
def _encode(
    points: Points, offsets: Offsets
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    data = np.empty(4 * len(points), np.uint8)
    ends = np.zeros(len(offsets), np.int32)
    size = 0
    for row in range(len(offsets) - 1):
        for at in range(offsets[row], offsets[row + 1]):
            point = points[at]
            if point < 0x80:
                data[size] = point
                size += 1
                continue
            if point < 0x800:
                more, lead = 1, 0xC0
            elif point < 0x10000:
                more, lead = 2, 0xE0
            else:
                more, lead = 3, 0xF0
            data[size] = lead | (point >> np.uint32(6 * more))
            for ahead in range(more):
                data[size + 1 + ahead] = 0x80 | (
                    (point >> np.uint32(6 * (more - 1 - ahead))) & np.uint32(0x3F)
                )
            size += 1 + more
        ends[row + 1] = size
    return ends, data[:size]


@numba.njit(cache=True, nogil=True)
def _take(points: Points, offsets: Offsets, rows: npt.NDArray[np.intp]) -> tuple[Points, Offsets]:
    starts = np.zeros(len(rows) + 1, np.int64)
    for place, row in enumerate(rows):
        starts[place + 1] = starts[place] + offsets[row + 1] - offsets[row]
    made = np.empty(starts[-1], np.uint32)
    for place, row in enumerate(rows):
        made[starts[place] : starts[place + 1]] = points[offsets[row] : offsets[row + 1]]
    return made, starts
