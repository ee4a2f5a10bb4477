"""The curve of delays: what a histogram of young events would get wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.delays import delay_curve, well_seen


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


@pytest.mark.parametrize("events", [10, 20, 40])
def test_bounds_hold_the_truth_of_a_few_events_all_of_which_came(events):
    days = 8  # of ten: all of a few events have come by then, and of others not all do
    true = (1 - np.exp(-days / 3)) / (1 - np.exp(-10 / 3))
    found = []
    for seed in range(200):
        delays = np.random.default_rng(seed).exponential(3, 3 * events)
        delays = (delays[delays < 10][:events] * 86_400e6).astype(np.int64)
        _, low, high = delay_curve(delays, np.full(len(delays), 10 * 86_400_000_000)).at(
            days * 86_400_000_000
        )
        found.append(low <= true <= high)
    assert np.mean(found) >= 0.9


def test_a_share_of_nothing_seen_has_an_upper_bound():
    # Both that could be seen with a delay of 5 were; the young one could not.
    curve = delay_curve(np.array([1, 5, 5]), np.array([2, 9, 9]))
    assert curve.share.tolist() == [0.0, 1.0]
    assert curve.low.tolist() == pytest.approx([0.0, 0.025**0.5])
    assert curve.high.tolist() == pytest.approx([1 - 0.025**0.5, 1.0])


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
    assert curve.low[-1] < 1.0
    assert curve.quantile(1.0) == delays.max()


def test_a_delay_longer_than_the_event_is_old_is_refused():
    with pytest.raises(ValueError, match="longer than its event is old"):
        delay_curve(np.array([5]), np.array([4]))


def test_one_late_verdict_on_the_oldest_event_does_not_make_all_others_late():
    """Nobody else could have been seen with such a delay, so it alone would say that all are so."""
    delays, ages = np.arange(1, 101), np.full(100, 1000)
    late, oldest = np.append(delays, 1001), np.append(ages, 1001)
    assert delay_curve(late, oldest).at(1000)[0] == 0.0
    curve = delay_curve(*well_seen(late, oldest, 10))
    assert curve.events == 100 and curve.at(50)[0] == pytest.approx(0.5)
    # Delays that enough others could have had stay, the longest too.
    assert [one.tolist() for one in well_seen(delays, ages, 10)] == [delays.tolist(), ages.tolist()]
    assert len(well_seen(delays[:5], ages[:5], 10)[0]) == 0
