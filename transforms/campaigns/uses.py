"""Which account used which value when: what campaigns are found in.

A value is known by a hash of it and its column (64 bits, seeded by the column's name), so texts and
addresses are in no snapshot.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.campaigns import CampaignRules
from configs.schema import EVENT_ID, EVENT_TIME, KIND
from transforms.columns import without_empty
from transforms.expression import evaluate_mask
from transforms.hashing import hash_column, hash_text, valid_mask
from transforms.social.events import ACCOUNT

COLUMN, VALUE, RECIPIENTS, ACCOUNTS = "column", "value", "recipients", "accounts"
VALUES = "values"

USES = pa.schema(
    [
        (COLUMN, pa.int32()),
        (VALUE, pa.uint64()),
        (EVENT_TIME, pa.int64()),
        (EVENT_ID, pa.string()),
        (ACCOUNT, pa.string()),
        (RECIPIENTS, pa.int64()),
    ]
)
"""A row per event and column that links: the column's number (`CampaignRules.columns`), the hash of
its value, and the event's. Recipients: how many, or a hash of whom; null: not known."""

HUBS = pa.schema([(COLUMN, pa.int32()), (VALUE, pa.uint64()), (ACCOUNTS, pa.int64())])
"""Values that too many accounts used, and how many did."""

ALONE = pa.schema([(ACCOUNT, pa.string()), (COLUMN, pa.int32()), (VALUES, pa.int64())])
"""How many values of a column an account alone used."""

_SEED, _REACHED = "campaigns ", 0x72656163


@dataclasses.dataclass(frozen=True)
class Uses:
    """Of some values.

    Attributes:
      shared: of `USES`: of values that at least two accounts used, and not too many.
      hubs: of `HUBS`.
      alone: of `ALONE`.
    """

    shared: pa.Table
    hubs: pa.Table
    alone: pa.Table


def uses_of(campaigns: CampaignRules, batch: pa.RecordBatch) -> pa.Table:
    """The uses that events are: a table of `USES`, by column, in the order of the events.

    An empty text is no account, no value and no recipient, as null is: it would be one that all
    events without theirs share.

    Args:
      batch: decoded events with their derived columns.
    """
    kinds = pc.is_in(batch.column(KIND), value_set=pa.array(campaigns.kinds, pa.string()))
    acts = pc.and_(kinds, without_empty(batch.column(campaigns.account)).is_valid())
    events = batch.filter(acts)
    masks = {
        link.name: None if link.where is None else evaluate_mask(link.where, events)
        for link in campaigns.links.values()
    }
    recipients = _recipients(campaigns, events)
    parts = []
    for number, (name, link) in enumerate(campaigns.columns):
        used = valid_mask(without_empty(events.column(name)))
        mask = masks[link.name]
        if mask is not None:
            used = used & mask
        rows = pa.array(np.flatnonzero(used))
        columns = [
            pa.repeat(pa.scalar(number, pa.int32()), len(rows)),
            pa.array(value_hashes(name, events.column(name)).take(rows.to_numpy())),
            *(events.column(one).take(rows) for one in (EVENT_TIME, EVENT_ID, campaigns.account)),
            recipients.take(rows),
        ]
        parts.append(pa.Table.from_arrays(columns, schema=USES))
    return pa.concat_tables(parts) if parts else USES.empty_table()


def value_hashes(column: str, values: pa.Array) -> npt.NDArray[np.uint64]:
    """By what a column's values are known: uint64 `[n]`; 0 for null."""
    return hash_column(values, hash_text(_SEED + column))


def shared_uses(campaigns: CampaignRules, uses: pa.Table) -> Uses:
    """Those of values that at least two accounts used, sorted; values of too many are hubs.

    A value that everybody uses links everybody and says nothing: entity resolution drops such keys
    for both reasons (block purging: Papadakis, Ioannou, Palpanas, Niederee, Nejdl, "A Blocking
    Framework for Entity Resolution in Highly Heterogeneous Information Spaces", TKDE 25, 2013).

    Args:
      uses: of `USES`, in any order, with repetitions: all of a value together.
    """
    order = [(one, "ascending") for one in (COLUMN, VALUE, EVENT_TIME, EVENT_ID, ACCOUNT)]
    uses = uses.sort_by(order).combine_chunks()
    if not len(uses):
        return Uses(uses, HUBS.empty_table(), ALONE.empty_table())
    value = starts_of(uses)
    event = pc.dictionary_encode(uses[EVENT_ID].chunk(0)).indices.to_numpy().astype(np.int64)
    # Of an event that comes twice the first one in order counts.
    _, first = np.unique(value * len(uses) + event, return_index=True)
    kept = np.sort(first)
    uses, value = uses.take(pa.array(kept)).combine_chunks(), value[kept]
    account = pc.dictionary_encode(uses[ACCOUNT].chunk(0)).indices.to_numpy().astype(np.int64)
    distinct = np.unique(value * len(uses) + account) // len(uses)
    accounts = np.bincount(distinct, minlength=int(value[-1]) + 1)[value]
    most = np.array([link.most_accounts for _, link in campaigns.columns], np.int64)
    hub = accounts > most[uses[COLUMN].to_numpy()]
    begins = np.diff(value, prepend=-1) > 0
    hubs = uses.filter(pa.array(hub & begins)).select([COLUMN, VALUE])
    hubs = hubs.append_column(HUBS.field(ACCOUNTS), pa.array(accounts[hub & begins]))
    alone = uses.filter(pa.array(begins & (accounts == 1))).select([ACCOUNT, COLUMN])
    alone = alone.append_column(VALUES, pa.array(np.ones(len(alone), np.int64)))
    return Uses(uses.filter(pa.array(~hub & (accounts > 1))), hubs, sum_alone(alone))


def sum_alone(alone: pa.Table) -> pa.Table:
    """How many values each account alone used, of parts of them: of `ALONE`, sorted.

    >>> one = pa.table({"account": ["b", "a", "b"], "column": [0, 0, 0], "values": [1, 1, 2]})
    >>> sum_alone(one).to_pydict()
    {'account': ['a', 'b'], 'column': [0, 0], 'values': [1, 3]}
    """
    made = alone.group_by([ACCOUNT, COLUMN]).aggregate([(VALUES, "sum")])
    made = made.select([ACCOUNT, COLUMN, f"{VALUES}_sum"]).rename_columns(ALONE.names)
    return made.sort_by([(ACCOUNT, "ascending"), (COLUMN, "ascending")]).combine_chunks()


def starts_of(uses: pa.Table) -> npt.NDArray[np.int64]:
    """Numbers of the values of sorted uses, from 0: int64 `[n]`."""
    column, value = (uses[name].to_numpy() for name in (COLUMN, VALUE))
    fresh = np.ones(len(uses), np.int64)
    fresh[1:] = (column[1:] != column[:-1]) | (value[1:] != value[:-1])
    return np.cumsum(fresh) - 1


def _recipients(campaigns: CampaignRules, events: pa.RecordBatch) -> pa.Array:
    if campaigns.recipients is None:
        return pa.nulls(events.num_rows, pa.int64())
    column = without_empty(events.column(campaigns.recipients))
    if not pa.types.is_string(column.type):
        return column
    hashes = hash_column(column, _REACHED).view(np.int64)
    return pa.array(hashes, mask=~valid_mask(column))
