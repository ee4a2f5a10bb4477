"""Decisions at arrival: what an event's features are now, with what waits before it.

An event is scored once it comes, on the state as it is and the events that wait in the disorder
buffer before it. That look changes no state: `Engine.look` folds, and what it makes of the keys is
dropped. The event is folded in total order later, as ever; where no earlier event came meanwhile
its features are the same bits, and its first score stands (`Decided.score`).

    now              look      state + waiting before it + it    -> first decision, revision 0
    after the bound  step      state + it                        -> the same bits: nothing more
                                                                    another action: revision 1

No clock, no I/O: the same calls give the same decisions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from scoring.controls import Withheld
from scoring.engine import SCORED, Engine, Outcome
from scoring.scorer import Scored
from transforms.decode import event_schema
from transforms.derive import derive
from transforms.duplicates import hash_ids
from transforms.order import content_hash, order_events, places, total_order
from transforms.selection import scored_mask
from transforms.velocity import Plan, Rows, concat_rows, entity_rows

Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Waiting:
    """Events between their arrival and their fold.

    Attributes:
      events: decoded, `[w]`, as they came; no id twice.
      places: `[w]`, of the total order.
      rows: of each entity; `row` counts in `events`, and none queries.
    """

    events: pa.RecordBatch
    places: pa.Array
    rows: Mapping[str, Rows]

    @classmethod
    def none(cls, spec: Spec, plans: Mapping[str, Plan]) -> Waiting:
        """Nothing waits."""
        empty = pa.RecordBatch.from_pylist([], schema=event_schema(spec))
        rows = {entity: Rows.empty(plan) for entity, plan in plans.items()}
        return cls(empty, pa.array([], pa.binary()), rows)

    @classmethod
    def of(cls, spec: Spec, plans: Mapping[str, Plan], events: pa.RecordBatch) -> Waiting:
        """These wait."""
        derived = derive(spec, events)
        rows = {entity: _quiet(entity_rows(plan, derived)) for entity, plan in plans.items()}
        return cls(events, places(spec, events), rows)

    def __len__(self) -> int:
        return int(self.events.num_rows)

    def holds(self, ids: pa.Array) -> Bools:
        """Which of some ids wait."""
        return _is_in(ids, self.events.column(EVENT_ID))

    def plus(self, other: Waiting) -> Waiting:
        """These, and others that came after them."""
        if not len(self):
            return other
        return Waiting(
            pa.concat_batches([self.events, other.events]),
            pa.concat_arrays([self.places, other.places]),
            {
                entity: concat_rows([rows, _moved(other.rows[entity], len(self))])
                for entity, rows in self.rows.items()
            },
        )

    def without(self, ids: pa.Array) -> Waiting:
        """Those that still wait when these have been folded."""
        stay = ~_is_in(self.events.column(EVENT_ID), ids)
        if stay.all():
            return self
        number = np.cumsum(stay) - 1
        rows = {}
        for entity, one in self.rows.items():
            kept = one.take(np.flatnonzero(stay[one.row]))
            rows[entity] = dataclasses.replace(kept, row=number[kept.row])
        mask = pa.array(stay)
        return Waiting(self.events.filter(mask), self.places.filter(mask), rows)


def look(engine: Engine, waiting: Waiting, fresh: pa.RecordBatch) -> tuple[Outcome, Waiting]:
    """Decides events as they come; the engine's state stays as it is.

    Args:
      engine: whose state, spec and scorer are of now.
      waiting: what came before, and is not folded.
      fresh: decoded events `[n]`, none of which is folded or waits (`unseen`).

    Returns:
      The outcome, of `fresh` in its order; and what waits with it.
    """
    spec, plans = engine.spec, engine.plans
    derived, mask = derive(spec, fresh), scored_mask(spec, fresh)
    made_rows = {entity: entity_rows(plan, derived) for entity, plan in plans.items()}
    own = Waiting(
        fresh, places(spec, fresh), {entity: _quiet(rows) for entity, rows in made_rows.items()}
    )
    count = len(waiting)
    times = np.concatenate([one.column(EVENT_TIME).to_numpy() for one in (waiting.events, fresh)])
    order = total_order(times, pa.concat_arrays([waiting.places, own.places]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    rows = {}
    for entity, asked in made_rows.items():
        before = waiting.rows[entity]
        before = before.take(np.flatnonzero(np.isin(before.key, asked.key)))
        ranks = np.concatenate([rank[before.row], rank[count + asked.row]])
        rows[entity] = concat_rows([before, asked]).take(np.argsort(ranks, kind="stable"))
    made, _ = engine.look(derived, mask, rows)
    late = np.zeros(fresh.num_rows, np.bool_)
    return engine.outcome(fresh, late, mask, made), waiting.plus(own)


def unseen(engine: Engine, waiting: Waiting, came: pa.RecordBatch) -> pa.RecordBatch:
    """Events that are neither folded nor wait, each once: of copies the first in total order."""
    ids = came.column(EVENT_ID)
    times = came.column(EVENT_TIME).to_numpy()
    keep = ~waiting.holds(ids) & ~engine.resident.recent.known(*hash_ids(ids), times)
    order = order_events(engine.spec, came)
    order = order[keep[order]]
    _, firsts = np.unique(pc.dictionary_encode(ids).indices.to_numpy()[order], return_index=True)
    return came.take(pa.array(np.sort(order[firsts])))


@dataclasses.dataclass(frozen=True)
class First:
    """The first decision on an event, and what it was made of."""

    contents: int
    numeric: npt.NDArray[np.float32]
    inputs: npt.NDArray[np.float32]
    raw: float
    score: float
    action: str
    bundle: str
    withheld: Withheld | None = None


class Decided:
    """First decisions on events that wait."""

    def __init__(self) -> None:
        self._of: dict[str, First] = {}

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, event: str) -> bool:
        return event in self._of

    def add(self, spec: Spec, outcome: Outcome) -> None:
        """Those that `look` made."""
        scored = outcome.scored
        if scored is None:
            return
        mask = outcome.events.column(SCORED)
        events = outcome.events.filter(mask)
        rows = zip(
            events.column(EVENT_ID).to_pylist(),
            content_hash(spec, events).tolist(),
            scored.raw.tolist(),
            scored.score.tolist(),
            scored.actions().to_pylist(),
            strict=True,
        )
        for row, (event, contents, raw, score, action) in enumerate(rows):
            self._of[event] = First(
                contents,
                outcome.numeric[row].copy(),
                scored.inputs[row].copy(),
                raw,
                score,
                action,
                outcome.bundle,
                scored.withheld.get(row),
            )

    def forget(self, ids: Iterable[str]) -> None:
        """These have been folded."""
        for event in ids:
            self._of.pop(event, None)

    def score(
        self, engine: Engine, numeric: npt.NDArray[np.float32], asked: pa.RecordBatch
    ) -> Scored:
        """As the engine's scorer does; what has the same inputs as at its arrival keeps its score.

        Args:
          engine: whose scorer decides now.
          numeric, asked: as `Scorer.score`.
        """
        scorer = engine.scorer
        if scorer is None:
            raise ValueError("an engine without a scorer; give it one")
        bundle = scorer.name
        ids = asked.column(EVENT_ID).to_pylist()
        contents = content_hash(engine.spec, asked).tolist()
        kept: list[tuple[int, First]] = []
        for row, event in enumerate(ids):
            first = self._of.get(event)
            if (
                first is not None
                and first.bundle == bundle
                and first.contents == contents[row]
                and first.numeric.tobytes() == numeric[row].tobytes()
            ):
                kept.append((row, first))
        rest = np.setdiff1d(np.arange(len(ids)), [row for row, _ in kept])
        if len(rest) == len(ids):
            return scorer.score(numeric, asked)
        names = scorer.bundle.policy.names
        width = len(kept[0][1].inputs)
        inputs = np.empty((len(ids), width), np.float32)
        raw, score = np.empty(len(ids), np.float32), np.empty(len(ids), np.float64)
        action = np.empty(len(ids), np.int8)
        withheld: dict[int, Withheld] = {}
        for row, first in kept:
            inputs[row], raw[row], score[row] = first.inputs, first.raw, first.score
            action[row] = names.index(first.action)
            if first.withheld is not None:
                withheld[row] = first.withheld
        if len(rest):
            made = scorer.score(numeric[rest], asked.take(pa.array(rest)))
            inputs[rest], raw[rest], score[rest] = made.inputs, made.raw, made.score
            action[rest] = made.action
            withheld |= {int(rest[row]): one for row, one in made.withheld.items()}
        return Scored(inputs, raw, score, action, names, withheld)

    def revisions(self, outcome: Outcome) -> list[int | None]:
        """For each scored event of a step: 1, another action than first; 0, none before; None."""
        if outcome.scored is None:
            return []
        mask = outcome.events.column(SCORED)
        ids = outcome.events.column(EVENT_ID).filter(mask).to_pylist()
        actions = outcome.scored.actions().to_pylist()
        return [self._revision(*one) for one in zip(ids, actions, strict=True)]

    def _revision(self, event: str, action: str) -> int | None:
        first = self._of.get(event)
        if first is None:
            return 0
        return 1 if first.action != action else None


def _quiet(rows: Rows) -> Rows:
    return dataclasses.replace(rows, query=np.zeros(len(rows), np.bool_))


def _moved(rows: Rows, by: int) -> Rows:
    return dataclasses.replace(rows, row=rows.row + by)


def _is_in(ids: pa.Array, of: pa.Array) -> Bools:
    found: Bools = pc.is_in(ids, value_set=of).to_numpy(zero_copy_only=False)
    return found
