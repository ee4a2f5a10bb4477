"""The hold-out: by id and salt alone, of the share that was asked for."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.hold_out import is_held_out, propensities

IDS = pa.array([f"message-{number}" for number in range(100_000)])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 1.0])
def test_the_share_is_what_was_asked_for(share):
    found = is_held_out(IDS, share, "2026").mean()
    assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / len(IDS))


def test_salts_draw_independently():
    one, other = (is_held_out(IDS, 0.1, salt) for salt in ("a", "b"))
    assert abs((one & other).mean() - 0.01) < 0.002


def test_a_larger_share_keeps_who_was_in():
    small, large = (is_held_out(IDS, share, "x") for share in (0.02, 0.2))
    assert not (small & ~large).any()


@given(st.lists(st.text(max_size=20), max_size=30), st.floats(0, 1), st.randoms())
def test_neither_order_nor_neighbours_matter(ids, share, random):
    whole = dict(
        zip(ids, is_held_out(pa.array(ids, pa.string()), share, "s").tolist(), strict=True)
    )
    random.shuffle(ids)
    alone = [bool(is_held_out(pa.array([one]), share, "s")[0]) for one in ids]
    assert alone == [whole[one] for one in ids]


def test_the_draw_is_the_same_for_ever():
    # Whoever reads a log of last year has to find the same events.
    found = is_held_out(pa.array(["m-1", "m-2", "m-3", "m-4", "m-5"]), 0.5, "chat")
    assert found.tolist() == [True, False, True, False, False]


def test_what_is_not_acted_on_is_certain_to_be_seen():
    assert propensities(np.array([False, True]), 0.0).tolist() == [1.0, 0.0]
