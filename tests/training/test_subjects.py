"""Figures of accounts: against a count of one account at a time."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.commands.evaluate import _subjects as lines_of
from scoring.decision import Threshold
from training.curve import area_under_roc, make_curve
from training.subjects import evaluate_subjects

EVENTS = st.lists(
    st.tuples(
        st.integers(-1, 4),
        st.integers(0, 9),
        st.integers(0, 4).map(lambda tenths: tenths / 4),
        st.sampled_from([-1, 0, 1]),
    ),
    max_size=25,
)


@given(EVENTS, st.sampled_from([0.25, 0.75]))
def test_it_is_what_a_count_of_one_account_at_a_time_gives(events, value):
    owners, times, scores, labels = (np.array([row[at] for row in events]) for at in range(4))
    found = evaluate_subjects(
        scores.astype(float),
        labels.astype(np.int8),
        times.astype(np.int64),
        owners.astype(np.int64),
        [Threshold("block", value, None), Threshold("off", None, None)],
        firsts=(1, 3),
    )
    of = {}
    for owner, time, score, label in sorted(events, key=lambda row: row[1]):  # stable
        of.setdefault(owner, []).append((time, score, label))
    of.pop(-1, None)
    known = {owner: max(row[2] for row in rows) for owner, rows in of.items()}
    known = {owner: label for owner, label in known.items() if label != -1}
    if not known:
        assert found is None
        return
    assert (found.accounts, found.abusive) == (len(known), sum(known.values()))
    for one in found.after:
        best = [max(row[1] for row in of[owner][: one.events]) for owner in known]
        curve = make_curve(np.array(best), np.array(list(known.values()), np.int8))
        assert one.auc == (area_under_roc(curve) if curve.both_classes else None)
        assert one.accounts == sum(len(of[owner]) >= one.events for owner in known)
    [until] = found.until
    first = {
        owner: next((at for at, row in enumerate(of[owner]) if row[1] >= value), None)
        for owner in known
    }
    flagged = [owner for owner in known if first[owner] is not None]
    right = [owner for owner in flagged if known[owner]]
    assert (until.flagged, until.abusive) == (len(flagged), len(right))
    assert until.recall == (len(right) / found.abusive if found.abusive else None)
    assert until.precision == (len(right) / len(flagged) if flagged else None)
    waited = [of[owner][first[owner]][0] - of[owner][0][0] for owner in right]
    assert until.median_us == (statistics.median(waited) if right else None)
    events_until = [first[owner] + 1 for owner in right]
    assert until.median_events == (statistics.median(events_until) if right else None)


def test_an_account_is_found_sooner_by_a_lower_threshold():
    scores, owners = np.array([0.2, 0.6, 0.9, 0.1, 0.2, 0.3]), np.array([1, 1, 1, 2, 2, 2])
    times = np.arange(6) * 1_000
    found = evaluate_subjects(
        scores,
        np.array([0, 0, 1, 0, 0, 0], np.int8),
        times,
        owners,
        [Threshold("block", 0.8, None), Threshold("review", 0.5, None)],
    )
    assert [(one.median_events, one.median_us) for one in found.until] == [(3, 2000), (2, 1000)]
    assert [one.auc for one in found.after] == [1.0, 1.0, 1.0, 1.0]


def test_the_command_says_it_of_each_bundle():
    owners, labels = np.array([1, 1, 2]), np.array([0, 1, 0], np.int8)
    found = evaluate_subjects(
        np.array([0.2, 0.9, 0.1]),
        labels,
        np.array([0, 3_600_000_000, 0]),
        owners,
        [Threshold("block", 0.8, None)],
        firsts=(1,),
    )
    assert lines_of("f00d", found) == [
        "f00d accounts: 1 of 2 with a label are abusive",
        "  after  1 events: AUC 1.000 (0.025-1.000), AP 1.000; 2 accounts have so many",
        "  block flags 1 of them: recall 1.000 (0.025-1.000), precision 1.000 (0.025-1.000)",
        "    half of these by event 2, 1:00:00 after the first",
    ]
