"""Training as of a night sees nothing that became known later: by features, labels, vocabularies,
text model, calibration or thresholds.

All of these are in a bundle, and its fingerprint is of their values; so the future may be anything.
"""

import random

from backfill_world import make_events
from nightly_world import NIGHT, request, write_events

from pipelines.nightly import nightly


def known_by(event):
    return event["at"] < NIGHT.isoformat()


def another_future(events):
    """Other verdicts about what there was, other people, words and places; nothing earlier."""
    rng = random.Random(1)
    before = [one for one in events if known_by(one)]
    after = [dict(one) for one in events if not known_by(one)]
    for one in after:
        if one["kind"] == "verdict":
            one["bad"] = not one["bad"]
        else:
            one |= {"who": f"new{rng.randrange(9)}", "where": "mars", "amount": 1e6, "text": "a b"}
    late = [
        {"id": f"x{at}", "at": f"{NIGHT}T0{at % 9}:00:00+00:00", "kind": "verdict",
         "subject": one["id"], "bad": rng.random() < 0.5}
        for at, one in enumerate(before) if one["kind"] == "post"
    ]  # fmt: skip
    return [*before, *after[::2], *late]


def test_whatever_becomes_known_later_the_bundle_is_the_same(night_house, tmp_path):
    source = write_events(tmp_path / "future", another_future(make_events(3000, days=10)))
    made = nightly(request(source, tmp_path / "out", promote=False))
    assert made.bundle == night_house[2].bundle


def test_one_verdict_more_before_the_night_makes_another_bundle(night_house, tmp_path):
    """So the test above can fail."""
    events = make_events(3000, days=10)
    judged = {one["subject"] for one in events if one["kind"] == "verdict"}
    post = next(
        one for one in events
        if one["id"] not in judged and one["kind"] == "post" and "2026-03-06" in one["at"]
    )  # fmt: skip
    more = {"id": "x", "at": "2026-03-08T23:00:00+00:00", "kind": "verdict", "bad": True}
    source = write_events(tmp_path / "more", [*events, more | {"subject": post["id"]}])
    assert nightly(request(source, tmp_path / "out", promote=False)).bundle != night_house[2].bundle
