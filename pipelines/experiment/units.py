"""What the bootstrap of an experiment draws: campaigns, accounts or events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID
from pipelines.campaigns import make_campaign_snapshot, read_campaigns
from pipelines.experiment.plan import ExperimentRequest
from pipelines.layout import DAY_US, day_of, day_us
from pipelines.shard_files import SnapshotRequest
from training.groups import encode_groups
from transforms.campaigns.find import CAMPAIGN
from transforms.campaigns.lookup import campaigns_of_events
from transforms.social.events import ACCOUNT


def cluster_events(request: ExperimentRequest, events: pa.Table) -> npt.NDArray[np.int64] | None:
    """A number for all events that are drawn together, -1 for one by itself: int64 `[n]`.

    Of campaigns, the newest snapshot as of the end of the tests tells: it is made if it is not
    there. An event of none counts with its account.

    Args:
      events: event_id, event_time, and the account's column where the config names it.

    Returns:
      None: every event by itself.

    Raises:
      InputError: the snapshot cannot be made.
    """
    experiment = request.experiment
    spec, group = experiment.champion.spec, experiment.champion.spec.evaluation.group
    if experiment.over == "events":
        return None
    accounts = events.column(group) if group else pa.nulls(events.num_rows, pa.string())
    if experiment.over == "accounts":
        return encode_groups(accounts)
    end = day_us(experiment.as_of[-1]) + experiment.test_us
    as_of = day_of(-(-end // DAY_US) * DAY_US)
    make_campaign_snapshot(
        SnapshotRequest(
            spec, request.source, request.out, as_of, request.now, request.workers or 1,
            request.flags,
        )
    )  # fmt: skip
    named = campaigns_of_events(
        events.column(EVENT_ID), read_campaigns(request.out, as_of, "events", spec)
    )
    members = read_campaigns(request.out, as_of, "members", spec)
    names = pc.cast(accounts, pa.string())
    if spec.campaigns is not None and group == spec.campaigns.account:
        of_account = (
            members[CAMPAIGN]
            .combine_chunks()
            .take(pc.index_in(names, value_set=members[ACCOUNT].combine_chunks().cast(pa.string())))
        )
        named = pc.coalesce(named, of_account)
    alone = pc.binary_join_element_wise("account", names, " ")
    named = pc.binary_join_element_wise("campaign", named, " ")
    return encode_groups(pc.coalesce(named, alone))
