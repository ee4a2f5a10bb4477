"""Small sketches of many numbers, and how far two of them are apart.

The sketch is KLL (Karnin, Lang, Liberty, Optimal Quantile Approximation in Streams, FOCS 2016), as
Apache DataSketches has it: a few kilobytes however many numbers, from which the share at or below
any value comes with an error of 1.33 % at most (with 99 % confidence). It draws at random what it
keeps, so two sketches of one slice of more than `SIZE` numbers may differ by so much.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from datasketches import kll_floats_sketch

SIZE = 200
"""KLL's k; sketches of at most so many numbers are exact."""
_GRID = np.linspace(0.0, 1.0, 4 * SIZE + 1)


def sketch_numbers(values: npt.NDArray[np.float32]) -> bytes:
    """A sketch of numbers, of a few kilobytes at most.

    Args:
      values: float32 `[n]`, at least one, no NaN.

    >>> len(sketch_numbers(np.arange(100_000, dtype=np.float32))) < 4000
    True
    """
    made = kll_floats_sketch(SIZE)
    made.update(np.ascontiguousarray(values, np.float32))
    return bytes(made.serialize())


def distance(one: bytes, other: bytes) -> float:
    """The distance of Kolmogorov and Smirnov of two sketches' numbers, 0 to 1.

    Equal values are one step, so counts and flags are compared as they are. (DataSketches' own test
    walks equal values one by one and takes the walk for a distance.)

    >>> low = sketch_numbers(np.arange(100, dtype=np.float32))
    >>> distance(low, low), round(distance(low, sketch_numbers(np.arange(50, 150))), 2)
    (0.0, 0.5)
    """
    first, second = kll_floats_sketch.deserialize(one), kll_floats_sketch.deserialize(other)
    points = np.unique([*first.get_quantiles(_GRID), *second.get_quantiles(_GRID)])
    shares = [np.array(each.get_cdf(points, True)) for each in (first, second)]
    return float(np.max(np.abs(shares[0] - shares[1])))


def critical_distance(
    count: int, other: int, chance: float, stand_for: tuple[float, float] | None = None
) -> float:
    """The distance that two sketches of one world exceed with at most this chance.

    Smirnov's limit (Annals of Mathematical Statistics 19, 1948), which is too large rather than too
    small where values tie, and the error of both sketches on top.

    Args:
      stand_for: for how many independent numbers each counts; None: for all of its own.

    >>> round(critical_distance(100, 100, 0.01), 3)
    0.23
    >>> round(critical_distance(100, 100, 0.01, (25.0, 25.0)), 3)
    0.46
    """
    one, two = stand_for or (count, other)
    limit = float(np.sqrt(-0.5 * np.log(chance / 2.0) * (1.0 / one + 1.0 / two)))
    return limit + _errors(count, other)


def chance_of_distance(
    apart: float, count: int, other: int, stand_for: tuple[float, float] | None = None
) -> float:
    """The chance that two sketches of one world are so far apart: `critical_distance` backwards.

    >>> round(chance_of_distance(critical_distance(100, 500, 0.01), 100, 500), 6)
    0.01
    """
    one, two = stand_for or (count, other)
    beyond = max(0.0, apart - _errors(count, other))
    return min(1.0, 2.0 * float(np.exp(-2.0 * beyond**2 / (1.0 / one + 1.0 / two))))


def _errors(count: int, other: int) -> float:
    return sum(_error() for events in (count, other) if events > SIZE)


@functools.cache
def _error() -> float:
    return float(kll_floats_sketch(SIZE).normalized_rank_error(False))
