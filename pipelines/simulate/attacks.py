"""Abuse, planned for the whole stream: who attacks when, where and with whose words.

Adversaries adapt: a campaign's waves change words, domain and disguise with its seasons, and each
wave brings fresh accounts beside some of the last one's.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pipelines.simulate.rows import Act, Floats, Integers, Rows, concat, make_rows
from pipelines.simulate.world import DAY_US, World, part_at

# Shares of all messages; together about 3 %.
SHARES = {
    Act.CAMPAIGN: 0.007,
    Act.TAKEOVER: 0.003,
    Act.FLOOD: 0.002,
    Act.HARASS: 0.012,
    Act.SCAM: 0.009,
}
SEASONS = 256  # theme = campaign * SEASONS + season
_MINUTE_US = 60_000_000


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The stream's time: its start and length, microseconds UTC."""

    start_us: int
    length_us: int

    def uniform(self, rng: np.random.Generator, count: int) -> Integers:
        """Times at any hour: programs do not sleep."""
        return self.start_us + (rng.random(count) * self.length_us).astype(np.int64)

    def daily(self, rng: np.random.Generator, count: int) -> Integers:
        """Times by the daily cycle: people do."""
        days = max(1, self.length_us // DAY_US)
        day = rng.integers(0, days, count)
        return self.start_us + day * DAY_US + (part_at(rng.random(count)) * DAY_US).astype(np.int64)


def plan_attacks(
    world: World, rng: np.random.Generator, stretch: Stretch, messages: int
) -> tuple[Rows, Integers]:
    """All abusive messages of the stream, by time, and when each account was made.

    Args:
      world: accounts and channels.
      rng: of the plan.
      stretch: when.
      messages: how many messages the stream has in all.

    Returns:
      Rows without ids, and int64 `[accounts]`, microseconds UTC: the world's times of creation,
      with those of accounts that were made to attack.
    """
    created = world.created_us.copy()
    budget = {act: share * messages for act, share in SHARES.items()}
    taken = 0
    parts = []
    for act, plan in (
        (Act.CAMPAIGN, _campaigns),
        (Act.FLOOD, _floods),
        (Act.HARASS, _harassment),
        (Act.SCAM, _scams),
        (Act.TAKEOVER, _takeovers),
    ):
        pool = np.roll(world.order, -taken)
        rows, used, first_made = plan(world, rng, stretch, budget[act], pool)
        accounts = pool[:used]
        made = first_made < np.iinfo(np.int64).max
        created[accounts[made]] = first_made[made]
        late = accounts[~made & (created[accounts] > stretch.start_us)]
        created[late] = stretch.start_us - 30 * DAY_US  # whoever attacks is there
        taken += used
        parts.append(rows)
    every = concat(parts)
    every = every.take(every.time < stretch.start_us + stretch.length_us)
    return every.take(np.argsort(every.time, kind="stable")), created


_Plan = tuple[Rows, int, Integers]


def _campaigns(
    world: World, rng: np.random.Generator, stretch: Stretch, budget: float, pool: Integers
) -> _Plan:
    """Waves: some accounts, each a few near-duplicates with a link, within an hour or a day."""
    days = stretch.length_us / DAY_US
    waves = max(1, round(budget / 90), round(min(3 * days, budget / 20)))
    campaigns = max(2, waves // 12)
    start = np.sort(stretch.uniform(rng, waves))
    campaign = rng.integers(0, campaigns, waves)
    order = np.argsort(campaign, kind="stable")  # by campaign, then time
    start, campaign = start[order], campaign[order]
    nth = np.arange(waves) - np.searchsorted(campaign, campaign)
    size = np.clip(rng.lognormal(2.6, 0.5, waves), 4, 60).astype(np.int64)
    size = np.minimum(size, max(1, len(pool) // 4))
    step = np.maximum(1, (size * 0.45).astype(np.int64))  # the rest were in the wave before
    first = np.cumsum(step) - step
    used = min(int((first + size).max()), max(1, len(pool) // 4))
    slow = rng.random(waves) < 0.3
    minutes = np.where(slow, 720, np.maximum(5, rng.exponential(40, waves)))

    wave = np.repeat(np.arange(waves), size)  # one per account and wave
    member = (first[wave] + count_within(size)) % used
    each = 1 + rng.poisson(max(budget / size.sum() - 1, 0), len(wave))
    row = np.repeat(np.arange(len(wave)), each)
    time = start[wave[row]] + _within(rng, minutes[wave[row]])
    made = np.full(used, np.iinfo(np.int64).max)
    np.minimum.at(made, member, start[wave])
    fresh = rng.random(used) < 0.7  # the others were bought, with their age
    made = np.where(
        fresh, made - (rng.exponential(4, used) * DAY_US).astype(np.int64), np.iinfo(np.int64).max
    )
    rows = make_rows(
        time,
        act=Act.CAMPAIGN,
        author=pool[member[row]],
        channel=world.draw_channels(rng, len(row)),
        theme=(campaign * SEASONS + (nth // 3) % SEASONS)[wave[row]],
    )
    return rows, used, made


def _floods(
    world: World, rng: np.random.Generator, stretch: Stretch, budget: float, pool: Integers
) -> _Plan:
    """One account, one channel, tens of messages within minutes."""
    episodes = max(1, round(budget / 50))
    used = min(episodes, max(1, len(pool) // 10))
    start = stretch.uniform(rng, episodes)
    size = 15 + rng.exponential(35, episodes).astype(np.int64)
    row = np.repeat(np.arange(episodes), size)
    minutes = 1 + 5 * rng.random(episodes)
    made = np.full(used, np.iinfo(np.int64).max)
    np.minimum.at(made, np.arange(episodes) % used, start)
    fresh = rng.random(used) < 0.6
    made = np.where(
        fresh, made - (rng.exponential(8, used) * DAY_US).astype(np.int64), np.iinfo(np.int64).max
    )
    rows = make_rows(
        start[row] + _within(rng, minutes[row]),
        act=Act.FLOOD,
        author=pool[(np.arange(episodes) % used)[row]],
        channel=world.draw_channels(rng, episodes)[row],
        theme=row,
    )
    return rows, used, made


def _harassment(
    world: World, rng: np.random.Generator, stretch: Stretch, budget: float, pool: Integers
) -> _Plan:
    """A quarrel: several insults within an hour, in the account's own channel."""
    episodes = max(1, round(budget / 4))
    used = min(max(1, round(episodes * 0.8)), max(1, len(pool) // 4))
    who = rng.integers(0, used, episodes)
    size = 1 + rng.geometric(1 / 3, episodes)
    row = np.repeat(np.arange(episodes), size)
    minutes = 5 + 55 * rng.random(episodes)
    rows = make_rows(
        stretch.daily(rng, episodes)[row] + _within(rng, minutes[row]),
        act=Act.HARASS,
        author=pool[who[row]],
        channel=world.home[pool[who]][row],
        theme=row,
    )
    return rows, used, np.full(used, np.iinfo(np.int64).max)


def _scams(
    world: World, rng: np.random.Generator, stretch: Stretch, budget: float, pool: Integers
) -> _Plan:
    """Aged accounts that send a message or two a day, each to another channel."""
    days = max(1, stretch.length_us // DAY_US)
    used = min(max(1, round(budget / (1 + 0.8 * days))), max(1, len(pool) // 10))
    size = 1 + rng.poisson(max(budget / used - 1, 0), used)
    who = np.repeat(np.arange(used), size)
    time = stretch.daily(rng, len(who))
    made = stretch.start_us - ((60 + rng.exponential(300, used)) * DAY_US).astype(np.int64)
    week = (time - stretch.start_us) // (4 * DAY_US)  # new words every four days
    rows = make_rows(
        time,
        act=Act.SCAM,
        author=pool[who],
        channel=world.draw_channels(rng, len(who)),
        theme=(who % 23) * SEASONS + week % SEASONS,
    )
    return rows, used, made


def _takeovers(
    world: World, rng: np.random.Generator, stretch: Stretch, budget: float, pool: Integers
) -> _Plan:
    """An account of long standing writes the same lure into many channels for an hour."""
    episodes = min(max(1, round(budget / 25)), max(1, len(pool) // 10))
    old = pool[world.created_us[pool] < stretch.start_us]
    victims = old[np.arange(episodes) % max(len(old), 1)]
    size = 5 + rng.poisson(20, episodes)
    row = np.repeat(np.arange(episodes), size)
    minutes = 5 + rng.exponential(30, episodes)
    rows = make_rows(
        stretch.uniform(rng, episodes)[row] + _within(rng, minutes[row]),
        act=Act.TAKEOVER,
        author=victims[row],
        channel=world.draw_channels(rng, len(row)),
        theme=row,
    )
    return rows, 0, np.zeros(0, np.int64)


def _within(rng: np.random.Generator, minutes: Floats) -> Integers:
    return (rng.random(len(minutes)) * minutes * _MINUTE_US).astype(np.int64)


def count_within(sizes: Integers) -> Integers:
    """0, 1, … within each group.

    >>> count_within(np.array([2, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1])) - np.repeat(ends - sizes, sizes)
