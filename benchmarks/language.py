"""`python -m benchmarks.language`: what undoing disguises brings back, harms and costs.

Prints the table of docs/results.md: messages in which letters were replaced by look-alikes of
UTS #39, drawn evenly; the words that people themselves obfuscated (NoisyHate, whose sentences are
never printed), by kind; messages per CPU second; and how far the scores of a text model that was
fitted on clean comments move when spam is disguised, with the chain before it and without.
Data: ../shared/data, or `LOCKSTEP_DATA`.
"""

from __future__ import annotations

import csv
import os
import random
import re
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse

from benchmarks.comments import first_share
from configs.schema import TextInput
from scoring.text_model import TextModel
from training.logistic import fit_sparse
from transforms.constants import bag
from transforms.ngrams import text_ids
from transforms.text import Texts, restore
from transforms.text.tables import LATIN, tables

_PUNCTUATION = ".,!?\"';:()"
_REPEATS = 20
_LATIN = {"f": "\u0192\u017f", "i": "\u0131", "p": "\u00fe", "u": "\u028b", "y": "\u0263"}


def read(texts: list[str], words: int = 0) -> list[str]:
    """Texts without disguises; `words`: version of the list of words."""
    return restore(Texts.of(texts), words).texts.strings()


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
    disguised = disguise(messages, letters, seed)
    return sum(a == b for a, b in zip(read(messages), read(disguised), strict=True)) / len(messages)


def by_kind(
    clean: list[str], perturbed: list[str], words_by: int = 0
) -> tuple[Counter[str], Counter[str], int, int]:
    """Words that people changed, and those that come back, by kind; words harmed, of how many."""
    changed, restored = Counter[str](), Counter[str]()
    harmed = words = 0
    for before, after, made_before, made_after in zip(
        clean, perturbed, read(clean, words_by), read(perturbed, words_by), strict=True
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


def speed(messages: list[str], words: int = 0) -> float:
    """Messages per CPU second, on one core, from Arrow to Arrow."""
    array = pa.array(messages * _REPEATS)
    restore(Texts.of_array(array), words)
    begun = time.process_time()
    restore(Texts.of_array(array), words).texts.array()
    return len(array) / (time.process_time() - begun)


def plain_fold(texts: list[str]) -> list[str]:
    """NFKC and case folded, as configs without the chain have it."""
    return [unicodedata.normalize("NFKC", text).casefold() for text in texts]


def comments(folder: Path) -> tuple[list[str], list[int]]:
    """Comments in file order, and whether people judged them spam."""
    texts, labels = [], []
    for path in sorted(folder.glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                texts.append(row["CONTENT"])
                labels.append(int(row["CLASS"]))
    return texts, labels


def disguise(messages: list[str], letters: int, seed: int = 7) -> list[str]:
    """Messages with so many letters, or as many as they have, replaced by look-alikes."""
    alike, chosen, disguised = letters_alike(), random.Random(seed), []
    for message in messages:
        made = list(message)
        places = [at for at, one in enumerate(made) if one.lower() in alike and one.isascii()]
        for at in chosen.sample(places, min(letters, len(places))):
            made[at] = chosen.choice(alike[made[at].lower()])
        disguised.append("".join(made))
    return disguised


def score_drift(
    texts: list[str], labels: list[int], fold: Callable[[list[str]], list[str]]
) -> dict[int, tuple[float, float]]:
    """A text model fitted on clean comments, and the unseen spam once it is disguised.

    Args:
      texts, labels: comments `[n]`; the first 70 % of each class are seen.
      fold: what stands before the model.

    Returns:
      By the number of letters replaced in each spam: the share that is still above the score that
      5 % of the unseen honest comments pass, and how far its log odds moved, on average.
    """
    judged = np.array(labels, np.int8)
    train = first_share(judged)
    seen = [text for text, one in zip(texts, train, strict=True) if one]
    fitted = fit_sparse(_ngrams(fold(seen)), judged[train], regularisation=0.1)
    assert fitted is not None
    model = TextModel(fitted.weights, fitted.intercept)
    rest = list(zip(texts, labels, train, strict=True))
    honest = [text for text, label, one in rest if not label and not one]
    spam = [text for text, label, one in rest if label and not one]
    limit = np.quantile(model.score(_ngrams(fold(honest))), 0.95)
    clean = model.score(_ngrams(fold(spam)))
    found = {}
    for letters in (0, 1, 3, 8):
        scores = model.score(_ngrams(fold(disguise(spam, letters))))
        found[letters] = float((scores > limit).mean()), float((scores - clean).mean())
    return found


def _ngrams(texts: list[str]) -> scipy.sparse.csr_matrix:
    """N-grams of each text as the model sees them, those of `configs/video_comments.yaml`."""
    sizes = TextInput("text", 65_536, word_ngrams=(1, 2), char_ngrams=(3, 5))
    return bag(*text_ids(pa.array(texts), sizes), sizes.buckets)


def main() -> int:
    """Prints the table."""
    folder = Path(os.environ.get("LOCKSTEP_DATA", "../shared/data"))
    data, labelled = folder / "noisy-hate" / "pairs.parquet", folder / "youtube-spam" / "labelled"
    for path in (data, labelled):
        if not path.exists():
            print(f"no {path}: see ../shared/data/README.md", file=sys.stderr)
            return 4
    pairs = pq.read_table(data).to_pydict()
    clean, perturbed = pairs["clean"], pairs["perturbed"]
    plain = [text for text in clean if text.isascii() and 20 < len(text) < 140]
    print("| what was done to messages | of | comes back |\n|---|---|---|")
    for letters in (1, 3, 8):
        share = look_alikes(plain, letters)
        print(f"| {letters} look-alikes | {len(plain):,} messages | {share:.3f} |")
    print("\n| what people did to words | of | comes back | with `words: 1` |\n|---|---|---|---|")
    changed, restored, harmed, words = by_kind(clean, perturbed)
    _, by_list, harmed_by_list, _ = by_kind(clean, perturbed, 1)
    for kind, count in changed.most_common():
        unit = "sentences" if "merged" in kind else "words"
        shares = f"{restored[kind] / count:.3f} | {by_list[kind] / count:.3f}"
        print(f"| {kind} | {count:,} {unit} | {shares} |")
    print(f"\nHonest words changed: {harmed} of {words:,}; with `words: 1` {harmed_by_list}.")
    for version, said in ((0, ""), (1, " with `words: 1`")):
        print(
            f"Messages per CPU second{said}: {speed(plain, version):,.0f} plain ASCII, "
            f"{speed(perturbed, version):,.0f} as people write and disguise them."
        )
    print()
    drifts = {
        name: score_drift(*comments(labelled), fold)
        for name, fold in (("NFKC, case folded", plain_fold), ("`restore_text`", read))
    }
    print(f"| look-alikes in each spam | {' | '.join(f'{one}: caught, moved' for one in drifts)} |")
    print("|---|---|---|")
    for letters in (0, 1, 3, 8):
        told = [f"{found[letters][0]:.3f}, {found[letters][1]:+.2f}" for found in drifts.values()]
        print(f"| {letters} | {' | '.join(told)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
