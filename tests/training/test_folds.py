"""Folds are stretches of time, and no row is scored by a model that saw it or its future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.folds import chain_forward, time_blocks


@given(st.lists(st.integers(0, 20), max_size=60).map(sorted), st.integers(1, 8))
def test_blocks_are_consecutive_and_never_part_equal_times(times, wanted):
    blocks = time_blocks(np.array(times, np.int64), wanted)
    assert blocks.tolist() == sorted(blocks.tolist())
    assert all(0 <= block < wanted for block in blocks)
    for one in set(times):
        assert len({block for block, time in zip(blocks, times, strict=True) if time == one}) == 1


@given(st.integers(1, 400), st.integers(1, 8))
def test_blocks_of_distinct_times_are_about_equal(rows, wanted):
    sizes = np.bincount(time_blocks(np.arange(rows), wanted), minlength=wanted)
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60).map(sorted), st.integers(1, 8))
def test_no_row_is_scored_by_its_own_time_or_a_later_one(times, wanted):
    at = np.array(times, np.int64)

    def latest(fit, score):
        assert at[fit].max() < at[score].min()
        return at[fit].max() + np.zeros(len(score), np.float32)

    blocks = time_blocks(at, wanted)
    scores = chain_forward(blocks, latest)
    assert np.array_equal(np.isnan(scores), blocks == blocks[0])
    scored = ~np.isnan(scores)
    assert (scores[scored] < at[scored]).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=40))
def test_no_campaign_is_on_both_sides_of_a_fold(rows):
    rows.sort(key=lambda row: row[0])
    blocks, campaigns = (np.array(one, np.int64) for one in zip(*rows, strict=True))
    asked = []

    def watched(fit, score):
        asked.append(blocks[score[0]])
        both = np.intersect1d(campaigns[fit], campaigns[score])
        assert len(fit) and both.tolist() in ([], [-1])
        before = np.flatnonzero(blocks < blocks[score[0]])
        left = np.setdiff1d(before, fit)
        assert np.isin(campaigns[left], campaigns[score]).all() and (campaigns[left] >= 0).all()
        return np.zeros(len(score), np.float32)

    scores = chain_forward(blocks, watched, campaigns)
    assert np.array_equal(~np.isnan(scores), np.isin(blocks, asked))


def test_a_block_without_a_model_has_no_score():
    scores = chain_forward(
        np.array([0, 1, 2]), lambda fit, _: None if len(fit) < 2 else np.ones(1, np.float32)
    )
    assert np.isnan(scores).tolist() == [True, True, False]


def test_rows_out_of_order_are_refused():
    with pytest.raises(ValueError, match="1 of 3 rows are earlier"):
        time_blocks(np.array([1, 3, 2]), 2)
    with pytest.raises(ValueError, match="0 blocks"):
        time_blocks(np.array([1]), 0)
