"""An empty id is nobody's: events with it are those of events with none."""

import json

import pytest
from campaign_world import batch_of
from campaign_world import spec as rings
from social_world import AS_OF, spec

from pipelines.layout import day_us
from transforms.campaigns import uses_of
from transforms.decode import decode_json
from transforms.social.events import edges_of, judgements_of, memberships_of

GROUPED = "    together: {of: post, from: who, group: whom, expires: 9d, most_accounts: 3}\n"
SOCIAL = [
    {"kind": kind, "who": who, "whom": whom, "weight": 2.0}
    for kind in ("post", "ask", "accept")
    for who in ("ann", "")
    for whom in ("bob", "")
] + [{"kind": "verdict", "subject": "p", "bad": True, "whom": whom} for whom in ("bob", "")]
POSTS = [
    {"kind": "post", "who": who, "whom": whom, "one": one, "two": "t", "site": one, "weight": 2.0}
    for who in ("ann", "")
    for whom in ("bob", "")
    for one in ("a", "")
]


def numbered(events):
    return [{"event_id": f"{n}", "event_time": day_us(AS_OF)} | one for n, one in enumerate(events)]


@pytest.mark.parametrize("made_of", [edges_of, memberships_of, judgements_of])
def test_an_empty_id_is_no_account_no_group_and_no_edge(made_of):
    config = spec(graph=GROUPED)
    records = [json.dumps(one).encode() for one in numbered(SOCIAL)]
    batch = decode_json(config, records, "test").batch
    assert batch.num_rows == len(SOCIAL)
    if made_of is judgements_of:
        assert made_of(config, batch, "whom", ["who"])["account"].to_pylist() == ["bob"]
        return
    made = made_of(config.graph, batch)
    assert {(one["from"], one["to"]) for one in made.to_pylist()} == {("ann", "bob")}
    assert len(made) == (1 if made_of is memberships_of else 3)


def test_an_empty_value_links_nobody_and_an_empty_account_uses_nothing():
    rules = rings().campaigns
    made = uses_of(rules, batch_of(numbered(POSTS)))
    assert set(made["account"].to_pylist()) == {"ann"}
    rows = [(one["column"], one["event_id"], one["recipients"] is None) for one in made.to_pylist()]
    own = [(str(n), one) for n, one in enumerate(POSTS) if one["who"]]
    wanted = [
        (number, event, not one["whom"])
        for number, name in enumerate(("one", "two", "site"))
        for event, one in own
        if one[name]
    ]
    assert rows == wanted
