"""The battery: a spec with every kind of aggregate, and its features from the whole history."""

import math

import numpy as np
import pyarrow as pa
from velocity_oracle import effective_times, feature

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.hashing import hash_column
from transforms.velocity import make_plan

CONFIG = """
lockstep: 1
name: battery
shards: 4
columns:
  key: {type: string}
  amount: {type: number}
  label: {type: string}
kinds:
  a: {scored: true}
  b: {}
entities:
  k:
    key: {a: [key], b: [key]}
    windows: [10s, {length: 1h, tiles: 6}]
    retention: 2d
    aggregates:
      n: {op: count}
      n_b: {op: count, of: b}
      n_big: {op: count, of: a, where: "amount > 5"}
      total: {op: sum, of: a, column: amount, decimals: 2}
      mean: {op: mean, of: [a, b], column: amount, decimals: 2}
      low: {op: min, of: a, column: amount, decimals: 2}
      high: {op: max, of: a, column: amount, decimals: 2}
      last: {op: last, of: a, column: amount, decimals: 2}
      labels: {op: distinct, of: a, column: label}
      pace: {op: rate}
      share: {op: ratio, numerator: n_b, denominator: n}
      since_last: {op: seconds_since_last, of: a}
      since_first: {op: seconds_since_first}
"""
SPEC = loads(CONFIG, "battery.yaml", CATALOG)
PLAN = make_plan(SPEC, "k")
S = 1_000_000


def batch(rows):
    """A decoded batch of (key, seconds, kind, amount, label)."""
    columns = list(zip(*rows, strict=True)) or [[], [], [], [], []]
    return pa.RecordBatch.from_pydict(
        {
            "event_id": [f"e{i:05d}" for i in range(len(rows))],
            "event_time": [round(t * S) for t in columns[1]],
            "kind": columns[2],
            "key": columns[0],
            "amount": columns[3],
            "label": columns[4],
        },
        schema=event_schema(SPEC),
    )


def oracle(rows):
    """The same features, event by event, from the whole history."""
    made = []
    histories = {}
    for key, seconds, kind, amount, label in rows:
        if key is None:
            continue
        past = histories.setdefault(key, [])
        past.append((round(seconds * S), kind, amount, label))
        times, begins = effective_times([one[0] for one in past], 2 * 86_400 * S)
        if kind == "a":
            earlier = [(times[i], *past[i][1:]) for i in range(begins[-1], len(past) - 1)]
            made.append(_features(earlier, times[-1]))
    return np.array(made, np.float64).astype(np.float32).reshape(-1, len(PLAN.features))


def _features(earlier, now):
    found = {}
    for recipe in PLAN.recipes:
        aggregate, window = recipe.aggregate, recipe.window
        if aggregate.op == "ratio":
            top, bottom = (found[PLAN.features[i]] for i in recipe.operands)
            found[recipe.name] = top / bottom if bottom else math.nan
            continue
        chosen = [e for e in earlier if not aggregate.kinds or e[1] in aggregate.kinds]
        if aggregate.where is not None:
            chosen = [e for e in chosen if e[2] is not None and e[2] > 5]
        column, decimals = aggregate.arguments.get("column"), aggregate.arguments.get("decimals", 0)
        if column == "amount":
            chosen = [(t, round(a * 10**decimals)) for t, _, a, _ in chosen if a is not None]
        elif column == "label":
            labels = [(t, x) for t, _, _, x in chosen if x is not None]
            hashes = hash_column(pa.array([x for _, x in labels], pa.string()), 0x64697374)
            chosen = [(t, int(h)) for (t, _), h in zip(labels, hashes, strict=True)]
        else:
            chosen = [(t, 1) for t, *_ in chosen]
        found[recipe.name] = feature(aggregate.op, window, chosen, now, decimals)
    return list(found.values())
