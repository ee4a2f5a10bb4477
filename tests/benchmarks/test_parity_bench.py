"""What the parity benchmark feeds: verdicts for the night, and none on the way to the scorer."""

import datetime as dt
from collections import Counter

import pyarrow as pa

from benchmarks.parity import CONFIG, mismatches, with_verdicts
from configs.loader import load
from transforms.catalog import CATALOG
from transforms.decode import decode_columns

SPEC = load(CONFIG, CATALOG)
EDGES = pa.table({
    "edge": [1, 2],
    "src": ["a", "b"],
    "dst": ["c", "c"],
    "time": pa.array([dt.datetime(1998, 6, 1, 8), dt.datetime(1998, 6, 1, 8, 1)]),
    "attack": ["-", "neptune"],
})  # fmt: skip


def test_the_published_file_makes_no_verdict():
    decoded = decode_columns(SPEC, EDGES, "edges.parquet")
    assert decoded.batch.column("kind").to_pylist() == ["connection"] * 2
    assert decoded.dead == ()


def test_what_the_night_reads_has_a_verdict_a_day_later():
    decoded = decode_columns(SPEC, with_verdicts(EDGES), "learnt.parquet")
    rows = decoded.batch.to_pylist()
    assert Counter(row["kind"] for row in rows) == {"connection": 2, "verdict": 2}
    judged = {row["subject_id"]: row for row in rows if row["kind"] == "verdict"}
    assert {name: row["is_attack"] for name, row in judged.items()} == {
        "connection:1": False,
        "connection:2": True,
    }
    times = {row["event_id"]: row["event_time"] for row in rows if row["kind"] == "connection"}
    for name, row in judged.items():
        assert row["event_time"] == times[name] + 86_400_000_000
    assert decoded.dead == ()


def test_a_file_that_one_side_lacks_is_a_mismatch():
    assert mismatches({"a": "1"}, {"a": "1", "b": "2"}) == ["b"]
    assert mismatches({"a": "1"}, {"a": "1"}) == []
