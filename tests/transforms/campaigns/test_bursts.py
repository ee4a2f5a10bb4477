"""Bursts of a value: by their definition, not by chance, and no greetings that are always there."""

import dataclasses
import random

import numpy as np
import pyarrow as pa
import pytest
from campaign_world import DAY, judged, spec
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from configs.campaigns import Rarity
from transforms.campaigns import USES, find_campaigns, shared_uses
from transforms.campaigns.bursts import in_bursts

MINUTE = 60_000_000


def bursts(rows, within=10 * MINUTE, chance=0.01):
    """Rows (value, account, time) that are of a burst, of any order."""
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    made = in_bursts(*np.array(rows, np.int64).reshape(-1, 3).T, within, chance)
    return {row for row, yes in zip(rows, made.tolist(), strict=True) if yes}


def chatter(seed, greetings=600, accounts=300, phrases=300):
    """Uses at any time of ten days: one that all say, and phrases of few."""
    rng = random.Random(seed)
    values = [1] * greetings + [
        10 + number for number in range(phrases) for _ in range(rng.randrange(2, 9))
    ]
    return [(value, rng.randrange(accounts), rng.randrange(10 * DAY)) for value in values]


def by_definition(rows, within, chance):
    times = sorted(time for _, _, time in rows)
    bound, inside = {}, {}
    for value, _, begin in rows:
        own = [row for row in rows if row[0] == value]
        inside[value, begin] = [row for row in own if begin <= row[2] <= begin + within]
        there = sum(begin <= time <= begin + within for time in times)
        others = (there - len(inside[value, begin])) / max(len(rows) - len(own), 1)
        share = max(others, (within + 1) / (times[-1] - times[0] + within + 1))
        crowd = len({who for _, who, _ in inside[value, begin]})
        tail = stats.binom.sf(crowd - 2, len(own) - 1, share) if crowd > 1 else 1.0
        bound[value, begin] = min(1.0, len(own) * tail)
    values = {value for value, _, _ in rows}
    least = sorted(min(p for (of, _), p in bound.items() if of == value) for value in values)
    kept = [p for rank, p in enumerate(least, 1) if p <= chance * rank / len(least)]
    limit = max(kept, default=-1.0)
    return {row for at, p in bound.items() if p <= limit for row in inside[at]}


uses = st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 40))


@given(st.lists(uses, min_size=1, max_size=30, unique_by=lambda row: row[::2]),
       st.integers(0, 5), st.sampled_from([0.011, 0.2, 0.97]))  # fmt: skip
def test_bursts_are_those_of_their_definition(rows, within, chance):
    assert bursts(rows, within, chance) == by_definition(rows, within, chance)


def test_uses_at_any_time_are_no_bursts():
    assert sum(bool(bursts(chatter(seed))) for seed in range(20)) <= 1


@pytest.mark.parametrize(("value", "crowd", "found"), [(9, 6, True), (1, 6, False), (1, 20, True)])
def test_a_crowd_counts_against_how_often_its_text_is_said(value, crowd, found):
    """Six accounts within five minutes: of a new phrase, or of a greeting that is said all day."""
    raid = [(value, 1000 + who, 4 * DAY + who * MINUTE // 4) for who in range(crowd)]
    assert set(raid) <= bursts(chatter(3) + raid) if found else not bursts(chatter(3) + raid)


def test_one_account_that_repeats_itself_is_no_crowd():
    assert not bursts(chatter(3) + [(9, 1000, 4 * DAY + at * MINUTE) for at in range(9)])


def test_an_hour_in_which_all_write_makes_no_bursts():
    """Of many phrases at once each is said by some."""
    rng = random.Random(5)
    rows = [
        (10 + n % 300, rng.randrange(300), 4 * DAY + rng.randrange(9 * MINUTE)) for n in range(900)
    ]
    assert not bursts(chatter(3) + rows)


def table(rows):
    """Of (value, account, time), as uses of the column `site`."""
    value, account, time = zip(*rows, strict=True)
    ids = [f"e{at}" for at in range(len(rows))]
    who = [f"a{one:05d}" for one in account]
    columns = [[2] * len(rows), value, time, ids, who, [None] * len(rows)]
    return pa.table(columns, schema=USES)


def members(rows, bursts, similarity=0.1):
    """Accounts of campaigns."""
    made = spec().campaigns
    site = dataclasses.replace(
        made.links["site"], where=None, within_us=10 * MINUTE, bursts=bursts, most_accounts=500
    )
    links = {"text": made.links["text"], "site": site}
    made = dataclasses.replace(made, rarity=Rarity(0.01, similarity), links=links)
    found = shared_uses(made, table(rows))
    campaigns = find_campaigns(made, found.shared, judged(), found.alone)
    return set(campaigns.members["account"].to_pylist())


def regulars(seed):
    """Who have much to say, and greet each other at once when a match ends, twenty times."""
    rng = random.Random(seed)
    rows = [(1000 + n, n % 200, rng.randrange(10 * DAY)) for n in range(4000)]
    for _ in range(20):
        end = rng.randrange(10 * DAY)
        rows += [(1, who, end + rng.randrange(2 * MINUTE)) for who in rng.sample(range(200), 25)]
    return rows


def test_a_raid_of_one_phrase_is_a_campaign_and_greetings_are_none():
    raid = [(2, 5000 + who, 6 * DAY + who * MINUTE // 2) for who in range(9)]
    late = [(2, 6000, 9 * DAY)]
    rows = regulars(1) + raid + late
    assert members(rows, bursts=True) == {f"a{5000 + who:05d}" for who in range(9)}
    assert not members(rows, bursts=False), "one shared value is not evidence enough"
    assert len(members(rows, bursts=True, similarity=0.0)) > 150, "regulars are told by the rest"
