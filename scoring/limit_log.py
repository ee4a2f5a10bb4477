"""The fold of limits as a shard log keeps it: what a job of an engine counts, tick by tick.

Decisions are made in parallel, by whichever bundle a worker serves. So each row of the log comes
with the weaker actions that it may get in place of the one that is due (`CHOICES`), ready as they
would be published, and the limits in force; whoever holds the counts chooses, in the order of the
log, and needs no bundle. The clock is the log's (`scoring.columns.clock_of`), so counts and actions
are those of the embedded scorer that folds the same log.

A step asks (`asks_of`), the counts answer (`GivenActions`, a `Machine` of
`transforms.live.shard_log`), and the step gets what was given (`give_chosen`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from configs.errors import StateError
from scoring.columns import NEVER_US, clock_of
from scoring.engine import ACTION, DECISION, WITHHELD
from scoring.limits import LIMITED, LIMITS, Given, Rule, read_rules, value_keys
from transforms.batches import RecordBatchCoder, one_batch
from transforms.live.blocks import Blocks
from transforms.live.shard_log import Tick, rows_of

CHOICES = "lockstep_choices"
"""Column of rows on their way to the log: weaker actions, with the decision that each would be."""
CHOICES_TYPE = pa.list_(pa.struct({ACTION: pa.string(), DECISION: pa.binary()}))
ASKS = 0
"""The kind of the blocks that are folded."""
_TRIED = pa.list_(pa.struct({"action": pa.string(), "key": pa.uint64()}))
_ASKS = pa.schema({"limits": pa.string(), "clock": pa.int64(), "tried": _TRIED})
_CLOCK = b"clock"


@dataclasses.dataclass
class Counts:
    """Limited actions that were given lately, and the clock of the log."""

    given: Given
    clock_us: int


def asks_of(steps: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """What some steps of the log ask the counts.

    Args:
      steps: in the order of the log, each of one bundle, with the columns `CHOICES` and `LIMITS`.

    Returns:
      A row for each event that is due for a limited action, with the actions to try, the due one
      first; and one for the end of each step, which tries nothing.
    """
    limits: list[str | None] = []
    clocks: list[int] = []
    tried: list[list[dict[str, Any]]] = []
    for step in steps:
        text = step.column(LIMITS)[0].as_py()
        rules = read_rules(text)
        reached = clock_of(step)
        due = step.filter(step.column(CHOICES).is_valid())
        keys = {
            per: value_keys(due.column(per))
            for per in (sorted({rule.per for rule in rules.values()}) if due.num_rows else ())
        }
        actions, weaker = due.column(ACTION).to_pylist(), due.column(CHOICES).to_pylist()
        for row, action in enumerate(actions):
            names = [action, *(one[ACTION] for one in weaker[row])]
            tried.append(
                [
                    {"action": name, "key": keys[rules[name].per][row] if name in rules else None}
                    for name in names
                ]
            )
        at = reached[step.column(CHOICES).is_valid().to_numpy(zero_copy_only=False)]
        clocks += [*at.tolist(), int(reached[-1])]
        tried.append([])
        limits += [text] * (due.num_rows + 1)
    columns = zip((limits, clocks, tried), _ASKS.types, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(*one) for one in columns], schema=_ASKS)


def give_chosen(steps: Sequence[pa.RecordBatch], chosen: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The steps as the log keeps them, with the actions that are given.

    Args:
      steps: that asked.
      chosen: which of the actions each of the events got that asked (0: the one that is due).
    """
    answers = iter(chosen)
    for step in steps:
        got: dict[int, dict[str, Any]] = {}
        for row, weaker in enumerate(step.column(CHOICES).to_pylist()):
            number = 0 if weaker is None else next(answers)
            if number:
                got[row] = weaker[number - 1] | {WITHHELD: LIMITED}
        for name in (ACTION, DECISION, WITHHELD) if got else ():
            at = step.schema.get_field_index(name)
            values = step.column(at).to_pylist()
            for row, one in got.items():
                values[row] = one[name]
            step = step.set_column(at, name, pa.array(values, step.schema.field(at).type))
        dropped = [CHOICES] if step.column(LIMITS)[0].is_valid else [CHOICES, LIMITS]
        yield step.drop_columns(dropped)


class GivenActions:
    """Counts the actions that are given; a `Machine` (`transforms.live.shard_log`).

    Each count stands under its limit (action, column, count, time), so what a changed limit leaves
    behind is never taken for another's.

    Args:
      begins_us: the clock before the first event; None: there is none.
    """

    name = "limits of actions"
    fingerprint = "given actions, format 1"
    keep_us = 0  # the fold itself lets go of what is old
    blocks = Blocks("limits of actions", [_ASKS])

    def __init__(self, begins_us: int | None = None) -> None:
        self._begins_us = NEVER_US if begins_us is None else begins_us

    def empty(self) -> Counts:
        """Nothing was given."""
        return Counts(Given(), self._begins_us)

    def load(self, data: bytes) -> Counts:
        """The reverse of `dump`."""
        batch = RecordBatchCoder().decode(data)
        given = Given.from_table(pa.Table.from_batches([batch]))
        return Counts(given, int(batch.schema.metadata[_CLOCK]))

    def dump(self, state: Counts) -> bytes:
        """An Arrow stream: rule, key, times; the clock in its metadata."""
        table = state.given.to_table().combine_chunks()
        batch = one_batch(table.to_batches(), table.schema)
        clock = {_CLOCK: str(state.clock_us)}
        return RecordBatchCoder().encode(batch.replace_schema_metadata(clock))

    def merge(self, state: Counts, other: Counts) -> None:
        """A job's counts begin empty.

        Raises:
          StateError: always; initial state was given to the step.
        """
        raise StateError(f"{self.name} take no initial state: a job's counts begin empty")

    def fold(self, state: Counts, tick: Tick) -> tuple[bytes, list[int]]:
        """Answers in order; the delta is what was given, by limits in force (JSON).

        Returns:
          The delta; and for each event that asks which of its actions is given.
        """
        changes: list[tuple[str | None, list[tuple[str, int, int]]]] = []
        rules: dict[str, Rule] = {}
        chosen = []
        for row in (one for rows in rows_of(self.blocks, tick.blocks, ASKS) for one in _rows(rows)):
            text, clock, tried = row["limits"], max(state.clock_us, row["clock"]), row["tried"]
            if not changes or text != changes[-1][0]:
                rules = read_rules(text)
                state.given.align(rules.values())
                changes.append((text, []))
            state.clock_us = clock
            for number, one in enumerate(tried):
                rule = rules.get(one["action"])
                if state.given.give(rule, one["key"], clock):
                    chosen.append(number)
                    if rule is not None and one["key"] is not None:
                        changes[-1][1].append((rule.action, one["key"], clock))
                    break
        state.given.forget(state.clock_us)
        return json.dumps([state.clock_us, changes]).encode(), chosen

    def apply(self, state: Counts, delta: bytes) -> None:
        """Counts what a fold gave."""
        clock_us, changes = json.loads(delta)
        for text, given in changes:
            rules = read_rules(text)
            state.given.align(rules.values())
            for action, key, at_us in given:
                state.given.add(rules[action], key, at_us)
        state.clock_us = clock_us
        state.given.forget(clock_us)

    def prune(self, state: Counts, now_us: int) -> None:
        """Nothing: every fold does."""


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows
