"""Controls hold back what people switched, whatever the score, and each version stays readable."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BundleError
from scoring.controls import (
    ALL,
    ALLOWED,
    FOLDER,
    NONE,
    OFF,
    POINTER,
    Controls,
    change_controls,
    read_controls,
    read_history,
    read_version,
)
from scoring.decision import DecisionPolicy, Threshold

NAMES = ("block", "hide", "review")
POLICY = DecisionPolicy(
    (Threshold("block", 0.9, 0.95), Threshold("hide", 0.6, 0.8), Threshold("review", None, 0.5)),
    "allow",
)
ENTRY = {"who": "ann", "at": "2026-03-01T00:00:00+00:00", "what": "off block", "why": "a test"}


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["a", "b", None])), max_size=30),
    st.sets(st.sampled_from([*NAMES, ALL])),
    st.sets(st.sampled_from(["a", "c"])),
)
def test_the_strongest_action_that_is_on_is_taken_but_of_nobody_on_the_list(rows, off, allowed):
    scores = np.array([score for score, _ in rows], np.float64)
    events = pa.RecordBatch.from_pydict({"who": pa.array([who for _, who in rows], pa.string())})
    controls = Controls.of({"off": list(off), "allow": {"who": list(allowed), "gone": ["a"]}})
    made, withheld = controls.decide(POLICY, scores, events)
    for row, (score, who) in enumerate(rows):
        reached = [one.action for one in POLICY.thresholds if (one.value or 2.0) <= score]
        wanted = reached[0] if reached else "allow"
        left = [name for name in reached if name not in off and ALL not in off]
        expected = "allow" if who in allowed or not left else left[0]
        assert POLICY.names[made[row]] == expected
        if expected == wanted:
            assert row not in withheld
        else:
            by = ALLOWED if who in allowed else OFF
            assert (withheld[row].action, withheld[row].by) == (wanted, by)


def test_the_same_controls_have_one_digest():
    one = Controls.of({"off": ["hide", "block"], "allow": {"who": ["b", "a", "a"], "x": []}})
    other = Controls.of({"allow": {"who": ["a", "b"]}, "off": ["block", "hide", "block"]})
    assert (one, one.digest) == (other, other.digest)
    assert Controls.of({}) == NONE and NONE.digest == ""


def test_every_version_stays_and_the_history_says_who_and_why(tmp_path):
    assert read_controls(tmp_path) == NONE
    first = change_controls(tmp_path, lambda now: Controls.of({"off": ["block"]}), ENTRY)
    again = change_controls(tmp_path, lambda now: Controls(now.off), {**ENTRY, "what": "again"})
    assert again == first, "nothing is changed, and nothing written"
    change_controls(tmp_path, lambda now: NONE, {**ENTRY, "what": "on block"})
    assert read_controls(tmp_path) == NONE
    assert read_version(tmp_path, first.digest) == first
    digest, history = read_history(tmp_path)
    assert digest == ""
    assert [(one["what"], one["controls"]) for one in history] == [
        ("off block", first.digest), ("on block", "")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", "[]", '{"controls": 1}', '{"controls": "", "history": 3}'])
def test_a_damaged_pointer_is_no_permission(text, tmp_path):
    (tmp_path / POINTER).write_text(text)
    with pytest.raises(BundleError, match=r"controls.json"):
        read_controls(tmp_path)


def test_a_version_that_was_edited_is_refused(tmp_path):
    made = change_controls(tmp_path, lambda now: Controls.of({"off": ["block"]}), ENTRY)
    path = tmp_path / FOLDER / f"{made.digest}.json"
    path.write_text(json.dumps({"off": [], "allow": {}}))
    with pytest.raises(BundleError, match="was edited"):
        read_controls(tmp_path)
    path.write_text(json.dumps({"off": "block"}))
    with pytest.raises(BundleError, match="expected off, a list of actions"):
        read_controls(tmp_path)
