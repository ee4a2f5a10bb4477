"""The battery: a spec with every kind of aggregate, and its features from the whole history.

The config is made from `AGGREGATES`: a new kind is in it by being registered. The oracle reads the
spec and the rows, never the plan or anything that the fold is made of.
"""

import dataclasses
import math
import typing

import numpy as np
import pyarrow as pa
import xxhash
from velocity_oracle import RULES, effective_times, in_window, same_as_last

from configs.catalog import AggregateName, ColumnName, operand_fields
from configs.loader import loads
from configs.schema import ColumnType
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.velocity import make_plan
from transforms.velocity.aggregates import AGGREGATES

HEAD = """
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
    windows: [10s, {length: 1h, tiles: 6}, all]
    retention: 2d
    aggregates:
"""
BIG = "amount > 5"
FORMS = {
    "": "",
    "_a": "of: a, ",
    "_b": "of: b, ",
    "_ab": "of: [a, b], ",
    "_big": f'where: "{BIG}", ',
}
"""Each kind of aggregate unfiltered, of some kinds of events, and where a condition holds. One that
is made of other aggregates has no filter of its own."""

OPERANDS = ("count_a", "count", "count_b", "count_big")
TEXTS = "[q, p, s]"
COLUMNS = (
    (ColumnType.STRING, "label"),
    (ColumnType.NUMBER, "amount"),
    (ColumnType.TIMESTAMP, "event_time"),
)


def types_of(operation):
    """Types of the columns that it is tried on: one, and each for which it needs an argument."""
    accepted = [type_ for type_, _ in COLUMNS if type_ in operation.accepts]
    needed = [field.metadata.get("needed_for") for field in dataclasses.fields(operation)]
    return [one for one in accepted if one in needed] or accepted[:1] or [None]


def arguments(operation, type_):
    """The smallest arguments that a kind of aggregate takes, as YAML; decimals where it can."""
    hints, operands = typing.get_type_hints(operation), iter(OPERANDS)
    given = {}
    for field in dataclasses.fields(operation):
        hint = hints[field.name]
        if hint is ColumnName:
            given[field.name] = dict(COLUMNS)[type_]
        elif hint is AggregateName:
            given[field.name] = next(operands)
        elif field.metadata.get("needed_for"):
            if field.metadata["needed_for"] == type_:
                given[field.name] = "2" if hint is int else TEXTS
        elif field.default is dataclasses.MISSING:
            given[field.name] = {int: str(field.metadata.get("least") or 1), float: "1.5"}.get(
                hint, "x"
            )
    return "".join(f", {name}: {value}" for name, value in given.items())


def _windows(operation):
    """A kind that needs a length has none over a lifetime."""
    own = ", windows: [10s, {length: 1h, tiles: 6}]"
    return own if getattr(operation, "needs_length", False) else ""


def config(operations):
    """A spec with every kind of aggregate, in every form."""
    lines = [
        f"      {one.op}{'_of_text' * place}{name}: "
        f"{{{form}op: {one.op}{arguments(one, type_)}{_windows(one)}}}"
        for one in operations
        for place, type_ in enumerate(reversed(types_of(one)))
        for name, form in FORMS.items()
        if not form or not operand_fields(one)
    ]
    return HEAD + "\n".join(lines) + "\n"


CONFIG = config(AGGREGATES)
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


def features():
    """(name, aggregate, window) of every feature, by the naming rule of the docs."""
    for aggregate in SPEC.entities["k"].aggregates:
        for window in aggregate.windows or (None,):
            yield f"k_{aggregate.name}" + (f"_{window.name}" if window else ""), aggregate, window


OF_THE_EVENT = ("ratio", "same_as_last")
KNOWN = [aggregate.op in (*RULES, *OF_THE_EVENT) for _, aggregate, _ in features()]
"""Features that the oracle has a rule for; the others are in every check that needs none."""


def oracle(rows):
    """The known features, event by event, from the whole history."""
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
            made.append(_features(earlier, times[-1], label))
    return np.array(made, np.float64).astype(np.float32).reshape(-1, sum(KNOWN))


def _features(earlier, now, own):
    found = {}
    for (name, aggregate, window), known in zip(features(), KNOWN, strict=True):
        if not known:
            continue
        given = aggregate.arguments
        if aggregate.op == "ratio":
            end = name.removeprefix(f"k_{aggregate.name}")
            top, bottom = (found[f"k_{given[part]}{end}"] for part in ("numerator", "denominator"))
            found[name] = top / bottom if bottom else math.nan
            continue
        chosen = [e for e in earlier if not aggregate.kinds or e[1] in aggregate.kinds]
        if aggregate.where is not None:
            assert aggregate.where.text == BIG
            chosen = [e for e in chosen if e[2] is not None and e[2] > 5]
        decimals = given.get("decimals", 0)
        if given.get("column") == "amount":
            chosen = [(t, round(a * 10**decimals)) for t, _, a, _ in chosen if a is not None]
        elif "values" in given:
            chosen = [(t, _place(label)) for t, _, _, label in chosen if label is not None]
        elif given.get("column") == "label":
            chosen = [(t, _hash(label)) for t, _, _, label in chosen if label is not None]
        else:
            chosen = [(t, 1) for t, *_ in chosen]
        if aggregate.op == "same_as_last":
            found[name] = same_as_last(chosen, None if own is None else _hash(own))
            continue
        found[name] = RULES[aggregate.op](in_window(chosen, window, now), window, now, decimals)
    return list(found.values())


def _place(label):
    return "qps".index(label) if label in "qps" else 3


def _hash(label):
    return xxhash.xxh64(label.encode(), seed=0x64697374).intdigest()
