"""Unicode's normal forms in linear time.

Python puts the marks on a letter in order by insertion, in quadratic time: a text of 64 kB of marks
of two classes in turn takes seconds. Here long runs of marks are ordered first, by class.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Literal

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

_LONG = 64  # marks; no language writes half as many on a letter, and so few are soon in order


def normalize_form(form: Form, text: str) -> str:
    """As `unicodedata.normalize`, whose result is the same for marks that are in order already.

    >>> normalize_form("NFC", "e\\u0301") == "\\u00e9"
    True
    >>> marks = "\\u0301\\u0316" * 50
    >>> normalize_form("NFD", marks) == "\\u0316" * 50 + "\\u0301" * 50
    True
    """
    if len(text) > _LONG:
        apart: Form = "NFKD" if "K" in form else "NFD"
        text = _runs(apart).sub(lambda found: _in_order(apart, found[0]), text)
    return unicodedata.normalize(form, text)


def _in_order(form: Form, marks: str) -> str:
    """Marks of one letter, decomposed, in canonical order (UAX #15, D109): stable by class."""
    by_class: dict[int, list[str]] = {}
    for mark in marks:
        for one in unicodedata.normalize(form, mark):
            by_class.setdefault(unicodedata.combining(one), []).append(one)
    return "".join(one for number in sorted(by_class) for one in by_class[number])


@functools.cache
def _runs(form: Form) -> re.Pattern[str]:
    """Long runs of characters that become marks and nothing else."""
    marks = [
        character
        for character in map(chr, range(0x300, 0x20000))
        if all(map(unicodedata.combining, unicodedata.normalize(form, character)))
    ]
    return re.compile(f"[{''.join(marks)}]{{{_LONG + 1},}}")


@functools.cache
def composing() -> frozenset[str]:
    """Characters that compose with the one before them (UAX #15, D117), in normal forms C and KC.

    >>> "\u0301" in composing(), "\u1161" in composing(), "a" in composing()
    (True, True, False)
    """
    apart = (unicodedata.decomposition(character).split() for character in map(chr, range(0x20000)))
    second = {chr(int(parts[1], 16)) for parts in apart if len(parts) == 2 and parts[0][0] != "<"}
    return frozenset(second).union(map(chr, range(0x1161, 0x1176)), map(chr, range(0x11A8, 0x11C3)))
