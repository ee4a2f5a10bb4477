"""Which bundles something still refers to; the others may be removed (`Store.remove`)."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence

from scoring.store import BundleInfo, ServingChange


def bundles_in_use(
    infos: Sequence[BundleInfo],
    changes: Sequence[ServingChange],
    before: str | None,
    now: dt.datetime,
    keep_days: int,
    named: Mapping[str, str],
) -> dict[str, str]:
    """Bundles that are to stay, each with the reason, in words.

    Args:
      infos: all that there are (`Store.list`).
      changes: what has been made to serve, oldest first (`Store.changes`).
      before: what served before the one that serves now; None: nothing did.
      now: with a time zone.
      keep_days: those of the days up to the newest bundle's stay, and those that served in so many
        days before `now`.
      named: bundles that something else refers to, and what.

    >>> now = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
    >>> some = [BundleInfo(name, "chat", "booster", name == "c", day, {})
    ...         for name, day in (("a", "2026-03-01"), ("b", "2026-03-02"), ("c", "2026-03-30"))]
    >>> bundles_in_use(some, (), None, now, 7, {"b": "the log of live names it"})
    {'c': 'it serves', 'b': 'the log of live names it'}
    """
    reasons: dict[str, str] = {}
    there = {one.fingerprint: one for one in infos}
    for one in infos:
        if one.damaged:
            reasons[one.fingerprint] = "it is damaged, so nobody knows what it is; look at it first"
        if one.serving:
            reasons[one.fingerprint] = "it serves"
    if before is not None:
        reasons.setdefault(before, "`lockstep bundle rollback` goes back to it")
    for name, why in named.items():
        reasons.setdefault(name, why)
    oldest = now - dt.timedelta(days=keep_days)
    for change, following in itertools.pairwise(changes):
        if _moment(following.at) >= oldest:
            reasons.setdefault(change.serving, f"it served within {keep_days} days")
    days = [day for one in infos if (day := _day(one.made)) is not None]
    for one in infos:
        made = _day(one.made)
        if made is None or made > max(days) - dt.timedelta(days=keep_days):
            reasons.setdefault(one.fingerprint, f"it is of the last {keep_days} days of training")
    for name in tuple(reasons):
        if name in there and there[name].judged:
            reasons.setdefault(there[name].judged, f"{name} is compared by it")
    return {name: why for name, why in reasons.items() if name in there}


def _moment(text: str) -> dt.datetime:
    """Of a change; one of an earlier release, without a time, is long ago."""
    try:
        made = dt.datetime.fromisoformat(text)
    except ValueError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
    return made if made.tzinfo else made.replace(tzinfo=dt.UTC)


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None
