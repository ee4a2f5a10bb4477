"""A world from day to day: what happens on one is up to the seed and to what happened before.

So the first days of a long run are those of a short one, and who writes them, one at a time or all
at once, changes nothing. Nothing here touches a file.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.world import ABUSE, WorldSettings
from pipelines.layout import day_us
from pipelines.simulate.campaigns import NONE, Campaigns, change, find, go_on, write
from pipelines.simulate.chatter import chat
from pipelines.simulate.enforcement import Enforced, Policy, enforce, wants
from pipelines.simulate.moderation import Queue, empty_queue, judge
from pipelines.simulate.reporters import report
from pipelines.simulate.rows import (
    FIRST_ABUSE,
    Integers,
    Kind,
    Rows,
    Source,
    concat,
    make_ids,
    make_rows,
)
from pipelines.simulate.table import to_hex, to_names, to_table
from pipelines.simulate.texts import write_texts
from pipelines.simulate.town import (
    Accounts,
    Communities,
    Town,
    first_accounts,
    judge_accounts,
    make_accounts,
    make_communities,
    newcomers,
    town_of,
)
from pipelines.simulate.world import DAY_US, make_rng

_CHUNK = 200_000  # messages whose texts are drawn at a time
_STREAMS = 64  # of randomness, a day
(
    _PEOPLE, _NEW, _CAMPAIGNS, _CHAT, _ATTACKS, _POLICY, _REPORTS, _JUDGES, _CHANGES, _WORDS,
) = range(10)  # fmt: skip
_KINDS = ("", *ABUSE)

TRUTH = pa.schema(
    {
        "event_id": pa.string(),
        "sent_at": pa.timestamp("us", "UTC"),
        "author_id": pa.string(),
        "is_abuse": pa.bool_(),
        "abuse": pa.string(),
        "campaign": pa.int64(),
        "variant": pa.int64(),
        "wanted": pa.bool_(),
        "blocked": pa.bool_(),
        "propensity": pa.float64(),
        "audit": pa.float64(),
    }
)
"""A row per message: what it is, of which campaign, and what was done to it.

`wanted`: the policy would block it; `propensity`: the chance that it was let through; `audit`: the
chance that it was judged at random, being held out or audited."""


@dataclasses.dataclass(frozen=True)
class SimulatedDay:
    """A day.

    Attributes:
      date: UTC.
      events: what happened or became known on it (`table.SCHEMA`), in total order.
      truth: of its messages (`TRUTH`), in their order.
      counts: events by kind.
    """

    date: dt.date
    events: pa.Table
    truth: pa.Table
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class _State:
    """What a day leaves to the next."""

    communities: Communities
    accounts: Accounts
    campaigns: Campaigns
    next_number: int
    queue: Queue
    unsent: Rows
    pending: Rows


def simulate_days(
    settings: WorldSettings, start: dt.date, seed: int, policy: Policy | None = None
) -> Iterator[SimulatedDay]:
    """Days without end.

    Args:
      settings: of the world.
      start: the first day.
      seed: same seed, same days, 0 to 2**63 - 1.
      policy: what is to be blocked, in place of the world's own policy; asked once a day, in
        order, so it may learn.

    >>> from configs.world import loads_world
    >>> world = loads_world("world: 1\\npeople: {messages: 200, accounts: 60, communities: 3}")
    >>> first = next(simulate_days(world, dt.date(2026, 3, 1), 7))
    >>> first.counts["message"] == first.truth.num_rows
    True
    """
    rng = make_rng(seed, _PEOPLE)
    communities = make_communities(settings.people, rng)
    nothing = make_rows(np.zeros(0, np.int64))
    state = _State(
        communities=communities,
        accounts=first_accounts(settings.people, communities, rng, day_us(start)),
        campaigns=NONE,
        next_number=0,
        queue=empty_queue(),
        unsent=nothing,
        pending=nothing,
    )
    day = 0
    while True:
        state, made = _simulate_day(settings, state, seed, day, start, policy)
        yield made
        day += 1


def _simulate_day(
    settings: WorldSettings,
    state: _State,
    seed: int,
    day: int,
    start: dt.date,
    policy: Policy | None,
) -> tuple[_State, SimulatedDay]:
    date = start + dt.timedelta(days=day)
    midnight, end = day_us(start) + day * DAY_US, day_us(start) + (day + 1) * DAY_US

    def rng(part: int) -> np.random.Generator:
        return make_rng(seed, (day + 1) * _STREAMS + part)

    accounts, campaigns, town = _open_day(
        settings, state, rng(_NEW), rng(_CAMPAIGNS), day, midnight
    )
    honest = chat(town, rng(_CHAT), midnight, (0.0, 1.0), _honest_messages(settings, date))
    attacks = write(settings, campaigns, accounts, town, rng(_ATTACKS), midnight)
    messages, unsent = concat([state.unsent, honest, attacks]).split(end)
    messages = _with_ids(messages, seed, day)
    texts = _write_texts(town, messages, seed, day)
    abuse = messages.act >= FIRST_ABUSE
    place = find(campaigns, messages, abuse)
    if policy is None:
        wanted = wants(settings.enforcement, messages, abuse, campaigns, place, rng(_POLICY), day)
    else:
        wanted = np.asarray(policy(date, to_table(messages, texts, town)), np.bool_)
        if wanted.shape != abuse.shape:
            raise ValueError(f"a policy gave {wanted.shape} for {len(abuse)} messages of {date}")
    enforced = enforce(settings, messages, wanted)
    reports, about = report(
        settings, town, rng(_REPORTS), messages, ~enforced.blocked, campaigns, place, seed, day
    )
    verdicts, queue, audits = judge(
        settings, rng(_JUDGES), messages, abuse, enforced, reports, about, state.queue, seed, day,
        midnight,
    )  # fmt: skip
    known, pending = concat([state.pending, reports, verdicts]).split(end)
    every = concat([messages, known])
    every = every.take(np.lexsort((every.id, every.time)))
    counts = {kind.name.lower(): int((every.kind == kind).sum()) for kind in Kind}
    made = SimulatedDay(
        date,
        to_table(every, texts, town),
        _truth(messages, abuse, campaigns, place, enforced, audits),
        counts,
    )
    number = max(state.next_number, int(campaigns.number.max(initial=-1)) + 1)
    return _State(
        communities=state.communities,
        accounts=_close_accounts(settings, accounts, known, messages, enforced, day),
        campaigns=_close_campaigns(settings, campaigns, place, enforced, rng(_CHANGES), day, end),
        next_number=number,
        queue=queue,
        unsent=unsent,
        pending=pending,
    ), made


def _open_day(
    settings: WorldSettings,
    state: _State,
    of_people: np.random.Generator,
    of_campaigns: np.random.Generator,
    day: int,
    midnight: int,
) -> tuple[Accounts, Campaigns, Town]:
    """Who is there today: people of yesterday, accounts of campaigns, newcomers; in this order."""
    people, communities = state.accounts, state.communities
    campaigns, wanted = go_on(
        settings,
        state.campaigns,
        state.next_number,
        people,
        town_of(people, communities, day),
        of_campaigns,
        day,
        midnight,
    )
    theirs = make_accounts(
        settings.people, communities, of_campaigns, midnight - wanted.age_us, wanted.campaign
    )
    new = theirs.join(newcomers(settings.people, communities, of_people, midnight))
    # In no telling order: an account's number says nothing about what it is for.
    order = of_people.permutation(len(new))
    where = np.empty(len(new), np.int64)
    where[order] = np.arange(len(new))
    members = campaigns.members.copy()
    added = members >= len(people)
    members[added] = len(people) + where[members[added] - len(people)]
    campaigns = dataclasses.replace(campaigns, members=members)
    accounts = people.join(new.take(order))
    return accounts, campaigns, town_of(accounts, communities, day)


def _honest_messages(settings: WorldSettings, date: dt.date) -> int:
    people = settings.people
    mean = (5 + 2 * people.weekend) / 7
    return round(people.messages * (people.weekend if date.weekday() > 4 else 1.0) / mean)


def _with_ids(messages: Rows, seed: int, day: int) -> Rows:
    messages = messages.take(np.argsort(messages.time, kind="stable"))
    ids = make_ids(seed, Kind.MESSAGE, day, len(messages))
    messages = dataclasses.replace(messages, id=ids)
    return messages.take(np.lexsort((messages.id, messages.time)))


def _write_texts(town: Town, messages: Rows, seed: int, day: int) -> pa.Array:
    """A chunk at a time, each from randomness of its own."""
    parts = []
    for number, first in enumerate(range(0, max(len(messages), 1), _CHUNK)):
        stream = 2**61 + day * 2**24 + number
        chunk = messages.take(np.arange(first, min(first + _CHUNK, len(messages))))
        parts.append(write_texts(town, make_rng(seed, stream), chunk))
    return pa.concat_arrays(parts)


def _close_accounts(
    settings: WorldSettings,
    accounts: Accounts,
    known: Rows,
    messages: Rows,
    enforced: Enforced,
    day: int,
) -> Accounts:
    rule = settings.enforcement
    verdict = known.kind == Kind.VERDICT
    blamed = np.concatenate(
        [known.target[verdict & (known.verdict == 1)], messages.author[enforced.blocked]]
    )
    granted = verdict & (known.verdict == 0) & (known.source == Source.APPEAL)
    cleared = known.target[granted]
    return judge_accounts(accounts, blamed, cleared, day, rule.bans, rule.lasts)


def _close_campaigns(
    settings: WorldSettings,
    campaigns: Campaigns,
    place: Integers,
    enforced: Enforced,
    rng: np.random.Generator,
    day: int,
    end: int,
) -> Campaigns:
    of = place >= 0
    written = np.bincount(place[of], minlength=len(campaigns))
    blocked = np.bincount(place[of & enforced.blocked], minlength=len(campaigns))
    return change(settings, campaigns, written, blocked, rng, day, end)


def _truth(
    messages: Rows,
    abuse: npt.NDArray[np.bool_],
    campaigns: Campaigns,
    place: Integers,
    enforced: Enforced,
    audits: npt.NDArray[np.float64],
) -> pa.Table:
    at = np.maximum(place, 0)
    none = np.zeros(len(place), np.int64)
    kind, number, variant = (
        (campaigns.kind[at], campaigns.number[at], campaigns.variant[at])
        if len(campaigns)
        else (none, none, none)
    )
    return pa.table(
        {
            "event_id": to_hex(messages.id),
            "sent_at": pa.array(messages.time).cast(pa.timestamp("us", "UTC")),
            "author_id": to_names("u", messages.author),
            "is_abuse": pa.array(abuse),
            "abuse": pa.array(_KINDS).take(pa.array(np.where(abuse, kind + 1, 0))),
            "campaign": pa.array(number, mask=~abuse),
            "variant": pa.array(variant, mask=~abuse),
            "wanted": pa.array(enforced.wanted),
            "blocked": pa.array(enforced.blocked),
            "propensity": pa.array(enforced.propensity),
            "audit": pa.array(audits),
        },
        schema=TRUTH,
    )
