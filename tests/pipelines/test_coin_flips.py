"""Coin-flip labels teach nothing, whatever the kind of the verdict is called."""

import datetime as dt
import random

import pytest
from nightly_world import request, write_events

from configs.errors import GateError
from pipelines.nightly import nightly

CONFIG = """
lockstep: 1
name: coins
events: {max_dead_share: 0.0}
ingest:
  - {kind: post, id: id, time: t}
  - {kind: judged, id: id, time: t, subject: {of: post}}
columns: {who: {type: string}, bad: {type: boolean}, of: {type: string}, x: {type: number}}
kinds: {post: {scored: true}, judged: {}}
entities:
  who:
    key: {post: [who], judged: [who]}
    windows: [1d]
    aggregates: {bad: {op: mean, of: judged, column: bad}}
inputs: {numeric: [x]}
labels: {kind: judged, subject: of, positive: "bad == 1"}
training: {span: 6d, delay: 1d, gate: 2d, rounds: 20}
policy: {actions: {block: {min_precision: 0.6}}}
gate: {min_auc: 0.6}
"""


@pytest.mark.slow
def test_a_verdict_of_the_same_row_and_time_teaches_nothing(tmp_path):
    """`judged` comes before `post` in the alphabet; each author has one post and its verdict."""
    rng = random.Random(1)
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    rows = [
        {
            "id": number,
            "t": (start + dt.timedelta(seconds=rng.randrange(9 * 86_400))).isoformat(),
            "who": f"w{number}",
            "bad": rng.random() < 0.5,
            "x": rng.random(),
        }
        for number in range(6_000)
    ]
    source = write_events(tmp_path / "input", rows)
    with pytest.raises(GateError, match=r"AUC 0\.[45]"):
        nightly(request(source, tmp_path / "out", CONFIG, dt.date(2026, 3, 10)))
