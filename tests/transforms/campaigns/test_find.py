"""Campaigns are a function of the set of uses, and of what is known of accounts."""

import random

import numpy as np
import pyarrow as pa
import pytest
from campaign_world import AS_OF, DAY, HOUR, TABLES, batch_of, judged, make_events, spec

from pipelines.layout import day_us
from transforms.campaigns import USES, account_pairs, find_campaigns, shared_uses, uses_of
from transforms.campaigns.lookup import CampaignIndex, CampaignsAsOf, campaigns_as_of


def uses(rows):
    """Of (column, value, hours, event, account)."""
    columns = [[row[at] for row in rows] for at in range(5)]
    columns[2] = [time * HOUR for time in columns[2]]
    return pa.table([*columns, [None] * len(rows)], schema=USES)


def test_order_and_repetition_of_uses_decide_nothing():
    rules = spec().campaigns
    rows = uses_of(rules, batch_of(make_events(500)))
    one = find_campaigns(rules, shared_uses(rules, rows).shared, judged())
    assert len(one.campaigns) >= 5
    rng = random.Random(3)
    order = [*range(len(rows)), *rng.sample(range(len(rows)), 200)]
    rng.shuffle(order)
    other = find_campaigns(rules, shared_uses(rules, rows.take(order)).shared, judged())
    for name in TABLES:
        assert getattr(other, name).equals(getattr(one, name)), name


def test_shards_of_values_give_what_the_whole_gives():
    rules = spec().campaigns
    rows = uses_of(rules, batch_of(make_events(500)))
    shard = rows["value"].to_numpy() % np.uint64(5)
    parts = [shared_uses(rules, rows.filter(pa.array(shard == n))) for n in (3, 1, 4, 0, 2)]
    whole = shared_uses(rules, rows)
    one = find_campaigns(rules, whole.shared, judged())
    other = find_campaigns(rules, pa.concat_tables([p.shared for p in parts]), judged())
    for name in TABLES:
        assert getattr(other, name).equals(getattr(one, name)), name
    assert sum(len(part.hubs) for part in parts) == len(whole.hubs) > 0


def test_a_value_of_too_many_accounts_is_a_hub():
    rows = uses([(2, 7, 0, f"e{n}", f"a{n}") for n in range(10)])
    made = shared_uses(spec().campaigns, rows)
    assert made.hubs.to_pylist() == [{"column": 2, "value": 7, "accounts": 10}]
    assert not len(made.shared)
    made = shared_uses(spec().campaigns, rows[:9])
    assert (len(made.hubs), len(made.shared)) == (0, 9)


def test_a_value_of_one_account_links_nobody():
    rows = uses([(0, 7, n, f"e{n}", "a") for n in range(3)] + [(0, 8, 0, "f", "b")])
    assert not len(shared_uses(spec().campaigns, rows).shared)


@pytest.mark.parametrize(("hours", "weights"), [(12, [2]), (13, [])])
def test_uses_that_are_far_apart_share_nothing_where_the_link_says_within(hours, weights):
    times = ((0, "a"), (hours, "b"))
    rows = [(2, value, time, f"{value}{who}", who) for value in (1, 2) for time, who in times]
    pairs = account_pairs(spec().campaigns, uses(rows), np.array([0, 1, 0, 1]), 2)
    assert pairs.weight.tolist() == weights


def test_the_nearest_uses_of_two_accounts_count():
    times = ((0, "a"), (20, "b"), (100, "a"), (111, "b"))
    rows = [(2, value, time, f"{value}{time}", who) for value in (1, 2) for time, who in times]
    account = np.array([0, 1, 0, 1] * 2)
    assert account_pairs(spec().campaigns, uses(rows), account, 2).weight.tolist() == [2]


def test_columns_of_a_link_are_chances_for_one_thing_and_links_add_up():
    values = ((0, 1), (1, 2), (2, 3))
    rows = [(column, value, 0, f"{value}{who}", who) for column, value in values for who in "ab"]
    account = np.array([0, 1] * 3)
    pairs = account_pairs(spec().campaigns, uses(rows), account, 2)
    assert pairs.weight.tolist() == [2 + 1], "a text once, with its weight 2, and a site"
    more = spec(more="  evidence: 4\n").campaigns
    assert not len(account_pairs(more, uses(rows), account, 2))


def test_values_that_honest_accounts_share_are_dropped():
    rows = uses([(0, 7, n, f"e{n}", who) for n, who in enumerate("abcd")])
    rules = spec().campaigns
    made = find_campaigns(rules, rows, judged(a=False, b=False, c=True))
    assert (len(made.campaigns), made.honest) == (0, 1)
    for known in (judged(), judged(a=False, c=True), judged(x=False)):
        made = find_campaigns(rules, rows, known)
        assert (len(made.campaigns), made.honest) == (1, 0)


def test_what_else_an_account_writes_is_its_own():
    shared = [(0, 7, n, f"e{n}", who) for n, who in enumerate("abc")]
    own = [(0, 9, 5, "f", "a"), (0, 9, 6, "g", "z")]  # with somebody who is in a group of two
    rules = spec(more="  evidence: 2\n").campaigns
    made = find_campaigns(rules, uses(shared + own), judged())
    assert made.members["account"].to_pylist() == ["a", "b", "c", "z"]
    few = [(2, 9, 5, "f", "a"), (2, 9, 6, "g", "z")]  # a site alone links nobody
    made = find_campaigns(rules, uses(shared + few), judged())
    assert made.events["event_id"].to_pylist() == ["e0", "e1", "e2"]
    assert made.members["account"].to_pylist() == ["a", "b", "c"]


class Tables:
    """A snapshot in memory."""

    def __init__(self, known_from, **tables):
        self.name, self.known_from, self._tables = f"from {known_from}", known_from, tables

    def read(self, table):
        return self._tables[table]


def one_campaign(known_from, account, campaign):
    """A snapshot of one account's campaign."""
    none = {"column": pa.int32(), "value": pa.uint64(), "campaign": pa.string()}
    values = pa.table({name: pa.array([], type_) for name, type_ in none.items()})
    members = pa.table({"account": [account], "campaign": [campaign]})
    return Tables(known_from, members=members, values=values)


def test_a_later_event_is_of_its_accounts_campaign_or_of_that_of_its_values():
    rules = spec().campaigns
    base = {"kind": "post", "one": None, "two": None, "site": None, "weight": 1.0}
    base |= {"event_time": day_us(AS_OF) - DAY}
    first = [
        base
        | {"event_id": f"{ring}{who}", "who": f"{ring}{who}", "one": f"text {ring}", "site": ring}
        for ring in "pq"
        for who in range(3)
    ]
    found = shared_uses(rules, uses_of(rules, batch_of(first))).shared
    made, names = find_campaigns(rules, found, judged()), pa.array(["P", "Q"])
    members = made.members.set_column(1, "campaign", names.take(made.members["campaign"]))
    values = made.values.set_column(2, "campaign", names.take(made.values["campaign"]))
    index = CampaignIndex.of(rules, Tables(0, members=members, values=values))
    asked = {
        "P": {"who": "p1", "one": "text q"},
        "Q": {"who": "new", "one": "text q", "site": "p"},
        "of its text": {"who": "new", "two": "text q"},  # a value of another column
        "of its site": {"who": "new", "site": "p"},
        "of no weight": {"who": "new", "site": "p", "weight": 0.0},  # the link's `where`
        "other": {"who": "new", "one": "other"},
        "none": {"who": "new"},
    }
    later = [base | {"event_id": str(n)} | one for n, one in enumerate(asked.values())]
    batch = batch_of(later)
    assert index.find(rules, batch).to_pylist() == ["P", "Q", None, "P", None, None, None]
    assert index.find(rules, batch.slice(1, 2)).to_pylist() == ["Q", None]
    assert index.find(rules, batch.slice(0, 0)).to_pylist() == []
    bare = batch.select(["event_id", "who"])
    assert index.find(rules, bare).to_pylist() == ["P"] + [None] * 6


def test_an_event_without_an_account_is_of_no_accounts_campaign():
    rules = spec().campaigns
    index = CampaignIndex.of(rules, one_campaign(0, "", "P"))
    batch = pa.RecordBatch.from_pydict({"who": pa.array([None, "", "a"], pa.string())})
    assert index.find(rules, batch).to_pylist() == [None, "P", None]


def test_each_event_of_a_batch_sees_the_newest_snapshot_that_was_known_at_its_time():
    rules = spec().campaigns
    snapshots = [one_campaign(20, "a", "Q"), one_campaign(10, "a", "P"), one_campaign(30, "b", "R")]
    asked = [("a", 30), ("a", 9), ("b", 30), ("a", 20), ("a", 19), ("a", 10), (None, 20)]
    batch = pa.RecordBatch.from_pydict(
        {rules.account: pa.array([who for who, _ in asked], pa.string())}
    )
    times = np.array([time for _, time in asked])
    found = campaigns_as_of(rules, batch, times, snapshots)
    assert found.campaigns.to_pylist() == [None, None, "R", "Q", "P", "P", None]
    names = ["from 30", None, "from 30", "from 20", "from 10", "from 10", "from 20"]
    assert found.snapshots.to_pylist() == names
    nothing = campaigns_as_of(rules, batch, times, [])
    assert nothing.campaigns.null_count == nothing.snapshots.null_count == len(asked)
    # Of what is prepared alone: who sees another one is of no campaign, never of an older one.
    held = {number: CampaignIndex.of(rules, snapshots[number]) for number in (1, 0)}
    held = {0: held[1], 1: held[0]}
    events = batch.append_column("event_time", pa.array(times))
    some = CampaignsAsOf(rules, "", (), np.array([10, 20, 30]), held).look(events)
    assert some.campaigns.to_pylist() == [None, None, None, "Q", "P", "P", None]
    assert some.snapshots.to_pylist() == [None if one == "from 30" else one for one in names]
