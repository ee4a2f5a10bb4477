"""Harm before the first action: against a count of one campaign at a time."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoring.decision import Threshold
from training.harm import harm_before

EVENTS = st.lists(
    st.tuples(
        st.integers(-1, 3),
        st.integers(0, 9),
        st.integers(0, 4).map(lambda tenths: tenths / 4),
        st.booleans(),
        st.booleans(),
        st.one_of(st.integers(0, 9), st.none()),
    ),
    min_size=1,
    max_size=25,
)
BLOCK, OFF = Threshold("block", 0.75, None), Threshold("off", None, None)


def found_of(events, thresholds=(BLOCK, OFF)):
    units, times, scores, abuse, harmful, people = (
        np.array([row[at] for row in events]) for at in range(6)
    )
    return harm_before(
        "campaign",
        scores.astype(float),
        times.astype(np.int64),
        units.astype(np.int64),
        abuse.astype(bool),
        harmful.astype(bool),
        thresholds,
        people.astype(float),  # None: NaN
    )


@given(EVENTS)
def test_it_is_what_a_count_of_one_campaign_at_a_time_gives(events):
    found = found_of(events)
    of = {}
    for row in sorted(events, key=lambda row: row[1]):  # stable
        of.setdefault(row[0], []).append(row)
    of.pop(-1, None)
    bad = [rows for rows in of.values() if any(row[3] for row in rows)]
    if not bad:
        assert found == ()
        return
    (made,) = found
    total, before, waits = [], [], []
    for rows in bad:
        hit = [at for at, row in enumerate(rows) if row[2] >= 0.75]
        harm = [row for row in rows if row[4]]
        total += harm
        before += [row for at, row in enumerate(rows) if row[4] and (not hit or at < hit[0])]
        if hit:
            begun = harm[0][1] if harm else rows[hit[0]][1]
            waits.append(max(0, rows[hit[0]][1] - begun))
    assert (made.unit, made.action, made.units, made.met) == (
        "campaign", "block", len(bad), len(waits)
    )  # fmt: skip
    assert (made.events, made.events_before) == (len(total), len(before))
    assert made.people == sum(row[5] or 0 for row in total)
    assert made.people_before == sum(row[5] or 0 for row in before)
    assert made.median_us == (statistics.median(waits) if waits else None)
    assert made.spared == (1 - len(before) / len(total) if total else None)


def test_a_sharper_action_spares_no_more():
    rng = np.random.default_rng(1)
    rows = [
        (int(rng.integers(9)), at, float(rng.random()), bool(rng.random() < 0.3), True, 1)
        for at in range(200)
    ]
    soft, hard = found_of(rows, (Threshold("review", 0.6, None), Threshold("block", 0.95, None)))
    assert soft.events_before < hard.events_before <= hard.events == soft.events


def test_people_are_not_known_without_a_count_of_them():
    one = np.ones(1)
    (made,) = harm_before(
        "account", one, one.astype(int), one.astype(int), one > 0, one > 0, [BLOCK]
    )
    assert made.people is None and made.people_before is None and made.events == 1
