"""Pairs that chance explains are not linked; rare values, and accounts that are alike, are."""

import dataclasses
import itertools
import math
import random

import numpy as np
import pyarrow as pa
import pytest
from campaign_world import HOUR, RARITY, TABLES, batch_of, judged, make_rare_events, spec

from configs.campaigns import Rarity
from transforms.campaigns import ALONE, USES, account_pairs, find_campaigns, shared_uses, uses_of
from transforms.campaigns.rarity import BIT


def rules(chance=0.05, similarity=0.0, evidence=1, most=5000):
    made = spec(more=f"  evidence: {evidence}\n").campaigns
    text = dataclasses.replace(made.links["text"], most_accounts=most)
    site = dataclasses.replace(made.links["site"], most_accounts=most, within_us=None, where=None)
    return dataclasses.replace(
        made, rarity=Rarity(chance, similarity), links={"text": text, "site": site}
    )


def pairs_of(rules, table):
    """Linked pairs of a table of `USES`, by the names of their accounts, and their bits."""
    found = shared_uses(rules, table)
    ids = sorted(set(found.shared["account"].to_pylist()))
    account = np.array([ids.index(one) for one in found.shared["account"].to_pylist()], np.int64)
    alone = np.zeros((len(ids), len(rules.columns)), np.int64)
    for row in found.alone.to_pylist():
        if row["account"] in ids:
            alone[ids.index(row["account"]), row["column"]] += row["values"]
    made = account_pairs(rules, found.shared, account, len(ids), alone)
    return {
        (ids[one], ids[other]): weight
        for one, other, weight in zip(made.one, made.other, made.weight.tolist(), strict=True)
    }


def table(rows):
    """Of (column, value, account); each is an event of its own."""
    columns = [
        [one[0] for one in rows],
        [one[1] for one in rows],
        [at * HOUR for at in range(len(rows))],
        [f"e{at}" for at in range(len(rows))],
        [one[2] for one in rows],
        [None] * len(rows),
    ]
    return pa.table(columns, schema=USES)


def strangers(accounts, seed, values=400, most=12):
    """Accounts that choose independently among values that are not equally popular."""
    rng = random.Random(seed)
    popular = [1 / (rank + 3) for rank in range(values)]
    return [
        (2, value, f"s{number:04d}")
        for number in range(accounts)
        for value in set(rng.choices(range(values), popular, k=rng.randrange(1, most)))
    ]


def ring(accounts, values, first=10_000, column=2, name="r"):
    return [
        (column, first + value, f"{name}{number}")
        for number in range(accounts)
        for value in range(values)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_what_accounts_share_by_chance_links_none(seed):
    rows = table(strangers(300, seed))
    assert not pairs_of(rules(), rows)
    plain = dataclasses.replace(rules(evidence=2), rarity=None)
    assert len(pairs_of(plain, rows)) > 2_000, "as each value counts the same"


@pytest.mark.parametrize("seed", range(3))
def test_accounts_that_share_what_few_use_are_linked(seed):
    rows = strangers(300, seed) + ring(4, 3)
    found = pairs_of(rules(), table(rows))
    assert set(found) == set(itertools.combinations([f"r{n}" for n in range(4)], 2))
    # Each of three values is shared by 6 of all pairs of those who share anything.
    used = [value for _, value, _ in rows]
    sharing = {who for _, value, who in rows if used.count(value) > 1}
    bits = -math.log2(6 / math.comb(len(sharing), 2))
    assert set(found.values()) == {3 * round(bits * BIT)}


def test_one_value_is_too_little_where_many_pairs_are_looked_at():
    assert not pairs_of(rules(), table(strangers(300, 1) + ring(2, 1)))
    assert len(pairs_of(rules(), table(strangers(300, 1) + ring(2, 3)))) == 1


def test_more_links_are_allowed_to_be_chance_where_the_config_says_so():
    rows = table(strangers(300, 1) + ring(2, 2))
    few, many = (pairs_of(rules(chance=chance), rows) for chance in (1e-9, 1.0))
    assert (len(few), set(many) >= {("r0", "r1")}) == (0, True)


def test_an_account_that_used_much_shares_more_by_chance():
    """The same three values are evidence between two quiet accounts, not between two loud ones."""
    loud = [(2, value, name) for value in range(400) for name in ("r0", "r1")]
    quiet, noisy = (
        pairs_of(rules(), table(strangers(300, 2) + ring(2, 3) + more)) for more in ([], loud)
    )
    assert set(quiet) == {("r0", "r1")}
    assert ("r0", "r1") not in noisy


@pytest.mark.parametrize(("own", "linked"), [(2, True), (20, False)])
def test_accounts_with_much_of_their_own_are_not_alike(own, linked):
    alone = [(2, 50_000 + 1000 * at + n, f"r{at}") for at in range(3) for n in range(own)]
    rows = table(strangers(300, 3, values=40_000) + ring(3, 8) + alone)
    assert len(pairs_of(rules(similarity=0.3, most=20), rows)) == 3 * linked
    assert len(pairs_of(rules(similarity=0.0, most=20), rows)) == 3


def test_columns_of_a_link_are_one_thing_and_the_best_of_them_counts():
    twice = ring(3, 3, column=0) + ring(3, 2, first=20_000, column=1)
    once = ring(3, 3, column=0)
    more = [(at, value, who) for _, value, who in strangers(300, 4) for at in (0, 1)]
    one, other = (pairs_of(rules(), table(more + rows)) for rows in (twice, once))
    assert one == other
    assert len(one) == 3


def test_order_repetition_and_shards_of_values_decide_nothing():
    made = spec(more=RARITY).campaigns
    rows = uses_of(made, batch_of(make_rare_events()))
    whole = shared_uses(made, rows)
    one = find_campaigns(made, whole.shared, judged(), whole.alone)
    assert one.campaigns["accounts"].to_pylist() == [5] * 4
    order = [*range(len(rows)), *range(0, len(rows), 7)]
    random.Random(4).shuffle(order)
    rows = rows.take(order)
    shard = rows["value"].to_numpy() % np.uint64(5)
    parts = [shared_uses(made, rows.filter(pa.array(shard == n))) for n in (3, 1, 4, 0, 2)]
    shared, alone = (
        pa.concat_tables(getattr(part, name) for part in parts) for name in ("shared", "alone")
    )
    other = find_campaigns(made, shared, judged(), alone)
    for name in TABLES:
        assert getattr(other, name).equals(getattr(one, name)), name
    assert alone.schema == ALONE


def test_values_that_an_account_alone_used_are_counted():
    rows = table([(0, 1, "a"), (0, 2, "a"), (1, 1, "a"), (0, 3, "b"), (0, 4, "a"), (0, 4, "b")])
    alone = shared_uses(rules(), rows).alone
    assert alone.to_pylist() == [
        {"account": "a", "column": 0, "values": 2},
        {"account": "a", "column": 1, "values": 1},
        {"account": "b", "column": 0, "values": 1},
    ]
