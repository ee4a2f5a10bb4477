"""The `campaigns` section as frozen dataclasses: what accounts share that links them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from configs.frozen import Frozen

if TYPE_CHECKING:
    from configs.schema import Expression

_DAY_US = 86_400_000_000


@dataclasses.dataclass(frozen=True)
class CampaignLink:
    """Values that two accounts can share: texts, domains, addresses.

    Attributes:
      columns: string columns. Several are several chances to share the same thing (the bands of a
        text): of two accounts the column in which they share the most values counts.
      where: only events for which it is true count.
      within_us: two accounts share a value only if they used it within so long of each other;
        None: whenever.
      weight: of one shared value, as evidence.
      most_accounts: a value that more accounts used is too popular to say anything, and is dropped.
      bursts: two accounts that used a value in one burst have evidence enough by that.
    """

    name: str
    columns: tuple[str, ...]
    where: Expression | None = None
    within_us: int | None = None
    weight: int = 1
    most_accounts: int = 100
    bursts: bool = False


@dataclasses.dataclass(frozen=True)
class Rarity:
    """What more it takes to link two accounts: that chance does not explain what they share.

    Attributes:
      chance: share of the linked pairs that are expected to share by chance, at most.
      similarity: least cosine of the values of two accounts, weighted by how rare they are.
    """

    chance: float = 0.01
    similarity: float = 0.1


@dataclasses.dataclass(frozen=True)
class CampaignRules(Frozen):
    """How accounts that act together are found.

    Attributes:
      account: string column with the account that acts.
      kinds: of the events.
      links: by name.
      recipients: an integer column with how many an event reached, or a string column with whom;
        None: not counted.
      named_recipients: whether that column is text; made by the loader.
      judged: string column of verdict events with the account that is judged; values that mostly
        honest accounts share are dropped. None: they are not.
      span_us: events of so long before a snapshot's day make it.
      delay_us: from a snapshot's moment until it is published.
      evidence: two accounts are linked if what they share weighs so much.
      least_accounts: of a campaign.
      large: groups of so many accounts are joined only if many of their accounts are linked.
      joined_share: the share of the smaller group's accounts that must be linked then.
      continued_share: of the smaller one's accounts that a campaign and one of the snapshot before
        must share, to be one.
      rarity: what more it takes to link two accounts; None: nothing.
      name_decisions: whether decisions name the campaign of their event.
    """

    account: str
    kinds: tuple[str, ...]
    links: Mapping[str, CampaignLink]
    recipients: str | None = None
    named_recipients: bool = False
    judged: str | None = None
    span_us: int = 30 * _DAY_US
    delay_us: int = 7_200_000_000
    evidence: int = 2
    least_accounts: int = 3
    large: int = 10
    joined_share: float = 0.2
    continued_share: float = 0.3
    rarity: Rarity | None = None
    name_decisions: bool = False

    @property
    def columns(self) -> tuple[tuple[str, CampaignLink], ...]:
        """Every column that links, with its link; numbered in this order."""
        return tuple((name, link) for link in self.links.values() for name in link.columns)
