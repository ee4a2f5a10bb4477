"""`python -m benchmarks.language`: what undoing disguises brings back, harms and costs.

Prints the table of docs/results.md: messages in which letters were replaced by look-alikes of
UTS #39, drawn evenly; the words that people themselves obfuscated (NoisyHate, whose sentences are
never printed), by kind; and messages per CPU second. Data: ../shared/data, or `LOCKSTEP_DATA`.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.text import Texts, restore
from transforms.text.tables import LATIN, tables

_PUNCTUATION = ".,!?\"';:()"
_REPEATS = 20
_LATIN = {"f": "\u0192\u017f", "i": "\u0131", "p": "\u00fe", "u": "\u028b", "y": "\u0263"}


def read(texts: list[str]) -> list[str]:
    """Texts without disguises."""
    return restore(Texts.of(texts)).texts.strings()


def letters_alike() -> dict[str, list[str]]:
    """ASCII letter -> what looks like it: its compatibility forms, and by the tables.

    What looks like a capital I stands for l, as UTS #39 has it. Likenesses to a careless eye are
    left out; letters of other Latin alphabets, which the chain leaves as they are, are in.
    """
    look = tables()
    alike = defaultdict(list, {letter: list(others) for letter, others in _LATIN.items()})
    for point in range(0x80, len(look.row)):
        packed = int(look.alike[look.row[point], LATIN]) if look.row[point] >= 0 else 0
        letter = chr(packed) if 0 < packed < 0x80 else unicodedata.normalize("NFKC", chr(point))
        if len(letter) == 1 and letter.isascii() and letter.isalpha():
            alike["l" if letter == "I" else letter.lower()].append(chr(point))
    return alike


def look_alikes(messages: list[str], letters: int, seed: int = 7) -> float:
    """Share of messages that come back whole after some letters were replaced."""
    alike, chosen = letters_alike(), random.Random(seed)
    disguised = []
    for message in messages:
        made = list(message)
        places = [at for at, one in enumerate(made) if one.lower() in alike and one.isascii()]
        for at in chosen.sample(places, min(letters, len(places))):
            made[at] = chosen.choice(alike[made[at].lower()])
        disguised.append("".join(made))
    return sum(a == b for a, b in zip(read(messages), read(disguised), strict=True)) / len(messages)


def by_kind(clean: list[str], perturbed: list[str]) -> tuple[Counter[str], Counter[str], int, int]:
    """Words that people changed, and those that come back, by kind; words harmed, of how many."""
    changed, restored = Counter[str](), Counter[str]()
    harmed = words = 0
    for before, after, made_before, made_after in zip(
        clean, perturbed, read(clean), read(perturbed), strict=True
    ):
        parts = [text.casefold().split() for text in (before, after, made_before, made_after)]
        if len({len(part) for part in parts}) > 1:
            changed["words merged or split"] += 1
            restored["words merged or split"] += made_before == made_after
            continue
        for one, other, kept, made in zip(*parts, strict=True):
            one, other, kept, made = (word.strip(_PUNCTUATION) for word in (one, other, kept, made))
            words, harmed = words + 1, harmed + (kept != one)
            if one != other:
                changed[kind_of(other)] += 1
                restored[kind_of(other)] += made == kept
    return changed, restored, harmed, words


def kind_of(word: str) -> str:
    """How a word was obfuscated, by what it looks like."""
    if not word.isascii():
        return "other characters"
    if re.search(r"[0-9@$!|+]", word):
        return "digits and signs for letters"
    if re.search(r"(.)\1\1", word):
        return "letters repeated"
    if re.search(r"[._*-]", word):
        return "signs between letters"
    return "spelled otherwise"


def speed(messages: list[str]) -> float:
    """Messages per CPU second, on one core, from Arrow to Arrow."""
    array = pa.array(messages * _REPEATS)
    restore(Texts.of_array(array))
    begun = time.process_time()
    restore(Texts.of_array(array)).texts.array()
    return len(array) / (time.process_time() - begun)


def main() -> int:
    """Prints the table."""
    data = Path(os.environ.get("LOCKSTEP_DATA", "../shared/data")) / "noisy-hate" / "pairs.parquet"
    if not data.exists():
        print(f"no {data}: see ../shared/data/README.md", file=sys.stderr)
        return 4
    pairs = pq.read_table(data).to_pydict()
    clean, perturbed = pairs["clean"], pairs["perturbed"]
    plain = [text for text in clean if text.isascii() and 20 < len(text) < 140]
    print("| what was done to messages | of | comes back |\n|---|---|---|")
    for letters in (1, 3, 8):
        share = look_alikes(plain, letters)
        print(f"| {letters} look-alikes | {len(plain):,} messages | {share:.3f} |")
    changed, restored, harmed, words = by_kind(clean, perturbed)
    for kind, count in changed.most_common():
        unit = "sentences" if "merged" in kind else "words"
        print(f"| {kind} | {count:,} {unit} | {restored[kind] / count:.3f} |")
    print(f"\nHonest words changed: {harmed} of {words:,}.")
    print(
        f"Messages per CPU second: {speed(plain):,.0f} plain ASCII, {speed(perturbed):,.0f} as "
        "people write and disguise them."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
