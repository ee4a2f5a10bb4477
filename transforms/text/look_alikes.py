"""Letters of another script that look like those of a word's own (UTS #39).

A word that mixes scripts is folded to the one among them in which all of it can be written: to
Latin if all of its letters look Latin or all of the other words are, else with the fewest letters
changed. Where there is none (a Russian ending on an English name) it is left. A word in one script
is left alone, but for one or two letters that look Latin in an otherwise Latin text of which
another word mixes scripts: without that, honest people write a Russian "and" between English names.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from transforms.text.points import Counts, Offsets, Points, Texts
from transforms.text.tables import LATIN, tables

_SHORT = 2
_I, _SMALL_I, _SMALL_L = (np.uint64(ord(one)) for one in "Iil")
_WEAK = np.uint64(1 << 63)
_LONG_WORD = 1000
_LONGEST = 3  # code points that one letter may become


def fold_look_alikes(texts: Texts, reading: int = 2) -> tuple[Texts, Counts]:
    """Each word in the letters of one script.

    Args:
      texts: `[n]`.
      reading: 1: one or two letters that look Latin are folded though no word mixes scripts.

    >>> texts = Texts.of(["p\u0430ypal", "\u0436\u0435\u0440e", "\u043d\u0435\u0442"])
    >>> made, undone = fold_look_alikes(texts)
    >>> made.strings(), undone.tolist()
    (['paypal', '\u0436\u0435\u0440\u0435', '\u043d\u0435\u0442'], [1, 1, 0])
    """
    look = tables()
    points, offsets, undone = _fold(
        texts.points, texts.offsets, look.script, look.row, look.alike, LATIN, reading
    )
    return Texts(points, offsets), undone


def count_mixed_words(texts: Texts) -> Counts:
    """Words that mix letters of two scripts, int32 `[n]`.

    Scripts that are written without spaces do not count: there, neighbours share no word.

    >>> texts = Texts.of(["p\u0430ypal and \u043d\u0435\u0442", "iPhone\u3092\u8cb7\u3046"])
    >>> count_mixed_words(texts).tolist()
    [1, 0]
    """
    look = tables()
    return _count_mixed(texts.points, texts.offsets, look.script, look.row, look.spaced)


@numba.njit(cache=True, inline="always")
def _in_word(point: int, script: npt.NDArray[np.uint8], row: npt.NDArray[np.int32]) -> bool:
    """Letters of a script, signs that look like some, and the marks that any script may carry."""
    return script[point] > 0 or row[point] >= 0 or 0x0300 <= point <= 0x036F


@numba.njit(cache=True, inline="always")
def _is_small(point: int) -> bool:
    """Lower case, of the alphabets that look alike most."""
    return (
        0x61 <= point <= 0x7A or 0xDF <= point <= 0xFF or 0x3B1 <= point <= 0x3C9
        or 0x430 <= point <= 0x45F or 0x561 <= point <= 0x587
    )  # fmt: skip


@numba.njit(cache=True)
def _word_end(
    points: Points, at: int, end: int,
    script: npt.NDArray[np.uint8], row: npt.NDArray[np.int32],
) -> int:  # fmt: skip
    while at < end and _in_word(points[at], script, row):
        at += 1
    return at


@numba.njit(cache=True)
def _foldable(
    points: Points,
    begin: int,
    end: int,
    target: int,
    script: npt.NDArray[np.uint8],
    row: npt.NDArray[np.int32],
    alike: npt.NDArray[np.uint64],
) -> int:
    """What it takes to write a word in a script: letters changed; -1 where it cannot be.

    A letter that is alike to a careless eye only is worth a long word.
    """
    changed = 0
    for at in range(begin, end):
        point = points[at]
        if row[point] >= 0 and alike[row[point], target]:
            changed += 1 if alike[row[point], target] < _WEAK else _LONG_WORD
        elif script[point] and script[point] != target:
            return -1
    return changed


@numba.njit(cache=True)
def _target(
    points: Points,
    begin: int,
    end: int,
    latin: int,
    script: npt.NDArray[np.uint8],
    row: npt.NDArray[np.int32],
    alike: npt.NDArray[np.uint64],
) -> int:
    """The script that a word is to be written in; 0 to leave it."""
    first = mixed = 0
    for at in range(begin, end):
        number = script[points[at]]
        if number and not first:
            first = number
        elif number and number != first:
            mixed = 1
    if not mixed:
        return (
            first if first and _foldable(points, begin, end, first, script, row, alike) > 0 else 0
        )
    there = np.zeros(alike.shape[1], np.bool_)
    for at in range(begin, end):
        there[script[points[at]]] = True
    best, fewest = 0, np.int64(2) ** 62
    for number in range(1, len(there)):
        if there[number]:
            changed = _foldable(points, begin, end, number, script, row, alike)
            if number == latin and 0 <= changed < _LONG_WORD:
                return latin
            if 0 <= changed < fewest:
                best, fewest = number, changed
    return best


@numba.njit(cache=True, nogil=True)
def _fold(
    points: Points, offsets: Offsets,
    script: npt.NDArray[np.uint8], row: npt.NDArray[np.int32], alike: npt.NDArray[np.uint64],
    latin: int, reading: int,
) -> tuple[Points, Offsets, Counts]:  # fmt: skip
    rows = len(offsets) - 1
    made = np.empty(_LONGEST * len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    size = 0
    for text in range(rows):
        at, end = offsets[text], offsets[text + 1]
        in_latin = _is_latin(points, at, end, script, row, alike, latin)
        disguised = in_latin and (
            reading == 1 or _is_disguised(points, at, end, script, row, alike, latin)
        )
        while at < end:
            stop = _word_end(points, at, end, script, row)
            target = 0
            if stop > at:
                target = _target(points, at, stop, latin, script, row, alike)
                short = disguised and not target and stop - at <= _SHORT
                hidden = short or (target and target != latin)
                if hidden and in_latin:
                    changed = _foldable(points, at, stop, latin, script, row, alike)
                    target = latin if changed > 0 else target
            for place in range(at, max(stop, at + 1)):
                point = points[place]
                packed = np.uint64(0)
                if target and row[point] >= 0:
                    packed = alike[row[point], target]
                undone[text] += packed != 0
                packed &= ~_WEAK
                if packed == _I:
                    packed = _small_i_or_l(points, at, place, stop, row, alike, latin)
                elif not packed:
                    packed = np.uint64(point)
                while True:
                    made[size] = packed & np.uint64(0xFFFFF)
                    size += 1
                    packed >>= np.uint64(20)
                    if not packed:
                        break
            at = max(stop, at + 1)
        starts[text + 1] = size
    return made[:size], starts, undone


@numba.njit(cache=True)
def _is_latin(
    points: Points, at: int, end: int,
    script: npt.NDArray[np.uint8], row: npt.NDArray[np.int32], alike: npt.NDArray[np.uint64],
    latin: int,
) -> bool:  # fmt: skip
    """Whether words of one script show that a text is Latin, and none that it is something else."""
    is_latin = False
    while at < end:
        stop = _word_end(points, at, end, script, row)
        first = mixed = 0
        for place in range(at, stop):
            number = script[points[place]]
            mixed |= first and number and number != first
            first = first or number
        if first == latin:
            is_latin |= not mixed
        elif first and not mixed:
            short = stop - at <= _SHORT
            if not short or _foldable(points, at, stop, latin, script, row, alike) < 0:
                return False
        at = max(stop, at + 1)
    return is_latin


@numba.njit(cache=True)
def _is_disguised(
    points: Points, at: int, end: int,
    script: npt.NDArray[np.uint8], row: npt.NDArray[np.int32], alike: npt.NDArray[np.uint64],
    latin: int,
) -> bool:  # fmt: skip
    """Whether a word mixes scripts and is to be read as Latin."""
    while at < end:
        stop = _word_end(points, at, end, script, row)
        mixed = False
        for place in range(at, stop):
            mixed = mixed or script[points[place]] > latin
        if mixed and _target(points, at, stop, latin, script, row, alike) == latin:
            return True
        at = max(stop, at + 1)
    return False


@numba.njit(cache=True)
def _small_i_or_l(
    points: Points, begin: int, at: int, end: int,
    row: npt.NDArray[np.int32], alike: npt.NDArray[np.uint64], latin: int,
) -> np.uint64:  # fmt: skip
    """A capital I and a small l look the same; an l follows a small letter or begins "la", "le"."""
    if at > begin and _is_small(points[at - 1]):
        return _SMALL_L
    if at + 1 < end:
        after = np.uint64(points[at + 1])
        if row[points[at + 1]] >= 0 and alike[row[points[at + 1]], latin]:
            after = alike[row[points[at + 1]], latin] & ~_WEAK
        if after == 0x61 or after == 0x65 or after == 0x69 or after == 0x6F or after == 0x75:
            return _SMALL_L
    return _SMALL_I


@numba.njit(cache=True, nogil=True)
def _count_mixed(
    points: Points, offsets: Offsets,
    script: npt.NDArray[np.uint8], row: npt.NDArray[np.int32], spaced: npt.NDArray[np.bool_],
) -> Counts:  # fmt: skip
    mixed = np.zeros(len(offsets) - 1, np.int32)
    for text in range(len(mixed)):
        first, several = 0, False
        for at in range(offsets[text], offsets[text + 1]):
            point = points[at]
            if not _in_word(point, script, row):
                mixed[text] += several
                first, several = 0, False
            elif script[point] and spaced[script[point]]:
                several = several or (first > 0 and script[point] != first)
                first = script[point]
        mixed[text] += several
    return mixed
