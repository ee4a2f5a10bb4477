"""What a file holds of each day, in few numbers: whether two readings gave the same events.

What enters: decoded events. What leaves: for each day and kind, how many events there are, and for
each column one 64-bit sum of hashes of (id, time, value). Sums add up: over batches, splits and
files, in any order. Kinds and columns are apart, and named with how the config reads them, so that
days can be compared although the config has changed: what only one side knows is left out.

Such a sum notices what changes by accident or by a rewrite. It is no proof against someone who
looks for two inputs with one sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.fingerprint import reading_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from pipelines.layout import DAY_US, day_of
from transforms.hashing import hash_column

EVENTS = "events"

Kinds = dict[str, dict[str, int]]
"""`KIND@READING` -> `events`: how many; `COLUMN@READING`: the sum. Every kind is there."""
Contents = dict[str, Kinds]
"""Day -> what it holds."""

_ODD = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio, as a multiplier that mixes bits
_MORE = np.uint64(0xBF58476D1CE4E5B9)  # of splitmix64
_WRAP = 2**64


def contents(spec: Spec, batch: pa.RecordBatch) -> Contents:
    """What some decoded events come to.

    Args:
      spec: the use; its kinds and columns are those of the batch.
      batch: decoded events `[n]`.
    """
    if not batch.num_rows:
        return {}
    kinds, names = _names(spec)
    days = batch.column(EVENT_TIME).to_numpy() // DAY_US
    codes = pc.index_in(batch.column(KIND), pa.array(list(spec.kinds), pa.string()))
    groups = days * len(kinds) + codes.fill_null(0).to_numpy(zero_copy_only=False)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[0]] - 1))
    counts = np.diff(starts, append=len(groups))
    who = hash_column(batch.column(EVENT_ID), 0) + hash_column(batch.column(EVENT_TIME), 1) * _ODD
    values = [who, *(hash_column(batch.column(name), 2) for name in spec.columns)]
    sums = [np.add.reduceat(_mixed(who, value)[order], starts).tolist() for value in values]
    found: Contents = {}
    for at, group in enumerate(groups[order[starts]].tolist()):
        day, kind = divmod(group, len(kinds))
        whole = found.setdefault(str(day_of(day * DAY_US)), _nothing(kinds, names))
        whole[kinds[kind]] = {
            EVENTS: int(counts[at]),
            **{name: column[at] for name, column in zip(names, sums, strict=True)},
        }
    return found


def add_contents(parts: Iterable[Contents]) -> Contents:
    """Several readings as one."""
    by_day: dict[str, list[Kinds]] = {}
    for part in parts:
        for day, kinds in part.items():
            by_day.setdefault(day, []).append(kinds)
    return {day: add_kinds(by_day[day]) for day in sorted(by_day)}


def add_kinds(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> Kinds:
    """What several files hold of one day.

    >>> add_kinds([{"post@0": {"events": 1, "a@1": 2**64 - 1}}, {"post@0": {"events": 1}}])
    {'post@0': {'events': 2, 'a@1': 18446744073709551615}}
    """
    total: Kinds = {}
    for part in parts:
        for kind, values in part.items():
            sums = total.setdefault(kind, {})
            for name, value in values.items():
                sums[name] = (sums.get(name, 0) + value) % _WRAP
    return total


def count(kinds: Mapping[str, Mapping[str, int]]) -> int:
    """How many events.

    >>> count({"post@0": {"events": 2}, "verdict": {"events": 1}})
    3
    """
    return sum(values[EVENTS] for values in kinds.values())


def kind_counts(kinds: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many events of each kind, of which there are any.

    >>> kind_counts({"post@0": {"events": 2}, "verdict@0": {"events": 0}})
    {'post': 2}
    """
    return {
        kind.partition("@")[0]: values[EVENTS] for kind, values in kinds.items() if values[EVENTS]
    }


def same(before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether two readings agree in all that both know.

    >>> same({"post@0": {"events": 1, "a@1": 5}}, {"post@0": {"events": 1, "b@1": 7}})
    True
    >>> same({"post@0": {"events": 1, "a@1": 5}}, {"post@0": {"events": 1, "a@1": 6}})
    False
    """
    if not before or not now:
        return count(before) == count(now)
    return all(
        before[kind][name] == now[kind][name]
        for kind in before.keys() & now.keys()
        for name in before[kind].keys() & now[kind].keys()
    )


def _names(spec: Spec) -> tuple[list[str], list[str]]:
    kinds = [f"{kind}@{reading_fingerprint(spec, kind)[:8]}" for kind in spec.kinds]
    first = next(iter(spec.kinds))
    columns = [f"{name}@{reading_fingerprint(spec, first, name)[:8]}" for name in spec.columns]
    return kinds, [EVENT_ID, *columns]


def _nothing(kinds: Iterable[str], names: Iterable[str]) -> Kinds:
    names = list(names)
    return {kind: {EVENTS: 0, **dict.fromkeys(names, 0)} for kind in kinds}


def _mixed(who: npt.NDArray[np.uint64], value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = (who ^ (value * _ODD)) * _MORE
    mixed ^= mixed >> np.uint64(29)
    return mixed * _ODD
