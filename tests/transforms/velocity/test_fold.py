"""The fold against the naive oracle, and the check battery over every kind of aggregate."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fold_world import CONFIG, PLAN, SPEC, S, batch, oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import StateError
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.velocity import (
    ShardState,
    describe_features,
    entity_rows,
    finish,
    fold,
    make_plan,
    rows_from_batch,
    rows_to_batch,
    shard_of,
    total_order,
)
from transforms.velocity.aggregates import AGGREGATES
from transforms.velocity.cells import LIMIT
from transforms.velocity.kernels import FORMAT
from transforms.velocity.sketch import STANDARD_ERROR, estimate

events = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", None]),
        st.integers(0, 5000) | st.integers(0, 40) | st.integers(170_000, 400_000),
        st.sampled_from(["a", "b"]),
        st.none() | st.integers(-300, 2000).map(lambda n: n / 100),
        st.none() | st.sampled_from("pqrstu"),
    ),
    max_size=40,
)


def folded(made, state=None, cuts=()):
    """Features of queried rows, sequences, and the state after, folded in pieces."""
    state = ShardState.empty(PLAN) if state is None else state
    rows = entity_rows(PLAN, made)
    bounds = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    features, sequences = [], []
    for start, end in itertools.pairwise(bounds):
        part = fold(PLAN, state, rows.take(np.arange(start, end)))
        state.update(part.delta)
        features.append(finish(PLAN, part.outputs))
        sequences.append(part.sequence)
    return np.concatenate(features), np.concatenate(sequences), state


@settings(max_examples=150, deadline=None)
@given(events)
def test_features_equal_the_naive_oracle(rows):
    rows = sorted(rows, key=lambda row: row[1])
    features, _, _ = folded(batch(rows))
    np.testing.assert_array_equal(features, oracle(rows))


@settings(max_examples=60, deadline=None)
@given(events)
def test_late_rows_count_at_the_clock(rows):
    features, _, _ = folded(batch(rows))  # in any order of time
    np.testing.assert_array_equal(features, oracle(rows))


@settings(max_examples=80, deadline=None)
@given(events, st.lists(st.integers(0, 40), max_size=5))
def test_any_split_gives_the_same_bits_and_state(rows, cuts):
    rows = sorted(rows, key=lambda row: row[1])
    whole, sequence, state = folded(batch(rows))
    parts, again, pieces = folded(batch(rows), cuts=cuts)
    assert whole.tobytes() == parts.tobytes()
    assert sequence.tolist() == again.tolist()
    assert state.to_table().equals(pieces.to_table())


@settings(max_examples=40, deadline=None)
@given(events, st.integers(0, 40))
def test_state_goes_through_arrow_unchanged(rows, cut):
    rows = sorted(rows, key=lambda row: row[1])
    cut = min(cut, len(rows))
    whole, _, _ = folded(batch(rows))
    first, _, state = folded(batch(rows[:cut]))
    state = ShardState.from_table(state.to_table(), PLAN)
    second, _, _ = folded(batch(rows[cut:]), state)
    assert whole.tobytes() == np.concatenate([first, second]).tobytes()


@settings(max_examples=40, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_arrival_order_does_not_matter_once_sorted(rows, rng):
    made = batch(sorted(rows, key=lambda row: row[1]))
    whole, _, _ = folded(made)
    index = list(range(made.num_rows))
    rng.shuffle(index)
    shuffled = made.take(pa.array(index, pa.int64()))
    order = total_order(shuffled.column("event_time").to_numpy(), shuffled.column("event_id"))
    assert folded(shuffled.take(pa.array(order)))[0].tobytes() == whole.tobytes()


def test_every_kind_of_aggregate_is_in_the_battery():
    used = {aggregate.op for aggregate in SPEC.entities["k"].aggregates}
    assert used == {operation.op for operation in AGGREGATES}


def test_the_fold_leaves_the_state_as_it_is():
    rows = entity_rows(PLAN, batch([("x", 1, "a", 2.0, "p")] * 3))
    state = ShardState.empty(PLAN)
    assert fold(PLAN, state, rows).sequence.tolist() == [0, 1, 2]
    assert len(state) == 0


def test_ties_go_by_id():
    ids = pa.array(["b", "a", "c", "a2"])
    assert total_order(np.array([5, 5, 1, 5]), ids).tolist() == [2, 1, 3, 0]


def test_all_ties_of_many_events():
    ids = [f"{i:07d}" for i in range(200_000)]
    random.Random(1).shuffle(ids)
    order = total_order(np.zeros(len(ids), np.int64), pa.array(ids))
    assert [ids[i] for i in order] == sorted(ids)


def test_a_window_is_short_by_less_than_a_tile_and_never_long():
    window = PLAN.recipes[PLAN.features.index("k_n_1h")].window
    for offset in range(0, 2 * window.tile_us, window.tile_us // 7):
        for age in range(0, 3700 * S, 53 * S):
            now = 10**15 + offset
            rows = [("x", (now - age) / S, "a", 1.0, "p"), ("x", now / S, "a", 1.0, "p")]
            seen = folded(batch(rows))[0][-1, PLAN.features.index("k_n_1h")]
            if age >= window.length_us:
                assert seen == 0
            if age <= window.length_us - window.tile_us:
                assert seen == 1


def test_a_flooded_key_stays_within_its_bound():
    rng = random.Random(2)
    rows = [("x", i * 0.5, "a", rng.random() * 1e9, str(rng.random())) for i in range(20_000)]
    _, _, state = folded(batch(rows))
    assert len(state) == 1
    assert state.nbytes <= PLAN.max_state_bytes


def test_a_key_with_two_events_takes_few_bytes():
    _, _, state = folded(batch([("x", 1, "a", 2.0, "p"), ("x", 2, "a", 3.0, "q")]))
    assert state.nbytes < 120


def test_huge_values_clip_and_tiles_saturate():
    rows = [("x", 1, "a", 1e300, None), ("x", 2, "a", 1e300, None), ("x", 3, "a", 0.0, None)]
    features, _, _ = folded(batch(rows))
    total = features[-1, PLAN.features.index("k_total_10s")]
    assert total == np.float32(2 * LIMIT / 100) or total == np.float32(LIMIT / 100)


def test_expiry_forgets_and_frees():
    rows = [("x", 0, "a", 1.0, "p"), ("x", 3 * 86_400, "a", 1.0, "p")]
    features, sequence, state = folded(batch(rows))
    assert sequence.tolist() == [0, 0]
    assert math.isnan(features[1, PLAN.features.index("k_since_first")])
    state.expire(4 * 86_400 * S)
    assert len(state) == 1
    state.expire(6 * 86_400 * S)
    assert len(state) == 0


@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 100_000])
def test_distinct_counts_are_within_their_stated_error(count):
    rng = np.random.default_rng(count)
    errors = []
    for _ in range(20):
        registers = np.zeros(128, np.int64)
        hashes = rng.integers(0, 2**64, count, np.uint64)
        ranks = 58 - np.ceil(np.log2((hashes & np.uint64(2**57 - 1)).astype(float) + 1)).astype(int)
        np.maximum.at(registers, (hashes >> np.uint64(57)).astype(int), np.clip(ranks, 1, 58))
        zeros = np.array([(registers == 0).sum()])
        full = np.array([(registers == 58).sum()])
        middle = registers[(registers > 0) & (registers < 58)]
        scaled = np.array([sum(1 << (57 - int(r)) for r in middle)], np.uint64).view(np.int64)
        errors.append(float(estimate(zeros, scaled, full)[0]) / count - 1)
    assert np.sqrt(np.mean(np.square(errors))) < 2 * STANDARD_ERROR


def test_rows_go_through_arrow_unchanged():
    rows = entity_rows(PLAN, batch([("x", 1, "a", 2.5, "p"), ("y", 2, "b", None, None)]))
    again = rows_from_batch(PLAN, rows_to_batch(rows))
    assert again.time.tolist() == rows.time.tolist()
    assert again.mask.tolist() == rows.mask.tolist()
    assert again.values.tolist() == rows.values.tolist()
    assert again.hashes.tolist() == rows.hashes.tolist()


def test_state_of_another_plan_is_refused():
    _, _, state = folded(batch([("x", 1, "a", 2.0, "p")]))
    other = make_plan(loads(CONFIG.replace("tiles: 6", "tiles: 12"), "other.yaml", CATALOG), "k")
    with pytest.raises(StateError, match="aggregates or windows changed"):
        ShardState.from_table(state.to_table(), other)


def test_state_of_another_format_is_refused():
    rows = entity_rows(PLAN, batch([("x", 1, "a", 2.0, "p")]))
    state = ShardState(PLAN, {int(rows.key[0]): b"\x63" + bytes(20)})
    with pytest.raises(StateError, match="format 99"):
        fold(PLAN, state, rows)


FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("state_format_*.hex"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_stored_state_of_every_format_is_read_and_written(path):
    """The bytes of released formats never change: a changed byte needs a new format number."""
    rows = [("x", i * 0.7, "ab"[i % 2], i / 4, "pqrst"[i % 5]) for i in range(40)]
    first, _, state = folded(batch(rows[:30]))
    [packed] = state.to_table().column("state").to_pylist()
    stored = bytes.fromhex(path.read_text())
    assert packed.hex() == stored.hex()
    [key] = state.to_table().column("key").to_pylist()
    second, _, _ = folded(batch(rows[30:]), ShardState(PLAN, {key: stored}))
    whole, _, _ = folded(batch(rows))
    assert np.concatenate([first, second]).tobytes() == whole.tobytes()


def test_the_current_format_has_a_fixture():
    assert f"state_format_{FORMAT}" in [path.stem for path in FIXTURES]


def test_keys_spread_over_shards():
    keys = np.random.default_rng(1).integers(0, 2**64, 10_000, np.uint64)
    counts = np.bincount(shard_of(keys, 16), minlength=16)
    assert counts.min() > 500


def test_features_are_described_in_words():
    infos = {info.name: info for info in describe_features(SPEC)}
    assert tuple(infos) == PLAN.features
    info = infos["k_n_big_1h"]
    assert "where amount > 5" in info.about and "over 1h" in info.about
    assert info.window_error == "up to 10m"
