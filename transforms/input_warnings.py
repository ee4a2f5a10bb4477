"""Warnings about an input that a run takes all the same.

A column that nothing fills, ids that collide, and numbers that an aggregate cannot hold give a
result like any other, so they are reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from configs.schema import Spec
from transforms.steps.deduplicate import OTHER_KIND
from transforms.steps.shards import SATURATED


def missing_columns(spec: Spec, there: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Columns that no record filled, and the input columns that they would be read from.

    Args:
      spec: the use.
      there: input columns that some record had.

    >>> from configs.schema import *
    >>> columns = {name: Column(name, ColumnType.STRING) for name in ("a", "b")}
    >>> parts = {"kinds": {}, "derived": {}, "entities": {}, "inputs": Inputs(), "labels": None}
    >>> spec = Spec("s", Events(), columns, **parts, training=None, policy=Policy(), gate=Gate())
    >>> missing_columns(spec, {"a"})
    {'b': ('b',)}
    """
    found = {}
    for name in spec.columns:
        made = any(rule.subject is not None and rule.subject[0] == name for rule in spec.ingest)
        given = {rule.columns.get(name, name) for rule in spec.ingest} or {name}
        if not made and given.isdisjoint(there):
            found[name] = tuple(sorted(given))
    return found


def warn_of_missing_columns(spec: Spec, there: Collection[str], source: str) -> tuple[str, ...]:
    """A line about columns that the input does not have; `there` as in `missing_columns`."""
    missing = missing_columns(spec, there)
    if not missing:
        return ()
    named = ", ".join(
        name if given == (name,) else f"{name} (read as {' or '.join(given)})"
        for name, given in missing.items()
    )
    several = len(missing) > 1
    return (
        f"nothing that was read of {source} has the column{'s' if several else ''} {named}: "
        f"{'they are' if several else 'it is'} null in every event. If the files have another name "
        "for it, say so in `events.aliases` (or in `columns` of a rule of `ingest`); if it was in "
        "the name of a folder (`column=value`), keep that folder in the path; a column that no "
        "file has belongs out of the config",
    )


def warn_of_counts(counters: Mapping[str, int]) -> tuple[str, ...]:
    """Lines about what the steps of a pipeline have counted.

    >>> len(warn_of_counts({"events": 5, "duplicates_of_another_kind": 2}))
    1
    """
    lines = []
    collided = counters.get(OTHER_KIND, 0)
    if collided:
        lines.append(
            f"{collided:,} events were dropped because an event of another kind had their id: an "
            "id is one event, whatever its kind is. Make ids differ (`ingest` puts the kind before "
            "them), or the events of one of the kinds are lost"
        )
    full = {name: n for name, n in counters.items() if name.startswith(SATURATED)}
    if full:
        named = ", ".join(f"{name.removeprefix(SATURATED)} {n:,}" for name, n in full.items())
        lines.append(
            f"values did not fit into aggregates, whose results are wrong there ({named} times): "
            "a value and the sum of a tile are kept up to 2^52 multiples of 10^-decimals. Give "
            "them fewer decimals, or a column that counts from a nearer zero"
        )
    return tuple(lines)
