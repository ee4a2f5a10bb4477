"""Which campaign of a snapshot an event belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.campaigns import CampaignRules
from configs.schema import EVENT_ID
from transforms.campaigns.find import CAMPAIGN
from transforms.campaigns.uses import COLUMN, VALUE, value_hashes
from transforms.expression import evaluate_mask
from transforms.hashing import valid_mask
from transforms.social.as_of import Int64s, choose
from transforms.social.events import ACCOUNT


class CampaignTables(Protocol):
    """A published snapshot: its name, the first event time that may see it (microseconds UTC)."""

    @property
    def name(self) -> str: ...

    @property
    def known_from(self) -> int: ...

    def read(self, table: str) -> pa.Table:
        """`members` or `values`, as `campaigns_of_batch` takes them."""


def campaigns_of_events(ids: pa.Array | pa.ChunkedArray, events: pa.Table) -> pa.StringArray:
    """By their ids, of events that made a snapshot: string `[n]`, null for those of no campaign.

    Args:
      events: string columns `event_id` and `campaign`.

    >>> events = pa.table({"event_id": ["a"], "campaign": ["2026-03-12-0001"]})
    >>> campaigns_of_events(pa.array(["a", "b"]), events).to_pylist()
    ['2026-03-12-0001', None]
    """
    return _found(ids, events[EVENT_ID], events[CAMPAIGN])


def campaigns_of_batch(
    campaigns: CampaignRules, batch: pa.RecordBatch, members: pa.Table, values: pa.Table
) -> pa.StringArray:
    """Of later events, by what they have in common with a snapshot: string `[n]`.

    An event's campaign is that of its account; of an account in none, that of the first of its
    values, in the order of the config's columns, which a campaign used.

    Args:
      batch: events with the account's column and, as far as they are known, those that link.
      members: string columns `account` and `campaign`.
      values: `column`, `value` and string `campaign`.
    """
    made = pa.nulls(batch.num_rows, pa.string())
    if campaigns.account in batch.schema.names:
        made = _found(batch.column(campaigns.account), members[ACCOUNT], members[CAMPAIGN])
    for number, (name, link) in enumerate(campaigns.columns):
        needed = {name, *(link.where.columns if link.where else ())}
        if not needed <= set(batch.schema.names):
            continue
        own = values.filter(pc.equal(values[COLUMN], number))
        hashes = pa.array(value_hashes(name, batch.column(name)))
        found = _found(hashes, own[VALUE], own[CAMPAIGN])
        used = valid_mask(batch.column(name))
        if link.where is not None:
            used = used & evaluate_mask(link.where, batch)
        made = pc.coalesce(made, pc.if_else(pa.array(np.asarray(used)), found, None))
    return made


def campaigns_as_of(
    campaigns: CampaignRules,
    batch: pa.RecordBatch,
    times: Int64s,
    snapshots: Sequence[CampaignTables],
) -> tuple[pa.StringArray, pa.StringArray]:
    """Of events, by the newest snapshot that was known at the time of each.

    Args:
      batch: see `campaigns_of_batch`.
      times: int64 `[n]`, of the events, microseconds UTC.
      snapshots: of this config's campaigns, in any order.

    Returns:
      The campaign, string `[n]`, null: of none; the snapshot's name, string `[n]`, null: none was
      known.
    """
    ordered = sorted(snapshots, key=lambda one: one.known_from)
    known_from = np.array([one.known_from for one in ordered], np.int64)
    chosen = choose(known_from, times)
    made = np.full(batch.num_rows, None, object)
    for number in np.unique(chosen[chosen >= 0]).tolist():
        rows, seen = np.flatnonzero(chosen == number), ordered[number]
        members, values = seen.read("members"), seen.read("values")
        part = campaigns_of_batch(campaigns, batch.take(pa.array(rows)), members, values)
        made[rows] = part.to_pylist()
    names = [ordered[number].name if number >= 0 else None for number in chosen.tolist()]
    return pa.array(made, pa.string()), pa.array(names, pa.string())


def _found(asked: pa.Array, known: pa.ChunkedArray, campaign: pa.ChunkedArray) -> pa.StringArray:
    known, campaign = known.combine_chunks(), campaign.combine_chunks()
    asked = asked.combine_chunks() if isinstance(asked, pa.ChunkedArray) else asked
    return campaign.take(pc.index_in(asked.cast(known.type), value_set=known))
