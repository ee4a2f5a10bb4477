"""A small world with campaigns: a config, rings of accounts, and a definition to compare."""

import datetime as dt
import itertools
import json
import random

import pyarrow as pa

from configs.loader import loads
from pipelines.layout import day_us
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.derive import derive

DAY = 86_400_000_000
HOUR = DAY // 24
AS_OF = dt.date(2026, 3, 12)
TABLES = ("campaigns", "members", "events", "values")
PUBLISHED = dt.datetime(2026, 3, 12, 1, 30, tzinfo=dt.UTC)
CONFIG = """
lockstep: 1
name: rings
shards: SHARDS
events: {max_dead_share: 0.1}
columns:
  who: {type: string, private: true}
  whom: {type: string, private: true}
  one: {type: string}
  two: {type: string}
  site: {type: string}
  weight: {type: number}
  subject: {type: string}
  bad: {type: boolean}
kinds:
  post: {scored: true, required: [who]}
  verdict: {required: [subject, bad]}
entities:
  who: {key: {post: [who]}, aggregates: {posts: {op: count, windows: [1h]}}}
labels: {kind: verdict, subject: subject, positive: "bad == 1", maturity: 1d}
campaigns:
  account: who
  of: post
  recipients: whom
  judged: whom
  span: 8d
  links:
    text: {columns: [one, two], weight: 2, most_accounts: 9}
    site: {columns: site, where: weight > 0, within: 12h, most_accounts: 9}
MORE"""


def spec(shards=4, more="", **changes):
    text = CONFIG.replace("SHARDS", str(shards)).replace("MORE", more)
    for old, new in changes.items():
        text = text.replace(f"{old}: ", f"{old}: {new} #", 1)
    return loads(text, "rings.yaml", CATALOG)


def make_events(count=700, seed=5):
    """Six rings with texts of their own, one of them honest, among people with a popular site."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        ring = rng.randrange(12)
        time = day_us(AS_OF) + round((rng.random() * 11 - 10) * DAY)
        event = {
            "event_id": f"p{number}", "event_time": time, "kind": "post",
            "who": f"é{rng.randrange(60)}", "whom": rng.choice([None, "x", "y", "z"]),
            "one": None, "two": None, "site": rng.choice([None, "all.example", f"s{number % 90}"]),
            "weight": rng.choice([None, -1.0, 2.0]), "subject": None, "bad": None,
        }  # fmt: skip
        if ring < 6:
            event["who"] = f"r{ring}-{rng.randrange(5)}"
            event["one"], event["two"] = f"t{ring}{rng.randrange(3)}", f"u{ring}{rng.randrange(3)}"
        elif rng.random() < 0.1:
            judged = rng.randrange(6)
            event |= {"kind": "verdict", "whom": f"r{judged}-{rng.randrange(5)}"}
            event |= {"subject": "p1", "bad": judged < 5 and rng.random() < 0.8}
        made.append(event)
    return made


RARITY = "  rarity: {chance: 0.05, similarity: 0.1}\n"


def make_rare_events(seed=6):
    """Four rings of five with texts and a site of their own, among people who share set phrases."""
    rng = random.Random(seed)
    texts = [f"own {number}" for number in range(3000)]
    made = []
    for number in range(2400):
        time = day_us(AS_OF) + round((rng.random() * 7 - 7.5) * DAY)
        phrase = min(rng.randrange(1, 120), rng.randrange(1, 120))
        text = rng.choice(texts) if rng.random() < 0.5 else f"phrase {phrase}"
        event = {
            "event_id": f"p{number}", "event_time": time, "kind": "post",
            "who": f"é{rng.randrange(300)}", "whom": rng.choice([None, "x", "y", "z"]),
            "one": text, "two": text, "site": rng.choice([None, None, f"s{phrase}"]),
            "weight": 1.0, "subject": None, "bad": None,
        }  # fmt: skip
        if number % 12 == 0:
            ring, text = number // 12 % 4, rng.randrange(3)
            event |= {"who": f"r{ring}-{rng.randrange(5)}", "site": f"ring{ring}"}
            event |= {"one": f"t{ring}{text}", "two": f"u{ring}{text}"}
        made.append(event)
    return made


def batch_of(events):
    config = spec()
    records = [json.dumps(one).encode() for one in events]
    return derive(config, decode_json(config, records, "test").batch)


def judged(**accounts):
    names = pa.array(list(accounts), pa.string())
    return pa.table({"account": names, "abusive": pa.array(list(accounts.values()), pa.bool_())})


def expected(rules, events, as_of=AS_OF):
    """By loops: the accounts of each campaign, as a set of sets, and the ids of their events.

    Of components alone: that weak links join no large groups has tests of its own.
    """
    moment = day_us(as_of)
    inside = [one for one in events if moment - rules.span_us <= one["event_time"] < moment]
    inside.sort(key=lambda one: (one["event_time"], one["event_id"]))
    judged = {}
    for one in inside:
        if one["kind"] == "verdict" and one["whom"] is not None:
            judged[one["whom"]] = one["bad"]
    posts = [one for one in inside if one["kind"] == "post"]
    weight, sharing = {}, {}
    for link in rules.links.values():
        best = {}
        for column in link.columns:
            users = {}
            for one in posts:
                counts = link.where is None or (one["weight"] or 0) > 0
                if one[column] is not None and counts:
                    users.setdefault(one[column], []).append(one)
            shared = {}
            for value, uses in users.items():
                accounts = {one["who"] for one in uses}
                known = [judged[who] for who in accounts if who in judged]
                if len(accounts) > link.most_accounts or known.count(False) > known.count(True):
                    continue
                sharing[column, value] = uses
                for a, b in itertools.combinations(sorted(accounts), 2):
                    near = link.within_us is None or any(
                        abs(x["event_time"] - y["event_time"]) <= link.within_us
                        for x in uses if x["who"] == a for y in uses if y["who"] == b
                    )  # fmt: skip
                    if near:
                        shared[a, b] = shared.get((a, b), 0) + 1
            for pair, count in shared.items():
                best[pair] = max(best.get(pair, 0), count)
        for pair, count in best.items():
            weight[pair] = weight.get(pair, 0) + count * link.weight
    groups = {}
    for (a, b), sum_ in weight.items():
        if sum_ >= rules.evidence:
            joined = groups.get(a, {a}) | groups.get(b, {b})
            groups |= dict.fromkeys(joined, joined)
    found = {frozenset(one) for one in groups.values() if len(one) >= rules.least_accounts}
    ids = {}
    for group in found:
        ids[group] = {
            one["event_id"]
            for uses in sharing.values()
            if len({one["who"] for one in uses} & group) > 1
            for one in uses
            if one["who"] in group
        }
    return ids
