"""A small world for snapshots of the social graph: a config, and people who ask and accept."""

import datetime as dt
import random

from configs.loader import loads
from pipelines.layout import day_us
from transforms.catalog import CATALOG

CONFIG = """
lockstep: 1
name: friends
shards: SHARDS
events: {max_dead_share: 0.1}
columns:
  who: {type: string, private: true}
  whom: {type: string, private: true}
  subject: {type: string}
  bad: {type: boolean}
  weight: {type: number}
kinds:
  post: {scored: true, required: [who]}
  ask: {required: [who, whom]}
  accept: {required: [who, whom]}
  verdict: {required: [subject, bad]}
entities:
  who: {key: {post: [who]}, aggregates: {posts: {op: count, windows: [1h]}}}
labels: {kind: verdict, subject: subject, positive: "bad == 1", maturity: 1d}
graph:
  judged: whom
  delay: 3h
  edges:
    request: {of: ask, from: who, to: whom, expires: 5d}
    friend: {of: accept, from: who, to: whom, expires: 300d, answers: request}
    reply: {of: post, from: who, to: whom, expires: 2d, where: weight > 0}
"""
EXPIRES = {"ask": ("request", 5), "accept": ("friend", 300), "post": ("reply", 2)}
DAY = 86_400_000_000
AS_OF = dt.date(2026, 3, 12)
PUBLISHED = dt.datetime(2026, 3, 12, 1, 30, tzinfo=dt.UTC)


def spec(shards=4, graph="", shorter="5d"):
    text = CONFIG.replace("SHARDS", str(shards)).replace("expires: 5d", f"expires: {shorter}")
    return loads(text + graph, "friends.yaml", CATALOG)


def make_events(count=900, seed=3):
    rng = random.Random(seed)
    events = []
    for number in range(count):
        kind = rng.choice(["post", "ask", "accept", "accept", "verdict"])
        events.append(
            {
                "event_id": f"{kind}-{number}",
                "event_time": day_us(AS_OF) + round((rng.random() * 11 - 10) * DAY),
                "kind": kind,
                "who": f"é{rng.randrange(40)}",
                "whom": rng.choice([None, *(f"é{n}" for n in range(40))])
                if kind in ("post", "verdict")
                else f"é{rng.randrange(40)}",
                "subject": "post-1" if kind == "verdict" else None,
                "bad": rng.random() < 0.5 if kind == "verdict" else None,
                "weight": rng.choice([None, -1.0, 2.0]),
            }
        )
    return events
