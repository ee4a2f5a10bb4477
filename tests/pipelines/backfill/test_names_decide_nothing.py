"""Names of kinds and files decide nothing; no event sees its own verdict, or one of its time."""

import json
import math

import pytest

from configs.loader import loads
from pipelines.backfill import read_features
from pipelines.layout import Days, Layout
from transforms.catalog import CATALOG
from transforms.velocity import make_plan

DAY = "2026-03-01..2026-03-01"
LABELLED = """
lockstep: 1
name: names
events: {max_dead_share: 0.0}
ingest:
  - {kind: post, id: id, time: t}
  - {kind: %(verdict)s, id: id, time: t, subject: {of: post}%(delay)s}
columns: {who: {type: string}, bad: {type: boolean}, of: {type: string}}
kinds: {post: {scored: true}, %(verdict)s: {}}
entities:
  who:
    key: {post: [who], %(verdict)s: [who]}
    windows: [1d]
    aggregates: {posts: {op: count, of: post}, bad: {op: mean, of: %(verdict)s, column: bad}}
labels: {kind: %(verdict)s, subject: of, positive: "bad == 1"}
"""
PLAIN = """
lockstep: 1
name: names
events: {id: id, time: t, kind: kind, max_dead_share: 0.5%(events)s}
columns: {who: {type: string}, amount: {type: number}%(columns)s}
kinds: {m: {scored: true, required: [who]}}
entities:
  who:
    key: {m: [who]}
    windows: [1d]
    aggregates: {n: {op: count, of: m}, amounts: {op: sum, of: m, column: amount, decimals: 1}}
"""


@pytest.fixture
def features(tmp_path, run):
    """The day's features by event id, of records by file name."""
    turn = iter(range(99))

    def made(config, files):
        spec, number = loads(config, "names.yaml", CATALOG), next(turn)
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        for name, records in files.items():
            text = "".join(json.dumps(record) + "\n" for record in records)
            (folder / name).write_text(text)
        run(str(folder), DAY, out=f"out{number}", spec=spec)
        names = make_plan(spec, "who").features
        days = list(Days.parse(DAY))
        table = read_features(Layout(tmp_path / f"out{number}"), days, ["event_id", *names])
        return {
            row["event_id"]: [None if math.isnan(row[name]) else row[name] for name in names]
            for row in table.to_pylist()
        }

    return made


@pytest.mark.parametrize("verdict", ["judged", "verdict"])
def test_an_event_sees_neither_its_own_verdict_nor_one_of_its_time(features, verdict):
    config = LABELLED % {"verdict": verdict, "delay": ""}
    rows = [
        {"id": "1", "t": "2026-03-01T00:00:01", "who": "a", "bad": True},
        {"id": "2", "t": "2026-03-01T00:00:01", "who": "a", "bad": False},
        {"id": "3", "t": "2026-03-01T00:00:02", "who": "a", "bad": True},
    ]
    found = features(config, {"a.jsonl": rows})
    assert found == {"post:1": [0, None], "post:2": [1, None], "post:3": [2, 0.5]}


def test_exchanged_file_names_change_no_feature(features):
    def record(name, amount, second=1):
        moment = f"2026-03-01T00:00:0{second}"
        return {"id": name, "t": moment, "kind": "m", "who": "a", "amount": amount}

    one, other = [record("1", 1.0)], [record("1", 99.0), record("2", 5.0, 2)]
    config = PLAIN % {"events": "", "columns": ""}
    found = features(config, {"a.jsonl": one, "b.jsonl": other})
    assert found == features(config, {"b.jsonl": one, "a.jsonl": other})
    assert found["1"] == [0, 0] and found["2"] in ([1, 1.0], [1, 99.0])


@pytest.mark.parametrize(
    ("events", "columns", "expected"),
    [
        ("", ", id: {type: integer}", ["9", "10", "11"]),
        (", sequence: n", ", n: {type: integer}", ["11", "9", "10"]),
        ("", "", ["9", "10", "11"]),
    ],
)
def test_the_order_within_a_time_is_the_one_that_the_config_says(
    features, events, columns, expected
):
    numbers = {"11": 1, "9": 2, "10": 3}
    records = [
        {"id": name, "t": "2026-03-01T00:00:01", "kind": "m", "who": "a", "n": n, "amount": 1}
        for name, n in sorted(numbers.items())
    ]
    found = features(PLAIN % {"events": events, "columns": columns}, {"a.jsonl": records})
    assert [found[name][0] for name in expected] == [0, 1, 2]
