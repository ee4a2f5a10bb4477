"""Reports of what people see: more about newcomers and strangers, some wrong, some malicious."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from configs.world import ABUSE, WorldSettings
from pipelines.simulate.campaigns import Campaigns
from pipelines.simulate.reactions import draw_delays
from pipelines.simulate.rows import Act, Integers, Kind, Rows, concat, make_ids, make_rows
from pipelines.simulate.town import Town
from pipelines.simulate.world import DAY_US

_WEEK_US = 7 * DAY_US
_PROMO = 3.0  # a creator's link annoys people
HONEST_IDS, MALICIOUS_IDS = 1, 4  # series of ids


def report(
    settings: WorldSettings,
    town: Town,
    rng: np.random.Generator,
    messages: Rows,
    seen: npt.NDArray[np.bool_],
    campaigns: Campaigns,
    place: Integers,
    seed: int,
    day: int,
) -> tuple[Rows, Integers]:
    """Reports about a day's messages, and which message each is about.

    Args:
      settings: rates and biases.
      town: whose people report.
      rng: of this day.
      messages: with ids.
      seen: bool `[n]`; what is blocked is not reported.
      campaigns: of the day; place: int64 `[n]`, a message's campaign, or -1.
      seed, day: of the ids.

    Returns:
      Rows with ids, in no order, and int64 `[reports]`.
    """
    rule = settings.reports
    by_kind = np.array([settings.abuse[k].reported if k in settings.abuse else 0 for k in ABUSE])
    mean = np.full(len(messages), rule.honest, np.float64)
    mean[messages.act == Act.PROMO] *= _PROMO
    bad = place >= 0
    mean[bad] = by_kind[campaigns.kind[place[bad]]]
    young = messages.time - town.created_us[messages.author] < _WEEK_US
    spoken = town.communities.language[town.communities.of_channel[messages.channel]]
    strange = town.language[messages.author] != spoken
    mean *= np.where(young & ~bad, rule.newcomers, 1.0) * np.where(strange, rule.strangers, 1.0)
    about = np.repeat(np.arange(len(messages)), rng.poisson(np.where(seen, mean, 0.0)))
    at = messages.time[about] + draw_delays(rng, len(about), rule.delay, 1.4, 3 * DAY_US)
    just = make_rows(
        at,
        id=make_ids(seed, HONEST_IDS, day, len(about)),
        kind=Kind.REPORT,
        author=town.draw_present(rng, at),
        target=messages.author[about],
        subject=messages.id[about],
    )
    aimed, who = _brigades(settings, town, rng, messages, seen & ~bad)
    at = messages.time[aimed] + draw_delays(rng, len(aimed), rule.delay * 2, 0.7, DAY_US)
    malicious = make_rows(
        at,
        id=make_ids(seed, MALICIOUS_IDS, day, len(aimed)),
        kind=Kind.REPORT,
        author=who,
        target=messages.author[aimed],
        subject=messages.id[aimed],
    )
    return concat([just, malicious]), np.concatenate([about, aimed])


def _brigades(
    settings: WorldSettings,
    town: Town,
    rng: np.random.Generator,
    messages: Rows,
    may: npt.NDArray[np.bool_],
) -> tuple[Integers, Integers]:
    """Each group reports up to five messages of one person: messages' places, and reporters."""
    honest = np.flatnonzero(may)
    count = rng.poisson(settings.reports.brigades)
    if not len(honest) or not count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    victims = messages.author[honest[(rng.random(count) * len(honest)).astype(np.int64)]]
    aimed, who = [], []
    for victim in victims:
        theirs = honest[messages.author[honest] == victim][:5]
        group = town.draw_authors(rng, settings.reports.members)
        aimed.append(np.repeat(theirs, len(group)))
        who.append(np.tile(group, len(theirs)))
    return np.concatenate(aimed), np.concatenate(who)
