"""`python -m benchmarks.near_copies`: how many near copies of a text share a band of its MinHash.

Prints the table of docs/campaigns.md: texts of random words and copies of them with letters
changed, words left out, added or moved, by the exact Jaccard similarity of their sets of shingles;
the share of pairs that meet in one band and in at least one of four, beside what is stated
(`transforms.derive.near_duplicate`: J^rows, and 1 - (1 - J^rows)^bands). Needs no data.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import random
import string
import sys

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.derive.near_duplicate import NearDuplicate

BANDS, ROWS, SHINGLE = 4, 4, 5
EDGES = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Where the rows of the table begin and end; the last row is of J = 1 and above .9."""


@dataclasses.dataclass(frozen=True)
class Recall:
    """Pairs of one range of similarity.

    Attributes:
      low, high: the range, closed at its end.
      pairs: how many; similarity: their mean.
      one, any: share that met in the first band, and in at least one of `BANDS`.
      stated_one, stated_any: means of what is stated of each pair's own similarity.
    """

    low: float
    high: float
    pairs: int
    similarity: float
    one: float
    any: float
    stated_one: float
    stated_any: float


def make_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts of 8 to 30 random words, each with a copy that was edited up to 12 times."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(3000)]
    made = []
    for _ in range(count):
        text = rng.choices(words, k=rng.randint(8, 30))
        copy = list(text)
        for _ in range(rng.randint(0, 12)):
            _edit(copy, words, rng)
        made.append((" ".join(text), " ".join(copy)))
    return made


def similarity(one: str, other: str) -> float:
    """The exact Jaccard similarity of two texts' sets of shingles.

    >>> similarity("abcdef", "abcdex")
    0.3333333333333333
    """
    mine, theirs = _shingles(one), _shingles(other)
    return len(mine & theirs) / len(mine | theirs)


def measure(pairs: list[tuple[str, str]]) -> list[Recall]:
    """The rows of the table."""
    alike = np.array([similarity(*pair) for pair in pairs])
    met = np.stack([_meet(pairs, band) for band in range(1, BANDS + 1)], 1)
    stated_one = alike**ROWS
    stated_any = 1.0 - (1.0 - stated_one) ** BANDS
    rows = []
    for low, high in itertools.pairwise(EDGES):
        inside = (alike > low) & (alike <= high)
        if inside.any():
            columns = (alike, met[:, 0], met.any(1), stated_one, stated_any)
            means = [float(column[inside].mean()) for column in columns]
            rows.append(Recall(low, high, int(inside.sum()), *means))
    return rows


def _shingles(text: str) -> set[str]:
    return {text[at : at + SHINGLE] for at in range(max(len(text) - SHINGLE + 1, 1))}


def _meet(pairs: list[tuple[str, str]], band: int) -> npt.NDArray[np.bool_]:
    step = NearDuplicate("t", band, ROWS, SHINGLE)
    one, other = (
        step.apply(pa.RecordBatch.from_pydict({"t": [pair[at] for pair in pairs]})) for at in (0, 1)
    )
    return np.asarray(pc.equal(one, other).to_numpy(zero_copy_only=False))


def _edit(copy: list[str], words: list[str], rng: random.Random) -> None:
    place, kind = rng.randrange(len(copy)), rng.randrange(4)
    if kind == 0:
        at = rng.randrange(len(copy[place]))
        copy[place] = copy[place][:at] + rng.choice("0134578") + copy[place][at + 1 :]
    elif kind == 1 and len(copy) > 4:
        del copy[place]
    elif kind == 2:
        copy.insert(place, rng.choice(words))
    else:
        copy.insert(rng.randrange(len(copy)), copy.pop(place))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("| similarity | pairs | mean | one band | stated | one of four | stated |")
    print("|---|---|---|---|---|---|---|")
    for row in measure(make_pairs(arguments.pairs, arguments.seed)):
        shares = (row.one, row.stated_one, row.any, row.stated_any)
        figures = " | ".join(f"{share:.3f}" for share in shares)
        span = f"{row.low:.1f} to {row.high:.1f}"
        print(f"| {span} | {row.pairs:,} | {row.similarity:.2f} | {figures} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
