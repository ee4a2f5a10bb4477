"""A small world for backfill tests: a config, and a plausible stream made by rule."""

import datetime as dt
import random
from pathlib import Path

CONFIG = """
lockstep: 1
name: tiny
shards: 4
events: {id: id, time: at, kind: kind, dedup: 1h, max_dead_share: 0.2}
columns:
  who: {type: string, private: true}
  where: {type: string}
  amount: {type: number}
  subject: {type: string}
  bad: {type: boolean}
  text: {type: string}
kinds:
  post: {scored: true, required: [who]}
  verdict: {required: [subject, bad]}
derive:
  clean: {op: normalize_text, of: text}
entities:
  who:
    key: {post: [who]}
    windows: [1h, 1d]
    aggregates:
      posts: {op: count, of: post}
      amounts: {op: sum, of: post, column: amount, decimals: 2}
      places: {op: distinct, of: post, column: where, windows: [1h]}
      seconds_since_last: {op: seconds_since_last, of: post}
  place:
    key: {post: [where]}
    windows: [1h]
    aggregates:
      posts: {op: count, of: post}
      people: {op: distinct, of: post, column: who}
inputs:
  numeric: [amount]
  categorical: {where: {vocabulary: 10, oov_buckets: 2, min_frequency: 1}}
  text: {column: clean, buckets: 256}
labels: {kind: verdict, subject: subject, positive: "bad == 1", maturity: 1d}
training: {span: 4d, delay: 1d, gate: 1d, rounds: 20, early_stopping: 5}
policy: {actions: {block: {min_precision: 0.8}}}
gate: {min_average_precision: 0.0, min_auc: 0.0, max_drop: 1.0, min_positives: 1}
"""

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def make_events(count, days=3, seed=7):
    """A plausible stream: people, places, amounts, spam with verdicts a while later."""
    rng = random.Random(seed)
    events = []
    for number in range(count):
        at = START + dt.timedelta(seconds=rng.random() * days * 86_400)
        bad = rng.random() < 0.1
        who = f"w{rng.randrange(5 if bad else 40)}"
        events.append(
            {
                "id": f"p{number:06d}",
                "at": at.isoformat(),
                "kind": "post",
                "who": who,
                "where": rng.choice(["a", "b", "c", None]),
                "amount": round(rng.random() * (100 if bad else 10), 2),
                "text": "win money now" if bad else "see you at noon",
            }
        )
        if rng.random() < 0.5:
            known = at + dt.timedelta(hours=rng.random() * 10)
            events.append(
                {
                    "id": f"v{number:06d}",
                    "at": known.isoformat(),
                    "kind": "verdict",
                    "subject": f"p{number:06d}",
                    "bad": bad,
                }
            )
    return events


def tree_bytes(root: Path):
    """Every published file's path and bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
