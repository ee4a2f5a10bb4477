"""Are contracts kept? Gate slices are drawn again and again, and each choice is held to the truth.

`python -m benchmarks.contracts` draws made-up scores, of which the truth is known. It prints, for
each world and promise: the share of draws in which the action may fire, and in which its true
precision is below what it promises (at most 5 % may be); the mean recall; and both shares without
the corrections for choosing and for accounts. A world is a population of accounts with heavy-tailed
activity, of which some abuse; scores of one account move together. With `--simulate EVENTS` the
population is that of the chat simulator, scored by a model that was trained on its earlier days; a
draw is all messages of some of its accounts.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs.schema import EVENT_ID, Action
from training.curve import best_of_each_recall, make_curve
from training.intervals import shows_share
from training.labels import UNLABELLED
from training.thresholds import choose_thresholds

Floats = npt.NDArray[np.float64]
PROMISES = (0.6, 0.8, 0.95)


@dataclasses.dataclass(frozen=True)
class World:
    """A population of accounts.

    Attributes:
      share: of accounts that abuse; purity: of their events that are abuse.
      tail: of a Pareto law of events an account; most: of an account.
      busy: how many times as active abusers are.
      shift: how far abuse scores above the rest; between, within: how widely scores spread between
        accounts and within one.
      alarms: share of accounts whose every score is 4 higher, whatever they do.
    """

    share: float = 0.05
    purity: float = 0.9
    tail: float = 1.3
    most: int = 200
    busy: float = 1.0
    shift: float = 3.0
    between: float = 1.0
    within: float = 1.0
    alarms: float = 0.0


WORLDS = {
    "independent events": World(tail=50.0, between=0.0, purity=1.0),
    "heavy-tailed accounts": World(),
    "busy abusers": World(busy=5.0),
    "all of an account alike": World(tail=1.2, between=1.4, within=0.4, purity=1.0),
    "accounts of false alarms": World(between=0.7, alarms=0.003, busy=2.0),
    "a good model": World(between=0.7, shift=4.5, busy=3.0),
}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Events of some accounts: scores float64, labels int8, accounts int64, all `[n]`."""

    scores: Floats
    labels: npt.NDArray[np.int8]
    accounts: npt.NDArray[np.int64]


def draw(world: World, accounts: int, generator: np.random.Generator) -> Drawn:
    """A gate slice of a world.

    >>> made = draw(World(), 100, np.random.default_rng(0))
    >>> len(made.scores) == len(made.labels) >= 100
    True
    """
    events = np.floor(generator.pareto(world.tail, accounts) + 1.0)
    abusers = generator.random(accounts) < world.share
    events = np.minimum(np.where(abusers, events * world.busy, events), world.most).astype(int)
    account = np.repeat(np.arange(accounts), events)
    labels = abusers[account] & (generator.random(len(account)) < world.purity)
    own = generator.normal(0.0, world.between, accounts)
    own += 4.0 * (generator.random(accounts) < world.alarms)
    noise = generator.normal(0.0, world.within, len(account))
    raw = world.shift * labels + own[account] + noise - world.shift
    return Drawn(1.0 / (1.0 + np.exp(-raw)), labels.astype(np.int8), account)


@dataclasses.dataclass(frozen=True)
class Truth:
    """Precision at or above each score, rising scores, of a population that stands for all."""

    scores: Floats
    precision: Floats

    @classmethod
    def of(cls, drawn: Drawn) -> Truth:
        """By a population much larger than a gate slice."""
        order = np.argsort(-drawn.scores)
        share = np.cumsum(drawn.labels[order]) / np.arange(1, len(order) + 1)
        return cls(drawn.scores[order][::-1], share[::-1])

    def at(self, value: float) -> float:
        """Precision of flagging all scores from a value on."""
        place = min(int(np.searchsorted(self.scores, value)), len(self.scores) - 1)
        return float(self.precision[place])


@dataclasses.dataclass
class Kept:
    """Of some draws: those in which the action may fire, those below the promise, sum of recall."""

    fires: int = 0
    broken: int = 0
    recall: float = 0.0


def population(world: World, accounts: int = 300_000) -> Drawn:
    """What stands for all of a world."""
    return draw(world, accounts, np.random.default_rng(999))


def redraw(whole: Drawn, accounts: int, generator: np.random.Generator) -> Drawn:
    """All events of some accounts of a population, each account at most once.

    >>> whole = draw(World(), 50, np.random.default_rng(0))
    >>> len(set(redraw(whole, 7, np.random.default_rng(1)).accounts))
    7
    """
    known = np.unique(whole.accounts)
    chosen = np.isin(whole.accounts, generator.choice(known, accounts, replace=False))
    return Drawn(whole.scores[chosen], whole.labels[chosen], whole.accounts[chosen])


def simulated_population(root: Path, events: int) -> Drawn:
    """Judged messages of the chat simulator's last days, by a bundle trained on earlier ones."""
    # Here, since the worlds above need none of it.
    import datetime as dt

    import pyarrow.compute as pc

    from benchmarks.world import START, chat, simulated
    from configs.loader import shipped
    from pipelines.backfill import BackfillRequest, backfill, read_features
    from pipelines.evaluate import EvaluateRequest, evaluate_bundle
    from pipelines.layout import Days, Layout
    from pipelines.nightly import NightlyRequest, nightly
    from training.groups import encode_groups

    source, out = simulated(root, events, days=16), root / "out"
    night, last = START + dt.timedelta(days=10), START + dt.timedelta(days=15)
    spec = chat()
    config = shipped("chat").read_text()
    asked = NightlyRequest(spec, config, str(source), out, night, workers=1, promote=False)
    bundle = nightly(asked).bundle
    backfill(BackfillRequest(spec, str(source), out, Days(START, last), 1))
    days = Days(night, last - dt.timedelta(days=2))  # the last verdicts are still to come
    made = evaluate_bundle(EvaluateRequest(out, bundle, days)).scores
    author = read_features(Layout(out), list(days), [EVENT_ID, "author_id"])
    place = pc.index_in(made.column(EVENT_ID), value_set=author.column(EVENT_ID).combine_chunks())
    accounts = encode_groups(author.column("author_id").take(place))
    labels = made.column("label").fill_null(UNLABELLED).to_numpy().astype(np.int8)
    known = labels != UNLABELLED
    return Drawn(made.column("score").to_numpy()[known], labels[known], accounts[known])


def count_kept(
    sample: Callable[[np.random.Generator], Drawn],
    truth: Truth,
    draws: int,
    promises: Sequence[float] = PROMISES,
    seed: int = 1,
) -> dict[float, tuple[Kept, Kept]]:
    """By promise: of `choose_thresholds`, and of a choice without corrections.

    >>> world = WORLDS["a good model"]
    >>> truth = Truth.of(population(world, 100))
    >>> found = count_kept(lambda generator: draw(world, 50, generator), truth, 2, [0.5])
    >>> [one.fires <= 2 for one in found[0.5]]
    [True, True]
    """
    generator = np.random.default_rng(seed)
    actions = [Action(f"{asked:g}", asked) for asked in sorted(promises, reverse=True)]
    found = {asked: (Kept(), Kept()) for asked in promises}
    for _ in range(draws):
        drawn = sample(generator)
        chosen = choose_thresholds(drawn.scores, drawn.labels, actions, drawn.accounts)
        plain = _without_corrections(drawn, [action.min_precision or 0.0 for action in actions])
        for action, made, other in zip(actions, chosen, plain, strict=True):
            asked = action.min_precision or 0.0
            for kept, value, recall in zip(
                found[asked], (made.value, other[0]), (made.recall, other[1]), strict=True
            ):
                if value is not None:
                    kept.fires += 1
                    kept.recall += recall
                    kept.broken += truth.at(value) < asked
    return found


def _without_corrections(
    drawn: Drawn, promises: Sequence[float]
) -> list[tuple[float | None, float]]:
    """Score and recall of the lowest score whose own lower bound is high enough."""
    curve = make_curve(drawn.scores, drawn.labels)
    best = best_of_each_recall(curve)
    found: list[tuple[float | None, float]] = []
    for asked in promises:
        passing = np.flatnonzero(
            shows_share(curve.positives[best], curve.flagged[best], 0.95, asked)
        )
        at = best[passing[-1]] if len(passing) else None
        found.append(
            (None, 0.0)
            if at is None
            else (float(curve.values[at]), float(curve.positives[at] / curve.total))
        )
    return found


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--accounts", type=int, default=3000, help="in a gate slice")
    parser.add_argument(
        "--simulate", type=int, metavar="EVENTS", help="draw accounts of the chat simulator instead"
    )
    arguments = parser.parse_args(given)
    accounts = arguments.accounts
    samples: dict[str, tuple[Callable[[np.random.Generator], Drawn], Drawn]]
    if arguments.simulate:
        with tempfile.TemporaryDirectory() as root:
            whole = simulated_population(Path(root), arguments.simulate)
        count = len(np.unique(whole.accounts))
        name = f"simulated chat, {count:,} accounts, {len(whole.scores):,} messages"
        samples = {name: (functools.partial(redraw, whole, accounts), whole)}
    else:
        samples = {
            name: (functools.partial(draw, world, accounts), population(world))
            for name, world in WORLDS.items()
        }
    print("| world | promised | may fire | broken | recall | uncorrected: fires | broken |")
    print("|---|---|---|---|---|---|---|")
    for name, (sample, whole) in samples.items():
        found = count_kept(sample, Truth.of(whole), arguments.draws)
        for asked, (kept, plain) in found.items():
            cells = [one / arguments.draws for one in (kept.fires, kept.broken, kept.recall)]
            other = [one / arguments.draws for one in (plain.fires, plain.broken)]
            print(
                f"| {name} | {asked:g} | {cells[0]:.1%} | {cells[1]:.1%} | {cells[2]:.1%} "
                f"| {other[0]:.1%} | {other[1]:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
