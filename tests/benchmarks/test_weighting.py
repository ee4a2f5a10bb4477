"""The benchmark of weighting: each way learns from the labels that it says, on a seed or two."""

import numpy as np
import pyarrow.compute as pc

from benchmarks.selective import live, messages_of, small_world
from benchmarks.weighting import BASE, figures, main


def test_the_truth_foretells_the_day_after_better_than_labels_as_they_are():
    lived = live(small_world(), seed=3)
    # Rows of messages, truth and the day after are the same events, in the same order.
    assert lived.messages["event_id"].equals(lived.truth["event_id"])
    after = messages_of(lived.after.events)
    assert after["event_id"].equals(lived.after.truth["event_id"])
    assert pc.max(lived.truth["sent_at"]).as_py() < pc.min(after["sent_at"]).as_py()
    found = figures(lived)
    loss = {name: one[1] for name, one in found.items()}
    assert loss["the truth"] < min(loss[BASE], loss["left out"], loss["inverse propensity"])
    assert len({one[0] for one in found.values()}) == 4  # no two ways are the same model
    assert all(0.0 < one < 1.0 for one in np.ravel(list(found.values())))


def test_the_table_has_a_row_per_way(capsys):
    main(["--seeds", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" of 2 seeds") and len(lines) == 4 + 4
    assert all(line.count("|") == 6 for line in lines[2:])
    assert [line.count(" to ") for line in lines[4:]] == [0, 2, 2, 2]
