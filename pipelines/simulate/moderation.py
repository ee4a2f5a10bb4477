"""Who judges what was sent: rules within minutes, moderators as far as they get, audits, appeals.

What enters: a day's messages, which of them people see, and the reports. What leaves: verdicts, and
the queue of what is still to be looked at.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from configs.world import Moderators, WorldSettings
from pipelines.simulate.enforcement import Enforced
from pipelines.simulate.reactions import draw_delays
from pipelines.simulate.rows import Integers, Kind, Rows, Source, concat, make_ids, make_rows
from pipelines.simulate.world import DAY_US

Mask = npt.NDArray[np.bool_]
_RULE_US = 2 * 60_000_000  # median of a rule's verdict
_MODERATOR_IDS, _APPEAL_IDS, _RULE_IDS, _AUDIT_IDS = 2, 3, 5, 6  # series of ids


@dataclasses.dataclass(frozen=True)
class Queue:
    """Reported messages that nobody has looked at; arrays `[n]`.

    Attributes:
      subject: uint64, the message; author: int64, whose it is.
      abuse: bool, the truth.
      arrived: int64, microseconds UTC, of the first report; reports: int64, how many.
    """

    subject: npt.NDArray[np.uint64]
    author: Integers
    abuse: Mask
    arrived: Integers
    reports: Integers

    def __len__(self) -> int:
        return len(self.author)

    def take(self, index: Integers | Mask) -> Queue:
        """Those at these positions, or where a mask holds."""
        return Queue(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    def join(self, others: Queue) -> Queue:
        """These, and others behind them."""
        names = [f.name for f in dataclasses.fields(self)]
        return Queue(**{n: np.concatenate([getattr(self, n), getattr(others, n)]) for n in names})


def empty_queue() -> Queue:
    """Nothing to do."""
    none = np.zeros(0, np.int64)
    return Queue(none.astype(np.uint64), none, none.astype(np.bool_), none, none)


def judge(
    settings: WorldSettings,
    rng: np.random.Generator,
    messages: Rows,
    abuse: Mask,
    enforced: Enforced,
    reports: Rows,
    about: Integers,
    queue: Queue,
    seed: int,
    day: int,
    midnight_us: int,
) -> tuple[Rows, Queue, npt.NDArray[np.float64]]:
    """The verdicts that a day leads to, at the times when they become known.

    Args:
      settings: of moderators and appeals.
      rng: of this day.
      messages: of the day, with ids.
      abuse: bool `[n]`, the truth.
      enforced: what was blocked; that is judged only when its author appeals.
      reports: of the day's messages; about: int64, the message of each.
      queue: from yesterday.
      seed, day: of the ids.
      midnight_us: when the day begins.

    Returns:
      Rows with ids, in no order; what is still to be looked at; and float64 `[n]`, the chance with
      which a message is audited.
    """
    rule = settings.moderators
    seen = ~enforced.blocked
    waiting = queue.join(_reported(messages, abuse, reports, about))
    looked, queue = _pick(rule, rng, waiting, midnight_us)
    known = np.maximum(looked.arrived, midnight_us)
    known = known + draw_delays(rng, len(looked), rule.delay, 1.0, 30 * DAY_US)
    wrong = np.where(looked.abuse, rule.misses, rule.misled)
    said = looked.abuse ^ (rng.random(len(looked)) < wrong)
    ids = make_ids(seed, _MODERATOR_IDS, day, len(looked))
    parts = [_verdicts(known, ids, looked.subject, looked.author, said, Source.MODERATOR)]
    truths, certain = [looked.abuse], [said]

    chance = np.where(abuse, rule.automatic, rule.false_rules)
    ruled = np.flatnonzero(seen & (rng.random(len(abuse)) < chance))
    at = messages.time[ruled] + draw_delays(rng, len(ruled), _RULE_US, 0.8, DAY_US)
    guilty = np.ones(len(ruled), np.bool_)
    ids = make_ids(seed, _RULE_IDS, day, len(ruled))
    parts.append(
        _verdicts(at, ids, messages.id[ruled], messages.author[ruled], guilty, Source.AUTOMATIC)
    )
    truths.append(abuse[ruled])
    certain.append(guilty)

    audits = np.where(enforced.wanted, enforced.propensity, rule.audits)
    audited = np.flatnonzero(seen & (enforced.wanted | (rng.random(len(abuse)) < rule.audits)))
    at = messages.time[audited] + draw_delays(rng, len(audited), rule.delay, 0.6, 3 * DAY_US)
    found = abuse[audited] ^ (rng.random(len(audited)) < rule.audit_errors)
    ids = make_ids(seed, _AUDIT_IDS, day, len(audited))
    parts.append(
        _verdicts(at, ids, messages.id[audited], messages.author[audited], found, Source.AUDIT)
    )
    truths.append(abuse[audited])
    certain.append(found)

    blocked = np.flatnonzero(enforced.blocked)
    told = make_rows(
        messages.time[blocked], target=messages.author[blocked], subject=messages.id[blocked]
    )
    parts_told = concat([*parts, told])
    guilty = np.concatenate([*certain, np.ones(len(blocked), np.bool_)])
    truth = np.concatenate([*truths, abuse[blocked]])
    appeals = _appeals(settings, rng, parts_told, guilty, truth, seed, day)
    return concat([*parts, appeals]), queue, audits


def _reported(messages: Rows, abuse: Mask, reports: Rows, about: Integers) -> Queue:
    first = np.full(len(messages), np.iinfo(np.int64).max)
    np.minimum.at(first, about, reports.time)
    count = np.bincount(about, minlength=len(messages))
    place = np.flatnonzero(count)
    return Queue(
        messages.id[place], messages.author[place], abuse[place], first[place], count[place]
    )


def _pick(
    rule: Moderators, rng: np.random.Generator, waiting: Queue, midnight_us: int
) -> tuple[Queue, Queue]:
    """What is looked at on a day, most reported first; and the rest, but for what has expired."""
    here = waiting.arrived < midnight_us + DAY_US
    order = np.argsort(-(waiting.reports + rng.random(len(waiting))), kind="stable")
    order = order[here[order]][: rule.capacity]
    left = waiting.arrived >= midnight_us + DAY_US - rule.waits
    left[order] = False
    return waiting.take(order), waiting.take(left)


def _appeals(
    settings: WorldSettings,
    rng: np.random.Generator,
    told: Rows,
    guilty: Mask,
    truth: Mask,
    seed: int,
    day: int,
) -> Rows:
    """Verdicts on appeal, by those who were found guilty or were blocked."""
    rule = settings.appeals
    chance = np.where(truth, rule.abuse, rule.honest)
    row = np.flatnonzero(guilty & (rng.random(len(truth)) < chance))
    heard = told.time[row] + draw_delays(rng, len(row), rule.delay, 0.8, 60 * DAY_US)
    upheld = truth[row] ^ (rng.random(len(row)) < rule.wrong)
    ids = make_ids(seed, _APPEAL_IDS, day, len(row))
    return _verdicts(heard, ids, told.subject[row], told.target[row], upheld, Source.APPEAL)


def _verdicts(
    known: Integers,
    ids: npt.NDArray[np.uint64],
    subject: npt.NDArray[np.uint64],
    author: Integers,
    said: Mask,
    source: Source,
) -> Rows:
    return make_rows(
        known,
        id=ids,
        kind=Kind.VERDICT,
        target=author,
        subject=subject,
        verdict=said,
        source=int(source),
    )
