"""How wrong are precision and recall where enforcement hides labels, and what weights mend of it.

`python -m benchmarks.selective` lets the shipped world live for ten days, once per seed (`--seeds`
from `--first` on). A text model that was fitted to the first three days blocks from the fourth day
on what it scores at or above its threshold, adversaries change, moderators, rules and appeals judge
what they get to see, auditors judge a random share of the rest, and the hold-out lets a share
through. Precision and recall of the last seven days (`--days`) are then estimated from the events
alone, and compared with the truth. Printed: for each figure and method the mean of the truth and of
the estimate, the mean error, the share of seeds whose 95 % interval holds the truth, its mean
width, and the seeds in which nothing was concluded.
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
import pyarrow.compute as pc
import scipy.sparse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from configs.world import LetThrough, WorldSettings, load_world
from pipelines.simulate.days import SimulatedDay, simulate_days
from training.intervals import interval
from training.labels import UNLABELLED
from training.selective import Estimate, Observed, estimate

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
START = dt.date(2026, 3, 1)
LEARNED, MEASURED = 3, 7  # days
_MATURES = 4  # days until the last label of the measured days has come
FIGURES = ("precision", "recall")


def small_world(hold_out: float = 0.1, audits: float = 0.05) -> WorldSettings:
    """The shipped world, smaller, with these shares looked at."""
    world = load_world("chat")
    return dataclasses.replace(
        world,
        people=dataclasses.replace(world.people, messages=6_000, accounts=1_500),
        moderators=dataclasses.replace(world.moderators, audits=audits, capacity=80),
        hold_out=LetThrough(hold_out, "benchmark"),
    )


class TextModel:
    """Calibrated chances of abuse from words and the account's age, fitted to some days."""

    def __init__(self, days: Sequence[SimulatedDay]) -> None:
        self._model = LogisticRegression(C=0.3, max_iter=200)
        truth = np.concatenate([day.truth["is_abuse"].to_numpy() for day in days])
        messages = pa.concat_tables([messages_of(day.events) for day in days])
        self._model.fit(inputs_of(messages), truth)

    def score(self, messages: pa.Table) -> Floats:
        """float64 `[n]`."""
        made: Floats = self._model.predict_proba(inputs_of(messages))[:, 1]
        return made


def inputs_of(messages: pa.Table) -> scipy.sparse.csr_matrix:
    """Words, pairs of words and the account's age in bins: float64 `[n, 2**14 + 5]`."""
    age = messages["account_age"].to_numpy() / 86_400
    bins = np.searchsorted([0.1, 1, 7, 30], age)
    columns = scipy.sparse.csr_matrix(np.eye(5)[bins])
    hashed = HashingVectorizer(n_features=2**14, ngram_range=(1, 2), norm=None)
    words = hashed.transform(messages["text"].to_pylist())
    return scipy.sparse.hstack([words, columns], format="csr")


def messages_of(events: pa.Table) -> pa.Table:
    """The messages among events, in their order."""
    return events.filter(pc.equal(events["kind"], "message"))


@dataclasses.dataclass(frozen=True)
class Lived:
    """The measured days of one seed.

    Attributes:
      truth: of their messages (`pipelines.simulate.days.TRUTH`).
      scores: float64 `[n]`; wanted: bool `[n]`, whether a block was due.
      verdicts: all that became known until the labels have matured.
      messages: the measured ones, in the order of `truth`; after: the day that follows them.
    """

    truth: pa.Table
    scores: Floats
    wanted: npt.NDArray[np.bool_]
    verdicts: pa.Table
    messages: pa.Table
    after: SimulatedDay


def live(
    world: WorldSettings, seed: int, precision: float = 0.7, measured: int = MEASURED
) -> Lived:
    """One seed: the first days teach a model, which then enforces.

    Args:
      world: with the shares that are looked at.
      seed: of the world.
      precision: that the threshold has on the last of the days that were learned from.
      measured: days on which it enforces, and which are measured.
    """
    nothing = np.zeros

    def free(date: dt.date, messages: pa.Table) -> npt.NDArray[np.bool_]:
        return nothing(messages.num_rows, np.bool_)

    first = list(itertools.islice(simulate_days(world, START, seed, free), LEARNED))
    model = TextModel(first[:-1])
    threshold = _threshold(model.score(messages_of(first[-1].events)), first[-1], precision)
    given: list[Floats] = []

    def policy(date: dt.date, messages: pa.Table) -> npt.NDArray[np.bool_]:
        if date < START + dt.timedelta(days=LEARNED):
            return free(date, messages)
        given.append(model.score(messages))
        return given[-1] >= threshold

    days = simulate_days(world, START, seed, policy)
    lived = list(itertools.islice(days, LEARNED, LEARNED + measured + _MATURES))
    truth = pa.concat_tables([day.truth for day in lived[:measured]])
    verdicts = pa.concat_tables([day.events for day in lived])
    return Lived(
        truth=truth,
        scores=np.concatenate(given[:measured]),
        wanted=truth["wanted"].to_numpy(),
        verdicts=verdicts.filter(pc.equal(verdicts["kind"], "verdict")),
        messages=pa.concat_tables([messages_of(day.events) for day in lived[:measured]]),
        after=lived[measured],
    )


def _threshold(scores: Floats, day: SimulatedDay, precision: float) -> float:
    order = np.argsort(-scores)
    truth = day.truth["is_abuse"].to_numpy()[order]
    share = np.cumsum(truth) / np.arange(1, len(truth) + 1)
    enough = np.flatnonzero(share >= precision)
    return float(scores[order][enough[-1]]) if len(enough) else 1.0


def labels_of(lived: Lived, sources: Sequence[str] | None = None) -> Labels:
    """The last verdict about each message, of these sources or of all: int8 `[n]`, -1 without."""
    verdicts = lived.verdicts
    if sources is not None:
        verdicts = verdicts.filter(pc.is_in(verdicts["source"], value_set=pa.array(sources)))
    place = pc.index_in(verdicts["subject_id"], value_set=lived.truth["event_id"].combine_chunks())
    known = place.is_valid().to_numpy()
    labels = np.full(lived.truth.num_rows, UNLABELLED, np.int8)
    labels[place.drop_null().to_numpy()] = verdicts["is_abuse"].to_numpy()[known]
    return labels


def estimates(lived: Lived) -> dict[str, dict[str, Estimate]]:
    """By method and figure, from what a platform knows: verdicts, decisions, propensities."""
    judged = labels_of(lived)
    audited = labels_of(lived, ["audit"])
    aged = np.maximum(judged, 0)  # without a verdict for days: no abuse
    chance = lived.truth["audit"].to_numpy()
    looked = Observed(lived.wanted, audited, chance, lived.scores)
    found: dict[str, dict[str, Estimate]] = {
        "naive: unjudged is harmless": {one: _naive(one, aged, lived.wanted) for one in FIGURES},
        "naive: judged events alone": {one: _naive(one, judged, lived.wanted) for one in FIGURES},
    }
    for method in ("ipw", "self_normalised", "doubly_robust"):
        found[method] = {
            one: estimate(looked, one, method)  # type: ignore[arg-type]
            for one in FIGURES
        }
    return found


def _naive(figure: str, labels: Labels, wanted: npt.NDArray[np.bool_]) -> Estimate:
    counts = labels != UNLABELLED
    counts &= wanted if figure == "precision" else labels == 1
    hits = int((counts & wanted & (labels == 1)).sum())
    total = int(counts.sum())
    low, high = interval(hits, total)
    return Estimate(hits / max(total, 1), low, high, total, float(total))


def true_figures(lived: Lived) -> dict[str, float]:
    """Precision and recall of the policy, as they are."""
    truth = lived.truth["is_abuse"].to_numpy()
    hits = float((truth & lived.wanted).sum())
    return {"precision": hits / lived.wanted.sum(), "recall": hits / truth.sum()}


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--hold-out", type=float, default=0.1)
    parser.add_argument("--audits", type=float, default=0.05)
    parser.add_argument("--days", type=int, default=MEASURED, help="that are measured")
    parser.add_argument("--first", type=int, default=1, help="seed")
    arguments = parser.parse_args(given)
    world = small_world(arguments.hold_out, arguments.audits)
    rows: dict[tuple[str, str], list[tuple[float, Estimate]]] = {}
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        lived = live(world, seed, measured=arguments.days)
        true = true_figures(lived)
        for method, found in estimates(lived).items():
            for figure in FIGURES:
                rows.setdefault((figure, method), []).append((true[figure], found[figure]))
    print("| figure | method | truth | estimate | mean error | covers | width | labels | refused |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (figure, method), made in sorted(rows.items(), key=lambda one: FIGURES.index(one[0][0])):
        shown = [(true, one) for true, one in made if one.value is not None]
        print(_row(figure, method, shown, len(made) - len(shown)), flush=True)


def _row(figure: str, method: str, shown: list[tuple[float, Estimate]], refused: int) -> str:
    true = np.array([one for one, _ in shown])
    value, low, high = (
        np.array([getattr(one, name) for _, one in shown], np.float64)
        for name in ("value", "low", "high")
    )
    labels = np.mean([one.labels for _, one in shown]) if shown else 0
    covers = np.mean((low <= true) & (true <= high)) if shown else 0
    return (
        f"| {figure} | {method} | {true.mean():.3f} | {value.mean():.3f} "
        f"| {np.abs(value - true).mean():.3f} | {covers:.0%} | {(high - low).mean():.3f} "
        f"| {labels:,.0f} | {refused} |"
    )


if __name__ == "__main__":
    main()
