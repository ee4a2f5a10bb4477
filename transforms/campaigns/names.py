"""Names of campaigns that last from night to night."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from transforms.campaigns.find import CAMPAIGN, FIRST_SEEN, FoundCampaigns
from transforms.campaigns.uses import ACCOUNTS
from transforms.social.events import ACCOUNT


@dataclasses.dataclass(frozen=True, eq=False)
class KnownCampaigns:
    """The snapshot of the night before, or of the night after.

    Attributes:
      members: string columns `account` and `campaign` (its name).
      first_seen: of each name, microseconds UTC.
    """

    members: pa.Table
    first_seen: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class NamedCampaign:
    """What a campaign is called, and where that comes from.

    Attributes:
      name: `2026-03-12-0007`: the day of the first snapshot that had it, and its number there.
      first_seen: when it was first seen, in this snapshot or in those before, microseconds UTC.
      split_from: the name of the one that it was a part of the night before; "": of none.
      merged: names of others of the night before that are part of it now, ascending.
    """

    name: str
    first_seen: int
    split_from: str = ""
    merged: tuple[str, ...] = ()


def name_campaigns(
    found: FoundCampaigns,
    known: KnownCampaigns | None,
    as_of: str,
    continued_share: float,
    later: KnownCampaigns | None = None,
) -> list[NamedCampaign]:
    """Names in the order of `found.campaigns`.

    A campaign and one of the night before are the same if they share at least `continued_share` of
    the accounts of the smaller one. Where several may be (a split, a merger) the pair with the most
    accounts in common comes first, then that of the older name, then that of the campaign that
    began first; what is left of a split gets a name of its own and tells whose part it was, and
    what was merged is told by the one that it is part of. So communities are followed through time
    by their overlaps (Greene, Doyle, Cunningham, "Tracking the Evolution of Communities in Dynamic
    Social Networks", ASONAM 2010).

    Args:
      found: of this night.
      known: of the night before; None: there is none.
      as_of: the day of the snapshot.
      continued_share: 0 to 1.
      later: of the next night, where it was made before this one: what has no name of the night
        before has the one that it has then.
    """
    first_seen = found.campaigns[FIRST_SEEN].to_pylist()
    overlaps = _overlaps(found, known, continued_share) if known is not None else []
    name: dict[int, str] = {}
    continued: dict[str, int] = {}
    for _, old, new in overlaps:
        if new not in name and old not in continued:
            name[new], continued[old] = old, new
    split: dict[int, str] = {}
    merged: dict[int, list[str]] = {}
    gone: set[str] = set()
    for _, old, new in overlaps:
        if new not in name:
            split.setdefault(new, old)
        if old not in continued and old not in gone:
            gone.add(old)
            merged.setdefault(new, []).append(old)
    ahead: dict[int, str] = {}
    taken = set(name.values())
    for _, old, new in _overlaps(found, later, continued_share) if later is not None else []:
        if new not in name and new not in ahead and old not in taken:
            ahead[new] = old
            taken.add(old)
    made, number = [], 0
    for new, first in enumerate(first_seen):
        if new not in name:
            number += 1  # also of one that has a name already: its own, when made anew
        own = name.get(new) or ahead.get(new)
        while own is None:
            own = f"{as_of}-{number:04d}"
            if own in taken:
                own, number = None, number + 1
        since = first if known is None else min(first, known.first_seen.get(own, first))
        made.append(
            NamedCampaign(own, since, split.get(new, ""), tuple(sorted(merged.get(new, ()))))
        )
    return made


def _overlaps(
    found: FoundCampaigns, known: KnownCampaigns, continued_share: float
) -> Sequence[tuple[int, str, int]]:
    """(accounts in common, old name, new number) of those that may be the same, best first."""
    at = pc.index_in(found.members[ACCOUNT], value_set=known.members[ACCOUNT].combine_chunks())
    both = at.is_valid().to_numpy()
    old = known.members[CAMPAIGN].take(at.drop_null()).to_pylist()
    new = found.members[CAMPAIGN].to_numpy()[both].tolist()
    common: dict[tuple[str, int], int] = {}
    for pair in zip(old, new, strict=True):
        common[pair] = common.get(pair, 0) + 1
    sizes = {
        row["values"]: row["counts"] for row in pc.value_counts(known.members[CAMPAIGN]).to_pylist()
    }
    accounts = found.campaigns[ACCOUNTS].to_numpy()
    kept = [
        (count, before, now)
        for (before, now), count in common.items()
        if count >= continued_share * min(sizes[before], int(accounts[now]))
    ]
    return sorted(kept, key=lambda one: (-one[0], one[1], one[2]))


__all__ = ["KnownCampaigns", "NamedCampaign", "name_campaigns"]
