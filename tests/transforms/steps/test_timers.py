"""What a bundle's timers are set to: see `transforms.steps.timers`."""

from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from transforms.steps.timers import HOLD, Timers


class Kept:
    """A timer that writes down what it is set to, and where it is left in the end."""

    def __init__(self):
        self.earliest, self.at = None, {}

    def set(self, at, dynamic_timer_tag=""):
        self.earliest = at if self.earliest is None else min(self.earliest, at)
        self.at[dynamic_timer_tag] = at


def test_each_bundle_that_sets_a_timer_has_set_one_before_all_time_and_left_none_there():
    timers = Timers()
    for _ in range(2):
        kept = Kept()
        timers.start_bundle()
        timers.set(kept, Timestamp(5), "a")
        timers.set(kept, Timestamp(7), "b")
        assert kept.earliest == MIN_TIMESTAMP
        assert kept.at == {HOLD: Timestamp(5), "a": Timestamp(5), "b": Timestamp(7)}


def test_a_bundle_that_has_set_one_sets_no_other():
    timers, kept = Timers(), Kept()
    timers.start_bundle()
    timers.set(Kept(), Timestamp(5), "a")
    timers.set(kept, Timestamp(7))
    assert (kept.earliest, kept.at) == (Timestamp(7), {"": Timestamp(7)})
