"""Campaigns of abuse, from day to day: they begin, write, are blocked, change, give up, end.

What enters: the campaigns of yesterday and what happened to them. What leaves: today's, the
accounts that they need, and their messages. Kinds differ in rhythm and in where accounts come from:
some are made or bought for a campaign, hijackers and harassers use accounts of people.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from configs.world import ABUSE, WorldSettings
from pipelines.simulate.attacks import SEASONS
from pipelines.simulate.rows import Act, Floats, Integers, Rows, make_rows
from pipelines.simulate.town import Accounts, Town, draw_channel
from pipelines.simulate.world import DAY_US, part_at

_MINUTE_US = 60_000_000
HIT_SHARE = 0.1  # of a day's messages that were blocked: from then on a campaign takes notice
LINK_SPAM, RAID, SCAM, HIJACK, SIGN_UP, HARASSMENT = range(len(ABUSE))
_ACTS = np.array(
    [Act.CAMPAIGN, Act.FLOOD, Act.SCAM, Act.TAKEOVER, Act.CAMPAIGN, Act.HARASS], np.int8
)
_MINUTES = np.array([40.0, 8.0, 0.0, 30.0, 240.0, 30.0])  # mean length of a wave; 0: all day
_OF_PEOPLE = (HIJACK, HARASSMENT)
_ONE_CHANNEL = (RAID, HARASSMENT)


@dataclasses.dataclass(frozen=True)
class Campaigns:
    """Those that go on; arrays `[n]` but for the last two.

    Attributes:
      number: int64, ascending, never used again; its texts and domains come from it.
      kind: int64, of `configs.world.ABUSE`; last_day: int64, since the world began.
      variant: int64, how often it has changed; changed_us: int64, when it last did, or began.
      channel: int64, where raids and quarrels are.
      members: int64 `[m]`, its accounts, by campaign; owner: int64 `[m]`, their campaign's place.
    """

    number: Integers
    kind: Integers
    last_day: Integers
    variant: Integers
    changed_us: Integers
    channel: Integers
    members: Integers
    owner: Integers

    def __len__(self) -> int:
        return len(self.number)

    def keep(self, kept: npt.NDArray[np.bool_]) -> Campaigns:
        """Those where a mask holds."""
        place = np.cumsum(kept) - 1
        stays = kept[self.owner]
        arrays = {
            name: getattr(self, name)[kept]
            for name in ("number", "kind", "last_day", "variant", "changed_us", "channel")
        }
        return Campaigns(
            **arrays, members=self.members[stays], owner=place[self.owner[stays]].astype(np.int64)
        )

    def theme(self) -> Integers:
        """What their texts are made of (`pipelines.simulate.texts`)."""
        return self.number * SEASONS + self.variant % SEASONS


NONE = Campaigns(*(np.zeros(0, np.int64) for _ in range(8)))


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Accounts that are to be made: how old at midnight (int64, microseconds), and for whom."""

    age_us: Integers
    campaign: Integers


def go_on(
    settings: WorldSettings,
    campaigns: Campaigns,
    next_number: int,
    people: Accounts,
    town: Town,
    rng: np.random.Generator,
    day: int,
    midnight_us: int,
) -> tuple[Campaigns, Wanted]:
    """Today's campaigns: those that have not ended, and new ones.

    Args:
      settings: how many there are of each kind.
      campaigns: of yesterday.
      next_number: of the first new one.
      people: accounts until yesterday; those that are wanted come right behind them.
      town: of today, without those.
      rng: of this day.
      day: since the world began; on the first one, campaigns are at any point of their lives.
      midnight_us: of the day.

    Returns:
      The campaigns, whose new members are numbered from `len(people)` on, and these accounts.
    """
    out = people.shut_until > day
    old = campaigns.keep(campaigns.last_day >= day)
    lost = np.bincount(old.owner[out[old.members]], minlength=len(old))
    stays = ~out[old.members]
    left = np.bincount(old.owner[stays], minlength=len(old))
    of_people = np.isin(old.kind, _OF_PEOPLE)
    alive = np.where(of_people, left > 0, True)
    # Who makes or buys accounts replaces those that were shut out.
    replaced = np.where(of_people, 0, lost)
    old = dataclasses.replace(old, members=old.members[stays], owner=old.owner[stays])
    old, replaced = old.keep(alive), replaced[alive]

    new = _new_campaigns(settings, town, rng, next_number, day, midnight_us)
    sizes = np.array(
        [settings.abuse[kind].accounts if kind in settings.abuse else 1 for kind in ABUSE]
    )
    slots = np.concatenate([replaced, 1 + rng.poisson(sizes[new.kind] - 1)]).astype(np.int64)
    number = np.concatenate([old.number, new.number])
    kind = np.concatenate([old.kind, new.kind])
    owner = np.repeat(np.arange(len(number)), slots)
    taken = np.isin(kind[owner], _OF_PEOPLE)
    members = np.empty(len(owner), np.int64)
    members[taken] = _victims(people, rng, kind[owner[taken]], midnight_us, out)
    members[~taken] = len(people) + np.arange(int((~taken).sum()))
    age = _ages(settings, rng, kind[owner[~taken]])
    every = np.concatenate([old.owner, owner])
    order = np.argsort(every, kind="stable")
    whole = Campaigns(
        number=number,
        kind=kind,
        last_day=np.concatenate([old.last_day, new.last_day]),
        variant=np.concatenate([old.variant, new.variant]),
        changed_us=np.concatenate([old.changed_us, new.changed_us]),
        channel=np.concatenate([old.channel, new.channel]),
        members=np.concatenate([old.members, members])[order],
        owner=every[order],
    )
    return whole, Wanted(age, number[owner[~taken]])


def write(
    settings: WorldSettings,
    campaigns: Campaigns,
    people: Accounts,
    town: Town,
    rng: np.random.Generator,
    midnight_us: int,
) -> Rows:
    """The messages of a day, without ids, in no order.

    Args:
      settings: how many a campaign writes.
      campaigns: of the day.
      people: with the campaigns' accounts.
      town: of the day, with them too.
      rng: of this day.
      midnight_us: of the day.
    """
    each = np.array(
        [settings.abuse[kind].messages if kind in settings.abuse else 0 for kind in ABUSE]
    )
    count = rng.poisson(each[campaigns.kind]) if len(campaigns) else np.zeros(0, np.int64)
    members = np.bincount(campaigns.owner, minlength=len(campaigns))
    count = np.where(members > 0, count, 0)
    if not count.sum():
        return make_rows(np.zeros(0, np.int64))
    at = np.repeat(np.arange(len(campaigns)), count)
    kind = campaigns.kind[at]
    first = np.cumsum(members) - members
    author = campaigns.members[first[at] + (rng.random(len(at)) * members[at]).astype(np.int64)]
    begins = rng.random(len(campaigns))
    begins = np.where(np.isin(campaigns.kind, (RAID, HARASSMENT)), part_at(begins), begins)
    length = _MINUTES[campaigns.kind] * (0.2 + rng.exponential(0.8, len(campaigns)))
    slow = (campaigns.kind == LINK_SPAM) & (rng.random(len(campaigns)) < 0.3)
    within = begins[at] * DAY_US + rng.random(len(at)) * length[at] * _MINUTE_US
    draw = rng.random(len(at))
    within = np.where((kind == SCAM) | slow[at], part_at(draw) * DAY_US, within)
    time = midnight_us + (within % DAY_US).astype(np.int64)
    free = town.draw_channels(rng, len(at))
    own = draw_channel(town.communities, rng, people.community[author])
    channel = np.where(kind == HIJACK, own, free)
    channel = np.where(np.isin(kind, _ONE_CHANNEL), campaigns.channel[at], channel)
    return make_rows(
        time, act=_ACTS[kind], author=author, channel=channel, theme=campaigns.theme()[at]
    )


def find(campaigns: Campaigns, messages: Rows, abuse: npt.NDArray[np.bool_]) -> Integers:
    """The place of each abusive message's campaign, int64 `[n]`; -1 of the others."""
    place = np.searchsorted(campaigns.number, messages.theme // SEASONS)
    return np.where(abuse, np.minimum(place, max(len(campaigns) - 1, 0)), -1).astype(np.int64)


def change(
    settings: WorldSettings,
    campaigns: Campaigns,
    written: Integers,
    blocked: Integers,
    rng: np.random.Generator,
    day: int,
    midnight_us: int,
) -> Campaigns:
    """What campaigns make of their day: who was blocked changes, or gives up.

    Args:
      settings: chances by kind.
      campaigns: of the day.
      written, blocked: int64 `[n]`, messages of each.
      rng: of this day.
      day: that ends.
      midnight_us: at its end.
    """
    hit = blocked > HIT_SHARE * np.maximum(written, 1)
    rules = [settings.abuse.get(kind) for kind in ABUSE]
    adapts = np.array([one.adapts if one else 0.0 for one in rules])[campaigns.kind]
    quits = np.array([one.quits if one else 0.0 for one in rules])[campaigns.kind]
    rotates = np.array([one.rotates if one else 0 for one in rules])[campaigns.kind]
    draw = rng.random((2, len(campaigns)))
    due = (rotates > 0) & (midnight_us - campaigns.changed_us >= rotates * DAY_US)
    changes = due | (hit & (draw[0] < adapts))
    ends = hit & (draw[1] < quits)
    return dataclasses.replace(
        campaigns,
        variant=campaigns.variant + changes,
        changed_us=np.where(changes, midnight_us, campaigns.changed_us),
        last_day=np.where(ends, day, campaigns.last_day),
    )


def _new_campaigns(
    settings: WorldSettings,
    town: Town,
    rng: np.random.Generator,
    next_number: int,
    day: int,
    midnight_us: int,
) -> Campaigns:
    kinds, lasts = [], []
    for number, name in enumerate(ABUSE):
        rule = settings.abuse.get(name)
        if rule is None:
            continue
        at_once = rule.share * settings.people.messages / rule.messages
        # On the first day all that go on: lives are geometric, so what is left of one is like all.
        count = rng.poisson(at_once if day == 0 else at_once / rule.days)
        kinds.append(np.full(count, number))
        lasts.append(rng.geometric(1 / rule.days, count) - 1)
    kind = np.concatenate(kinds or [np.zeros(0, np.int64)]).astype(np.int64)
    last = np.concatenate(lasts or [np.zeros(0, np.int64)]).astype(np.int64)
    empty = np.zeros(0, np.int64)
    return Campaigns(
        number=next_number + np.arange(len(kind)),
        kind=kind,
        last_day=day + last,
        variant=np.zeros(len(kind), np.int64),
        changed_us=np.full(len(kind), midnight_us),
        channel=town.draw_channels(rng, len(kind)),
        members=empty,
        owner=empty,
    )


def _victims(
    people: Accounts,
    rng: np.random.Generator,
    kind: Integers,
    midnight_us: int,
    out: npt.NDArray[np.bool_],
) -> Integers:
    """Accounts of people: hijackers want old ones, and whoever quarrels is any."""
    fit = (people.campaign < 0) & ~out & (people.created_us < midnight_us)
    anyone = np.flatnonzero(fit)
    if not len(anyone):
        anyone = np.arange(len(people))
    old = np.flatnonzero(fit & (people.created_us < midnight_us - 30 * DAY_US))
    draw = rng.random(len(kind))
    chosen: Integers = anyone[(draw * len(anyone)).astype(np.int64)]
    if not len(old):
        return chosen
    return np.where(kind == HIJACK, old[(draw * len(old)).astype(np.int64)], chosen)


def _ages(settings: WorldSettings, rng: np.random.Generator, kind: Integers) -> Integers:
    """How old accounts are on their first day of abuse: made for it, or bought."""
    fresh = np.array([settings.abuse[one].fresh if one in settings.abuse else 1 for one in ABUSE])
    made = rng.random(len(kind)) < fresh[kind]
    days: Floats = np.where(
        made,
        np.where(kind == SIGN_UP, rng.random(len(kind)) / 24, rng.exponential(3, len(kind))),
        60 + rng.exponential(300, len(kind)),
    )
    return 1 + (days * DAY_US).astype(np.int64)
