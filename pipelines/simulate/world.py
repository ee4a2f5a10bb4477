"""Who is in the simulated world: accounts, channels, campaigns. Drawn once, from the seed alone."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
import numpy.typing as npt

DAY_US = 86_400_000_000

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Role(enum.IntEnum):
    """What an account is up to."""

    HONEST = 0
    CAMPAIGN = 1  # many accounts, one text, a link
    SCAM = 2  # aged accounts, few messages, a lure without a link
    FLOOD = 3  # one channel, very fast
    HARASS = 4  # short insults
    TAKEN_OVER = 5  # honest until a day, then a campaign's


ROLE_SHARES = {
    Role.CAMPAIGN: 0.010,
    Role.SCAM: 0.006,
    Role.FLOOD: 0.001,
    Role.HARASS: 0.006,
    Role.TAKEN_OVER: 0.004,
}

CAMPAIGNS = 40
CLIENTS = ("ios", "android", "web", "desktop", "api")


@dataclasses.dataclass(frozen=True)
class World:
    """Accounts and channels.

    Attributes:
      role: int8 `[accounts]`.
      activity: float64 `[accounts]`, rising to 1: inverse of it draws an author.
      created_us: int64 `[accounts]`, microseconds UTC.
      client: int64 `[accounts]`, of `CLIENTS`.
      home: int64 `[accounts]`, the channel that an account writes to most.
      campaign: int64 `[accounts]`.
      turned_day: int64 `[accounts]`, the day on which a taken-over account turns.
      channel_popularity: float64 `[channels]`, rising to 1.
      members: int64 `[channels]`.
    """

    role: npt.NDArray[np.int8]
    activity: Floats
    created_us: Integers
    client: Integers
    home: Integers
    campaign: Integers
    turned_day: Integers
    channel_popularity: Floats
    members: Integers


def make_world(accounts: int, days: int, start_us: int, seed: int) -> World:
    """Draws the world.

    Args:
      accounts: how many; channels are a twentieth of that.
      days, start_us: of the stream, for when accounts are made and turn.
      seed: fixes everything.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 2**63]))
    role = np.zeros(accounts, np.int8)
    draw = rng.random(accounts)
    below = 0.0
    for one, share in ROLE_SHARES.items():
        role[(draw >= below) & (draw < below + share)] = one
        below += share
    weight = rng.pareto(1.2, accounts) + 0.05  # a few write most (Barabasi 2005)
    weight[role == Role.CAMPAIGN] = 2 + 4 * rng.random(int((role == Role.CAMPAIGN).sum()))
    weight[role == Role.SCAM] = 0.6
    weight[role == Role.FLOOD] = 20
    channels = max(10, accounts // 20)
    popularity = 1 / np.arange(1, channels + 1) ** 1.05
    age_days = np.where(
        role == Role.CAMPAIGN, rng.exponential(6, accounts), rng.exponential(300, accounts)
    )
    return World(
        role=role,
        activity=np.cumsum(weight) / weight.sum(),
        created_us=start_us - (age_days * DAY_US).astype(np.int64),
        client=rng.choice(len(CLIENTS), accounts, p=[0.35, 0.38, 0.15, 0.09, 0.03]),
        home=rng.choice(channels, accounts, p=popularity / popularity.sum()),
        campaign=rng.integers(0, CAMPAIGNS, accounts),
        turned_day=rng.integers(0, max(days, 1), accounts),
        channel_popularity=np.cumsum(popularity) / popularity.sum(),
        members=np.maximum(2, (3000 * popularity / popularity[0]).astype(np.int64)),
    )
