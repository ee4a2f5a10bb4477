"""A shard's days, folded one after the other: the same values however many are finished at once."""

import numpy as np
import pytest
from fold_world import PLAN, S, batch

from transforms.steps import shards
from transforms.velocity import ShardState, SortedState, entity_rows, finish, fold

DAY = 86_400
EVENTS = [
    ("xyz"[n % 3], n * 7_000, "ab"[n % 4 == 3], n / 4 if n % 5 else None, "pqrst"[n % 5])
    for n in range(60)
]
MOMENTS = [day * DAY * S for day in range(1, 8)]


@pytest.mark.parametrize("rows_at_once", [0, 5, 1_000])
def test_values_and_states_are_those_of_day_after_day(monkeypatch, rows_at_once):
    monkeypatch.setattr(shards, "_FINISH_ROWS", rows_at_once)
    rows = entity_rows(PLAN, batch(EVENTS))
    values = np.zeros((int(rows.query.sum()), len(PLAN.features)), np.float32)
    states = shards.fold_shard(PLAN, SortedState.empty(PLAN), rows, MOMENTS, values)
    tables = [(moment, after.to_table()) for moment, after in states]

    state, parts, expected = ShardState.empty(PLAN), [], []
    cuts = [0, *np.searchsorted(rows.time, MOMENTS).tolist(), len(rows)]
    for index, moment in enumerate([*MOMENTS, None]):
        made = fold(PLAN, state, rows.part(cuts[index], cuts[index + 1]))
        state.update(made.delta)
        parts.append(finish(PLAN, made.outputs))
        if moment is not None:
            state.expire(moment)
        expected.append((moment, state.to_table()))
    assert tables == expected
    assert values.tobytes() == np.concatenate(parts).tobytes()


def test_without_rows_there_is_the_state_that_was():
    nothing = entity_rows(PLAN, batch([]))
    values = np.empty((0, len(PLAN.features)), np.float32)
    [(moment, state)] = shards.fold_shard(PLAN, SortedState.empty(PLAN), nothing, [], values)
    assert (moment, len(state)) == (None, 0)
