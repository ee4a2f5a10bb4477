"""The benchmark of late verdicts: each way is fitted, and tested on the last word of verdicts."""

from benchmarks.delayed import END, late_world, measure
from training.delayed import STRATEGIES


def test_the_correction_is_nearer_to_the_end_than_leaving_out_the_young():
    found = measure(late_world(36), seed=1)
    assert set(found) == {*STRATEGIES, END}
    loss = {name: one[0] for name, one in found.items()}
    assert loss[END] < loss["corrected"] < loss["drop"]
    assert all(0.0 < one[1] < 1.0 for one in found.values())
