"""`python -m benchmarks.merged_words`: words that were merged, what comes back and what is harmed.

Prints the tables of docs/results.md. Some words of a message are written as one, in several ways,
and restored with `words: 1`; a message counts if all of it comes back. Then words that nobody
merged, of which none should be parted: those of the published comments, and all words of letters a
to z of each language of `wordfreq`, if that is installed (`pip install wordfreq==3.1.1`; its lists
are CC BY-SA 4.0). Data: ../shared/data, or `LOCKSTEP_DATA`.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import os
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numba
import pyarrow.parquet as pq

from benchmarks.language import read
from transforms.text import Texts
from transforms.text.words import (
    LEAST_LENGTH,
    cut_by_frequency,
    find_word,
    part_words,
    shorten_to_words,
    word_list,
)

_WAYS: dict[str, tuple[int, Callable[[list[str]], str]]] = {
    "`BuyCheapNow`": (3, lambda words: "".join(word.capitalize() for word in words)),
    "`buy.cheap.now`": (3, ".".join),
    "`buy_cheap_now`": (3, "_".join),
    "by zero-width spaces": (3, "\u200b".join),
    "`buycheapnow`, three words": (3, lambda words: "".join(words).lower()),
    "likewise, four": (4, lambda words: "".join(words).lower()),
    "likewise, six": (6, lambda words: "".join(words).lower()),
    "the whole message": (0, lambda words: "".join(words).lower()),
}
_MOST_FREQUENT = 50_000
_LIMITS = (
    (2, 3, 2500),
    (3, 3, 2325),
    (3, 3, 2500),
    (3, 4, 2325),
    (3, 4, 2500),
    (1, 5, 2500),
    (1, 6, 2500),
)


def places_of(message: str, count: int) -> list[int]:
    """Where so many words of plain letters begin that stand side by side."""
    words = message.split()
    plain = [word.isascii() and word.isalpha() for word in words]
    return [at for at in range(len(words) - count + 1) if all(plain[at : at + count])]


def merge(message: str, count: int, way: Callable[[list[str]], str], chosen: random.Random) -> str:
    """A message with some words in a row, drawn evenly, written as one; 0: all of its words."""
    words = message.split()
    if not count:
        return way(words)
    at = chosen.choice(places_of(message, count))
    return " ".join([*words[:at], way(words[at : at + count]), *words[at + count :]])


def parted(words: list[str]) -> int:
    """How many words are parted."""
    made = part_words(Texts.of(words))[0].strings()
    return sum(word != other for word, other in zip(words, made, strict=True))


def parted_at(words: list[str], shortest: int, fewest: int, most: int) -> int:
    """Likewise, at other limits (`_MERGED` in `transforms/text/words.py`)."""
    texts, known = Texts.of(words), word_list()
    return _count(texts.points, texts.offsets, known.child, known.cost, shortest, fewest, most)


@numba.njit
def _count(points, offsets, child, cost, shortest, fewest, most):  # type: ignore[no-untyped-def]
    count = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        if end - begin >= LEAST_LENGTH and (find_word(points, begin, end, child, cost) == 0):
            count += (
                len(cut_by_frequency(points[begin:end], child, cost, shortest, fewest, most)) > 0
            )
    return count


def shortened(words: list[str]) -> tuple[int, int]:
    """How many words have a letter three times in a row, and of how many the list makes another."""
    some = [word for word in words if re.search(r"(.)\1\1", word)]
    made = shorten_to_words(Texts.of(some))[0].strings()
    return len(some), sum(word != other for word, other in zip(some, made, strict=True))


def languages() -> Iterable[tuple[str, list[str]]]:
    """Words of letters a to z of each language of wordfreq, the most frequent ones first."""
    import wordfreq

    for language in sorted(wordfreq.available_languages("best")):
        words = wordfreq.top_n_list(language, 10**7, "best")
        yield language, [word for word in words if re.fullmatch("[a-z]+", word)]


def comments(folder: Path) -> list[str]:
    """Texts of the unlabelled comments."""
    with gzip.open(folder, "rt", encoding="utf-8", errors="replace", newline="") as file:
        return [row["CONTENT"] or "" for row in csv.DictReader(file)]


def main() -> int:
    """Prints the tables."""
    folder = Path(os.environ.get("LOCKSTEP_DATA", "../shared/data"))
    pairs = folder / "noisy-hate" / "pairs.parquet"
    if not pairs.exists():
        print(f"no {pairs}: see ../shared/data/README.md", file=sys.stderr)
        return 4
    clean = pq.read_table(pairs).column("clean").to_pylist()
    print("| words written as one | messages | comes back | with `words: 1` |\n|---|---|---|---|")
    for name, (count, way) in _WAYS.items():
        least, chosen = count or 4, random.Random(7)
        messages = [text for text in clean if len(text) < 140 and places_of(text, least)]
        if not count:  # of plain words and nothing else
            messages = [text for text in messages if text.replace(" ", "").isalpha()]
        made = [merge(message, count, way, chosen) for message in messages]
        shares = [
            sum(a == b for a, b in zip(read(messages, by), read(made, by), strict=True))
            for by in (0, 1)
        ]
        shown = " | ".join(f"{share / len(messages):.3f}" for share in shares)
        print(f"| {name} | {len(messages):,} | {shown} |")
    unlabelled = comments(folder / "youtube-spam" / "unlabelled" / "comments.csv.gz")
    words = {word for text in unlabelled for word in text.lower().split()}
    plain = sorted(word for word in words if re.fullmatch("[a-z]+", word))
    print(f"\n{len(unlabelled):,} comments: {len(plain):,} words, {parted(plain)} of them parted.")
    if importlib.util.find_spec("wordfreq") is None:
        print("Words of other languages: not measured, wordfreq is not installed.")
        return 0
    found = dict(languages())
    total, most = sum(map(len, found.values())), {}
    for language, some in found.items():
        if count := parted(some):
            most[language] = count
    print(f"{len(found)} languages: {total:,} words, parted: {most or 'none'}.")
    frequent = [some[:_MOST_FREQUENT] for some in found.values()]
    thrice, others = map(sum, zip(*map(shortened, frequent), strict=True))
    print(
        f"Of the {_MOST_FREQUENT:,} most frequent of each, {sum(map(len, frequent)):,}, have a "
        f"letter three times in a row: {thrice}; of {others} the list makes another word.\n"
    )
    print("| letters of each | words | bits of a letter | parted |\n|---|---|---|---|")
    for shortest, fewest, most in _LIMITS:
        count = sum(parted_at(some, shortest, fewest, most) for some in frequent)
        print(f"| {shortest} or more | {fewest} or more | {most / 1000:g} at most | {count:,} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
