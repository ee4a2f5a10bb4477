"""The `graph` section as frozen dataclasses: edges, and who sees features of accounts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from configs.frozen import Frozen

if TYPE_CHECKING:
    from configs.schema import Expression

GRAPH_FEATURES: Mapping[str, str] = {
    "in_degree": "accounts that have an edge to it",
    "out_degree": "accounts that it has an edge to",
    "reciprocity": "share of its edges that are answered by one back",
    "acceptance": "share of the requests that it sent that were accepted",
    "clustering": "share of pairs of its neighbours that are neighbours",
    "age": "seconds since its first live edge",
    "trust": "trust that reaches it from accounts judged honest (SybilRank)",
    "distrust": "the same from accounts judged abusive",
    "standing": "standing by judged accounts around it (SybilSCAR)",
}
"""What each feature of an account says."""

HOPS = (1, 2)
"""Means of these features over neighbours reach so far."""

OF_REQUESTS = ("acceptance",)
"""Features that need an edge which answers another."""
OF_JUDGED = ("trust", "distrust", "standing")
"""Features that need judged accounts."""


@dataclasses.dataclass(frozen=True)
class EdgeRule:
    """Which events make an edge, and for how long.

    Attributes:
      kinds: of the events.
      source, target: string columns with the account that acts and the one that it acts on; an
        event with a null or the same account in both makes no edge. With `group` the target is "".
      where: only events for which it is true make one.
      expires_us: how long after its last event an edge is there.
      answers: the rule whose edge this one answers, the other way round; None: none.
      group: string column of what accounts have in common, such as a channel or a device: those of
        one value are linked, each to each, both ways; None: the event names both accounts.
      most_accounts: of a group; a larger one links nobody.
    """

    name: str
    kinds: tuple[str, ...]
    source: str
    target: str
    where: Expression | None
    expires_us: int
    answers: str | None = None
    group: str | None = None
    most_accounts: int = 50

    @property
    def columns(self) -> tuple[str, str]:
        """With the account that acts, and with whom it links it to: an account, or a group."""
        return self.source, self.group or self.target


@dataclasses.dataclass(frozen=True)
class SocialGraph(Frozen):
    """Accounts and the edges between them.

    Attributes:
      edges: rules by name.
      judged: the string column of verdict events with the account that is judged (where it is
        empty, what `labels.subjects` say); None: trust is not computed.
      features: of each account, in the order of `GRAPH_FEATURES`; their means over neighbours
        follow.
      delay_us: from a snapshot's moment until it is published.
      accounts: which accounts of a scored event it sees the features of: name -> string column.
    """

    edges: Mapping[str, EdgeRule]
    judged: str | None
    features: tuple[str, ...]
    delay_us: int = 7_200_000_000
    accounts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def longest_us(self) -> int:
        """How far back an event can be that still makes an edge."""
        return max(rule.expires_us for rule in self.edges.values())

    @property
    def account_columns(self) -> tuple[str, ...]:
        """Columns of events that hold accounts: of edges, and those that are looked up."""
        ends = [name for rule in self.edges.values() for name in (rule.source, rule.target)]
        return tuple(dict.fromkeys(filter(None, [*ends, *self.accounts.values()])))

    @property
    def columns(self) -> tuple[str, ...]:
        """What a snapshot has of each account (`feature_names`)."""
        return feature_names(self.features)


def feature_names(base: Sequence[str]) -> tuple[str, ...]:
    """The chosen features, then their means over neighbours, at one hop and at two.

    >>> feature_names(["age", "trust"])
    ('age', 'trust', 'age_mean_1', 'trust_mean_1', 'age_mean_2', 'trust_mean_2')
    """
    return (*base, *(f"{name}_mean_{hop}" for hop in HOPS for name in base))


def graph_inputs(graph: SocialGraph | None) -> dict[str, tuple[str, ...]]:
    """The features that an event sees: of each of its `accounts`, in the order of `columns`.

    >>> graph = SocialGraph({}, None, ("age",), accounts={"author": "author_id"})
    >>> graph_inputs(graph)
    {'author': ('author_graph_age', 'author_graph_age_mean_1', 'author_graph_age_mean_2')}
    """
    if graph is None:
        return {}
    return {
        name: tuple(f"{name}_graph_{column}" for column in graph.columns) for name in graph.accounts
    }
