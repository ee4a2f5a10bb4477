"""The small world of backfill tests, in which people are judged too, not only their posts."""

import datetime as dt
import random

from backfill_world import CONFIG, START, make_events

CONFIG_OF_PEOPLE = (
    CONFIG.replace("subject: {type: string}", "subject: {type: string}\n  named: {type: string}")
    .replace(
        "verdict: {required: [subject, bad]}",
        "verdict: {required: [subject, bad]}\n  ban: {required: [named, bad]}",
    )
    .replace(
        "maturity: 1d}",
        "maturity: 1d, subjects: {who: {column: named, kind: ban, reach: 3d}}}",
    )
    + "evaluation: {group: who}\n"
)


def events_of_people(count=3000, days=10, seed=7):
    """The same events; of some people it becomes known what they are, some of it wrongly."""
    rng = random.Random(f"people {seed}")
    events = make_events(count, days, seed)
    for number in range(4 * days):
        at = START + dt.timedelta(seconds=rng.random() * days * 86_400)
        person = rng.randrange(10)
        ban = {"id": f"b{number:04d}", "at": at.isoformat(), "kind": "ban", "named": f"w{person}"}
        events.append(ban | {"bad": (person < 5) == (rng.random() < 0.9)})
    return events
