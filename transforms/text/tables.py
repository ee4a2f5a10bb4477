"""Scripts of code points and what looks like what, Unicode's tables; and hosts of short links.

Sources: UAX #24 (`Scripts.txt`) and UTS #39 (`confusables.txt`), Unicode 17.0.0; which letters a
language writes with, from CLDR 41. `make_tables.py` writes the files; © Unicode, Inc., Unicode
License v3 (https://www.unicode.org/license.txt). Hosts: the list `url-shortener`, version 25, of
the MISP warning lists (https://github.com/MISP/misp-warninglists), as in `pymispwarninglists`
1.7.0; CC0 1.0, public domain. Words: SymSpell's list of English words with their frequencies, as in
`symspellpy` 6.10.1 (MIT): Google Books Ngrams (CC BY 3.0), where SCOWL has the word
(`words-licence.txt`).
"""

from __future__ import annotations

import dataclasses
import functools
from importlib import resources

import numpy as np
import numpy.typing as npt

TABLES = {1: "Unicode 17.0.0, CLDR 41"}
"""Versions of the tables. A spec names one (`tables`), so that it is part of its fingerprint."""

SHORTENERS = {1: "MISP warning lists, url-shortener, version 25"}
"""Versions of the list of shorteners, likewise."""

WORDS = {1: "SymSpell, frequency_dictionary_en_82_765, its 20,000 most frequent words"}
"""Versions of the list of words (`words.word_list`), likewise."""

LATIN = 1
_FIRST = ("Latin", "Cyrillic", "Greek", "Armenian", "Georgian", "Hebrew", "Arabic")
_UNSPACED = ("Thai", "Lao", "Khmer", "Myanmar", "Tai_Tham", "Tibetan")
_MIXED_BY_CUSTOM = ("Han", "Hiragana", "Katakana", "Hangul", "Bopomofo")


@dataclasses.dataclass(frozen=True)
class Tables:
    """What the compiled steps look up.

    Attributes:
      script: uint8 `[0x110000]`; 0 where a code point belongs to none or to one whose words are
        written without spaces beside others by custom (Chinese, Japanese, Korean), 1 for Latin.
      spaced: bool, by script: whether its words are set apart by spaces.
      row: int32 `[0x110000]`; row of `alike`, or -1.
      alike: uint64 `[rows, scripts]`: what the row's letter looks like in a script, up to three
        code points of 20 bits from the lowest; 0 for nothing. The highest bit: only to a careless
        eye (not in UTS #39).
    """

    script: npt.NDArray[np.uint8]
    spaced: npt.NDArray[np.bool_]
    row: npt.NDArray[np.int32]
    alike: npt.NDArray[np.uint64]


@functools.cache
def tables() -> Tables:
    """Read once in a process."""
    numbers = {name: place + 1 for place, name in enumerate(_FIRST)}
    script = np.zeros(0x110000, np.uint8)
    for first, last, name in _lines("scripts.tsv"):
        if name not in _MIXED_BY_CUSTOM:
            number = numbers.setdefault(name, len(numbers) + 1)
            script[int(first, 16) : int(last, 16) + 1] = number
    spaced = np.ones(len(numbers) + 1, np.bool_)
    spaced[[numbers[name] for name in _UNSPACED]] = False
    found = [
        (int(source, 16), numbers[name], target, weak)
        for source, name, target, weak in _lines("look_alikes.tsv")
        if name not in _MIXED_BY_CUSTOM
    ]
    sources = sorted({source for source, *_ in found})
    row = np.full(0x110000, -1, np.int32)
    row[sources] = np.arange(len(sources))
    alike = np.zeros((len(sources), len(numbers) + 1), np.uint64)
    for source, number, target, weak in found:
        packed = sum(ord(one) << 20 * place for place, one in enumerate(target))
        alike[row[source], number] = packed | (1 << 63 if weak else 0)
    return Tables(script, spaced, row, alike)


@functools.cache
def shorteners() -> frozenset[str]:
    """Hosts that send whoever opens a link on to another one, lower case; read once in a process.

    >>> "bit.ly" in shorteners(), "example.com" in shorteners()
    (True, False)
    """
    return frozenset(host for [host] in _lines("shorteners.tsv"))


def _lines(name: str) -> list[list[str]]:
    text = (resources.files("transforms.text") / name).read_text("utf-8")
    return [line.split("\t") for line in text.splitlines()]
