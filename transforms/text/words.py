"""Words by a list of English ones: those that were merged, those with letters repeated.

Three words or more of the list that one sign, an invisible one or their case joins are parted.
Where nothing parts them, it takes four or six that are so frequent that no other language writes
them by chance: P. Norvig's segmentation ("Natural Language Corpus Data", in Beautiful Data, 2009),
whose probability of a text is the product of its words' frequencies. Three would part honest words
(docs/decisions/0014-merged-words.md). Costs are whole numbers, so that no rounding decides.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import dataclasses
import functools
from importlib import resources

import numba
import numpy as np
import numpy.typing as npt

from transforms.text.points import Counts, Offsets, Points, Texts
from transforms.text.writing import is_letter, is_space

Nodes = npt.NDArray[np.int32]
Cuts = npt.NDArray[np.bool_]

_LETTERS = 26
_A, _SPACE = np.uint32(ord("a")), np.uint32(ord(" "))
_LOWER = np.uint32(0x20)
LEAST_LENGTH = 8
_LEAST_JOINED = 3  # words that a sign or their case joins
# Of words that nothing parts: fewest letters of each, fewest of them, and the most that each of
# their letters costs on average; letters drawn at random cost 4700.
_MERGED = ((1, 6, 2500), (3, 4, 2325))
_LEAST_MERGED = 12  # letters: no six words in fewer are cheap enough
_FAR = np.int64(1) << np.int64(60)
_SIGNS = tuple(map(ord, "._*~|+"))
_AROUND = tuple(map(ord, "\"'`()[]{}<>*#~-_!?.,;:\u2018\u2019\u201c\u201d\u2013\u2014"))
_UNSEEN = (0x200B, 0x200D, 0x2060, 0xFEFF)  # not U+200C and U+00AD, which words are written with
_NUMERALS = tuple(map(ord, "ivxlcdm"))
_MOST_RUNS = 3
_HONEST = 3  # the same letter in a row, as of `writing`


@dataclasses.dataclass(frozen=True)
class WordList:
    """Words as a tree of their letters.

    Attributes:
      child: the node that a letter leads to, int32 `[nodes, 26]`; 0, where all begin, for none.
      cost: of the word that ends at a node, int32 `[nodes]`: -1000 times the binary logarithm of
        its share; 0 where none ends.
    """

    child: Nodes
    cost: Nodes


@functools.cache
def word_list() -> WordList:
    """The list in `words.tsv` (`transforms.text.tables.WORDS`); read once in a process."""
    text = (resources.files("transforms.text") / "words.tsv").read_text("ascii")
    words, costs = zip(*(line.split("\t") for line in text.splitlines()), strict=True)
    texts = Texts.of(words)
    return WordList(*_tree(texts.points, texts.offsets, np.array(costs, np.int32)))


def part_words(texts: Texts) -> tuple[Texts, Counts]:
    """Words that were merged in one, by nothing, by one sign, by what is not seen, or by case.

    What stands in a link, an address or beside digits is left, and so is each word of the list.

    >>> texts = ["makemoneyonlinenow! ClickHereNow buy_cheap_now nevertheless @BuyCheapNow"]
    >>> part_words(Texts.of(texts))[0].strings()
    ['make money online now! Click Here Now buy cheap now nevertheless @BuyCheapNow']
    """
    words = word_list()
    points, offsets, undone = _part(texts.points, texts.offsets, words.child, words.cost)
    return Texts(points, offsets), undone


def shorten_to_words(texts: Texts) -> tuple[Texts, Counts]:
    """Letters written three times or more: once or twice, where that makes a word of the list.

    Others are as `shorten_echoes` leaves them.

    >>> shorten_to_words(Texts.of(["freeee goood monnney schifffahrt viii zzzzz"]))[0].strings()
    ['free good money schifffahrt viii zz']
    """
    words = word_list()
    points, offsets, undone = _shorten(texts.points, texts.offsets, words.child, words.cost)
    return Texts(points, offsets), undone


@numba.njit(cache=True, nogil=True)
def _tree(points: Points, offsets: Offsets, costs: Nodes) -> tuple[Nodes, Nodes]:
    child = np.zeros((len(points) + 1, _LETTERS), np.int32)
    cost = np.zeros(len(points) + 1, np.int32)
    size = 1
    for row in range(len(costs)):
        node = 0
        for at in range(offsets[row], offsets[row + 1]):
            letter = points[at] - _A
            if child[node, letter] == 0:
                child[node, letter] = size
                size += 1
            node = child[node, letter]
        cost[node] = costs[row]
    return child[:size].copy(), cost[:size].copy()


@numba.njit(cache=True, inline="always")
def _is_ascii_letter(point: int) -> bool:
    return 0x61 <= point <= 0x7A or 0x41 <= point <= 0x5A


@numba.njit(cache=True)
def _is_one_of(point: int, some: tuple[int, ...]) -> bool:
    for one in some:  # noqa: SIM110, which numba does not compile
        if point == one:
            return True
    return False


@numba.njit(cache=True, inline="always")
def _is_around(point: int) -> bool:
    return not _is_ascii_letter(point) and _is_one_of(point, _AROUND)


@numba.njit(cache=True)
def find_word(points: Points, begin: int, end: int, child: Nodes, cost: Nodes) -> int:
    """Cost of a word of the list, in any case, whatever stands between its letters; 0: none."""
    node = 0
    for at in range(begin, end):
        if _is_ascii_letter(points[at]):
            node = child[node, (points[at] | _LOWER) - _A]
            if node == 0:
                return 0
    return cost[node]


@numba.njit(cache=True, nogil=True)
def _part(
    points: Points, offsets: Offsets, child: Nodes, cost: Nodes
) -> tuple[Points, Offsets, Counts]:
    rows = len(offsets) - 1
    made = np.empty(2 * len(points), np.uint32)
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    none, size = np.zeros(0, np.bool_), 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            stop = at
            while stop < end and not is_space(points[stop]):
                stop += 1
            first, last = at, stop
            while first < last and _is_around(points[first]):
                first += 1
            while last > first and _is_around(points[last - 1]):
                last -= 1
            cuts = none
            if last - first >= LEAST_LENGTH:
                cuts = _find_cuts(points[first:last], child, cost, none)
            if len(cuts) == 0:
                first = last = stop
            for place in range(at, stop):
                within = first < place < last
                if within and cuts[place - first]:
                    made[size] = _SPACE
                    size, undone[row] = size + 1, undone[row] + 1
                if not within or _is_ascii_letter(points[place]):
                    made[size] = points[place]
                    size += 1
            at = stop
            while at < end and is_space(points[at]):
                made[size] = points[at]
                size, at = size + 1, at + 1
        starts[row + 1] = size
    return made[:size], starts, undone


@numba.njit(cache=True)
def _find_cuts(word: Points, child: Nodes, cost: Nodes, none: Cuts) -> Cuts:
    """Where the second and each later one of merged words begins, bool `[n]`; `none`: nowhere."""
    sign, cased = np.uint32(0), False
    for at in range(len(word)):
        point = word[at]
        if _is_ascii_letter(point):
            cased = cased or _is_capital_after(word, at)
            continue
        if _is_one_of(point, _UNSEEN):
            point = np.uint32(_UNSEEN[0])
        elif not _is_one_of(point, _SIGNS):
            return none
        if sign and point != sign:
            return none
        sign = point
    if find_word(word, 0, len(word), child, cost) != 0:
        return none
    if sign or cased:
        return _cut_where_joined(word, sign, child, cost)
    if len(word) < _LEAST_MERGED:
        return none
    for shortest, fewest, most in _MERGED:
        cuts = cut_by_frequency(word, child, cost, shortest, fewest, most)
        if len(cuts):
            return cuts
    return none


@numba.njit(cache=True, inline="always")
def _is_capital_after(word: Points, at: int) -> bool:
    """Whether a word begins here by its case: `buyCheap`, and the H of `AHouse`."""
    if at == 0 or not 0x41 <= word[at] <= 0x5A or not _is_ascii_letter(word[at - 1]):
        return False
    return word[at - 1] >= 0x61 or (at + 1 < len(word) and 0x61 <= word[at + 1] <= 0x7A)


@numba.njit(cache=True)
def _cut_where_joined(word: Points, sign: int, child: Nodes, cost: Nodes) -> Cuts:
    """By one sign, by characters that are not seen, or by case: each part is a word of the list."""
    cuts, parts, at = np.zeros(len(word), np.bool_), 0, 0
    while at < len(word):
        stop = at + 1
        while stop < len(word) and _is_ascii_letter(word[stop]):
            if sign == 0 and _is_capital_after(word, stop):
                break
            stop += 1
        if not _is_ascii_letter(word[at]) or find_word(word, at, stop, child, cost) == 0:
            return cuts[:0]
        cuts[at], parts, at = at > 0, parts + 1, stop
        while at < len(word) and not _is_ascii_letter(word[at]):
            at += 1
        if at - stop > 1 and sign != _UNSEEN[0]:
            return cuts[:0]
    return cuts if parts >= _LEAST_JOINED else cuts[:0]


@numba.njit(cache=True)
def cut_by_frequency(
    word: Points, child: Nodes, cost: Nodes, shortest: int, fewest: int, most: int
) -> Cuts:
    """The likeliest words that make up one without any sign, by a dynamic programme.

    A word of the list has a bounded length, so the time is in proportion to the text.
    """
    size = len(word)
    least, parts = np.full(size + 1, _FAR), np.zeros(size + 1, np.int64)
    then, cuts = np.zeros(size + 1, np.int64), np.zeros(size, np.bool_)
    least[size] = 0
    for begin in range(size - 1, -1, -1):
        node = 0
        for at in range(begin, size):
            node = child[node, (word[at] | _LOWER) - _A]
            if node == 0:
                break
            if cost[node] > 0 and at + 1 - begin >= shortest and least[at + 1] < _FAR:
                found = cost[node] + least[at + 1]
                if found < least[begin]:
                    least[begin], then[begin] = found, at + 1
                    parts[begin] = parts[at + 1] + 1
    if least[0] > most * size or parts[0] < fewest:
        return cuts[:0]
    at = then[0]
    while at < size:
        cuts[at] = True
        at = then[at]
    return cuts


@numba.njit(cache=True, nogil=True)
def _shorten(
    points: Points, offsets: Offsets, child: Nodes, cost: Nodes
) -> tuple[Points, Offsets, Counts]:
    rows = len(offsets) - 1
    made = points.copy()
    starts = np.zeros(rows + 1, np.int64)
    undone = np.zeros(rows, np.int32)
    size = 0
    for row in range(rows):
        at, end = offsets[row], offsets[row + 1]
        if not _has_echo(points, at, end):
            made[size : size + end - at] = points[at:end]
            size, at = size + end - at, end
        while at < end:
            stop, runs, others = at, 0, 0
            while stop < end and is_letter(points[stop]):
                run = stop
                while run < end and points[run] == points[stop]:
                    run += 1
                runs += run - stop >= _HONEST
                others += points[stop] != points[at]
                stop = run
            if stop == at:
                made[size] = points[at]
                size, at = size + 1, at + 1
                continue
            choice = -1
            if 0 < runs <= _MOST_RUNS and others:
                choice = _shortest(points[at:stop], child, cost)
            while at < stop:
                run = at
                while run < stop and points[run] == points[at]:
                    run += 1
                kept = run - at
                if kept >= _HONEST and choice >= 0:
                    kept, choice = 1 + (choice & 1), choice >> 1
                elif kept > _HONEST:
                    kept = 2
                undone[row] += run - at - kept
                made[size : size + kept] = points[at]
                size, at = size + kept, run
        starts[row + 1] = size
    return made[:size].copy(), starts, undone


@numba.njit(cache=True)
def _has_echo(points: Points, begin: int, end: int) -> bool:
    for at in range(begin + 2, end):
        if points[at] == points[at - 1] == points[at - 2] and is_letter(points[at]):
            return True
    return False


@numba.njit(cache=True)
def _shortest(word: Points, child: Nodes, cost: Nodes) -> int:
    """Which runs of three letters or more stand for two, as bits from the first; -1: no word.

    Of all choices that make a word of the list, its most frequent.
    """
    nodes, bits = np.zeros(1, np.int64), np.zeros(1, np.int64)
    at, run_number, numerals = 0, 0, 0
    while at < len(word):
        if not _is_ascii_letter(word[at]):
            return -1
        run = at
        while run < len(word) and word[run] == word[at]:
            run += 1
        numerals += (run - at) * _is_one_of(word[at], _NUMERALS)
        letter, count = word[at] - _A, run - at
        for _ in range(1 if count >= _HONEST else count):
            for one in range(len(nodes)):
                nodes[one] = _step(nodes[one], letter, child)
        if count >= _HONEST:
            twice = nodes.copy()
            for one in range(len(twice)):
                twice[one] = _step(twice[one], letter, child)
            bits = np.concatenate((bits, bits | (1 << run_number)))
            nodes = np.concatenate((nodes, twice))
            run_number += 1
        at = run
    choice, least = -1, _FAR
    for one in range(len(nodes)):
        if nodes[one] > 0 and 0 < cost[nodes[one]] < least:
            choice, least = bits[one], cost[nodes[one]]
    return -1 if numerals == len(word) else choice


@numba.njit(cache=True)
def _step(node: int, letter: int, child: Nodes) -> int:
    """The next node; -1 where there is none."""
    if node < 0 or child[node, letter] == 0:
        return -1
    return child[node, letter]
