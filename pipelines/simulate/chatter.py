"""Honest messages: sessions of people who come, write a few lines in a channel, and go."""

from __future__ import annotations

import numpy as np

from pipelines.simulate.rows import Act, Rows, make_rows
from pipelines.simulate.world import DAY_US, Habit, World, part_at, share_before

MEAN_LINES = 4.0
_MEAN_GAP_US = 45e6
_LONGEST = 80


def chat(
    world: World, rng: np.random.Generator, day_start_us: int, part: tuple[float, float], total: int
) -> Rows:
    """Messages of the sessions that begin in a part of a day; some end after it.

    Args:
      world: accounts and channels.
      rng: of this stretch.
      day_start_us: midnight.
      part: begin and end, 0 to 1.
      total: how many honest messages the whole day has.

    Returns:
      Rows without ids, in no order.
    """
    low, high = share_before(part)
    sessions = rng.poisson(total * (high - low) / MEAN_LINES)
    share = low + (high - low) * rng.random(sessions)
    start = day_start_us + (part_at(share) * DAY_US).astype(np.int64)
    author = world.draw_present(rng, start)
    channel = world.draw_visits(rng, author)
    lines = np.minimum(rng.geometric(1 / MEAN_LINES, sessions), _LONGEST)
    excited = rng.random(sessions) < 0.06  # a goal, a raid: fast and short
    gap = np.where(excited, 0.12, 1.0) * _MEAN_GAP_US

    session = np.repeat(np.arange(sessions), lines)
    waits = rng.standard_exponential(len(session)) * gap[session]
    so_far = np.cumsum(waits)
    first = np.cumsum(lines) - lines
    since = (so_far - so_far[first[session]]).astype(np.int64)
    habit = world.habit[author][session]
    draw = rng.random(len(session))
    act = np.full(len(session), Act.CHAT, np.int8)
    act[(habit == Habit.CREATOR) & (draw < 0.25)] = Act.PROMO
    act[(habit == Habit.BOT) & (draw < 0.95)] = Act.BOT
    return make_rows(
        start[session] + since,
        act=act,
        author=author[session],
        channel=channel[session],
        theme=author[session],
    )
