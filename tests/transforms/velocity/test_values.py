"""What the kernel makes of many, huge and different values, against numbers known otherwise."""

import math

import numpy as np
import pytest
from fold_world import PLAN, S, batch
from velocity_oracle import distinct

from transforms.hashing import hash_text
from transforms.velocity import Rows, ShardState, entity_rows, finish, fold
from transforms.velocity.cells import LIMIT, Measure
from transforms.velocity.sketch import STANDARD_ERROR

LABELS = next(
    bit
    for bit, slot in enumerate(PLAN.slots)
    if slot.measure is Measure.HASH and not slot.kinds and slot.where is None
)


def value(rows, name, cuts=()):
    """A feature of the last row, of a fold in pieces."""
    state, every = ShardState.empty(PLAN), entity_rows(PLAN, batch(rows))
    for part in np.split(np.arange(len(every)), list(cuts)):
        made = fold(PLAN, state, every.take(part))
        state.update(made.delta)
    return finish(PLAN, made.outputs)[-1, PLAN.features.index(name)]


@pytest.mark.parametrize("count", [62, 63, 64, 65, 150, 2000])
@pytest.mark.parametrize("tiles", [1, 5])
def test_a_sketch_of_many_values_is_the_same_in_its_sparse_and_its_dense_form(count, tiles):
    """Against the oracle's registers; each cut writes the sketch and reads it again."""
    apart = tiles * 600 / count
    rows = [("x", i * apart, "b", None, f"l{i}") for i in range(count)]
    rows.append(("x", tiles * 600 - 1, "a", None, None))
    hashes = [hash_text(f"l{i}", 0x64697374) for i in range(count)]
    registers = len({hashed >> 57 for hashed in hashes})
    assert (registers > 63) == (count >= 150)
    expected = np.float32(distinct(hashes))
    for cuts in ((), (count,), (count // 3, count // 2, count - 1)):
        assert value(rows, "k_distinct_1h", cuts) == expected


@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 100_000])
def test_distinct_counts_of_the_kernel_are_within_their_stated_error(count):
    keys = 20
    rng = np.random.default_rng(count)
    size = keys * (count + 1)
    key = np.repeat(np.arange(keys, dtype=np.uint64), count + 1)
    last = np.arange(size) % (count + 1) == count
    hashes = np.zeros((len(PLAN.hashes), size), np.uint64)
    hashes[PLAN.hashes.index(PLAN.slots[LABELS])] = rng.integers(0, 2**64, size, np.uint64)
    rows = Rows(
        time=np.full(size, 10**15),
        key=key,
        row=np.arange(size),
        query=last,
        mask=np.full(size, 1 << LABELS, np.uint64),
        values=np.zeros((len(PLAN.values), size), np.int64),
        hashes=hashes,
    )
    made = finish(PLAN, fold(PLAN, ShardState.empty(PLAN), rows).outputs)
    errors = made[:, PLAN.features.index("k_distinct_1h")] / count - 1
    assert len(errors) == keys
    assert np.sqrt(np.mean(np.square(errors))) < 1.5 * STANDARD_ERROR
    assert count < 1000 or np.abs(errors).max() > 0  # it is an estimate


HUGE = [
    ("one value", [1e300], LIMIT),
    ("two of a tile", [1e300, 1e300], LIMIT),
    ("two of a tile, below", [-1e300, -1e300], -LIMIT),
    ("one over and back", [1e300, 1e300, -1e300], 0),
    ("a little over and a little back", [LIMIT / 100, 1.0, -2.0], LIMIT - 200),
]


@pytest.mark.parametrize(("amounts", "total"), [one[1:] for one in HUGE], ids=[h[0] for h in HUGE])
def test_values_are_clipped_and_a_tile_saturates(amounts, total):
    rows = [("x", 1 + i, "a", amount, None) for i, amount in enumerate([*amounts, 0.0])]
    for cuts in ((), (1,)):
        assert value(rows, "k_sum_1h", cuts) == np.float32(total / 100)
    assert value(rows, "k_max_1h") == np.float32(np.clip(max(amounts) * 100, -LIMIT, LIMIT) / 100)


def test_different_tiles_do_not_saturate_each_other():
    rows = [("x", 1, "a", 1e300, None), ("x", 2, "a", 1e300, None), ("x", 3, "a", 0.0, None)]
    assert value(rows, "k_sum_10s") == np.float32(2 * LIMIT / 100)
    assert value(rows, "k_sum_1h") == np.float32(LIMIT / 100)


def test_a_saturated_tile_leaves_a_window_as_it_came():
    rows = [("x", 0, "a", 1e300, None), ("x", 0, "a", 1e300, None), ("x", 601, "a", 7.0, None)]
    late = [*rows, ("x", 3600, "a", 0.0, None)]
    assert value(rows, "k_sum_1h") == np.float32(LIMIT / 100)
    assert value(late, "k_sum_1h") == 7.0
    assert not math.isnan(value(late, "k_mean_1h")) and S == 1_000_000
