"""Harm before the first action on published days: for the nightly page and for `evaluate`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError
from configs.schema import Spec
from pipelines.campaign_snapshots import campaign_snapshots
from scoring.decision import Threshold
from scoring.files import Place
from training.groups import encode_groups
from training.harm import HarmBefore, harm_before
from training.labels import NEGATIVE, POSITIVE
from transforms.campaigns.lookup import campaigns_of_events


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredEvents:
    """Events in total order, with what is needed to say whom they harm.

    Attributes:
      ids: string `[n]`; times: int64 `[n]`, microseconds UTC; scores: float64 `[n]`, calibrated.
      labels: int8 `[n]`; judged: bool `[n]`, whether by a verdict.
      accounts: `[n]`, of `evaluation.group`; None: the config names none.
      people: float64 `[n]`, of `evaluation.recipients`; None: the config names none.
    """

    ids: pa.Array | pa.ChunkedArray
    times: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int8]
    judged: npt.NDArray[np.bool_]
    accounts: pa.Array | pa.ChunkedArray | None
    people: npt.NDArray[np.float64] | None


def find_harm(
    spec: Spec, out: Place, as_of: dt.date, events: ScoredEvents, thresholds: Sequence[Threshold]
) -> tuple[tuple[HarmBefore, ...], str]:
    """Harm of campaigns, where a snapshot of them is there, and of accounts.

    Args:
      out: the output folder.
      as_of: no later snapshot of campaigns is read.
      thresholds: of actions.

    Returns:
      The harm, and why there are no campaigns though there should be ("": all is well).
    """
    abuse, found, fault = events.labels == POSITIVE, [], ""
    try:
        campaigns = _campaigns(spec, out, as_of, events.ids)
    except InputError as error:
        campaigns, fault = None, str(error)
    if campaigns is not None:
        # Few of a campaign's events are judged: all count but those that somebody found harmless.
        harmful = ~(events.judged & (events.labels == NEGATIVE))
        found.append(("campaign", campaigns, harmful))
    if events.accounts is not None:
        found.append(("account", encode_groups(events.accounts), abuse))
    made: list[HarmBefore] = []
    for unit, units, harmful in found:
        made += harm_before(
            unit, events.scores, events.times, units, abuse, harmful, thresholds, events.people
        )
    return tuple(made), fault


def _campaigns(
    spec: Spec, out: Place, as_of: dt.date, ids: pa.Array | pa.ChunkedArray
) -> npt.NDArray[np.int64] | None:
    """A number per campaign of the newest snapshot up to a night: int64 `[n]`; None: none is there.

    Raises:
      InputError: the snapshot is damaged.
    """
    known = [one for one in campaign_snapshots(spec, out) if one.as_of <= str(as_of)]
    if not known:
        return None
    return encode_groups(campaigns_of_events(ids, known[-1].read("events")))
