"""Decisions on events that have not arrived: what each would be if it came now, alone.

As a look at arrival (`scoring.arrival.look`), by the same fold and the same scorer, but for events
that callers ask about at the same moment and that must not see each other, nor be seen by what
arrives later. So every event gets keys of its own: numbers that stand for its real keys in a small
state, which holds a copy of what these have, and in the rows of what waits before it.

    look    state + waiting + all that came together       (they see each other, then wait)
    ask     state + waiting + one, for each of them        (nothing waits that did not wait before)

No clock, no I/O; the engine's state stays as it is.
"""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, EVENT_TIME
from scoring.arrival import Waiting
from scoring.engine import Engine, Outcome, Resident
from transforms.derive import derive
from transforms.order import places
from transforms.selection import scored_mask
from transforms.velocity import Rows, ShardState, concat_rows, rows_by_entity

Int64s = npt.NDArray[np.int64]


def ask(engine: Engine, waiting: Waiting, asked: pa.RecordBatch) -> Outcome:
    """Decides events without taking them.

    Args:
      engine: whose state, spec and scorer are of now.
      waiting: what has arrived and is not folded. An asked event that waits does not see itself.
      asked: decoded events `[n]`, none of which is folded; an id may come several times.

    Returns:
      The outcome, of `asked` in its order.
    """
    spec = engine.spec
    derived, mask = derive(spec, asked), scored_mask(spec, asked)
    owns = rows_by_entity(engine.plans, derived)
    owns = {entity: own.take(np.flatnonzero(own.query)) for entity, own in owns.items()}
    known = waiting.known(owns)
    count = len(known.times)
    rank = known.ranks_with(asked.column(EVENT_TIME).to_numpy(), places(spec, asked))
    own_number = [waiting.number(one) for one in asked.column(EVENT_ID).to_pylist()]
    number = np.concatenate([known.numbers, np.array(own_number, np.int64)])
    rows, states = {}, {}
    for entity, plan in engine.plans.items():
        own = owns[entity]
        before, of = _before(known.rows[entity], own, rank, number, count)
        keys = np.concatenate([of, np.arange(len(own))])
        ranks = np.concatenate([rank[before.row], rank[count + own.row]])
        whole = concat_rows([before, own])
        in_order = np.lexsort((ranks, keys))
        rows[entity] = _with_keys(whole, keys).take(in_order)
        packed = engine.resident.states[entity].get_all(own.key.tolist())
        states[entity] = ShardState(plan, dict(enumerate(packed)))
    alone = copy.copy(engine)
    alone.resident = Resident(states, engine.resident.recent, engine.resident.position)
    made, _ = alone.look(derived, mask, rows)
    return engine.outcome(asked, np.zeros(asked.num_rows, np.bool_), mask, made)


def _before(
    waiting: Rows, own: Rows, rank: Int64s, number: Int64s, count: int
) -> tuple[Rows, Int64s]:
    """Of what waits, the rows that each asked row sees, and which one sees them."""
    by_key = np.argsort(waiting.key, kind="stable")
    sorted_keys = waiting.key[by_key]
    first = np.searchsorted(sorted_keys, own.key, "left")
    length = np.searchsorted(sorted_keys, own.key, "right") - first
    of = np.repeat(np.arange(len(own)), length)
    ends = np.cumsum(length)
    index = by_key[np.arange(len(of)) - np.repeat(ends - length, length) + np.repeat(first, length)]
    event, its = waiting.row[index], count + own.row[of]
    seen = (rank[event] < rank[its]) & (number[event] != number[its])
    return waiting.take(index[seen]), of[seen]


def _with_keys(rows: Rows, keys: Int64s) -> Rows:
    return Rows(
        rows.time, keys.astype(np.uint64), rows.row, rows.query, rows.mask, rows.values, rows.hashes
    )
