"""Whole numbers beyond 2^52, such as ids made of a time: min, max and last keep them."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.velocity import ShardState, entity_rows, finish, fold, make_plan
from transforms.velocity.bins import CENTRES, place_of
from transforms.velocity.cells import LIMIT
from transforms.velocity.rows import fixed_point

SPEC = loads(
    """
lockstep: 1
columns: {key: {type: string}, number: {type: integer}}
kinds: {a: {scored: true}}
entities:
  k:
    key: {a: [key]}
    windows: [1h]
    aggregates:
      last: {op: last, column: number}
      low: {op: min, column: number}
      high: {op: max, column: number}
      total: {op: sum, column: number}
      mean: {op: mean, column: number}
      std: {op: std, column: number}
      median: {op: median, column: number}
""",
    "large.yaml",
    CATALOG,
)
PLAN = make_plan(SPEC, "k")
int64s = st.integers(-(2**63), 2**63 - 1)


def events_of(numbers, step_us=1_000_000):
    """Events of one key; the last has no number."""
    size = len(numbers) + 1
    return pa.RecordBatch.from_pydict(
        {
            "event_id": [f"{i:04d}" for i in range(size)],
            "event_time": [step_us * i for i in range(size)],
            "kind": ["a"] * size,
            "key": ["x"] * size,
            "number": [*numbers, None],
        },
        schema=event_schema(SPEC),
    )


def last_row(numbers, cut):
    """Features of an event after some; the fold stops once, and its state is stored and read."""
    size = len(numbers) + 1
    state, rows = ShardState.empty(PLAN), entity_rows(PLAN, events_of(numbers))
    for part in np.split(np.arange(size), [cut % size]):
        made = fold(PLAN, state, rows.take(part))
        state.update(made.delta)
        state = ShardState.from_table(state.to_table(), PLAN)
    return dict(zip(PLAN.features, finish(PLAN, made.outputs)[-1].tolist(), strict=True))


@given(st.lists(int64s, min_size=1, max_size=12), st.integers(0, 12))
def test_min_max_and_last_keep_any_integer(numbers, cut):
    made = last_row(numbers, cut)
    assert made["k_last"] == np.float32(numbers[-1])
    assert made["k_low_1h"] == np.float32(min(numbers))
    assert made["k_high_1h"] == np.float32(max(numbers))


def test_sum_mean_std_and_median_of_the_same_column_stay_within_the_limit():
    made = last_row([2**62, 2**61], 1)
    assert made["k_total_1h"] == np.float32(LIMIT)  # a tile saturates
    assert made["k_mean_1h"] == np.float32(LIMIT / 2)
    assert np.isfinite(made["k_std_1h"])
    assert made["k_median_1h"] == np.float32(CENTRES[place_of(LIMIT)])
    below = last_row([-(2**62), 2**40], 1)
    assert below["k_total_1h"] == np.float32(2**40 - LIMIT)
    assert below["k_low_1h"] == np.float32(-(2**62))


def saturated(numbers, cut=0, step_us=1_000_000):
    """What was counted in all, however the rows come into calls."""
    state, rows = ShardState.empty(PLAN), entity_rows(PLAN, events_of(numbers, step_us))
    counts = Counter()
    for part in np.split(np.arange(len(rows)), [cut]):
        made = fold(PLAN, state, rows.take(part))
        state.update(made.delta)
        counts.update(made.saturated)
    return dict(counts)


def test_what_does_not_fit_is_counted_by_aggregate():
    clipped = {"k.total": 1, "k.mean": 1, "k.std": 1, "k.median": 1}
    assert saturated([2**62]) == clipped, "min, max and last keep it"
    assert saturated([2**40, -(2**51), 7]) == {}
    micro = 1_700_000_000_000_000  # a time in microseconds: three of them are more than 2^52
    full = {"k.total": 1, "k.mean": 1, "k.std": 1}
    assert saturated([micro] * 3) == saturated([micro] * 3, cut=2) == full
    assert saturated([LIMIT - 1, 1 - LIMIT] * 129, step_us=1) == {"k.std": 2}, "256 fill a tile"


def test_what_is_kept_is_exact():
    state = ShardState.empty(PLAN)
    batch = pa.RecordBatch.from_pydict(
        {
            "event_id": ["0", "1"],
            "event_time": [0, 1_000_000],
            "kind": ["a", "a"],
            "key": ["x", "x"],
            "number": [1152921504606846977, None],
        },
        schema=event_schema(SPEC),
    )
    outputs = fold(PLAN, state, entity_rows(PLAN, batch)).outputs
    kept = np.abs(outputs[-1]).tolist()  # a minimum is kept with its sign turned
    assert kept.count(1152921504606846977) == 3


@given(st.lists(st.none() | int64s, min_size=1), st.integers(0, 9))
def test_multiples_of_whole_numbers_are_exact(numbers, decimals):
    made, known = fixed_point(pa.array(numbers, pa.int64()), decimals)
    most = 2**63 - 1
    for found, there, number in zip(made.tolist(), known.tolist(), numbers, strict=True):
        assert there == (number is not None)
        assert number is None or found == max(-most, min(most, number * 10**decimals))
