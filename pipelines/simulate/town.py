"""The people of a world that lives from day to day: accounts that come and go, and communities.

Accounts are only ever added, so an index stays an account's name for good; who is shut out has no
activity until the ban ends.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from configs.world import People
from pipelines.simulate.phrases import LANGUAGE_SHARES
from pipelines.simulate.rows import Floats, Integers
from pipelines.simulate.world import CLIENTS, DAY_US, Habit, World

_CLIENT_SHARES = (0.36, 0.39, 0.15, 0.095, 0.005)
HONEST = -1


@dataclasses.dataclass(frozen=True)
class Communities:
    """Groups of channels; arrays `[communities]` but for `members`.

    Attributes:
      size: float64, the share of accounts that belong to it, heavy-tailed.
      language: int64, that most of its people write.
      first, channels: int64, its channels are `first` to `first + channels - 1`.
      members: int64 `[channels of all]`, who can read a channel.
      of_channel: int64 `[channels of all]`, its community.
    """

    size: Floats
    language: Integers
    first: Integers
    channels: Integers
    members: Integers
    of_channel: Integers


@dataclasses.dataclass(frozen=True)
class Accounts:
    """All accounts so far; arrays `[accounts]`.

    Attributes:
      created_us: int64, microseconds UTC.
      weight: float64, activity of its honest owner.
      habit: int8; language, client, community, second: int64.
      campaign: int64, the number of the campaign that it was made or bought for, or `HONEST`.
      strikes: float64, verdicts and blocks of late.
      shut_until: int64, the first day (since the world began) on which it may write again.
    """

    created_us: Integers
    weight: Floats
    habit: npt.NDArray[np.int8]
    language: Integers
    client: Integers
    community: Integers
    second: Integers
    campaign: Integers
    strikes: Floats
    shut_until: Integers

    def __len__(self) -> int:
        return len(self.created_us)

    def join(self, others: Accounts) -> Accounts:
        """These, and others behind them."""
        fields = dataclasses.fields(self)
        pairs = {f.name: (getattr(self, f.name), getattr(others, f.name)) for f in fields}
        return Accounts(**{name: np.concatenate(pair) for name, pair in pairs.items()})

    def take(self, index: Integers) -> Accounts:
        """Those at these positions."""
        return Accounts(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})


@dataclasses.dataclass(frozen=True)
class Town(World):
    """What a day's messages are drawn from: `World`, with communities in place of free roaming."""

    accounts_: Accounts
    communities: Communities

    def draw_visits(self, rng: np.random.Generator, author: Integers) -> Integers:
        """The channel that each author writes to now: of its community, or its second one."""
        away = rng.random(len(author)) < 0.25
        people = self.accounts_
        community = np.where(away, people.second[author], people.community[author])
        return draw_channel(self.communities, rng, community)


def draw_channel(
    communities: Communities, rng: np.random.Generator, community: Integers
) -> Integers:
    """A channel of each community, int64 `[n]`; its first ones are the liveliest."""
    place = rng.random(len(community)) ** 2 * communities.channels[community]
    return communities.first[community] + place.astype(np.int64)


def make_communities(people: People, rng: np.random.Generator) -> Communities:
    """Draws the communities; their number of channels grows with their size."""
    count = people.communities
    size = 1 / np.arange(1, count + 1) ** 1.05 * rng.lognormal(0, 0.4, count)
    size /= size.sum()
    channels = np.clip(np.sqrt(size * people.accounts).astype(np.int64), 1, 40)
    first = np.cumsum(channels) - channels
    of_channel = np.repeat(np.arange(count), channels)
    place = np.arange(len(of_channel)) - first[of_channel]
    share = rng.lognormal(0, 0.3, len(of_channel)) / (1 + place)
    members = np.clip(share, 0.02, 1.0) * (size * people.accounts)[of_channel]
    return Communities(
        size=size,
        language=rng.choice(len(LANGUAGE_SHARES), count, p=LANGUAGE_SHARES),
        first=first,
        channels=channels,
        members=np.maximum(2, members.astype(np.int64)),
        of_channel=of_channel,
    )


def make_accounts(
    people: People,
    communities: Communities,
    rng: np.random.Generator,
    created_us: Integers,
    campaign: npt.ArrayLike = HONEST,
) -> Accounts:
    """Draws accounts that were made at these times.

    Args:
      people: their tail of activity.
      communities: that they join.
      rng: of this draw.
      created_us: int64 `[n]`.
      campaign: int64 `[n]` or one: what they are for. Accounts of campaigns hardly write as people.
    """
    count = len(created_us)
    of = np.broadcast_to(np.asarray(campaign, np.int64), (count,)).copy()
    weight = rng.pareto(people.tail, count) + 0.05
    draw = rng.random(count)
    habit = np.full(count, Habit.PERSON, np.int8)
    habit[draw < 0.015] = Habit.CREATOR
    habit[draw > 0.998] = Habit.BOT
    habit[of != HONEST] = Habit.PERSON
    client = rng.choice(len(CLIENTS), count, p=_CLIENT_SHARES)
    client[habit == Habit.BOT] = CLIENTS.index("api")
    weight[habit == Habit.BOT] += 4
    weight[of != HONEST] = 0.02
    community = rng.choice(len(communities.size), count, p=communities.size)
    own = rng.choice(len(LANGUAGE_SHARES), count, p=LANGUAGE_SHARES)
    native = rng.random(count) < 0.85
    return Accounts(
        created_us=created_us.astype(np.int64),
        weight=weight,
        habit=habit,
        language=np.where(native, communities.language[community], own),
        client=client,
        community=community,
        second=rng.choice(len(communities.size), count, p=communities.size),
        campaign=of,
        strikes=np.zeros(count),
        shut_until=np.zeros(count, np.int64),
    )


def first_accounts(
    people: People, communities: Communities, rng: np.random.Generator, start_us: int
) -> Accounts:
    """Those who are there when the world begins, of all ages."""
    age = rng.exponential(300, people.accounts) * DAY_US
    return make_accounts(people, communities, rng, start_us - age.astype(np.int64) - 1)


def newcomers(
    people: People, communities: Communities, rng: np.random.Generator, midnight_us: int
) -> Accounts:
    """People who make an account on a day."""
    count = rng.poisson(people.newcomers * people.accounts)
    created = midnight_us + (rng.random(count) * DAY_US).astype(np.int64)
    return make_accounts(people, communities, rng, created)


def town_of(accounts: Accounts, communities: Communities, day: int) -> Town:
    """What the messages of a day are drawn from."""
    weight = np.where(accounts.shut_until > day, 0.0, accounts.weight)
    if not weight.sum() > 0:
        weight = accounts.weight
    liveliest = communities.size / communities.channels
    popularity = liveliest[communities.of_channel]
    return Town(
        activity=np.cumsum(weight) / weight.sum(),
        created_us=accounts.created_us,
        habit=accounts.habit,
        language=accounts.language,
        client=accounts.client,
        home=communities.first[accounts.community],
        members=communities.members,
        popularity=np.cumsum(popularity) / popularity.sum(),
        order=np.zeros(0, np.int64),
        accounts_=accounts,
        communities=communities,
    )


def judge_accounts(
    accounts: Accounts,
    blamed: Integers,
    cleared: Integers,
    day: int,
    bans: int,
    lasts: int,
) -> Accounts:
    """Counts what was held against accounts on a day, and shuts out those with too much of it.

    Args:
      accounts: as they were.
      blamed: int64, an account for each abuse verdict and block of the day.
      cleared: int64, an account for each appeal that was granted; it may write again.
      day: since the world began.
      bans, lasts: strikes that shut out, and for how many days.
    """
    strikes = accounts.strikes * 0.8 + np.bincount(blamed, minlength=len(accounts))
    shut = accounts.shut_until.copy()
    out = strikes >= bans
    shut[out] = day + 1 + lasts
    strikes[out] = 0.0
    strikes[cleared] = 0.0
    shut[cleared] = np.minimum(shut[cleared], day + 1)
    return dataclasses.replace(accounts, strikes=strikes, shut_until=shut)
