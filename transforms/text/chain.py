"""The chain: which steps there are, in which order, and what each undid.

Plain ASCII, which most messages are, skips the steps that could find nothing in it. A text in which
something was undone goes through once more, until nothing is: one disguise may hide another, and
so the chain is idempotent. Each round leaves at most a third of an encoding's depth, so rounds are
few (a logarithm of the length).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numba
import numpy as np
import numpy.typing as npt

from transforms.text.characters import (
    decode_percents,
    fold_case,
    name_emoji,
    remove_invisible,
    unify_forms,
    unstack_marks,
)
from transforms.text.links import refang_links
from transforms.text.look_alikes import fold_look_alikes
from transforms.text.points import Counts, Offsets, Points, Texts, map_strings
from transforms.text.words import part_words, shorten_to_words
from transforms.text.writing import (
    find_plain,
    join_letters,
    lower_ascii,
    read_leet,
    shorten_echoes,
    single_spaces,
)

Step = Callable[[Texts], tuple[Texts, Counts]]

_CHARACTERS: Mapping[str, Step] = {
    "invisible": functools.partial(map_strings, function=remove_invisible),
    "marks": functools.partial(map_strings, function=unstack_marks),
    "forms": functools.partial(map_strings, function=unify_forms),
    "encoded": functools.partial(map_strings, function=decode_percents),
    "look_alikes": fold_look_alikes,
    "case": functools.partial(map_strings, function=fold_case),
    "emoji": functools.partial(map_strings, function=name_emoji),
}
_FIRST: Mapping[str, Step] = {
    **{
        name: functools.partial(map_strings, function=functools.partial(function, reading=1))
        for name, function in (
            ("invisible", remove_invisible),
            ("marks", unstack_marks),
            ("forms", unify_forms),
        )
    },
    "look_alikes": functools.partial(fold_look_alikes, reading=1),
}
"""Steps as they were in the first reading, where they differ."""
_WRITING: Mapping[str, Step] = {
    "links": refang_links,
    "apart": join_letters,
    "leet": read_leet,
    "echoes": shorten_echoes,
    "spaces": single_spaces,
}
_ASCII: Mapping[str, Step] = {"case": lower_ascii}

STEPS: Mapping[str, Step] = {**_CHARACTERS, **_WRITING}
"""Every step by name, in their order."""
STEPS_BY_LIST: Mapping[str, Step] = {"merged": part_words, **STEPS, "echoes": shorten_to_words}
"""Likewise, with a list of words: merged ones come first, before case and what is not seen go."""


@dataclasses.dataclass(frozen=True)
class RestoredTexts:
    """Texts as their readers read them.

    Attributes:
      texts: `[n]`.
      undone: characters that each step removed or replaced, by its name, int32 `[n]`.
    """

    texts: Texts
    undone: Mapping[str, Counts]


def restore(texts: Texts, words: int = 0, reading: int = 2) -> RestoredTexts:
    """Undoes every disguise.

    Args:
      texts: `[n]`.
      words: version of the list of words (`transforms.text.tables.WORDS`) by which merged words are
        parted and repeated letters are read; 0: none, so neither is.
      reading: version of what a disguise is; 1: words of one or two letters that look Latin are
        folded in honest texts too.

    >>> made = restore(Texts.of(["G\\u0435t FR\\u200bEE m.o.n.e.y a\\uff54 hxxp://v1agra[.]example"]))
    >>> made.texts.strings()
    ['get free money at http://v1agra.example']
    >>> {step: int(count[0]) for step, count in made.undone.items() if count[0]}
    {'invisible': 1, 'forms': 1, 'look_alikes': 1, 'links': 4, 'apart': 4}
    """
    steps = STEPS_BY_LIST if words else STEPS
    if reading == 1:
        steps = {**steps, **_FIRST}
    undone = {name: np.zeros(len(texts), np.int32) for name in steps}
    rows = np.arange(len(texts))
    made = texts
    while len(rows):
        before = made.take(rows)
        now, counts = _once(before, steps)
        changed = _differ(before.points, before.offsets, now.points, now.offsets)
        changed &= ~find_plain(before.points, before.offsets)
        for name, count in counts.items():
            undone[name][rows] += count
            changed |= count > 0
        made = made.put(rows, now)
        rows = rows[changed]
    return RestoredTexts(made, undone)


@numba.njit(cache=True, nogil=True)
def _differ(
    points: Points, offsets: Offsets, others: Points, ends: Offsets
) -> npt.NDArray[np.bool_]:
    """Whether each text is not what it was."""
    differ = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(differ)):
        size = offsets[row + 1] - offsets[row]
        differ[row] = ends[row + 1] - ends[row] != size or np.any(
            points[offsets[row] : offsets[row + 1]] != others[ends[row] : ends[row] + size]
        )
    return differ


def _once(texts: Texts, steps: Mapping[str, Step]) -> tuple[Texts, dict[str, Counts]]:
    made, counts = texts, {}
    if "merged" in steps:
        made, counts["merged"] = steps["merged"](made)
    plain = find_plain(made.points, made.offsets)
    for group, rows in ((_ASCII, np.flatnonzero(plain)), (steps, np.flatnonzero(~plain))):
        some = made.take(rows)
        for name in _ASCII if group is _ASCII else _CHARACTERS:
            some, count = group[name](some)
            counts[name] = counts.get(name, np.zeros(len(texts), np.int32))
            counts[name][rows] += count
        made = made.put(rows, some)
    for name in _WRITING:
        made, counts[name] = steps[name](made)
    return made, counts
