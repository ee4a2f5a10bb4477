"""The benchmark of late verdicts: each way is trained, and tested on the last word of verdicts."""

from benchmarks.delayed import END, late_world, measure
from configs.training import DELAYED_FEEDBACK


def test_the_correction_is_nearer_to_the_end_than_taking_the_unjudged_for_harmless():
    found = measure(late_world(36), seed=1)
    assert set(found) == {*DELAYED_FEEDBACK, END}
    loss = {name: one[0] for name, one in found.items()}
    assert loss[END] < loss["corrected"] < loss["known"]
    assert all(0.0 < one[1] < 1.0 for one in found.values())
