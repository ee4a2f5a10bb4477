"""Uses of shared values to campaigns: their accounts, their events, what they share."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.campaigns import CampaignRules
from configs.schema import EVENT_ID, EVENT_TIME
from transforms.campaigns.groups import join_accounts
from transforms.campaigns.pairs import account_pairs
from transforms.campaigns.uses import (
    ACCOUNTS,
    ALONE,
    COLUMN,
    RECIPIENTS,
    VALUE,
    VALUES,
    starts_of,
)
from transforms.social.events import ABUSIVE, ACCOUNT

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CAMPAIGN, EVENTS = "campaign", "events"
FIRST_SEEN, LAST_SEEN = "first_seen", "last_seen"
_NOTHING_ALONE = ALONE.empty_table()


@dataclasses.dataclass(frozen=True, eq=False)
class FoundCampaigns:
    """Campaigns, numbered in the order of their first events.

    Attributes:
      campaigns: a row each: `first_seen`, `last_seen` (of the events that make it, microseconds
        UTC), counts of `accounts`, `events`, `recipients` (null where no event says any) and
        `values` (of each link of the config, in its order: shared values that accounts of it used).
      members: `account`, `campaign` (its number), `events`, `first_seen`, `last_seen`; by account.
      events: `event_id`, `event_time`, `campaign`; in order of time and id.
      values: `column`, `value`, `campaign`: of each value that two accounts of a campaign used, the
        campaign with the most of them; by value.
      pairs: how many accounts were linked, two by two.
      honest: values that were dropped, since honest accounts share them.
      largest: accounts of the largest connected component, before weak links were left out.
    """

    campaigns: pa.Table
    members: pa.Table
    events: pa.Table
    values: pa.Table
    pairs: int
    honest: int
    largest: int


def find_campaigns(
    campaigns: CampaignRules,
    uses: pa.Table,
    judged: pa.Table,
    alone: pa.Table = _NOTHING_ALONE,
) -> FoundCampaigns:
    """Groups of accounts that share enough, and what they did.

    An event is of its account's campaign if it has a value that another account of the campaign
    used too: what else its accounts write is their own.

    Args:
      uses: of `USES`, of shared values (`shared_uses`), in any order.
      judged: `account`, each once, and whether it is `abusive`, as known.
      alone: of `ALONE`, in parts or not; counts with `campaigns.rarity` alone.
    """
    uses = _first_copies(uses)
    honest = _honest(uses, judged)
    value = starts_of(uses) if len(uses) else np.zeros(0, np.int64)
    dropped = len(np.unique(value[honest]))
    uses = uses.filter(pa.array(~honest)).combine_chunks()
    ids = _sorted_distinct(uses[ACCOUNT])
    account = pc.index_in(uses[ACCOUNT], value_set=ids).to_numpy().astype(np.int64)
    counts = _alone(alone, ids, len(campaigns.columns))
    pairs = account_pairs(campaigns, uses, account, len(ids), counts)
    group = join_accounts(pairs, len(ids), campaigns.large, campaigns.joined_share)
    plain = join_accounts(pairs, len(ids), len(ids) + 1, 0.0)
    size = np.bincount(group, minlength=len(ids))
    campaign = np.where(size[group] >= campaigns.least_accounts, group, -1)
    linking = _linking(uses, campaign[account], account)
    uses, account = uses.filter(pa.array(linking)).combine_chunks(), account[linking]
    number = _numbered(uses, campaign[account])
    return FoundCampaigns(
        campaigns=_campaigns(campaigns, uses, account, number),
        members=_members(uses, ids, account, number),
        events=_events(uses, number),
        values=_values(uses, account, number),
        pairs=len(pairs),
        honest=dropped,
        largest=int(np.bincount(plain).max(initial=0)) if len(plain) else 0,
    )


def _alone(alone: pa.Table, ids: pa.Array, columns: int) -> Int64s:
    """How many values each account alone used: int64 `[accounts, columns]`."""
    made = np.zeros((len(ids), columns), np.int64)
    known = alone.filter(pc.is_in(alone[ACCOUNT], value_set=ids))
    account = pc.index_in(known[ACCOUNT], value_set=ids).to_numpy()
    np.add.at(made, (account, known[COLUMN].to_numpy()), known[VALUES].to_numpy())
    return made


def _first_copies(uses: pa.Table) -> pa.Table:
    """Without later copies of an event id; sorted by column, value, time and id."""
    order = [(one, "ascending") for one in (EVENT_ID, EVENT_TIME, ACCOUNT)]
    uses = uses.sort_by(order).combine_chunks()
    if len(uses):
        event, account = (_codes(uses[name]) for name in (EVENT_ID, ACCOUNT))
        time = uses[EVENT_TIME].to_numpy()
        begins = np.flatnonzero(np.diff(event, prepend=-1))
        first = np.repeat(begins, np.diff(begins, append=len(event)))
        same = (time == time[first]) & (account == account[first])
        uses = uses.filter(pa.array(same))
    order = [(one, "ascending") for one in (COLUMN, VALUE, EVENT_TIME, EVENT_ID)]
    return uses.sort_by(order).combine_chunks()


def _honest(uses: pa.Table, judged: pa.Table) -> Mask:
    """Uses of values that more honest than abusive accounts share: bool `[n]`."""
    if not len(uses) or not len(judged):
        return np.zeros(len(uses), np.bool_)
    value, code = starts_of(uses), _codes(uses[ACCOUNT])
    place = pc.index_in(uses[ACCOUNT], value_set=judged[ACCOUNT].combine_chunks())
    known = place.is_valid().to_numpy(zero_copy_only=False)
    abusive = judged[ABUSIVE].take(place.fill_null(0)).to_numpy(zero_copy_only=False)
    _, once = np.unique(value * len(uses) + code, return_index=True)
    balance = np.zeros(int(value[-1]) + 1, np.int64)
    said = np.where(known, np.where(abusive, -1, 1), 0)
    np.add.at(balance, value[once], said[once])
    return np.asarray(balance[value] > 0)


def _linking(uses: pa.Table, campaign: Int64s, account: Int64s) -> Mask:
    """Uses of a value that at least two accounts of a campaign used: bool `[n]`."""
    if not len(uses):
        return np.zeros(0, np.bool_)
    most = int(max(account.max(), len(uses))) + 2
    key = starts_of(uses) * most + campaign + 1  # of a value in a campaign
    _, place = np.unique(key, return_inverse=True)
    distinct = np.unique(place * most + account) // most
    return np.asarray((campaign >= 0) & (np.bincount(distinct)[place] > 1))


def _numbered(uses: pa.Table, campaign: Int64s) -> Int64s:
    """Campaigns numbered in the order of their first events: int64 `[n]`."""
    if not len(uses):
        return np.zeros(0, np.int64)
    order = np.lexsort((_codes(uses[EVENT_ID]), uses[EVENT_TIME].to_numpy()))
    old, first = np.unique(campaign[order], return_index=True)
    rank = np.empty(len(old), np.int64)
    rank[np.argsort(first)] = np.arange(len(old))
    return rank[np.searchsorted(old, campaign)]


def _campaigns(
    campaigns: CampaignRules, uses: pa.Table, account: Int64s, number: Int64s
) -> pa.Table:
    count = int(number.max(initial=-1)) + 1
    time = uses[EVENT_TIME].to_numpy()
    once = _each_event(uses)
    links = list(campaigns.links)
    of_column = np.array([links.index(link.name) for _, link in campaigns.columns], np.int64)
    values = np.zeros((len(links), count), np.int64)
    if len(uses):
        value = starts_of(uses)
        _, places = np.unique(value * count + number, return_index=True)
        np.add.at(values, (of_column[uses[COLUMN].to_numpy()[places]], number[places]), 1)
    first, last = _range(time, number, count)
    return pa.table(
        {
            FIRST_SEEN: first,
            LAST_SEEN: last,
            ACCOUNTS: _distinct(account, number, count),
            EVENTS: np.bincount(number[once], minlength=count).astype(np.int64),
            RECIPIENTS: _reach(campaigns, uses, number, once, count),
            VALUES: pa.array(values.T.tolist(), pa.list_(pa.int64())),
        }
    )


def _reach(
    campaigns: CampaignRules, uses: pa.Table, number: Int64s, once: Int64s, count: int
) -> pa.Array:
    """How many recipients: the sum of numbers, or how many distinct ones there are."""
    known = uses[RECIPIENTS].is_valid().to_numpy()[once]
    reached = uses[RECIPIENTS].fill_null(0).to_numpy()[once][known]
    of = number[once][known]
    if campaigns.named_recipients:
        made = _distinct(reached, of, count)
    else:
        made = np.zeros(count, np.int64)
        np.add.at(made, of, reached)
    return pa.array(made, mask=np.bincount(of, minlength=count) == 0)


def _members(uses: pa.Table, ids: pa.Array, account: Int64s, number: Int64s) -> pa.Table:
    numbers, first = np.unique(account, return_index=True)
    place = np.searchsorted(numbers, account)
    once = _each_event(uses)
    begin, end = _range(uses[EVENT_TIME].to_numpy(), place, len(numbers))
    return pa.table(
        {
            ACCOUNT: ids.take(pa.array(numbers)),
            CAMPAIGN: number[first],
            EVENTS: np.bincount(place[once], minlength=len(numbers)).astype(np.int64),
            FIRST_SEEN: begin,
            LAST_SEEN: end,
        }
    )


def _events(uses: pa.Table, number: Int64s) -> pa.Table:
    made = uses.select([EVENT_ID, EVENT_TIME]).append_column(CAMPAIGN, pa.array(number))
    made = made.take(pa.array(_each_event(uses)))
    order = [(EVENT_TIME, "ascending"), (EVENT_ID, "ascending")]
    return made.sort_by(order).combine_chunks()


def _values(uses: pa.Table, account: Int64s, number: Int64s) -> pa.Table:
    if not len(uses):
        empty = uses.select([COLUMN, VALUE])
        return empty.append_column(CAMPAIGN, pa.array([], pa.int64()))
    value = starts_of(uses)
    count = int(number.max()) + 1
    keys, first = np.unique(value * count + number, return_index=True)
    accounts = _distinct(account, np.searchsorted(keys, value * count + number), len(keys))
    order = np.lexsort((keys % count, -accounts, keys // count))
    chosen = order[np.flatnonzero(np.diff(keys[order] // count, prepend=-1))]
    made = uses.select([COLUMN, VALUE]).take(pa.array(first[chosen]))
    made = made.append_column(CAMPAIGN, pa.array(number[first[chosen]]))
    return made.sort_by([(VALUE, "ascending"), (COLUMN, "ascending")]).combine_chunks()


def _each_event(uses: pa.Table) -> Int64s:
    """A use of each event, ascending: the first one."""
    if not len(uses):
        return np.zeros(0, np.int64)
    return np.sort(np.unique(_codes(uses[EVENT_ID]), return_index=True)[1]).astype(np.int64)


def _range(time: Int64s, of: Int64s, count: int) -> tuple[Int64s, Int64s]:
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, of, time)
    np.maximum.at(last, of, time)
    return first, last


def _distinct(values: Int64s, of: Int64s, count: int) -> Int64s:
    """How many distinct values each of `count` has: int64 `[count]`."""
    codes = np.unique(values, return_inverse=True)[1]
    keys = np.unique(of * (len(values) + 1) + codes) // (len(values) + 1)
    return np.bincount(keys, minlength=count).astype(np.int64)


def _codes(column: pa.ChunkedArray) -> Int64s:
    """Numbers of texts in the order of their bytes: int64 `[n]`."""
    values = _sorted_distinct(column)
    return np.asarray(pc.index_in(column, value_set=values).to_numpy(), np.int64)


def _sorted_distinct(column: pa.ChunkedArray) -> pa.Array:
    values = pc.unique(column)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.take(pc.sort_indices(values))
