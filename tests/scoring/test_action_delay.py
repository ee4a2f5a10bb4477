"""Random delays of actions: in their bounds, the same at each look, and nothing else changes."""

import numpy as np
import pyarrow as pa
from backfill_world import CONFIG
from hypothesis import given
from hypothesis import strategies as st

from configs.fingerprint import dataset_fingerprint, fingerprint
from configs.loader import loads
from configs.policy import Action, ActionDelay
from scoring.action_delay import NOW, act_after
from transforms.catalog import CATALOG

IDS = pa.array([f"m-{at}" for at in range(5000)])
TIMES = np.arange(5000) * 1_000_000


def delays(salt="a", most=3_600_000_000, least=60_000_000, taken=1):
    actions = [Action("block", 0.9, delay=ActionDelay(salt, most, least)), Action("review", 0.5)]
    return act_after(actions, np.full(5000, taken, np.int8), IDS, TIMES) - TIMES


def test_they_fill_their_bounds_and_tell_nothing_of_each_other():
    made = delays()
    assert made.min() >= 60_000_000 and made.max() <= 3_600_000_000
    shares = np.histogram(made, bins=10, range=(60_000_000, 3_600_000_000))[0] / 5000
    assert np.abs(shares - 0.1).max() < 0.03
    assert np.abs(np.corrcoef(made[:-1], made[1:])[0, 1]) < 0.05
    assert np.abs(np.corrcoef(made, delays("b"))[0, 1]) < 0.05


@given(st.integers(0, 4999), st.integers(1, 50))
def test_an_events_delay_hangs_on_its_id_alone(start, count):
    rows = slice(start, start + count)
    actions = [Action("block", 0.9, delay=ActionDelay("a", 3_600_000_000, 60_000_000))]
    some = act_after(actions, np.ones(len(IDS[rows]), np.int8), IDS[rows], TIMES[rows])
    assert (some - TIMES[rows]).tolist() == delays()[rows].tolist()


def test_the_shortest_interval_has_both_its_ends():
    assert set(delays(most=8, least=7).tolist()) == {7, 8}


def test_what_is_not_acted_on_or_has_no_delay_waits_for_nothing():
    for taken in (0, 2):
        assert (delays(taken=taken) + TIMES).tolist() == [NOW] * 5000


def test_it_is_read_and_names_another_bundle_but_no_other_dataset():
    plain = loads(CONFIG, "a.yaml", CATALOG)
    text = CONFIG.replace("min_precision: 0.8", "min_precision: 0.8, delay: {most: 2h, salt: x}")
    slow = loads(text, "b.yaml", CATALOG)
    assert slow.policy.actions[0].delay == ActionDelay("x", 7_200_000_000, 0)
    assert fingerprint(slow) != fingerprint(plain)
    assert dataset_fingerprint(slow) == dataset_fingerprint(plain)
