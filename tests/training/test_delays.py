"""The curve of delays: what a histogram of young events would get wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.delays import delay_curve


def made(seed, events=800):
    """Delays as they are seen, with ages; and the true share that comes within a day."""
    rng = np.random.default_rng(seed)
    ages, delays = rng.uniform(0, 10, events), rng.exponential(3, events)
    seen = delays <= ages
    us = lambda days: (days[seen] * 86_400e6).astype(np.int64)  # noqa: E731
    return us(delays), us(ages)


TRUE = (1 - np.exp(-1)) / (1 - np.exp(-10 / 3))  # within three days, of those within ten
THREE_DAYS = 3 * 86_400_000_000


def test_it_finds_the_truth_where_a_histogram_does_not():
    curves = [made(seed) for seed in range(60)]
    found = np.array([delay_curve(*one).at(THREE_DAYS) for one in curves])
    naive = np.mean([(delays <= THREE_DAYS).mean() for delays, _ in curves])
    assert naive > TRUE + 0.1
    assert abs(found[:, 0].mean() - TRUE) < 0.01
    covered = ((found[:, 1] <= TRUE) & (found[:, 2] >= TRUE)).mean()
    assert covered >= 0.9


def test_without_truncation_it_is_the_histogram():
    delays = np.random.default_rng(3).integers(0, 50, 400)
    curve = delay_curve(delays, np.full(400, 100))
    assert curve.events == 400
    for delay in range(50):
        assert curve.at(delay)[0] == pytest.approx((delays <= delay).mean(), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_it_rises_to_one_within_its_bounds(pairs):
    delays = np.array([delay for delay, _ in pairs], np.int64)
    curve = delay_curve(delays, delays + np.array([more for _, more in pairs], np.int64))
    assert len(curve.delays) == len(set(delays.tolist()))
    if not pairs:
        assert curve.quantile(0.5) is None
        assert curve.at(5) == (0.0, 0.0, 1.0)
        return
    assert curve.share[-1] == 1.0
    assert np.all(np.diff(curve.share) >= 0)
    assert np.all((curve.low <= curve.share + 1e-12) & (curve.share <= curve.high + 1e-12))
    assert curve.quantile(1.0) == delays.max()


def test_a_delay_longer_than_the_event_is_old_is_refused():
    with pytest.raises(ValueError, match="longer than its event is old"):
        delay_curve(np.array([5]), np.array([4]))
