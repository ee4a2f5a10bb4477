"""Campaigns are a function of the set of uses, and of what is known of accounts."""

import random

import numpy as np
import pyarrow as pa
import pytest
from campaign_world import AS_OF, DAY, HOUR, TABLES, batch_of, judged, make_events, spec

from pipelines.layout import day_us
from transforms.campaigns import USES, account_pairs, find_campaigns, shared_uses, uses_of
from transforms.campaigns.lookup import campaigns_as_of, campaigns_of_batch


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


def test_a_later_event_is_of_its_accounts_campaign_or_of_that_of_its_values():
    rules = spec().campaigns
    base = {"kind": "post", "one": None, "two": None, "site": None, "weight": 1.0}
    base |= {"event_time": day_us(AS_OF) - DAY}
    first = [
        base | {"event_id": f"{ring}{who}", "who": f"{ring}{who}", "one": f"text {ring}"}
        for ring in "pq"
        for who in range(3)
    ]
    found = shared_uses(rules, uses_of(rules, batch_of(first))).shared
    made, names = find_campaigns(rules, found, judged()), pa.array(["P", "Q"])
    members = made.members.set_column(1, "campaign", names.take(made.members["campaign"]))
    values = made.values.set_column(2, "campaign", names.take(made.values["campaign"]))
    later = [
        base | {"event_id": "1", "who": "p1", "one": "text q"},
        base | {"event_id": "2", "who": "new", "one": "text q"},
        base | {"event_id": "3", "who": "new", "one": "other"},
        base | {"event_id": "4", "who": "new"},
    ]
    seen = campaigns_of_batch(rules, batch_of(later), members, values)
    assert seen.to_pylist() == ["P", "Q", None, None]
    bare = batch_of(later).select(["event_id", "who"])
    assert campaigns_of_batch(rules, bare, members, values).to_pylist() == ["P", None, None, None]


class OneCampaign:
    """A snapshot in memory, of one account's campaign."""

    def __init__(self, known_from, account, campaign):
        self.name, self.known_from = f"from {known_from}", known_from
        self._account, self._campaign = account, campaign

    def read(self, table):
        text = pa.string()
        if table == "members":
            return pa.table({"account": [self._account], "campaign": [self._campaign]})
        none = {"column": pa.int32(), "value": pa.uint64(), "campaign": text}
        return pa.table({name: pa.array([], type_) for name, type_ in none.items()})


def test_each_event_of_a_batch_sees_the_newest_snapshot_that_was_known_at_its_time():
    rules = spec().campaigns
    snapshots = [OneCampaign(20, "a", "Q"), OneCampaign(10, "a", "P"), OneCampaign(30, "b", "R")]
    asked = [("a", 30), ("a", 9), ("b", 30), ("a", 20), ("a", 19), ("a", 10), (None, 20)]
    batch = pa.RecordBatch.from_pydict(
        {rules.account: pa.array([who for who, _ in asked], pa.string())}
    )
    times = np.array([time for _, time in asked])
    campaigns, names = campaigns_as_of(rules, batch, times, snapshots)
    assert campaigns.to_pylist() == [None, None, "R", "Q", "P", "P", None]
    assert names.to_pylist() == [
        "from 30", None, "from 30", "from 20", "from 10", "from 10", "from 20"
    ]  # fmt: skip
    nothing, none = campaigns_as_of(rules, batch, times, [])
    assert nothing.null_count == none.null_count == len(asked)
