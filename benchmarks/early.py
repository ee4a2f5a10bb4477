"""How far from the truth are figures that calibrated scores foretell, while abuse moves?

`python -m benchmarks.early` lets the shipped world live for eleven days, once per seed (`--seeds`),
in two ways: campaigns go on as they are, with nothing done against them, or the model blocks from
the fifth day on and campaigns change. A text model is fitted to the first three days and calibrated
on the fourth; CBPE foretells precision and recall at its threshold, and the AUC, of each of the
seven days after, from scores alone. Printed: means of truth and estimate by days since, the mean
error, and the share of days whose 95 % interval holds the truth.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from benchmarks.selective import START, TextModel, messages_of, small_world
from configs.world import WorldSettings
from pipelines.simulate.days import SimulatedDay, simulate_days
from training.calibrate import apply_all, fit_calibration, redraw_calibrations
from training.early import Expected, expect
from training.groups import encode_groups

Floats = npt.NDArray[np.float64]
FITTED, FORETOLD = 3, 7  # days; between them is the one that calibrates
THRESHOLD = 0.5
SPANS = ((1, 2), (3, 4), (5, 7))


def worlds() -> dict[str, tuple[WorldSettings, bool]]:
    """By name: the settings, and whether the model blocks."""
    moving = small_world()
    still = dataclasses.replace(
        moving,
        abuse={
            kind: dataclasses.replace(one, rotates=0, adapts=0.0, quits=0.0, days=60.0)
            for kind, one in moving.abuse.items()
        },
        enforcement=dataclasses.replace(moving.enforcement, bans=10**6),
    )
    return {"campaigns that stay": (still, False), "campaigns that change": (moving, True)}


@dataclasses.dataclass(frozen=True)
class Day:
    """A day since the model was calibrated: what was foretold, and the truth."""

    since: int
    expected: dict[str, Expected]
    truth: dict[str, float]


def live(world: WorldSettings, blocks: bool, seed: int) -> list[Day]:
    """One seed."""

    def free(date: dt.date, messages: pa.Table) -> npt.NDArray[np.bool_]:
        return np.zeros(messages.num_rows, np.bool_)

    first = list(itertools.islice(simulate_days(world, START, seed, free), FITTED + 1))
    model = TextModel(first[:-1])
    truth = first[-1].truth["is_abuse"].to_numpy().astype(np.int8)
    odds = _odds(model, first[-1])
    calibration = fit_calibration(odds, truth)
    authors = encode_groups(messages_of(first[-1].events)["author_id"])
    redrawn = redraw_calibrations(odds, truth, authors)

    def score(messages: pa.Table) -> Floats:
        return calibration.apply(_log_odds(model.score(messages)))

    def policy(date: dt.date, messages: pa.Table) -> npt.NDArray[np.bool_]:
        if not blocks or date <= START + dt.timedelta(days=FITTED):
            return free(date, messages)
        return score(messages) >= THRESHOLD

    days = simulate_days(world, START, seed, policy)
    found = []
    for since, day in enumerate(itertools.islice(days, FITTED + 1, FITTED + 1 + FORETOLD), 1):
        odds, truth = _odds(model, day), day.truth["is_abuse"].to_numpy()
        scores = calibration.apply(odds)
        made = expect(scores, [("block", THRESHOLD)], redrawn=apply_all(redrawn, odds))
        flagged = scores >= THRESHOLD
        at = made.at[0]
        if at.precision is None or at.recall is None or made.auc is None or not truth.any():
            continue
        hits = float((truth & flagged).sum())
        found.append(
            Day(
                since,
                {
                    "precision": at.precision,
                    "recall": at.recall,
                    "AUC": Expected(made.auc, np.nan, np.nan),
                },
                {
                    "precision": hits / flagged.sum(),
                    "recall": hits / truth.sum(),
                    "AUC": float(roc_auc_score(truth, scores)),
                },
            )
        )
    return found


def _odds(model: TextModel, day: SimulatedDay) -> Floats:
    return _log_odds(model.score(messages_of(day.events)))


def _log_odds(scores: Floats) -> Floats:
    within = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(within / (1 - within)))


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    arguments = parser.parse_args(given)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    print("| world | figure | days since | truth | foretold | mean error | covers |")
    print("|---|---|---|---|---|---|---|")
    for name, (world, blocks) in worlds().items():
        days = [day for seed in seeds for day in live(world, blocks, seed)]
        for figure in ("precision", "recall", "AUC"):
            for first, last in SPANS:
                some = [day for day in days if first <= day.since <= last]
                print(f"| {name} | {figure} | {first} to {last} | {_cells(some, figure)} |")


def _cells(days: list[Day], figure: str) -> str:
    truth = np.array([day.truth[figure] for day in days])
    found = [day.expected[figure] for day in days]
    value, low, high = (
        np.array([getattr(one, name) for one in found]) for name in ("value", "low", "high")
    )
    covers = np.mean((low <= truth) & (truth <= high))
    shown = "" if np.isnan(low).all() else f"{covers:.0%}"
    error = np.abs(value - truth).mean()
    return f"{truth.mean():.3f} | {value.mean():.3f} | {error:.3f} | {shown}"


if __name__ == "__main__":
    main()
