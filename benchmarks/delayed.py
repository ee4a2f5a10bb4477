"""Which way of training on late verdicts closes how much of the gap that the delay makes?

`python -m benchmarks.delayed` lets the shipped world live, once per seed (`--seeds`), with
campaigns that change their words every two days, and verdicts that take half a day, or one and a
half. As of the thirteenth day a text model is fitted to the twelve before, in each way of
`training.delayed`, and on what verdicts say in the end; it is tested on the thirteenth, by what
verdicts say in the end. Printed: mean log loss (less is better) and average precision, and the
share of the gap between `known` and `in the end` that is closed; "no gap" where it is within two
standard errors of nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss

from benchmarks.selective import START, messages_of, small_world
from configs.world import Enforcement, WorldSettings
from pipelines.layout import DAY_US, day_us
from pipelines.simulate.days import simulate_days
from training.delayed import STRATEGIES, delay_weights
from training.delays import delay_curve

LEARNED, WAITS = 12, 10  # days before; until all verdicts have come
END = "in the end"
_HOUR_US = DAY_US // 24
_NEVER = np.iinfo(np.int64).max


def late_world(delay_hours: int) -> WorldSettings:
    """Campaigns that rotate fast, people who report most, verdicts that take so long."""
    world = small_world()
    abuse = {
        kind: dataclasses.replace(one, reported=1.5, rotates=2 if one.rotates else 0)
        for kind, one in world.abuse.items()
    }
    moderators = dataclasses.replace(
        world.moderators, capacity=100_000, delay=delay_hours * _HOUR_US, automatic=0.0, audits=0.0
    )
    people = dataclasses.replace(world.people, messages=3_000)
    return dataclasses.replace(
        world,
        people=people,
        abuse=abuse,
        moderators=moderators,
        enforcement=Enforcement(bans=10**6),
    )


def measure(world: WorldSettings, seed: int) -> dict[str, tuple[float, float]]:
    """Log loss and average precision by way of training, of one seed."""
    days = list(itertools.islice(simulate_days(world, START, seed), LEARNED + WAITS))
    messages = [messages_of(day.events) for day in days[: LEARNED + 1]]
    learned, tested = pa.concat_tables(messages[:-1]), messages[-1]
    events = pa.concat_tables([day.events for day in days])
    times = learned["sent_at"].cast(pa.int64()).to_numpy()
    as_of = day_us(START) + LEARNED * DAY_US
    first = _first_abuse(learned, events)
    known = first < as_of
    curve = delay_curve(first[known] - times[known], as_of - times[known])
    place = np.searchsorted(curve.delays, as_of - times, side="right") - 1
    come = np.where(place >= 0, curve.share[np.maximum(place, 0)], 0.0)

    words = HashingVectorizer(n_features=2**14, ngram_range=(1, 2), norm=None)
    inputs = words.transform(learned["text"].to_pylist())
    test = words.transform(tested["text"].to_pylist())
    truth = _first_abuse(tested, events) < _NEVER

    def fit(labels: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]) -> LogisticRegression:
        return LogisticRegression(C=0.3, max_iter=200).fit(inputs, labels, sample_weight=weights)

    models = {END: fit(first < _NEVER, np.ones(len(known)))}
    for strategy in STRATEGIES:
        expected = None
        if strategy == "corrected":
            expected = models["weight"].predict_proba(inputs)[:, 1]
        models[strategy] = fit(known, delay_weights(strategy, known, come, expected))
    found = {}
    for name, model in models.items():
        scores = model.predict_proba(test)[:, 1]
        found[name] = (
            float(log_loss(truth, scores)),
            float(average_precision_score(truth, scores)),
        )
    return found


def _first_abuse(messages: pa.Table, events: pa.Table) -> npt.NDArray[np.int64]:
    """When each message was first judged to be abuse: int64 `[n]`; the largest if it never is."""
    verdicts = events.filter(pc.and_kleene(pc.equal(events["kind"], "verdict"), events["is_abuse"]))
    place = pc.index_in(verdicts["subject_id"], value_set=messages["event_id"].combine_chunks())
    there = place.is_valid().to_numpy()
    found = np.full(messages.num_rows, _NEVER)
    times = verdicts["sent_at"].cast(pa.int64()).to_numpy()[there]
    np.minimum.at(found, place.drop_null().to_numpy(), times)
    return found


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--hours", type=int, nargs="+", default=[12, 36], help="median delay")
    arguments = parser.parse_args(given)
    print("| verdicts take | way | log loss | gap closed | average precision | gap closed |")
    print("|---|---|---|---|---|---|")
    for hours in arguments.hours:
        world = late_world(hours)
        made = [measure(world, seed) for seed in range(1, arguments.seeds + 1)]
        by_way = {name: np.array([one[name] for one in made]) for name in made[0]}
        for name in (*STRATEGIES, END):
            cells = [
                f"{by_way[name][:, at].mean():.4f} | {closed(by_way, name, at)}" for at in (0, 1)
            ]
            print(f"| {hours} h | {name} | {' | '.join(cells)} |", flush=True)


def closed(by_way: dict[str, npt.NDArray[np.float64]], name: str, at: int) -> str:
    """The share of the gap that a way closes, of means over seeds, in words.

    >>> two = {"known": np.zeros((2, 1)), END: np.ones((2, 1)), "drop": np.full((2, 1), 0.25)}
    >>> closed(two, "drop", 0), closed(two | {END: np.array([[-1.0], [1.0]])}, "drop", 0)
    ('25 %', 'no gap')
    """
    gap = by_way[END][:, at] - by_way["known"][:, at]
    if abs(gap.mean()) <= 2 * gap.std(ddof=1) / np.sqrt(len(gap)):
        return "no gap"
    share = (by_way[name][:, at] - by_way["known"][:, at]).mean() / gap.mean()
    return f"{round(100 * share) + 0} %"


if __name__ == "__main__":
    main()
