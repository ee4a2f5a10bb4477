"""Edges by what accounts share: what is read, what is refused, and what no fingerprint hears of."""

import pytest

from configs.errors import ConfigError
from configs.fingerprint import fingerprint, graph_fingerprint
from configs.loader import loads
from transforms.catalog import CATALOG

CONFIG = """
lockstep: 1
name: rooms
columns:
  who: {type: string}
  whom: {type: string}
  room: {type: string}
  seats: {type: integer}
kinds: {post: {scored: true, required: [who]}, ask: {}}
entities: {who: {key: {post: [who]}, aggregates: {posts: {op: count, windows: [1h]}}}}
graph:
  edges:
    request: {of: ask, from: who, to: whom, expires: 5d}
    together: {EDGE}
"""


def spec(edge):
    return loads(CONFIG.replace("EDGE", edge), "rooms.yaml", CATALOG)


def test_a_group_stands_in_place_of_whom_an_edge_leads_to():
    rule = spec("of: post, from: who, group: room, most_accounts: 9").graph.edges["together"]
    assert (rule.group, rule.target, rule.most_accounts) == ("room", "", 9)
    assert rule.columns == ("who", "room")


def test_its_settings_change_a_snapshot_and_what_was_there_keeps_its_fingerprint():
    plain = spec("of: post, from: who, to: whom")
    assert fingerprint(plain) == "b7c4339637255aa6"
    assert graph_fingerprint(plain) == "cd943b7b74878cc4"
    edges = ("group: room", "group: whom", "group: room, most_accounts: 9")
    prints = {graph_fingerprint(spec(f"of: post, from: who, {one}")) for one in edges}
    assert len(prints | {graph_fingerprint(plain)}) == 4
    assert graph_fingerprint(spec("of: post, from: who, group: room, most_accounts: 50")) in prints


@pytest.mark.parametrize(
    ("edge", "words"),
    [
        ("of: post, from: who, group: room, to: whom", "together: to beside group"),
        ("of: post, from: who, group: room, answers: request", "together: answers beside group"),
        ("of: post, from: who, group: who", "together: from and group are the same column"),
        ("of: post, from: who, group: rom", "group: 'rom' is no column"),
        ("of: post, from: who, group: seats", "group: 'seats' is a integer; expected text"),
        ("of: post, from: who, to: whom, most_accounts: 9", "most_accounts is of a group"),
        ("of: post, from: who, group: room, most_accounts: 1", "most_accounts: expected"),
        ("of: post, from: who, group: room, most_accounts: 1001", "most_accounts: expected"),
        ("of: post, from: who", "'to' is missing"),
    ],
)
def test_what_means_nothing_is_refused_where_it_stands(edge, words):
    with pytest.raises(ConfigError) as raised:
        spec(edge)
    assert words in str(raised.value)
    assert "rooms.yaml:14:" in str(raised.value)
    assert "there is no setting" not in str(raised.value)
