"""The fold against the naive oracle, and the check battery over every kind of aggregate."""

import dataclasses
import itertools
import math
import random
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from fold_world import (
    CONFIG,
    KNOWN,
    OF_THE_EVENT,
    PLAN,
    SPEC,
    S,
    batch,
    config,
    features,
    oracle,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from velocity_oracle import RULES

from configs.catalog import AggregateName, Catalog, ColumnName, operand_fields
from configs.errors import StateError
from configs.loader import load, loads, shipped
from configs.schema import ColumnType
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.derive import derive
from transforms.order import order_events
from transforms.velocity import (
    ShardState,
    describe_features,
    entity_rows,
    finish,
    fold,
    make_plan,
    rows_by_entity,
    rows_from_batch,
    rows_to_batch,
    shard_of,
)
from transforms.velocity.aggregates import AGGREGATES
from transforms.velocity.aggregates.base import NUMBERS, decimals, scaled
from transforms.velocity.plan import check_entity

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
    parts, sequences = [], []
    for start, end in itertools.pairwise(bounds):
        part = fold(PLAN, state, rows.take(np.arange(start, end)))
        state.update(part.delta)
        parts.append(finish(PLAN, part.outputs))
        sequences.append(part.sequence)
    return np.concatenate(parts), np.concatenate(sequences), state


@settings(max_examples=150, deadline=None)
@given(events)
def test_features_equal_the_naive_oracle(rows):
    rows = sorted(rows, key=lambda row: row[1])
    made, _, _ = folded(batch(rows))
    np.testing.assert_array_equal(made[:, KNOWN], oracle(rows))


@settings(max_examples=60, deadline=None)
@given(events)
def test_late_rows_count_at_the_clock(rows):
    made, _, _ = folded(batch(rows))  # in any order of time
    np.testing.assert_array_equal(made[:, KNOWN], oracle(rows))


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
    made = batch(rows)
    made = made.take(pa.array(order_events(SPEC, made)))
    whole, _, _ = folded(made)
    index = list(range(made.num_rows))
    rng.shuffle(index)
    shuffled = made.take(pa.array(index, pa.int64()))
    order = pa.array(order_events(SPEC, shuffled))
    assert folded(shuffled.take(order))[0].tobytes() == whole.tobytes()


def test_every_kind_of_aggregate_is_in_the_battery_with_and_without_filters():
    used = [aggregate for aggregate in SPEC.entities["k"].aggregates]
    assert {one.op for one in used} == {operation.op for operation in AGGREGATES}
    filtered = {operation.op for operation in AGGREGATES if not operand_fields(operation)}
    for part in ([one for one in used if one.where], [one for one in used if one.kinds]):
        assert {one.op for one in part} == filtered
    assert [name for name, _, _ in features()] == list(PLAN.features)


def test_every_kind_that_was_ever_released_has_a_naive_rule():
    released = {
        *("count", "distinct", "last", "max", "mean", "min", "rate", "ratio", "sum"),
        *("seconds_since_first", "seconds_since_last", "std", "median", "same_as_last"),
    }
    assert released <= {*RULES, *OF_THE_EVENT}
    assert released <= {operation.op for operation in AGGREGATES}


@dataclasses.dataclass(frozen=True)
class Spread:
    """A kind that nobody has registered: range of a column, in units of `step`."""

    op: ClassVar[str] = "spread"
    about: ClassVar[str] = "largest value less the smallest"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null without events"

    column: ColumnName
    step: int
    decimals: int = decimals()

    def cells(self, ask):
        return tuple(ask.extreme(self.column, self.decimals, sign) for sign in (1, -1))

    def finish(self, outputs, ask):
        high, low = (scaled(one, self.decimals) for one in outputs)
        return (high - low) / self.step


@dataclasses.dataclass(frozen=True)
class Both:
    """Another: the sum of two features, so an aggregate of aggregates that is no ratio."""

    op: ClassVar[str] = "both"
    about: ClassVar[str] = "sum of two aggregates"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = frozenset()
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null if one of them is"

    first: AggregateName
    second: AggregateName

    def combine(self, first, second):
        return first + second


def test_a_new_kind_needs_its_class_and_its_name_only():
    """What the battery makes of kinds that it has never heard of: configs, plans, features."""
    catalog = Catalog.of((), (*AGGREGATES, Spread, Both), check_entity)
    spec = loads(config((*AGGREGATES, Spread, Both)), "more.yaml", catalog)
    plan = make_plan(spec, "k", catalog)
    rows = entity_rows(plan, batch([("x", i, "ab"[i % 2], i * 1.5, "p") for i in range(9)]))
    made = finish(plan, fold(plan, ShardState.empty(plan), rows).outputs)
    last = dict(zip(plan.features, made[-1].tolist(), strict=True))
    assert last["k_spread_1h"] == 7 * 1.5 and last["k_spread_b_1h"] == 6 * 1.5
    assert last["k_spread_big_1h"] == 3 * 1.5
    assert last["k_both_10s"] == last["k_count_a_10s"] + last["k_count_10s"] == 12
    assert [info.name for info in describe_features(spec, catalog)] == list(plan.features)


def test_the_fold_leaves_the_state_as_it_is():
    rows = entity_rows(PLAN, batch([("x", 1, "a", 2.0, "p")] * 3))
    state = ShardState.empty(PLAN)
    assert fold(PLAN, state, rows).sequence.tolist() == [0, 1, 2]
    assert len(state) == 0


def test_a_window_is_short_by_less_than_a_tile_and_never_long():
    window = PLAN.recipes[PLAN.features.index("k_count_1h")].window
    for offset in range(0, 2 * window.tile_us, window.tile_us // 7):
        for age in range(0, 3700 * S, 53 * S):
            now = 10**15 + offset
            rows = [("x", (now - age) / S, "a", 1.0, "p"), ("x", now / S, "a", 1.0, "p")]
            seen = folded(batch(rows))[0][-1, PLAN.features.index("k_count_1h")]
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


def test_expiry_forgets_and_frees():
    rows = [("x", 0, "a", 1.0, "p"), ("x", 3 * 86_400, "a", 1.0, "p")]
    features, sequence, state = folded(batch(rows))
    assert sequence.tolist() == [0, 0]
    assert math.isnan(features[1, PLAN.features.index("k_seconds_since_first")])
    state.expire(4 * 86_400 * S)
    assert len(state) == 1
    state.expire(6 * 86_400 * S)
    assert len(state) == 0


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


def test_keys_spread_over_shards():
    keys = np.random.default_rng(1).integers(0, 2**64, 10_000, np.uint64)
    counts = np.bincount(shard_of(keys, 16), minlength=16)
    assert counts.min() > 500


def test_features_are_described_in_words():
    infos = {info.name: info for info in describe_features(SPEC)}
    assert tuple(infos) == PLAN.features
    info = infos["k_count_big_1h"]
    assert "where amount > 5" in info.about and "over 1h" in info.about
    assert info.window_error == "up to 10m"
    assert infos["k_last"].window_error == ""


def test_a_features_cost_is_what_its_cells_take():
    infos = {info.name: info for info in describe_features(SPEC)}
    tile, varint = 2 + 6 * 10, 10  # of the window of six tiles
    assert infos["k_count_1h"].state_bytes == tile + 6 * varint
    assert infos["k_mean_1h"].state_bytes == tile + 2 * 6 * varint
    assert infos["k_max_1h"].state_bytes == tile + 6 * (1 + varint)
    assert infos["k_distinct_1h"].state_bytes == tile + 6 * 129
    assert infos["k_last"].state_bytes == 1 + varint
    assert infos["k_ratio_1h"].state_bytes == 0
    assert max(info.state_bytes for info in infos.values()) < PLAN.max_state_bytes


def test_units_and_own_words_are_told_beside_what_is_computed():
    text = CONFIG.replace("amount: {type: number}", "amount: {type: number, unit: EUR}")
    text = text.replace("sum_big: {", "sum_big: {about: what it spent, ")
    infos = {info.name: info for info in describe_features(loads(text, "units.yaml", CATALOG))}
    assert infos["k_sum_big_1h"].unit == "EUR"
    assert infos["k_sum_big_1h"].about == ("what it spent: sum of amount where amount > 5, over 1h")
    assert infos["k_count_1h"].unit == "events"
    assert {info.name: info for info in describe_features(SPEC)}["k_sum_1h"].unit == "amount"


def test_rows_of_several_entities_are_those_of_each_alone():
    """What they ask of the same column is made once: of each kind, condition and column its own."""
    spec = load(shipped("chat"), CATALOG)
    plans = {entity: make_plan(spec, entity) for entity in spec.entities}
    at = 1_772_359_200_000_000  # 2026-03-01T10:00:00Z
    text = '"channel_id": "c1", "text": "see http://a.example/x"'
    records = [
        f'{{"event_id": "{n}", "sent_at": {at}, "kind": "{kind}", "author_id": "a{n % 3}", {more}}}'
        for n, (kind, more) in enumerate(
            [
                ("message", text),
                ("message", '"channel_id": "c2", "text": "hello"'),
                ("report", '"target_id": "a1", "subject_id": "0"'),
                ("verdict", '"target_id": "a2", "subject_id": "0", "is_abuse": true'),
                ("message", text),
            ]
        )
    ]
    decoded = decode_json(spec, [one.encode() for one in records], "test")
    derived = derive(spec, decoded.batch)
    together = rows_by_entity(plans, derived)
    for entity, plan in plans.items():
        alone = entity_rows(plan, derived)
        for field in dataclasses.fields(alone):
            one, two = getattr(together[entity], field.name), getattr(alone, field.name)
            assert np.array_equal(one, two), (entity, field.name)
    assert len(together["author"]) == 5 and len(together["domain"]) == 2
