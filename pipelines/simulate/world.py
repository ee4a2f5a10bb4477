"""Who is in the simulated world: accounts and channels. Drawn once, from the seed alone."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipelines.simulate.phrases import LANGUAGE_SHARES
from pipelines.simulate.rows import Floats, Integers

DAY_US = 86_400_000_000
CLIENTS = ("ios", "android", "web", "desktop", "api")
_API = CLIENTS.index("api")

# Messages by hour of the day, UTC: a night, a morning, an evening.
_HOURS = np.array(
    [5, 3, 2, 2, 2, 3, 4, 6, 7, 7, 7, 7, 8, 8, 7, 7, 8, 9, 11, 12, 12, 11, 9, 7], float
)


class Habit(enum.IntEnum):
    """What an honest account is like."""

    PERSON = 0
    CREATOR = 1  # posts its own link now and then
    BOT = 2  # posts notifications


@dataclasses.dataclass(frozen=True)
class World:
    """Accounts and channels.

    Attributes:
      activity: float64 `[accounts]`, rising to 1: its inverse draws an author.
      created_us: int64 `[accounts]`, microseconds UTC.
      habit: int8 `[accounts]`, of `Habit`.
      language: int64 `[accounts]`, of `phrases.SENTENCES`.
      client: int64 `[accounts]`, of `CLIENTS`.
      home: int64 `[accounts]`, the channel that an account writes to most.
      members: int64 `[channels]`.
      popularity: float64 `[channels]`, rising to 1.
      order: int64 `[accounts]`, a shuffle of the accounts, from which abusers are taken.
    """

    activity: Floats
    created_us: Integers
    habit: npt.NDArray[np.int8]
    language: Integers
    client: Integers
    home: Integers
    members: Integers
    popularity: Floats
    order: Integers

    @property
    def accounts(self) -> int:
        """How many accounts there are."""
        return len(self.created_us)

    def draw_authors(self, rng: np.random.Generator, count: int) -> Integers:
        """Accounts by activity, int64 `[count]`."""
        return np.searchsorted(self.activity[:-1], rng.random(count), side="right")

    def draw_present(self, rng: np.random.Generator, time: Integers) -> Integers:
        """Accounts by activity that exist at the times, int64 `[n]`."""
        drawn = self.draw_authors(rng, len(time))
        for _ in range(8):
            absent = np.flatnonzero(self.created_us[drawn] > time)
            drawn[absent] = self.draw_authors(rng, len(absent))
        return np.where(self.created_us[drawn] > time, np.argmin(self.created_us), drawn)

    def draw_channels(self, rng: np.random.Generator, count: int) -> Integers:
        """Channels by popularity, int64 `[count]`."""
        return np.searchsorted(self.popularity[:-1], rng.random(count), side="right")

    def draw_visits(self, rng: np.random.Generator, author: Integers) -> Integers:
        """The channel that each author writes to now, int64 `[n]`; mostly its home."""
        roams = rng.random(len(author)) < 0.4
        return np.where(roams, self.draw_channels(rng, len(author)), self.home[author])


def make_world(accounts: int, days: int, start_us: int, seed: int) -> World:
    """Draws the world.

    Args:
      accounts: how many, at least one; channels are a twentieth of that.
      days, start_us: of the stream; a tenth of the accounts are made while it runs.
      seed: fixes everything.
    """
    rng = make_rng(seed, 2**63)
    weight = rng.pareto(1.3, accounts) + 0.05  # a few write most
    age_days = rng.exponential(300, accounts)
    young = rng.random(accounts) < 0.1
    age_days[young] = -days * rng.random(int(young.sum()))
    age_days[0] = 1 + abs(age_days[0])  # somebody is there when it starts
    draw = rng.random(accounts)
    habit = np.full(accounts, Habit.PERSON, np.int8)
    habit[draw < 0.015] = Habit.CREATOR
    habit[draw > 0.998] = Habit.BOT
    client = rng.choice(len(CLIENTS), accounts, p=[0.36, 0.39, 0.15, 0.095, 0.005])
    client[habit == Habit.BOT] = _API
    weight[habit == Habit.BOT] += 4
    channels = max(10, accounts // 20)
    popularity = 1 / np.arange(1, channels + 1) ** 1.05
    spread = rng.lognormal(0, 0.5, channels)
    return World(
        activity=np.cumsum(weight) / weight.sum(),
        created_us=start_us - (age_days * DAY_US).astype(np.int64),
        habit=habit,
        language=rng.choice(len(LANGUAGE_SHARES), accounts, p=LANGUAGE_SHARES),
        client=client,
        home=rng.choice(channels, accounts, p=popularity / popularity.sum()),
        members=np.maximum(2, (5000 * popularity / popularity[0] * spread).astype(np.int64)),
        popularity=np.cumsum(popularity) / popularity.sum(),
        order=rng.permutation(accounts),
    )


def make_rng(seed: int, stream: int) -> np.random.Generator:
    """A generator of its own for each part of the stream, so that parts need not be in order.

    >>> make_rng(7, 1).integers(100) == make_rng(7, 1).integers(100)
    np.True_
    """
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


def share_before(part: Sequence[float] | Floats) -> Floats:
    """Which share of a day's messages comes before a part (0 to 1) of the day.

    >>> share_before([0, 1]).tolist()
    [0.0, 1.0]
    """
    made: Floats = np.interp(part, np.arange(25) / 24, _cumulative())
    return made


def part_at(share: Sequence[float] | Floats) -> Floats:
    """The part of the day at which a share of its messages has come; undoes `share_before`.

    >>> part_at(share_before([0.25, 0.5])).round(12).tolist()
    [0.25, 0.5]
    """
    made: Floats = np.interp(share, _cumulative(), np.arange(25) / 24)
    return made


def _cumulative() -> Floats:
    total: Floats = np.concatenate([[0], np.cumsum(_HOURS)]) / _HOURS.sum()
    return total
