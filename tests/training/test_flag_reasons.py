"""Reasons of flagged events: against a count of one event at a time."""

from collections import Counter

import numpy as np

from scoring.explanation import top_reasons
from training.flag_reasons import TOP, count_reasons


def test_it_counts_the_reasons_that_decision_records_have():
    rng = np.random.default_rng(3)
    parts = rng.normal(-0.2, 1.0, (200, 13)).astype(np.float32)
    names = [f"i{at}" for at in range(12)]
    made = count_reasons("block", 900, parts, names, {"i3": "the fourth"})
    counted = Counter(reason.name for row in parts for reason in top_reasons(row, names, {}, TOP))
    assert (made.action, made.flagged, made.explained) == ("block", 900, 200)
    assert {one.name: one.events for one in made.reasons}.items() <= counted.items()
    assert [one.events for one in made.reasons] == sorted(counted.values(), reverse=True)[:8]
    for one in made.reasons:
        column = parts[:, names.index(one.name)].astype(float)
        assert np.isclose(one.added, column.mean())
        assert one.words == ("the fourth" if one.name == "i3" else one.name)


def test_what_lowers_scores_is_no_reason():
    parts = np.full((4, 3), -1.0, np.float32)
    assert count_reasons("block", 4, parts, ["a", "b"], {}).reasons == ()
