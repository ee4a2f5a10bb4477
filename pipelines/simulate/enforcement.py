"""What is blocked when it is sent: by chance, by an oracle, or by whoever calls.

What enters: a day's messages. What leaves: which a policy wants blocked, which of these the
hold-out lets through, and with what chance each one's truth is looked at.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.world import Enforcement, WorldSettings
from pipelines.simulate.campaigns import Campaigns
from pipelines.simulate.rows import Integers, Rows
from pipelines.simulate.table import to_hex
from scoring.hold_out import is_held_out, propensities

Mask = npt.NDArray[np.bool_]
Policy = Callable[[dt.date, pa.Table], Mask]
"""Which of a day's messages (`table.SCHEMA`, in total order) are to be blocked: bool `[n]`."""


@dataclasses.dataclass(frozen=True)
class Enforced:
    """What is done to a day's messages; arrays `[n]`.

    Attributes:
      wanted: bool, the policy would block it.
      blocked: bool, it is: nobody sees it.
      propensity: float64, the chance that it is not, if it is wanted; else 1.
    """

    wanted: Mask
    blocked: Mask
    propensity: npt.NDArray[np.float64]


def enforce(settings: WorldSettings, messages: Rows, wanted: Mask) -> Enforced:
    """Blocks what is wanted, but for the hold-out.

    Args:
      settings: share and salt of the hold-out.
      messages: with ids.
      wanted: bool `[n]`.
    """
    rule = settings.hold_out
    held = is_held_out(to_hex(messages.id), rule.share, rule.salt)
    return Enforced(wanted, wanted & ~held, propensities(wanted, rule.share))


def wants(
    rule: Enforcement,
    messages: Rows,
    abuse: Mask,
    campaigns: Campaigns,
    place: Integers,
    rng: np.random.Generator,
    day: int,
) -> Mask:
    """Which messages the world's own policy would block: bool `[n]`.

    Args:
      rule: of the world.
      messages: of a day.
      abuse: bool `[n]`, the truth.
      campaigns: of the day; place: int64 `[n]`, a message's campaign (`campaigns.find`).
      rng: of this day.
      day: since the world began.
    """
    draw = rng.random(len(abuse))
    if rule.policy == "none" or day < rule.begins:
        return np.zeros(len(abuse), np.bool_)
    if rule.policy == "fraction":
        return draw < rule.share
    if not len(campaigns):
        return draw < rule.false_alarms
    known = messages.time - campaigns.changed_us[np.maximum(place, 0)] >= rule.blind
    return np.where(abuse, known & (draw < rule.catches), draw < rule.false_alarms)
