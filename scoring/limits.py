"""Limits: an action is given at most so often per subject and time, and what is over it is weaker.

Whoever was blocked three times in an hour need not be blocked a fourth time; a person looks at it.
`policy.actions.NAME.limit` says how often. It is a fold of its own, over what was decided, in the
order in which events are folded, after controls and the hold-out:

- An action that is given counts at the scorer's clock: the latest event time that was folded. So
  late events count when they are folded, and the times of a key never fall.
- It may be given while fewer than `count` lie in the last `in` of that clock. Else the next weaker
  action that the score reaches, is on and is not itself used up; else the default.
- A key is the newest `count` clocks, 8 bytes each, and is let go once the newest is older than
  `in`: no answer hangs on when that happens, so it is not logged.

The log says which limits were in force and which actions were given, so a state follows from the
log without any bundle (`follow`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoring.controls import Withheld
from scoring.scorer import Scored, Scorer
from transforms.hashing import hash_column, valid_mask

LIMITED = "limit"
"""What held an action back (`Withheld.by`)."""
LIMITS = "lockstep_limits"
"""Column of the log: the limits in force (`rules_text`); it is not there where there are none."""
_BYTES = 8
Int64s = npt.NDArray[np.int64]


class Rule(NamedTuple):
    """A limit of one action; states of equal ones go on when bundles are swapped."""

    action: str
    per: str
    most: int
    in_us: int


class Given:
    """The clocks of the actions that were given lately, by limit and by value of its column.

    A key's clocks are immutable bytes, oldest first, and keys are in the order of their newest
    clock, so what is old is found at once.
    """

    def __init__(self, of: Mapping[Rule, dict[int, bytes]] | None = None) -> None:
        self._of = dict(of or {})

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Given) and self._full() == other._full()

    __hash__ = None  # type: ignore[assignment]

    def _full(self) -> dict[Rule, dict[int, bytes]]:
        return {rule: keys for rule, keys in self._of.items() if keys}

    def copy(self) -> Given:
        """A snapshot, which a scorer that goes on does not change."""
        return Given({rule: dict(keys) for rule, keys in self._of.items()})

    def align(self, rules: Iterable[Rule]) -> None:
        """Keeps the limits in force; one that was not before begins with nothing."""
        self._of = {rule: self._of.get(rule, {}) for rule in rules}

    def is_used_up(self, rule: Rule, key: int, clock_us: int) -> bool:
        """Whether the action cannot be given at that clock."""
        times = self._of.get(rule, {}).get(key, b"")
        return len(times) >= _BYTES * rule.most and _first(times) > clock_us - rule.in_us

    def add(self, rule: Rule, key: int, clock_us: int) -> None:
        """It was given at that clock, which is no earlier than any before."""
        keys = self._of.setdefault(rule, {})
        times = keys.pop(key, b"") + clock_us.to_bytes(_BYTES, "little", signed=True)
        keys[key] = times[-_BYTES * rule.most :]

    def give(self, rule: Rule | None, key: int | None, clock_us: int, counts: bool = True) -> bool:
        """Whether the action may be given at that clock; if so it is, where it `counts`.

        Args:
          rule: the action's; None: it has no limit.
          key: of the event; None: it has no value, and so no limit.
          clock_us: no earlier than any before.
          counts: what is given is added.
        """
        if rule is None or key is None:
            return True
        if self.is_used_up(rule, key, clock_us):
            return False
        if counts:
            self.add(rule, key, clock_us)
        return True

    def forget(self, clock_us: int) -> None:
        """Lets go what no event from that clock on asks for."""
        for rule, keys in self._of.items():
            while keys:
                key = next(iter(keys))
                if _first(keys[key][-_BYTES:]) > clock_us - rule.in_us:
                    break
                del keys[key]

    def to_table(self) -> pa.Table:
        """One row a key: rule (JSON), key uint64, times binary, in the order of `add`."""
        rows = [
            (json.dumps(rule), key, times)
            for rule, keys in self._of.items()
            for key, times in keys.items()
        ]
        types = (pa.string(), pa.uint64(), pa.binary())
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        arrays = [pa.array(one, kind) for one, kind in zip(columns, types, strict=True)]
        return pa.table(dict(zip(("rule", "key", "times"), arrays, strict=True)))

    @classmethod
    def from_table(cls, table: pa.Table) -> Given:
        """The reverse of `to_table`."""
        made: dict[Rule, dict[int, bytes]] = {}
        for row in table.to_pylist():
            made.setdefault(Rule(*json.loads(row["rule"])), {})[row["key"]] = row["times"]
        return cls(made)


def rules_of(scorer: Scorer | None) -> dict[int, Rule]:
    """The limits of a scorer that acts, by the number of the action; none of one that does not."""
    if scorer is None or not scorer.acts:
        return {}
    names = scorer.bundle.policy.names
    return {
        names.index(one.name): Rule(one.name, one.limit.per, one.limit.count, one.limit.in_us)
        for one in scorer.bundle.spec.policy.actions
        if one.limit is not None and one.name in names
    }


def is_limited(held: Withheld | None) -> bool:
    """Whether it is a limit that holds an action back.

    >>> is_limited(Withheld("block", LIMITED)), is_limited(None)
    (True, False)
    """
    return held is not None and held.by == LIMITED


def rules_text(rules: Iterable[Rule]) -> str | None:
    """Limits as the log names them; None: there are none."""
    listed = list(rules)
    return json.dumps(listed) if listed else None


def read_rules(text: str | None) -> dict[str, Rule]:
    """The reverse of `rules_text`, by action.

    >>> read_rules(rules_text([Rule("block", "author_id", 3, 3_600_000_000)]))["block"].most
    3
    """
    return {one[0]: Rule(*one) for one in json.loads(text or "[]")}


def weaker_actions(scorer: Scorer, scored: Scored) -> dict[int, list[int]]:
    """What events that are due for a limited action may be given: row -> numbers of actions.

    The one that is due comes first, then weaker ones that the score reaches and that are on, up to
    one without a limit, which the default is at the latest.

    Args:
      scorer: that scored, with the controls in force.
      scored: of n events, with the actions that are due after controls and the hold-out.
    """
    rules = rules_of(scorer)
    thresholds = scorer.controls.in_force(scorer.bundle.policy).thresholds
    made = {}
    for row in np.flatnonzero(np.isin(scored.action, list(rules))).tolist():
        due, score = int(scored.action[row]), float(scored.score[row])
        weaker = [
            number
            for number, one in enumerate(thresholds[due:], due + 1)
            if one.value is not None and score >= one.value
        ]
        numbers = [due, *weaker, 0]
        free = next(place for place, number in enumerate(numbers) if number not in rules)
        made[row] = numbers[: free + 1]
    return made


def limit_actions(
    scorer: Scorer,
    given: Given,
    scored: Scored,
    asked: pa.RecordBatch,
    clocks: Int64s,
    counts: bool,
) -> Scored:
    """The actions that are given.

    Args:
      scorer: that scored, with the controls in force.
      given: before the first event.
      scored: of n events, with the actions that are due after controls and the hold-out.
      asked: the n events, with the columns that limits are `per`; one without a value has no limit.
      clocks: int64 `[n]`, the scorer's clock at each event.
      counts: the events are folded in this order: what is given is added to `given`. Else each is
        decided by itself, and nothing is.
    """
    rules, asking = rules_of(scorer), weaker_actions(scorer, scored)
    if not asking:
        return scored
    chosen = asked.take(pa.array(list(asking)))
    keys = {per: value_keys(chosen.column(per)) for per in {rule.per for rule in rules.values()}}
    action, withheld = scored.action.copy(), dict(scored.withheld)
    for place, (row, numbers) in enumerate(asking.items()):
        for number in numbers:
            rule = rules.get(number)
            key = keys[rule.per][place] if rule is not None else None
            if given.give(rule, key, int(clocks[row]), counts):
                break
        if number != numbers[0]:
            action[row] = number
            withheld[row] = Withheld(scored.names[numbers[0]], LIMITED)
    return dataclasses.replace(scored, action=action, withheld=withheld)


def follow(given: Given, batch: pa.RecordBatch, actions: pa.Array, clocks: Int64s) -> None:
    """Adds what a log says was given.

    Args:
      given: before the first row.
      batch: logged rows `[n]`.
      actions: string `[n]`, that were given; null where nothing was scored.
      clocks: int64 `[n]`, the scorer's clock at each.
    """
    count = batch.num_rows
    in_force = batch.column(LIMITS).to_pylist() if LIMITS in batch.schema.names else [None] * count
    names = actions.to_pylist()
    keys: dict[str, list[int | None]] = {}
    rules: dict[str, Rule] = {}
    before: object = count  # as no text
    for row, text in enumerate(in_force):
        if text != before:
            rules = read_rules(text)
            given.align(rules.values())
            keys |= {
                rule.per: value_keys(batch.column(rule.per))
                for rule in rules.values()
                if rule.per not in keys
            }
            before = text
        rule = rules.get(names[row])
        key = keys[rule.per][row] if rule is not None else None
        if rule is not None and key is not None:
            given.add(rule, key, int(clocks[row]))
    if count:
        given.forget(int(clocks[-1]))


def _first(times: bytes) -> int:
    return int.from_bytes(times[:_BYTES], "little", signed=True)


def value_keys(column: pa.Array) -> list[int | None]:
    """A key of each value of a limit's column; None where there is none."""
    there = valid_mask(column).tolist()
    hashes = hash_column(column, 0).tolist()
    return [key if known else None for key, known in zip(hashes, there, strict=True)]
