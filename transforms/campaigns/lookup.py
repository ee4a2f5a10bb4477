"""Which campaign of a snapshot an event belongs to, by what it has in common with it.

An event's campaign is that of its account; of an account in none, that of the first of its values,
in the order of the config's columns, which a campaign used. Accounts and values are known by their
64-bit hashes, sorted, so that a batch costs bisections.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.campaigns import CampaignRules
from configs.fingerprint import campaigns_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from transforms.campaigns.find import CAMPAIGN
from transforms.campaigns.uses import COLUMN, VALUE, value_hashes
from transforms.derive import derive
from transforms.expression import evaluate_mask
from transforms.hashing import UInt64s, valid_mask
from transforms.signature import columns_behind
from transforms.social.as_of import Int64s, choose
from transforms.social.events import ACCOUNT
from transforms.social.shard_table import account_hashes


class CampaignTables(Protocol):
    """A published snapshot: its name, the first event time that may see it (microseconds UTC)."""

    @property
    def name(self) -> str: ...

    @property
    def known_from(self) -> int: ...

    def read(self, table: str) -> pa.Table:
        """`members` (string `account`, `campaign`) or `values` (`column`, `value`, `campaign`)."""


@dataclasses.dataclass(frozen=True)
class EventCampaigns:
    """Of events: the campaign and the snapshot that says so, string `[n]`; null: none."""

    campaigns: pa.StringArray
    snapshots: pa.StringArray

    def take(self, rows: Int64s) -> EventCampaigns:
        """Of some of them."""
        return EventCampaigns(self.campaigns.take(rows), self.snapshots.take(rows))


class NamesCampaigns(Protocol):
    """What names campaigns of events: `CampaignsAsOf`, or `CampaignsAsLogged`."""

    @property
    def spec(self) -> str: ...

    def look(self, events: pa.RecordBatch) -> EventCampaigns:
        """Of derived events, by their own times."""


@dataclasses.dataclass(frozen=True)
class _Hashed:
    """Sorted hashes, uint64 `[m]`, and the number of each one's campaign, int64 `[m]`."""

    hashes: UInt64s
    campaigns: Int64s

    @classmethod
    def of(cls, hashes: UInt64s, campaigns: Int64s) -> _Hashed:
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], campaigns[order])

    def find(self, asked: UInt64s, mask: npt.NDArray[np.bool_]) -> Int64s:
        """The first campaign of each hash where `mask` is true: int64 `[n]`, -1: none."""
        if not len(self.hashes):
            return np.full(len(asked), -1, np.int64)
        at = np.minimum(np.searchsorted(self.hashes, asked), len(self.hashes) - 1)
        return np.where(mask & (self.hashes[at] == asked), self.campaigns[at], -1)


@dataclasses.dataclass(frozen=True, eq=False)
class CampaignIndex:
    """A snapshot that is prepared for lookups.

    Attributes:
      name: of the snapshot.
      campaigns: names, string `[c]`.
      members: by account; values: of each of the config's columns.
    """

    name: str
    campaigns: pa.StringArray
    members: _Hashed
    values: tuple[_Hashed, ...]

    @classmethod
    def of(cls, rules: CampaignRules, snapshot: CampaignTables) -> CampaignIndex:
        """Reads and sorts a snapshot's accounts and values."""
        members, values = snapshot.read("members"), snapshot.read("values")
        names = pc.unique(
            pa.chunked_array(members[CAMPAIGN].chunks + values[CAMPAIGN].chunks, pa.string())
        )

        def numbers(table: pa.Table) -> Int64s:
            return np.asarray(pc.index_in(table[CAMPAIGN], value_set=names), np.int64)

        column, hashes = values[COLUMN].to_numpy(), values[VALUE].to_numpy()
        of_values = numbers(values)
        return cls(
            snapshot.name,
            names,
            _Hashed.of(account_hashes(members[ACCOUNT]), numbers(members)),
            tuple(
                _Hashed.of(hashes[column == number], of_values[column == number])
                for number in range(len(rules.columns))
            ),
        )

    def find(self, rules: CampaignRules, batch: pa.RecordBatch) -> pa.StringArray:
        """Campaigns of events: string `[n]`, null: of none.

        Args:
          batch: events with the account's column and, as far as they are known, those that link.
        """
        found = np.full(batch.num_rows, -1, np.int64)
        if rules.account in batch.schema.names:
            accounts = batch.column(rules.account)
            found = self.members.find(account_hashes(accounts), valid_mask(accounts))
        for (name, link), known in zip(rules.columns, self.values, strict=True):
            needed = {name, *(link.where.columns if link.where else ())}
            if not len(known.hashes) or not needed <= set(batch.schema.names):
                continue
            column = batch.column(name)
            used = valid_mask(column) & (found < 0)
            if link.where is not None:
                used = used & evaluate_mask(link.where, batch)
            found = np.maximum(found, known.find(value_hashes(name, column), used))
        return self.campaigns.take(pa.array(found, mask=found < 0))


@dataclasses.dataclass(frozen=True, eq=False)
class CampaignsAsOf:
    """The snapshots that a config's events see, those of them prepared that events may need.

    Attributes:
      rules: the config's campaigns.
      spec: fingerprint of what they were made by (`configs.fingerprint.campaigns_fingerprint`).
      names, known_from: of all that are published, int64, ascending.
      held: number of a snapshot -> prepared. Events that see another one have no campaign.
    """

    rules: CampaignRules
    spec: str
    names: tuple[str, ...]
    known_from: Int64s
    held: Mapping[int, CampaignIndex]

    def look(self, events: pa.RecordBatch) -> EventCampaigns:
        """By the newest snapshot that was known at the time of each event."""
        chosen = choose(self.known_from, events.column(EVENT_TIME).to_numpy())
        return _look(self.rules, events, chosen, self.held)


@dataclasses.dataclass(frozen=True, eq=False)
class CampaignsAsLogged:
    """The same by the snapshots that a log names.

    Attributes:
      names: string `[n]`, of the events, in their order; null: none.
      open: a snapshot by its name, and the first event time that may see it, microseconds UTC.
    """

    rules: CampaignRules
    spec: str
    names: pa.StringArray
    open: Callable[[str], tuple[CampaignIndex, int]]

    def look(self, events: pa.RecordBatch) -> EventCampaigns:
        """As named; what an event could not know is none."""
        known = pc.unique(self.names.drop_null()).to_pylist()
        opened = [self.open(name) for name in known]
        chosen = np.asarray(
            pc.fill_null(pc.index_in(self.names, value_set=pa.array(known, pa.string())), -1),
            np.int64,
        )
        moments = np.array([moment for _, moment in opened] + [0], np.int64)[chosen]
        chosen[events.column(EVENT_TIME).to_numpy() < moments] = -1
        held = {number: index for number, (index, _) in enumerate(opened)}
        return _look(self.rules, events, chosen, held)


def naming_fingerprint(spec: Spec) -> str | None:
    """Of the campaigns that decisions of a config name; None: they name none."""
    if spec.campaigns is None or not spec.campaigns.name_decisions:
        return None
    return campaigns_fingerprint(spec)


def events_to_name(spec: Spec, events: pa.RecordBatch) -> pa.RecordBatch:
    """Decoded events with those of their derived columns by which campaigns are known."""
    rules = spec.campaigns
    if rules is None:
        raise ValueError(f"{spec.name} has no section campaigns")
    read = [name for name, _ in rules.columns] + [rules.account]
    read += [name for _, link in rules.columns if link.where for name in link.where.columns]
    used = columns_behind(spec, read)
    derived = {name: one for name, one in spec.derived.items() if name in used}
    return derive(dataclasses.replace(spec, derived=derived), events)


def fitting_campaigns(found: NamesCampaigns | None, spec: Spec) -> NamesCampaigns | None:
    """What names campaigns of a config's events, if it is of this config; else None."""
    return found if found is not None and found.spec == naming_fingerprint(spec) else None


def campaigns_of_events(ids: pa.Array | pa.ChunkedArray, events: pa.Table) -> pa.StringArray:
    """By their ids, of events that made a snapshot: string `[n]`, null for those of no campaign.

    Args:
      events: string columns `event_id` and `campaign`.

    >>> events = pa.table({"event_id": ["a"], "campaign": ["2026-03-12-0001"]})
    >>> campaigns_of_events(pa.array(["a", "b"]), events).to_pylist()
    ['2026-03-12-0001', None]
    """
    known, campaign = events[EVENT_ID].combine_chunks(), events[CAMPAIGN].combine_chunks()
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return campaign.take(pc.index_in(ids.cast(known.type), value_set=known))


def campaigns_as_of(
    rules: CampaignRules,
    batch: pa.RecordBatch,
    times: Int64s,
    snapshots: Sequence[CampaignTables],
) -> EventCampaigns:
    """Of events, by the newest snapshot that was known at the time of each.

    Args:
      batch: see `CampaignIndex.find`.
      times: int64 `[n]`, of the events, microseconds UTC.
      snapshots: of this config's campaigns, in any order.
    """
    ordered = sorted(snapshots, key=lambda one: one.known_from)
    chosen = choose(np.array([one.known_from for one in ordered], np.int64), times)
    numbers = np.unique(chosen[chosen >= 0]).tolist()
    held = {number: CampaignIndex.of(rules, ordered[number]) for number in numbers}
    return _look(rules, batch, chosen, held)


def _look(
    rules: CampaignRules, events: pa.RecordBatch, chosen: Int64s, held: Mapping[int, CampaignIndex]
) -> EventCampaigns:
    """By the number of a snapshot for each event, -1 for none."""
    numbers = np.unique(chosen).tolist()
    if len(numbers) == 1 and numbers[0] in held:
        index = held[numbers[0]]
        names = pa.repeat(pa.scalar(index.name, pa.string()), events.num_rows)
        return EventCampaigns(index.find(rules, events), names)
    campaigns, snapshots = np.full((2, events.num_rows), None, object)
    for number in numbers:
        if number in held:
            rows = np.flatnonzero(chosen == number)
            part = held[number].find(rules, events.take(pa.array(rows)))
            campaigns[rows], snapshots[rows] = part.to_pylist(), held[number].name
    return EventCampaigns(pa.array(campaigns, pa.string()), pa.array(snapshots, pa.string()))
