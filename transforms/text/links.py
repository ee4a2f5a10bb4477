"""Links that were made harmless, as they are clicked."""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numba
import numpy as np

from transforms.text.points import Counts, Offsets, Points, Texts
from transforms.text.writing import is_letter, is_name

_DOT, _COLON, _SLASH, _AT, _SPACE = (np.uint32(ord(one)) for one in ".:/@ ")


def refang_links(texts: Texts) -> tuple[Texts, Counts]:
    """Links as they are clicked: `hxxp`, `[.]`, `(dot)`, `[at]`, `[:]//`.

    >>> refang_links(Texts.of(["hxxps[:]//evil[.]example (dot) com"]))[0].strings()
    ['https://evil.example.com']
    """
    points, offsets, undone = _refang(texts.points, texts.offsets)
    return Texts(points, offsets), undone


@numba.njit(cache=True)
def _is(points: Points, at: int, end: int, word: tuple[int, ...]) -> bool:
    """Whether a lower-case word stands at a place, in any ASCII case."""
    if end - at < len(word):
        return False
    for place in range(len(word)):
        point = points[at + place]
        if 0x41 <= point <= 0x5A:
            point += np.uint32(32)
        if point != word[place]:
            return False
    return True


_HXXP = tuple(map(ord, "hxxp"))
_DOT_WORD = tuple(map(ord, "dot"))
_AT_WORD = tuple(map(ord, "at"))


@numba.njit(cache=True)
def _bracketed(points: Points, at: int, end: int) -> tuple[np.uint32, int]:
    """`[.]`, `(dot)`, `{at}`, `[:]` at a place: the sign, and where it ends; (0, at) for none."""
    close = 0x5D if points[at] == 0x5B else 0x29 if points[at] == 0x28 else 0x7D
    inner = at + 1
    while inner < end and inner < at + 3 and points[inner] == _SPACE:
        inner += 1
    sign = np.uint32(0)
    if inner < end and (points[inner] == _DOT or points[inner] == _COLON or points[inner] == _AT):
        sign = points[inner]
        inner += 1
    elif _is(points, inner, end, _DOT_WORD):
        sign = _DOT
        inner += 3
    elif _is(points, inner, end, _AT_WORD):
        sign = _AT
        inner += 2
    limit = inner + 2
    while inner < end and inner < limit and points[inner] == _SPACE:
        inner += 1
    if sign and inner < end and points[inner] == close:
        return sign, inner + 1
    return np.uint32(0), at


@numba.njit(cache=True, nogil=True)
def _refang(points: Points, offsets: Offsets) -> tuple[Points, Offsets, Counts]:
    rows = len(offsets) - 1
    made = np.empty(len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    size = 0
    for row in range(rows):
        at, end, begin = offsets[row], offsets[row + 1], size
        while at < end:
            point = points[at]
            if (point == 0x68 or point == 0x48) and _is(points, at, end, _HXXP):
                after = at + 4
                if after < end and (points[after] == 0x73 or points[after] == 0x53):
                    after += 1
                sign = after < end and (points[after] == _COLON or points[after] == 0x5B)
                starts_word = at == offsets[row] or not is_letter(points[at - 1])
                if sign and starts_word:
                    for letter in (0x68, 0x74, 0x74, 0x70):
                        made[size] = letter
                        size += 1
                    undone[row] += 2
                    at += 4
                    continue
            if point == 0x5B or point == 0x28 or point == 0x7B:
                sign, after = _bracketed(points, at, end)
                if sign:
                    spaces = size
                    while spaces > begin and spaces > size - 2 and made[spaces - 1] == _SPACE:
                        spaces -= 1
                    ahead = after
                    while ahead < end and ahead < after + 2 and points[ahead] == _SPACE:
                        ahead += 1
                    named = spaces > begin and is_name(made[spaces - 1])
                    if sign == _COLON:
                        fits = named and ahead < end and points[ahead] == _SLASH
                    else:
                        fits = named and ahead < end and is_name(points[ahead])
                    if fits:
                        undone[row] += ahead - at + size - spaces - 1
                        made[spaces] = sign
                        size, at = spaces + 1, ahead
                        continue
            made[size] = point
            size += 1
            at += 1
        starts[row + 1] = size
    return made[:size], starts, undone
