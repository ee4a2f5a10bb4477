"""Accounts that share a group are linked: against the definition, in any order and any parts."""

import itertools

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.social import EDGES, latest, live
from transforms.social.edges import shared

USE = st.tuples(
    st.sampled_from("abcde"), st.sampled_from(["x", "y", "é"]), st.sampled_from(["room", "device"]),
    st.integers(0, 9),
)  # fmt: skip
USES = st.lists(USE, max_size=40)
MOST = {"room": 3, "device": 2}
EXPIRY = {"room": 4, "device": 100}
AS_OF = 8


def members(uses):
    rows = [
        {"from": a, "to": g, "relation": r, "since": t, "time": t, "until": t + EXPIRY[r]}
        for a, g, r, t in uses
    ]
    return latest(live(pa.Table.from_pylist(rows, EDGES), AS_OF))


def rows_of(edges):
    return sorted(map(tuple, (one.values() for one in edges.to_pylist())))


@given(USES)
def test_edges_are_those_of_the_definition(uses):
    there = {}
    for account, group, relation, time in uses:
        if time < AS_OF < time + EXPIRY[relation]:
            there.setdefault((relation, group), {}).setdefault(account, []).append(time)
    expected = []
    for (relation, _), accounts in there.items():
        if len(accounts) > MOST[relation]:
            continue
        for one, other in itertools.permutations(accounts, 2):
            first = max(min(accounts[one]), min(accounts[other]))
            last = [max(accounts[one]), max(accounts[other])]
            until = min(last) + EXPIRY[relation]
            expected.append((one, other, relation, first, max(last), until))
    assert rows_of(shared(members(uses), MOST)) == sorted(expected)


@given(USES, st.randoms(use_true_random=False), st.integers(1, 3))
def test_no_order_or_repetition_changes_an_edge_and_groups_may_be_apart(uses, random, parts):
    whole = rows_of(latest(shared(members(uses), MOST)))
    again = uses + random.sample(uses, len(uses) // 2)
    random.shuffle(again)
    apart = [[use for use in again if ord(use[1]) % parts == part] for part in range(parts)]
    tables = [shared(members(some), MOST) for some in apart]
    assert rows_of(latest(pa.concat_tables(tables))) == whole
