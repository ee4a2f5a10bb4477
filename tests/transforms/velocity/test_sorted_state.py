"""A shard's state in two arrays is what a mapping holds, whatever was folded and freed."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from fold_world import PLAN, S, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import StateError
from transforms.batches import RecordBatchCoder, one_batch
from transforms.velocity import (
    ShardState,
    SortedState,
    entity_rows,
    finish,
    fold,
    fold_touched,
)

DAY = 86_400
events = st.lists(
    st.tuples(
        st.sampled_from("uvwxyz"),
        st.integers(0, 9 * DAY),
        st.sampled_from("ab"),
        st.none() | st.integers(-300, 2000).map(lambda n: n / 100),
        st.none() | st.sampled_from("pqrstu"),
    ),
    max_size=60,
).map(lambda rows: sorted(rows, key=lambda row: row[1]))


def encoded(table):
    """Its bytes, as they are written."""
    return RecordBatchCoder().encode(one_batch(table.to_batches(), table.schema))


@settings(max_examples=80, deadline=None)
@given(events, st.lists(st.integers(0, 60), max_size=6), st.booleans())
def test_it_folds_expires_and_writes_as_a_mapping_does(made, cuts, through_files):
    rows = entity_rows(PLAN, batch(made))
    state, sorted_state = ShardState.empty(PLAN), SortedState.empty(PLAN)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in itertools.pairwise(bounds):
        part = rows.part(start, end)
        folded, touched = fold(PLAN, state, part), fold_touched(PLAN, sorted_state.read, part)
        state.update(folded.delta)
        sorted_state = sorted_state.after(touched)
        values = np.empty((len(touched.outputs), len(PLAN.features)), np.float32)
        finish(PLAN, touched.outputs, values)
        assert finish(PLAN, folded.outputs).tobytes() == values.tobytes()
        assert folded.sequence.tolist() == touched.sequence.tolist()
        assert folded.saturated == touched.saturated
        now = int(part.time[-1]) + DAY * S if len(part) else 0
        state.expire(now)
        sorted_state = sorted_state.at(now)
        table = sorted_state.to_table()
        assert encoded(table) == encoded(state.to_table())
        assert (len(sorted_state), sorted_state.nbytes) == (len(state), state.nbytes)
        if through_files:
            sorted_state = SortedState.from_table(table, PLAN)


def test_a_table_in_another_order_is_read_as_a_mapping_reads_it():
    rows = entity_rows(PLAN, batch([(key, at, "a", 1.0, "p") for at, key in enumerate("uvwxyz")]))
    state = ShardState.empty(PLAN)
    state.update(fold(PLAN, state, rows).delta)
    table = state.to_table()
    metadata = dict(table.schema.metadata)
    del metadata[b"lockstep.state_digest"]  # as earlier builds wrote it
    turned = table.take(pa.array(range(len(table) - 1, -1, -1))).replace_schema_metadata(metadata)
    assert SortedState.from_table(turned, PLAN).to_table().equals(table)


def test_a_damaged_table_is_refused():
    rows = entity_rows(PLAN, batch([("u", 0, "a", 1.0, "p")]))
    made = SortedState.empty(PLAN).after(fold_touched(PLAN, SortedState.empty(PLAN).read, rows))
    other = made.to_table().set_column(1, "state", pa.array([b"\1" * 30], pa.large_binary()))
    with pytest.raises(StateError, match="its bytes are not those that were written"):
        SortedState.from_table(other, PLAN)
