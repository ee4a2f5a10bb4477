"""`make results`: published benchmarks by configuration alone, beside the published figures.

Prints the Markdown tables of docs/results.md. The data is that of ../shared/data, or of
`LOCKSTEP_DATA`. Card payments go the real way: nightly as of the test week's first day, backfill,
evaluate. The leak ladder replaces nothing but the delay after which a verdict becomes known.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.comments import comments_table
from configs.errors import InputError, LockstepError
from configs.loader import load, shipped
from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.dataset import Dataset, load_dataset
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, Layout, day_us
from pipelines.nightly import NightlyRequest, nightly
from training.evaluate import Metrics, evaluate
from transforms.catalog import CATALOG

TEST_WEEK = Days(dt.date(2018, 8, 8), dt.date(2018, 8, 14))
TRAIN_WEEK = Days(dt.date(2018, 7, 25), dt.date(2018, 7, 31))
KNOWN = dt.date(2018, 9, 1)  # all verdicts about the test week are known by then
DAY_US = 86_400_000_000

PUBLISHED = {
    "logistic regression": (0.871, 0.606, 0.291),
    "random forest": (0.867, 0.658, 0.287),
    "XGBoost": (0.862, 0.639, 0.273),
}
LADDER = {"7d": (0.870, 0.664, 0.291), "1d": (0.945, 0.843, 0.360), "0d": (0.969, 0.880, 0.373)}

NEEDED = (
    "fraud-handbook/transactions.parquet",
    "youtube-spam/published-mcc.csv",
    "youtube-spam/labelled",
)

Figures = tuple[float, float, float]


def main() -> None:
    """Prints the tables; an error as one line, with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    try:
        data = data_folder()
        require(data)
        _print_tables(data, arguments.workers)
    except LockstepError as error:
        print(f"results: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def require(data: Path) -> None:
    """Sees that the published data is there.

    Raises:
      InputError: what is missing, and where it was looked for.
    """
    missing = [name for name in NEEDED if not (data / name).exists()]
    if missing:
        raise InputError(
            f"no {', '.join(missing)} in {data}; set LOCKSTEP_DATA to the folder of the published "
            "data (docs/results.md says where it comes from)"
        )


def _print_tables(data: Path, workers: int) -> None:
    print("## Card payments, test week 2018-08-08..14\n")
    print("| model | AUC | AP | CP@100 |\n|---|---|---|---|")
    for name, figures in PUBLISHED.items():
        print(f"| published: {name} | {_row(figures)} |")
    for name in ("card_fraud_handbook", "card_fraud"):
        print(f"| `configs/{name}.yaml` | {_row(card_fraud(name, data, workers))} |")
    print("\n## The leak ladder: random forest by the delay of terminal verdicts\n")
    print("| delay | AUC | AP | CP@100 | as reproduced before |\n|---|---|---|---|---|")
    for delay, figures in leak_ladder(data, workers).items():
        print(f"| {delay} | {_row(figures)} | {' / '.join(f'{x:.3f}' for x in LADDER[delay])} |")
    print("\n## Video comments, published split\n")
    print(comments_table(data / "youtube-spam"))


def data_folder() -> Path:
    """Where the published data is."""
    root = Path(__file__).resolve().parents[1]
    return Path(os.environ.get("LOCKSTEP_DATA", root.parent / "shared" / "data"))


def card_fraud(name: str, data: Path, workers: int = 2) -> Figures:
    """AUC, AP and CP@100 of a shipped config on the published protocol."""
    path = shipped(name)
    spec = load(path, CATALOG)
    source = str(data / "fraud-handbook" / "transactions.parquet")
    out = Path(tempfile.mkdtemp(prefix="lockstep-results-"))
    try:
        made = nightly(
            NightlyRequest(
                spec=spec,
                config=path.read_text(),
                source=source,
                out=out,
                as_of=TEST_WEEK.first,
                workers=workers,
                since=dt.date(2018, 4, 1),
            )
        )
        later = Days(TEST_WEEK.first, KNOWN - dt.timedelta(days=1))
        backfill(BackfillRequest(spec, source, out, later, workers))
        found = evaluate_bundle(EvaluateRequest(out, made.bundle, TEST_WEEK, KNOWN))
        return _figures(found.metrics)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def leak_ladder(data: Path, workers: int = 2, trees: int = 100) -> dict[str, Figures]:
    """The handbook's random forest, with terminal verdicts known after 7 days, 1 day, at once."""
    spec = load(shipped("card_fraud_handbook"), CATALOG)
    rungs = {
        f"{days}d": _forest(_with_delay(spec, days * DAY_US), data, workers, trees)
        for days in (7, 1, 0)
    }
    if len({(metrics.labelled, metrics.positives) for metrics in rungs.values()}) > 1:
        raise ValueError("the rungs were measured on different test events")
    return {name: _figures(metrics) for name, metrics in rungs.items()}


def _with_delay(spec: Spec, delay_us: int) -> Spec:
    rules = tuple(
        dataclasses.replace(rule, delay_us=delay_us) if rule.kind == "verdict" else rule
        for rule in spec.ingest
    )
    return dataclasses.replace(spec, ingest=rules)


def _forest(spec: Spec, data: Path, workers: int, trees: int) -> Metrics:
    from sklearn.ensemble import RandomForestClassifier

    source = str(data / "fraud-handbook" / "transactions.parquet")
    out = Path(tempfile.mkdtemp(prefix="lockstep-results-"))
    try:
        days = Days(dt.date(2018, 6, 15), dt.date(2018, 8, 31))
        backfill(BackfillRequest(spec, source, out, days, workers))
        layout, known = Layout(out), day_us(KNOWN)
        train = load_dataset(spec, layout, TRAIN_WEEK.start_us, TRAIN_WEEK.end_us, known)
        test = load_dataset(spec, layout, TEST_WEEK.start_us, TEST_WEEK.end_us, known)
        forest = RandomForestClassifier(n_estimators=trees, random_state=0, n_jobs=workers)
        forest.fit(np.nan_to_num(train.numeric), train.labels == 1)
        scores = forest.predict_proba(np.nan_to_num(test.numeric))[:, 1]
        between = load_dataset(spec, layout, TRAIN_WEEK.start_us, TEST_WEEK.end_us, known)
        keep = _not_known(between, test)
        return evaluate(
            scores[keep],
            test.labels[keep],
            test.times[keep],
            groups=test.take(np.flatnonzero(keep)).group(spec),
            replicates=0,
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _not_known(history: Dataset, test: Dataset) -> npt.NDArray[np.bool_]:
    """The protocol's test cards, whatever the ladder's delay: frauds known after 7 days drop out.

    A card is known on a day if it had a fraud, from the training week on, at least 8 days earlier.
    """
    first: dict[str, int] = {}
    fraud = history.take(np.flatnonzero(history.labels == 1))
    cards = fraud.events.column("customer").to_pylist()
    for card, day in zip(cards, (fraud.times // DAY_US).tolist(), strict=True):
        first[card] = min(first.get(card, day), day)
    cards, days = test.events.column("customer").to_pylist(), (test.times // DAY_US).tolist()
    return np.array([first.get(c, 1 << 40) > d - 8 for c, d in zip(cards, days, strict=True)])


def _figures(metrics: Metrics) -> Figures:
    group = metrics.group_precision
    return (
        metrics.auc or 0.0,
        metrics.average_precision or 0.0,
        (group.mean or 0.0) if group else 0.0,
    )


def _row(figures: Figures) -> str:
    return " | ".join(f"{one:.4f}" for one in figures)


if __name__ == "__main__":
    main()
