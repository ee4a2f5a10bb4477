"""How often does the 95 % interval of average precision hold the truth?

`python -m benchmarks.intervals` draws slices of a made-up world, again and again: scores are
normal, abuse lies so many standard deviations above the rest, and events of one account share half
of their variance. The truth is of a slice many times as large. Printed: the share of draws whose
interval holds it, and the mean width, of redrawn slices alone and of what is reported.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.curve import average_precision, make_curve, redraw_curves
from training.evaluate import interval_of_draws, precision_interval

REPLICATES = 200
WORLDS = (
    (5, 1, 2.0), (5, 1, 3.5), (30, 1, 1.0), (30, 1, 3.5), (30, 1, 4.5), (100, 1, 2.0),
    (100, 1, 3.5), (100, 1, 4.5), (300, 1, 4.5), (12, 8, 1.5), (12, 8, 3.5), (40, 8, 4.5),
)  # fmt: skip
"""Accounts with abuse (nine times as many have none), events of each, distance."""
Slice = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]


def draw(accounts: int, size: int, away: float, random: np.random.Generator) -> Slice:
    """Scores, what is abuse, and accounts."""
    owner = np.repeat(np.arange(10 * accounts), size)
    shared, own = random.normal(size=10 * accounts)[owner], random.normal(size=len(owner))
    alone = own if size == 1 else np.sqrt(0.5) * (shared + own)
    return alone + away * (owner < accounts), owner < accounts, owner


def measure(made: Slice) -> float:
    """Its average precision."""
    return average_precision(make_curve(made[0], made[1].astype(np.int8))) or 0.0


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    draws = parser.parse_args(given).draws
    print("| accounts with abuse | events of each | truth | redrawn: covers | width |"
          " reported: covers | width |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for accounts, size, away in WORLDS:
        random = np.random.default_rng(0)
        truth = measure(draw(40_000 // size, size, away, random))
        found = []
        for seed in range(draws):
            scores, hits, owner = draw(accounts, size, away, random)
            curves = redraw_curves(scores, hits, owner, REPLICATES, seed)
            drawn = [average_precision(one) or 0.0 for one in curves]
            both = (
                interval_of_draws(drawn, hits, owner),
                precision_interval(scores, hits, owner, REPLICATES, seed),
            )
            found.append([one for low, high in both for one in (low <= truth <= high, high - low)])
        cells = np.mean(found, axis=0)
        shown = " | ".join(f"{cells[i]:.0%} | {cells[i + 1]:.3f}" for i in (0, 2))
        print(f"| {accounts} | {size} | {truth:.3f} | {shown} |")


if __name__ == "__main__":
    main()
