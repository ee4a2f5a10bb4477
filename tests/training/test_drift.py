"""Drift of inputs: nothing moves between draws of one world; a shift, a gap or a new value does."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from training.drift import stability_index, summarise_inputs

NAMES = ("amount", "count", "constant", "absent")


def draw(seed, shift=0.0, nulls=0.1, rows=5000):
    rng = np.random.default_rng(seed)
    block = np.empty((rows, 4), np.float32)
    block[:, 0] = rng.lognormal(shift, 1, rows)
    block[:, 1] = rng.poisson(0.3, rows)
    block[:, 2] = 7
    block[:, 3] = np.nan
    block[rng.random(rows) < nulls, 0] = np.nan
    return block


def texts(rng, weights, rows=5000):
    return pa.chunked_array([pa.array(rng.choice(["web", "ios", "tv"], rows, p=weights))])


def look(block, before=(), **columns):
    return summarise_inputs(NAMES, block, columns, ("client",), before)


def test_two_draws_of_one_world_do_not_move():
    kept, none = look(draw(1))
    assert none == ()
    again, drifts = look(draw(2), kept)
    assert len(drifts) == len(NAMES)
    assert not any(one.moved for one in drifts)
    assert all(one.index is None or one.index < 0.02 for one in drifts)
    assert [one.name for one in again] == list(NAMES)
    assert kept[3].nulls == 1.0 and kept[3].edges == ()


def test_a_shift_and_a_gap_are_named_first():
    kept, _ = look(draw(1))
    _, drifts = look(draw(2, shift=1.0), kept)
    assert drifts[0].name == "amount" and drifts[0].moved and drifts[0].index > 0.25
    _, drifts = look(draw(2, nulls=0.4), kept)
    (gap,) = [one for one in drifts if one.moved]
    assert (gap.name, round(gap.nulls_before, 1), round(gap.nulls, 1)) == ("amount", 0.1, 0.4)


@pytest.mark.parametrize(
    ("before", "now"),
    [(1, 0), (0, 1), (7, 6), (7, 8), (-1, -2), (0.5, 0.25)],
)
def test_a_value_that_most_events_have_moves_in_either_direction(before, now):
    """A flag that was 1 for all but a few, and is 0 for all: both are no larger than the decile."""
    one, other = draw(1), draw(2)
    one[:, 2], other[:, 2] = before, now
    one[::30, 2], other[::30, 2] = now, before
    kept, _ = look(one)
    _, drifts = look(other, kept)
    (moved,) = [one for one in drifts if one.moved]
    assert moved.name == "constant"


def test_half_and_half_moves_between_its_values_too():
    one, other = draw(1), draw(2)
    one[:, 2] = np.arange(len(one)) % 2
    other[:, 2] = 0.5
    kept, _ = look(one)
    _, drifts = look(other, kept)
    assert [drift.name for drift in drifts if drift.moved] == ["constant"]


def test_categories_move_by_value_and_private_ones_keep_no_value():
    rng = np.random.default_rng(3)
    even, tv = texts(rng, [0.5, 0.5, 0.0]), texts(rng, [0.3, 0.3, 0.4])
    kept, _ = look(draw(1), client=even, author=even)
    client, author = kept[-2:]
    assert client.values and not author.values and not author.counts
    _, drifts = look(draw(1), kept, client=tv, author=tv)
    by_name = {one.name: one for one in drifts}
    assert by_name["client"].moved, "a value that was not there before"
    assert by_name["author"].index is None


def test_the_index_is_that_of_the_book():
    assert stability_index([100, 100], [100, 100]) == 0
    expected = 0.3 * np.log(0.8 / 0.5) + -0.3 * np.log(0.2 / 0.5)
    assert stability_index([80_000, 20_000], [50_000, 50_000]) == pytest.approx(expected, rel=1e-3)


def test_a_new_input_and_an_empty_slice_have_no_index():
    kept, _ = look(draw(1))
    _, drifts = summarise_inputs(("other",), draw(1)[:, :1], {}, (), kept)
    assert drifts == ()
    _, drifts = look(draw(1)[:0], kept)
    assert all(one.index is None for one in drifts)


def test_a_shift_within_one_bin_is_seen_by_the_distance_alone():
    rng = np.random.default_rng(4)
    before, now = rng.random((2, 5000, 1)).astype(np.float32)
    now[now > 0.5] = 0.5 + 0.1 * (now[now > 0.5] - 0.5)  # half of the numbers move
    kept, _ = summarise_inputs(("x",), before, {}, ())
    flat = [dataclasses.replace(kept[0], edges=(0.5,), counts=(2500, 2500))]
    _, (drift,) = summarise_inputs(("x",), now, {}, (), flat)
    assert drift.index < 0.01 and not drift.shifted
    assert drift.distance == pytest.approx(0.44, abs=0.03) and drift.apart and drift.moved


def test_a_summary_of_an_earlier_build_has_no_distance():
    kept, _ = look(draw(1))
    old = [dataclasses.replace(one, sketch=b"") for one in kept]
    _, drifts = look(draw(2, shift=1.0), old)
    assert drifts[0].moved and drifts[0].distance is None


def test_few_events_do_not_move_by_chance():
    moved, large = 0, 0
    for seed in range(100):
        kept, _ = look(draw(2 * seed, rows=60))
        _, drifts = look(draw(2 * seed + 1, rows=60), kept)
        moved += drifts[0].name == "amount" and drifts[0].shifted
        large += any(one.name == "amount" and one.index > 0.25 for one in drifts)
    assert large > 20, "the rule of thumb alone would cry wolf"
    assert moved <= 5


def of_accounts(seed, shift=0.0, accounts=60, inputs=1):
    """Numbers that are an account's own, but for a little; few accounts have most of the events."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(1 + rng.pareto(0.8, accounts).astype(int) * 3, 200)
    clusters = np.repeat(np.arange(accounts), sizes)
    own = rng.normal(shift, 1, (accounts, inputs))[clusters]
    return (own + rng.normal(0, 0.1, own.shape)).astype(np.float32), clusters


def look_at_accounts(before, now, told=True):
    names = tuple(f"x{one}" for one in range(before[0].shape[1]))
    kept, _ = summarise_inputs(names, before[0], {}, (), (), before[1] if told else None)
    return summarise_inputs(names, now[0], {}, (), kept, now[1] if told else None)[1]


def test_few_accounts_with_many_events_do_not_move_by_chance_and_a_shift_is_found():
    moved, found, as_if_independent = 0, 0, 0
    for seed in range(100):
        before, now = of_accounts(2 * seed), of_accounts(2 * seed + 1)
        moved += look_at_accounts(before, now)[0].moved
        as_if_independent += look_at_accounts(before, now, told=False)[0].moved
        found += look_at_accounts(before, of_accounts(2 * seed + 1, shift=3.0))[0].moved
    assert as_if_independent > 80, "the world is one where it matters"
    assert moved <= 5 and found >= 95


def test_the_number_of_inputs_makes_no_alarms():
    """Of few events; one of a hundred slices may have an alarm, however many inputs there are."""
    alarms, found = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        before, now = rng.normal(size=(2, 120, 60)).astype(np.float32)
        before, now = (before, np.arange(120)), (now, np.arange(120))
        alarms += any(one.moved for one in look_at_accounts(before, now))
        now[0][:, 7] += 2
        found += [one.name for one in look_at_accounts(before, now) if one.moved] == ["x7"]
    assert alarms <= 2 and found >= 57


def test_a_report_that_did_not_say_what_its_events_stand_for_is_compared_all_the_same():
    before, now = of_accounts(1), of_accounts(2)
    kept, _ = summarise_inputs(("x0",), before[0], {}, (), (), before[1])
    old = [dataclasses.replace(one, effective=None, slice_effective=None) for one in kept]
    drift = summarise_inputs(("x0",), now[0], {}, (), old, now[1])[1][0]
    assert not drift.moved and drift.chance > 0
    drift = summarise_inputs(("x0",), now[0] + 3, {}, (), old, now[1])[1][0]
    assert drift.moved
