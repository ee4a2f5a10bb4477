"""Accounts and events of a published snapshot's campaigns, as units of training and evaluation."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, Spec
from pipelines.campaign_snapshots import campaign_snapshots
from scoring.files import Place
from training.groups import encode_groups
from transforms.campaigns.find import CAMPAIGN, FIRST_SEEN
from transforms.social.events import ACCOUNT

Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class CampaignUnits:
    """The campaigns of a snapshot, numbered by their rows.

    Attributes:
      snapshot: its name.
      began_us: int64 `[c]`, when each was first seen, microseconds UTC.
      members: string columns `account` and `campaign`; `events`: `event_id` and `campaign`.
    """

    snapshot: str
    began_us: Integers
    names: pa.StringArray
    members: pa.Table
    events: pa.Table

    def of_accounts(self, accounts: pa.Array | pa.ChunkedArray) -> Integers:
        """The campaign of each account, int64 `[n]`; -1 for those of none."""
        return self._numbers(accounts, self.members, ACCOUNT)

    def of_events(self, ids: pa.Array | pa.ChunkedArray) -> Integers:
        """The campaign that each event is of, int64 `[n]`; -1 for those of none."""
        return self._numbers(ids, self.events, EVENT_ID)

    def clusters(self, accounts: pa.Array | pa.ChunkedArray) -> Integers:
        """A number for each campaign, and for each account of none: int64 `[n]`; -1 for null."""
        campaign, own = self.of_accounts(accounts), encode_groups(accounts)
        alone = np.where(own < 0, -1, own + len(self.names))
        return np.where(campaign >= 0, campaign, alone)

    def _numbers(self, asked: pa.Array | pa.ChunkedArray, known: pa.Table, key: str) -> Integers:
        asked = asked.combine_chunks() if isinstance(asked, pa.ChunkedArray) else asked
        place = pc.index_in(asked.cast(pa.string()), value_set=known[key].combine_chunks())
        named = known[CAMPAIGN].combine_chunks().take(place)
        number = pc.index_in(named, value_set=self.names, skip_nulls=True)
        return np.asarray(number.fill_null(-1).to_numpy(), np.int64)


def read_units(spec: Spec, out: Place, last: dt.date) -> CampaignUnits | None:
    """Units of the newest snapshot as of a day at the latest; None: there is none, or no need.

    Args:
      spec: whose `evaluation.campaigns` asks for them.
      out: the output folder.
      last: later snapshots know what came after.

    Raises:
      InputError: a snapshot is damaged.
    """
    if not spec.evaluation.campaigns:
        return None
    known = [one for one in campaign_snapshots(spec, out) if one.as_of <= str(last)]
    if not known:
        return None
    campaigns = known[-1].read("campaigns")
    return CampaignUnits(
        known[-1].name,
        np.asarray(campaigns[FIRST_SEEN].to_numpy(), np.int64),
        campaigns["name"].combine_chunks(),
        known[-1].read("members"),
        known[-1].read("events"),
    )


def reached(spec: Spec, events: pa.Table) -> tuple[Integers | None, bool]:
    """Whom events reached, as far as these columns say: see `evaluate_campaigns`.

    Args:
      events: that may have the column `campaigns.recipients`.

    Returns:
      int64 `[n]`, -1 where it is not known, or None; and whether they are numbers for whom.
    """
    campaigns = spec.campaigns
    if campaigns is None or campaigns.recipients not in events.column_names:
        return None, False
    column = events.column(campaigns.recipients)
    if campaigns.named_recipients:
        return encode_groups(column), True
    count = np.asarray(pc.fill_null(column, -1).to_numpy(), np.float64)
    return np.where(np.isnan(count), -1, count).astype(np.int64), False
