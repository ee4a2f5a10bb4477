"""Disguises by how words are written: letters apart, digits for letters, echoes.

Each function takes texts and gives the texts made of them and how many characters it undid, by a
compiled loop over their code points.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from transforms.text.points import Counts, Offsets, Points, Texts

_DOT, _COLON, _SLASH, _SPACE = (np.uint32(ord(one)) for one in ".:/ ")
_LEET = np.zeros(128, np.uint32)
for _sign, _letter in zip("0134578@$!|+", "oieastbasilt", strict=True):
    _LEET[ord(_sign)] = ord(_letter)
_APART = 3  # letters with the same sign between any two of them
_APART_MORE = 4  # with dots or spaces: "U.S.A." is written so, and "u r a" is three words
_HONEST = 3  # the same letter in a row


def join_letters(texts: Texts) -> tuple[Texts, Counts]:
    """Words whose letters stand apart, by one sign or by spaces, in one piece.

    Three letters or more with the same `_`, `-` or `*` between any two; four or more with dots or
    with spaces, of which the narrowest parts letters and a wider one words. Digits and signs that
    stand for letters may be among them.

    >>> join_letters(Texts.of(["f.r.3.e.e  m o n e y   n o w, u r a star"]))[0].strings()
    ['fr3ee  money now, u r a star']
    """
    by_sign = _join_signs(texts.points, texts.offsets, _LEET)
    made = Texts(by_sign[0], by_sign[1])
    by_space = _join_spaces(made.points, made.offsets, _LEET)
    return Texts(by_space[0], by_space[1]), by_sign[2] + by_space[2]


def read_leet(texts: Texts) -> tuple[Texts, Counts]:
    """Digits and signs for letters: between letters; `33`, `55`, `$` at a word's end; `$` before.

    Words with a dot, slash, colon or a sign that stands for nothing among them (links, addresses,
    `covid19`, `area51`) are left.

    >>> read_leet(Texts.of(["fr33 v1agra, ki11er, $ave at win100 me@x.example mp3"]))[0].strings()
    ['free viagra, killer, save at win100 me@x.example mp3']
    """
    points, offsets, undone = _read_leet(texts.points, texts.offsets, _LEET)
    return Texts(points, offsets), undone


def shorten_echoes(texts: Texts) -> tuple[Texts, Counts]:
    """A letter written four times or more: twice. Three are honest: "Schifffahrt", `www`, `viii`.

    >>> shorten_echoes(Texts.of(["freeee viiiiagra schifffahrt 10000"]))[0].strings()
    ['free viiagra schifffahrt 10000']
    """
    points, offsets, undone = _shorten(texts.points, texts.offsets)
    return Texts(points, offsets), undone


def single_spaces(texts: Texts) -> tuple[Texts, Counts]:
    """Runs of white space as one space, none at the ends: not a disguise, nothing is counted.

    >>> single_spaces(Texts.of(["  a \\t\\n b "]))[0].strings()
    ['a b']
    """
    points, offsets = _single_spaces(texts.points, texts.offsets)
    return Texts(points, offsets), np.zeros(len(texts), np.int32)


def lower_ascii(texts: Texts) -> tuple[Texts, Counts]:
    """Capitals A to Z in lower case: `fold_case` of plain ASCII.

    >>> lower_ascii(Texts.of(["WIN now"]))[0].strings()
    ['win now']
    """
    points = texts.points
    capital = (points >= ord("A")) & (points <= ord("Z"))
    return Texts(points + 32 * capital.astype(np.uint32), texts.offsets), np.zeros(
        len(texts), np.int32
    )


@numba.njit(cache=True, inline="always")
def is_space(point: int) -> bool:
    """As `str.isspace`."""
    return (
        (point == 0x20 or 0x09 <= point <= 0x0D or 0x1C <= point <= 0x1F)
        if point < 0x85  # most are, and need no look at the others
        else point == 0x85 or point == 0xA0 or point == 0x1680 or 0x2000 <= point <= 0x200A
        or point == 0x2028 or point == 0x2029 or point == 0x202F or point == 0x205F
        or point == 0x3000
    )  # fmt: skip


@numba.njit(cache=True, inline="always")
def is_letter(point: int) -> bool:
    """Of an alphabet with case: Latin, Greek, Cyrillic, Armenian, in lower case or without."""
    return (
        0x61 <= point <= 0x7A or 0x41 <= point <= 0x5A
        or (0xC0 <= point <= 0x24F and point != 0xD7 and point != 0xF7)
        or 0x370 <= point <= 0x52F or 0x531 <= point <= 0x587 or 0x1E00 <= point <= 0x1FFF
    )  # fmt: skip


@numba.njit(cache=True)
def is_name(point: int) -> bool:
    """May stand beside a dot in a host's name."""
    return 0x30 <= point <= 0x39 or is_letter(point) or point > 0x24F


@numba.njit(cache=True, inline="always")
def _stands_for(point: int, leet: Points) -> np.uint32:
    return leet[point] if point < 128 else np.uint32(0)


@numba.njit(cache=True, inline="always")
def _is_part(point: int, leet: Points) -> bool:
    """A letter, or what stands for one, alone."""
    return is_letter(point) or _stands_for(point, leet) > 0


@numba.njit(cache=True, nogil=True)
def _join_signs(points: Points, offsets: Offsets, leet: Points) -> tuple[Points, Offsets, Counts]:
    """Runs of single letters with one and the same sign between any two."""
    rows = len(offsets) - 1
    made = np.empty(len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    size = 0
    for row in range(rows):
        at, first, end = offsets[row], offsets[row], offsets[row + 1]
        while at < end:
            alone = at == first or not _is_part(points[at - 1], leet)
            stop, letters = at, 0
            if alone and is_letter(points[at]) and at + 2 < end:
                sign = points[at + 1]
                if sign == _DOT or sign == 0x5F or sign == 0x2D or sign == 0x2A:
                    stop, letters = at + 1, 1
                    while (
                        stop + 1 < end and points[stop] == sign and _is_part(points[stop + 1], leet)
                    ):
                        letters += is_letter(points[stop + 1])
                        stop += 2
                    whole = stop == end or not _is_part(points[stop], leet)
                    least = _APART_MORE if sign == _DOT else _APART
                    if not whole or letters < least or not is_letter(points[stop - 1]):
                        # Leave all of it at once: from within it no other run can begin.
                        for place in range(at, stop):
                            made[size] = points[place]
                            size += 1
                        at = stop
                        continue
                    for place in range(at, stop, 2):
                        made[size] = points[place]
                        size += 1
                    undone[row] += (stop - at) // 2
                    at = stop
                    continue
            made[size] = points[at]
            size += 1
            at += 1
        starts[row + 1] = size
    return made[:size], starts, undone


@numba.njit(cache=True, nogil=True)
def _join_spaces(points: Points, offsets: Offsets, leet: Points) -> tuple[Points, Offsets, Counts]:
    """Runs of words of one letter each; the narrowest gap parts letters, a wider one words."""
    rows = len(offsets) - 1
    made = np.empty(len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    size = 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            stop, parts, letters, narrow, last = at, 0, 0, end - at, at
            single = at == offsets[row] or is_space(points[at - 1])
            while single and stop < end and _is_part(points[stop], leet):
                closing = stop + 1 < end and not is_space(points[stop + 1])
                if closing and (_is_part(points[stop + 1], leet) or is_name(points[stop + 1])):
                    break
                if parts:
                    narrow = min(narrow, stop - last - 1)
                parts, last = parts + 1, stop
                letters += is_letter(points[stop])
                stop += 1
                if closing:
                    break
                while stop < end and is_space(points[stop]):
                    stop += 1
            if parts == 0:
                made[size] = points[at]
                size += 1
                at += 1
                continue
            if letters < _APART_MORE or letters < parts - letters:
                for place in range(at, last + 1):
                    made[size] = points[place]
                    size += 1
            else:
                place = at
                while place <= last:
                    made[size] = points[place]
                    size += 1
                    gap = place + 1
                    while gap <= last and is_space(points[gap]):
                        gap += 1
                    if gap <= last and gap - place - 1 > narrow:
                        made[size] = _SPACE
                        size += 1
                    undone[row] += gap <= last
                    place = gap
            at = last + 1
        starts[row + 1] = size
    return made[:size], starts, undone


@numba.njit(cache=True, nogil=True)
def _read_leet(points: Points, offsets: Offsets, leet: Points) -> tuple[Points, Offsets, Counts]:
    made = points.copy()
    undone = np.zeros(len(offsets) - 1, np.int32)
    for row in range(len(undone)):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            if is_space(points[at]):
                at += 1
                continue
            stop = at
            while stop < end and not is_space(points[stop]):
                stop += 1
            undone[row] += _read_word(points, made, at, stop, leet)
            at = stop
    return made, offsets, undone


@numba.njit(cache=True)
def _read_word(points: Points, made: Points, begin: int, end: int, leet: Points) -> int:
    while begin < end and not is_letter(points[begin]) and points[begin] != 0x24:
        if _stands_for(points[begin], leet):
            break
        begin += 1
    while end > begin and not is_letter(points[end - 1]):
        point = points[end - 1]
        if _stands_for(point, leet) and point != 0x21 and point != 0x2B and point != 0x7C:
            break
        end -= 1
    for at in range(begin, end):
        point = points[at]
        if point in (_DOT, _SLASH, _COLON):
            return 0
    undone, at = 0, begin
    while at < end:
        if not _stands_for(points[at], leet):
            at += 1
            continue
        stop, same = at, True
        while stop < end and _stands_for(points[stop], leet):
            same = same and points[stop] == points[at]
            stop += 1
        before = at > begin and is_letter(points[at - 1])
        after = stop < end and is_letter(points[stop])
        within = before and after
        doubled = stop == end and same and stop - at == 2
        sign = points[at]
        closing = before and (
            (doubled and (sign == 0x33 or sign == 0x35 or sign == 0x24))  # fr33, a55, a$$
            or (stop == end and stop - at == 1 and sign == 0x24 and at - begin > 2)  # obviou$
        )
        opening = (
            at == begin
            and points[at] == 0x24
            and stop - at == 1
            and after
            and (stop + 1 < end and is_letter(points[stop + 1]))
        )
        if within or closing or opening:
            twice = within and same and stop - at == 2 and sign == 0x31  # ki11ing
            for place in range(at, stop):
                made[place] = 0x6C if twice else leet[points[place]]
            undone += stop - at
        at = stop
    return undone


@numba.njit(cache=True, nogil=True)
def _shorten(points: Points, offsets: Offsets) -> tuple[Points, Offsets, Counts]:
    rows = len(offsets) - 1
    made = np.empty(len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    size = 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            point, stop = points[at], at
            while stop < end and points[stop] == point:
                stop += 1
            kept = stop - at
            if kept > _HONEST and is_letter(point):
                undone[row] += kept - 2
                kept = 2
            for _ in range(kept):
                made[size] = point
                size += 1
            at = stop
        starts[row + 1] = size
    return made[:size], starts, undone


@numba.njit(cache=True, nogil=True)
def _single_spaces(points: Points, offsets: Offsets) -> tuple[Points, Offsets]:
    rows = len(offsets) - 1
    made = np.empty(len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    size = 0
    for row in range(rows):
        begin, gap = size, False
        for at in range(offsets[row], offsets[row + 1]):
            if is_space(points[at]):
                gap = size > begin
                continue
            if gap:
                made[size] = _SPACE
                size, gap = size + 1, False
            made[size] = points[at]
            size += 1
        starts[row + 1] = size
    return made[:size], starts


@numba.njit(cache=True, nogil=True)
def find_plain(points: Points, offsets: Offsets) -> npt.NDArray[np.bool_]:
    """Whether each text is plain: ASCII without controls, `%` and `n--`, and quotes and dashes."""
    plain = np.ones(len(offsets) - 1, np.bool_)
    for row in range(len(plain)):
        for at in range(offsets[row], offsets[row + 1]):
            point = points[at]
            printed = point == 0x2013 or point == 0x2014 or 0x2018 <= point <= 0x201D
            ascii = (0x20 <= point < 0x7F and point != 0x25) or 9 <= point <= 13
            dashes = point == 0x2D and at >= offsets[row] + 2 and points[at - 1] == 0x2D
            encoded = dashes and (points[at - 2] == 0x6E or points[at - 2] == 0x4E)
            if encoded or not (ascii or printed):
                plain[row] = False
                break
    return plain
