"""Which way of learning from young events closes how much of the gap that late verdicts make?

`python -m benchmarks.delayed` lets the shipped world live, once per seed (`--seeds`), with
campaigns that change their words every two days, and verdicts that take half a day, or one and a
half. As of the fourteenth day a text model is trained as a nightly run trains it (`training.fit`,
`training.delayed`): ten days with mature labels, and of the three after them what each
`training.delayed_feedback` makes of what is known by then, or what verdicts say in the end. It is
tested on the fourteenth day, by what verdicts say in the end. Printed: mean log loss of calibrated
scores (less is better) and average precision, the share of the gap between `known` and `in the end`
that is closed ("no gap" where it is within two standard errors of nothing), and the difference from
`none` on the same seed, with its 95 % interval (Student's t).
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
from sklearn.metrics import average_precision_score, log_loss
from threadpoolctl import threadpool_limits

from benchmarks.selective import START, messages_of, small_world
from benchmarks.weighting import difference
from configs.loader import loads
from configs.training import DELAYED_FEEDBACK
from configs.world import Enforcement, WorldSettings
from pipelines.layout import DAY_US, day_us
from pipelines.simulate.days import simulate_days
from training.dataset import slices
from training.delayed import YoungSpan, join_young
from training.delays import delay_curve
from training.fit import fit
from training.models import Span, fit_models
from transforms.catalog import CATALOG
from transforms.constants import Transformed

AS_OF, WAITS = 13, 10  # days before the night; until all verdicts have come
END, BASE = "in the end", "none"
BUCKETS = 2**14
CONFIG = f"""
lockstep: 1
name: delayed
columns: {{text: {{type: string}}, of: {{type: string}}, bad: {{type: boolean}}}}
kinds: {{message: {{scored: true}}, verdict: {{}}}}
inputs: {{numeric: [], text: {{column: text, buckets: {BUCKETS}}}}}
labels: {{kind: verdict, subject: of, positive: "bad == 1", maturity: 3d}}
training: {{span: 10d, delay: 3d, model: text, text_folds: 2}}
"""
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
    days = list(itertools.islice(simulate_days(world, START, seed), AS_OF + 1 + WAITS))
    messages = [messages_of(day.events) for day in days[: AS_OF + 1]]
    learned, tested = pa.concat_tables(messages[:-1]), messages[-1]
    events = pa.concat_tables([day.events for day in days])
    spec, as_of = loads(CONFIG, "delayed.yaml", CATALOG), day_us(START) + AS_OF * DAY_US
    training = spec.training
    if training is None:
        raise ValueError("the config has no training")
    cut = slices(training, as_of)
    times = learned["sent_at"].cast(pa.int64()).to_numpy()
    first, inputs = _first_abuse(learned, events), _inputs(learned)
    known = first < as_of
    curve = delay_curve(first[known] - times[known], as_of - times[known])
    old = np.flatnonzero(times < cut.span.end_us)
    late = np.flatnonzero(times >= cut.span.end_us)

    def span_of(rows: npt.NDArray[np.int64], labels: npt.NDArray[np.bool_]) -> Span:
        return Span(inputs.take(rows), times[rows], labels[rows].astype(np.int8))

    span = span_of(old, known)
    fitted = fit(spec, span, cut)
    models = {BASE: fitted.models}
    every, come = np.arange(len(old)), curve.shares(as_of - times[late])
    for way in (*DELAYED_FEEDBACK[1:], END):
        before, labels = (
            (span_of(old, first < _NEVER), first < _NEVER) if way == END else (span, known)
        )
        young = YoungSpan(span_of(late, labels), come, curve, as_of)
        scores = fitted.calibration.apply(fitted.judged.text_scores(young.span.transformed))
        joined, rows, _ = join_young("known" if way == END else way, before, every, young, scores)
        with threadpool_limits(1, user_api="blas"):
            models[way], _ = fit_models(spec, joined, rows, 1.0, None)
    test, truth = _inputs(tested), _first_abuse(tested, events) < _NEVER
    found = {}
    for name, model in models.items():
        scores = fitted.calibration.apply(model.text_scores(test))
        found[name] = (
            float(log_loss(truth, scores)),
            float(average_precision_score(truth, scores)),
        )
    return found


def _inputs(messages: pa.Table) -> Transformed:
    """Words and pairs of words, as rows of length 1."""
    hashed = HashingVectorizer(n_features=BUCKETS, ngram_range=(1, 2), dtype=np.float32)
    text = hashed.transform(messages["text"].to_pylist())
    count = messages.num_rows
    return Transformed(np.zeros((count, 0), np.float32), np.zeros((count, 0), np.int64), text)


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
    parser.add_argument("--seeds", type=int, default=6, help="at least 2")
    parser.add_argument("--hours", type=int, nargs="+", default=[12, 36], help="median delay")
    arguments = parser.parse_args(given)
    print(
        "| verdicts take | way | log loss | gap closed | difference | average precision | "
        "gap closed | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for hours in arguments.hours:
        world = late_world(hours)
        made = [measure(world, seed) for seed in range(1, arguments.seeds + 1)]
        by_way = {name: np.array([one[name] for one in made]) for name in made[0]}
        for name, found in by_way.items():
            cells = []
            for at in (0, 1):
                apart = "" if name == BASE else "{:+.4f} ({:+.4f} to {:+.4f})".format(
                    *difference(found[:, at], by_way[BASE][:, at])
                )  # fmt: skip
                cells.append(f"{found[:, at].mean():.4f} | {closed(by_way, name, at)} | {apart}")
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
