"""What a model learns where enforcement hides labels, and what weighting by the hold-out mends.

`python -m benchmarks.weighting` lets the world of `benchmarks.selective` live, once per seed
(`--seeds`, 20). A text model is then fitted to the seven days in which enforcement acted, in each
of these ways, and tested on the day after, against the truth:

- *as they are*: what nobody judged is harmless, blocked or not (`labels.weighting: none`);
- *left out*: labels of what was blocked are left out;
- *inverse propensity*: that, and what was let through weighs one over its chance, as a nightly run
  does with `labels.weighting: inverse_propensity`;
- *the truth*: labels as the simulator knows them.

Printed: means over seeds of average precision (more is better) and log loss (less is better), and
the mean difference from *as they are* on the same seed, with its 95 % interval (Student's t).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.stats

from benchmarks.selective import Lived, inputs_of, labels_of, live, messages_of, small_world
from training.curve import average_precision, make_curve
from training.labels import UNLABELLED
from training.logistic import fit_sparse
from training.probability import log_loss
from training.propensity import Seen, inverse_propensities

Floats = npt.NDArray[np.float64]
BASE = "as they are"


def figures(lived: Lived) -> dict[str, tuple[float, float]] | None:
    """Way -> (average precision, log loss) on the day after; None where a way has but one class."""
    labels = np.maximum(labels_of(lived), 0)  # without a verdict for days: no abuse
    blocked = lived.truth["blocked"].to_numpy()
    chance = lived.truth["propensity"].to_numpy()
    kept, weights = inverse_propensities(labels, Seen(blocked, lived.wanted & ~blocked, chance))
    even = np.ones(len(labels))
    ways = {
        BASE: (labels, even),
        "left out": (kept, even),
        "inverse propensity": (kept, weights),
        "the truth": (lived.truth["is_abuse"].to_numpy().astype(np.int8), even),
    }
    inputs, asked = inputs_of(lived.messages), inputs_of(messages_of(lived.after.events))
    real = lived.after.truth["is_abuse"].to_numpy()
    found = {}
    for name, (taught, each) in ways.items():
        rows = np.flatnonzero(taught != UNLABELLED)
        made = fit_sparse(inputs[rows], taught[rows], weights=each[rows])
        if made is None:
            return None
        scores = 1.0 / (1.0 + np.exp(-(asked @ made.weights + made.intercept)))
        precision = average_precision(make_curve(scores, real.astype(np.int8)))
        if precision is None:
            return None
        found[name] = (precision, log_loss(scores, real))
    return found


def difference(made: Floats, base: Floats) -> tuple[float, float, float]:
    """Mean difference of pairs, and its 95 % interval (Student's t).

    Args:
      made, base: `[n]`, of the same seeds; n at least 2.

    >>> [round(one, 3) for one in difference(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    apart = made - base
    half = scipy.stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
    return float(apart.mean()), float(apart.mean() - half), float(apart.mean() + half)


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="at least 2")
    parser.add_argument("--hold-out", type=float, default=0.1)
    arguments = parser.parse_args(given)
    world = small_world(arguments.hold_out)
    every = [figures(live(world, seed)) for seed in range(1, arguments.seeds + 1)]
    made = [one for one in every if one is not None]
    if len(made) < 2:
        parser.error(f"{len(made)} seeds have both classes; expected 2: raise --seeds")
    print(f"{len(made)} of {len(every)} seeds\n")
    print("| labels | average precision | difference | log loss | difference |")
    print("|---|---|---|---|---|")
    for way in made[0]:
        cells = []
        for at in (0, 1):
            ours, base = (np.array([one[name][at] for one in made]) for name in (way, BASE))
            apart = "" if way == BASE else "{:+.4f} ({:+.4f} to {:+.4f})".format(
                *difference(ours, base)
            )  # fmt: skip
            cells.append(f"{ours.mean():.4f} | {apart}")
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
