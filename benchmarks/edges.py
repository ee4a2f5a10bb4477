"""`python -m benchmarks.edges`: attacks in a stream of connections, with and without labels.

The stream is `darpa-edges` of ../shared/data (or of `LOCKSTEP_DATA`), the features are those of
`benchmarks/darpa_bursts.yaml`: ordinary velocity aggregates of pairs, sources and targets, as of
each connection. Printed: AUC of `surprise`, which no label enters, over all connections in order;
and the average precision of a model that is trained anew every day on the connections whose labels
are known by then, a day after them, and scores that day (prequential: Gama, Sebastiao, Rodrigues,
"On evaluating stream learning algorithms", Machine Learning 90, 2013).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost

from configs.loader import load
from configs.schema import EVENT_ID, EVENT_TIME
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import DAY_US, FEATURES, Days, Layout
from training.curve import area_under_roc, average_precision, make_curve
from transforms.catalog import CATALOG
from transforms.hashing import hash_column
from transforms.inputs import numeric_names

CONFIG = Path(__file__).parent / "darpa_bursts.yaml"
SURPRISE = "surprise"
DELAY_DAYS = 1
PUBLISHED = {"MIDAS": 0.905, "MIDAS-R": 0.949, "MIDAS-F": 0.984}
"""AUC of Bhatia, Liu, Hooi, Yoon, Shin, Faloutsos, "Real-Time Anomaly Detection in Edge Streams",
TKDD 16, 2022; as their programs give it on this file."""

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]


def make_rows(source: Path, days: Days, root: Path) -> tuple[Floats, Labels, npt.NDArray[np.int64]]:
    """Features, labels and days of connections in total order: float32 `[n, K]`, int8, int64."""
    spec = load(CONFIG, CATALOG)
    backfill(BackfillRequest(spec, str(source), root, days))
    names, layout = numeric_names(spec), Layout(root)
    blocks, ids, times = [], [], []
    for day in days:
        for path in layout.files(day, FEATURES):
            table = pq.read_table(path, columns=[EVENT_ID, EVENT_TIME, *names], partitioning=None)
            blocks.append(np.column_stack([table[name].to_numpy() for name in names]))
            ids.append(table[EVENT_ID])
            times.append(table[EVENT_TIME].cast(pa.int64()).to_numpy())
    known = pq.read_table(source, columns=["edge", "attack"])
    named = pc.binary_join_element_wise("connection", known["edge"].cast(pa.string()), ":")
    events = pa.chunked_array([one for part in ids for one in part.chunks])
    place = pc.index_in(events, value_set=named.combine_chunks())
    attack = pc.not_equal(known["attack"], "-").take(place).to_numpy().astype(np.int8)
    return np.concatenate(blocks), attack, np.concatenate(times) // DAY_US


def ranks(count: int) -> npt.NDArray[np.int64]:
    """Where each of so many rows stands by the hash of its number."""
    hashes = hash_column(pa.array(np.arange(count)).cast(pa.string()), 1)
    made = np.empty(count, np.int64)
    made[np.argsort(hashes, kind="stable")] = np.arange(count)
    return made


def sampled(
    ids: npt.NDArray[np.int64], most: int, by: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """At most so many rows, the first by `ranks`: a sample that is the same each time."""
    if len(ids) <= most:
        return ids
    return np.sort(ids[np.argpartition(by[ids], most - 1)[:most]])


def prequential(block: Floats, labels: Labels, days: npt.NDArray[np.int64], rows: int) -> Floats:
    """Scores of each day by a model of the days whose labels were known at its start.

    NaN of the days before there are connections of both sorts to learn from.
    """
    scores, by = np.full(len(labels), np.nan, np.float32), ranks(len(labels))
    for day in np.unique(days):
        learned = sampled(np.flatnonzero(days < day - DELAY_DAYS), rows, by)
        if len(np.unique(labels[learned])) < 2:
            continue
        matrix = xgboost.DMatrix(block[learned], labels[learned])
        model = xgboost.train(
            {"objective": "binary:logistic", "max_depth": 6, "eta": 0.2, "nthread": 2, "seed": 0},
            matrix,
            60,
        )
        asked = days == day
        scores[asked] = model.predict(xgboost.DMatrix(block[asked]))
    return scores


def main(given: Sequence[str] | None = None) -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=0, help="the first so many; 0: all")
    parser.add_argument("--rows", type=int, default=100_000, help="that a day's model learns from")
    arguments = parser.parse_args(given)
    folder = Path(os.environ.get("LOCKSTEP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    source = folder / "darpa-edges" / "edges.parquet"
    if not source.exists():
        print(f"no {source}: see docs/results.md", file=sys.stderr)
        return 4
    with tempfile.TemporaryDirectory() as root:
        source, days = _first(source, arguments.events, Path(root))
        block, labels, day = make_rows(source, days, Path(root) / "out")
    names = numeric_names(load(CONFIG, CATALOG))
    print(f"{len(labels):,} connections, {labels.mean():.1%} of them attacks\n")
    print("| without labels | AUC |\n|---|---|")
    for name, auc in PUBLISHED.items():
        print(f"| {name}, published program | {auc:.3f} |")
    surprise = block[:, names.index(SURPRISE)]
    print(f"| `surprise` | {_auc(surprise, labels):.4f} |", flush=True)
    early = day < day.min() + 20
    for part, mask in (("first 20 days", early), ("later days", ~early)):
        if len(np.unique(labels[mask])) == 2:
            print(f"| `surprise`, {part} | {_auc(surprise[mask], labels[mask]):.4f} |", flush=True)
    scores = prequential(block, labels, day, arguments.rows)
    tested = ~np.isnan(scores)
    print("\n| labels known a day later | connections | attacks | average precision | AUC |")
    print("|---|---|---|---|---|")
    for name, made in (("model, trained daily", scores), ("`surprise`", surprise)):
        curve = make_curve(made[tested].astype(np.float64), labels[tested])
        print(
            f"| {name} | {int(tested.sum()):,} | {int(labels[tested].sum()):,} "
            f"| {average_precision(curve) or 0:.4f} | {area_under_roc(curve) or 0:.4f} |"
        )
    return 0


def _auc(scores: Floats, labels: Labels) -> float:
    return area_under_roc(make_curve(scores.astype(np.float64), labels)) or 0.0


def _first(source: Path, events: int, root: Path) -> tuple[Path, Days]:
    table = pq.read_table(source)
    if events:
        table = table.slice(0, events)
        source = root / "edges.parquet"
        pq.write_table(table, source)
    ends = pc.min_max(table["time"])
    first, last = (ends[end].as_py().date() for end in ("min", "max"))
    return source, Days(first, last)


if __name__ == "__main__":
    sys.exit(main())
