"""Bursts in a stream of edges: `surprise` is its formula; no model learns what is not known yet."""

import datetime as dt
import math
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.edges import CONFIG, PUBLISHED, SURPRISE, make_rows, prequential, ranks, sampled
from configs.loader import load
from pipelines.layout import Days
from training.curve import area_under_roc, make_curve
from transforms.catalog import CATALOG
from transforms.hashing import hash_column
from transforms.inputs import numeric_names

FIRST = dt.datetime(1998, 6, 1)
MINUTES = {"1m": 1, "5m": 5, "1h": 60, "1d": 1440, "10d": 14400}


def make_edges(count=300):
    rng = random.Random(4)
    minutes = sorted(rng.randrange(600) for _ in range(count))
    return [
        {
            "edge": number, "time": FIRST + dt.timedelta(minutes=minute),
            "src": f"s{rng.randrange(6)}", "dst": f"d{rng.randrange(9)}",
            "attack": rng.choice(["-", "flood"]),
        }
        for number, minute in enumerate(minutes)
    ]  # fmt: skip


def surprise(edges, at):
    """By a loop over the events before; all of them are of one day."""
    one, before = edges[at], edges[:at]
    age = [(one["time"] - other["time"]).seconds // 60 for other in before]

    def logs(columns):
        same = [other for other, event in zip(age, before, strict=True)
                if all(event[name] == one[name] for name in columns)]  # fmt: skip
        return sum(math.log1p(sum(a < most for a in same)) for most in MINUTES.values())

    hour = [e["dst"] for e, a in zip(before, age, strict=True) if a < 60 and e["src"] == one["src"]]
    fresh = not any(e["src"] == one["src"] and e["dst"] == one["dst"] for e in before)
    most = max(logs(["src", "dst"]), logs(["src"]), logs(["dst"]), 5 * math.log1p(len(set(hour))))
    return most + 3 * fresh + math.log1p(sum(a < 1 for a in age))


def test_surprise_is_of_the_counts_before_and_labels_are_those_of_the_file(tmp_path):
    edges = make_edges()
    source = tmp_path / "edges.parquet"
    pq.write_table(pa.Table.from_pylist(edges), source)
    day = Days(FIRST.date(), FIRST.date())
    block, labels, days = make_rows(source, day, tmp_path / "out")
    assert labels.tolist() == [int(one["attack"] != "-") for one in edges]
    assert len(set(days.tolist())) == 1
    found = block[:, numeric_names(load(CONFIG, CATALOG)).index(SURPRISE)]
    expected = [surprise(edges, at) for at in range(len(edges))]
    np.testing.assert_allclose(found, expected, rtol=0.02)  # distinct targets are an estimate


def test_a_day_is_scored_by_what_was_known_at_its_start():
    rng = np.random.default_rng(3)
    days = np.repeat(np.arange(6), 200)
    block = rng.normal(size=(len(days), 3)).astype(np.float32)
    labels = (block[:, 0] > 0).astype(np.int8)
    made = prequential(block, labels, days, 10_000)
    assert np.isnan(made[days < 2]).all() and not np.isnan(made[days >= 2]).any()
    for changed, seen in ((3, False), (2, True)):
        other = labels.copy()
        other[days == changed] = 1 - other[days == changed]
        again = prequential(block, other, days, 10_000)
        assert (again[days == 4] != made[days == 4]).any() == seen, "labels come a day late"


def test_a_sample_is_the_same_each_time_and_in_order():
    rows, by = np.arange(1000) * 3, ranks(3000)
    some = sampled(rows, 100, by)
    assert len(some) == 100 and (np.diff(some) > 0).all()
    hashes = hash_column(pa.array(rows).cast(pa.string()), 1)
    assert some.tolist() == sorted(rows[np.argsort(hashes, kind="stable")[:100]].tolist())
    assert sampled(rows[:50], 100, by).tolist() == rows[:50].tolist()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_without_labels_it_is_better_than_published(shared_data, tmp_path):
    days = Days(FIRST.date(), dt.date(1998, 8, 1))
    source = shared_data / "darpa-edges" / "edges.parquet"
    block, labels, _ = make_rows(source, days, tmp_path / "out")
    found = block[:, numeric_names(load(CONFIG, CATALOG)).index(SURPRISE)]
    auc = area_under_roc(make_curve(found.astype(np.float64), labels))
    assert len(labels) == 4_554_344
    assert auc > max(PUBLISHED.values())
