"""Whom verdicts judge: the account that they name, or the one that they are about."""

import json

import pytest
from campaign_world import CONFIG as RINGS
from social_world import AS_OF, CONFIG

from configs.fingerprint import campaigns_fingerprint, graph_fingerprint
from configs.loader import loads
from pipelines.layout import day_us
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.derive import derive
from transforms.social.events import judgements_of

SUBJECTS = "subjects: {weird: {column: listed, kind: ban}, who: {column: banned, kind: ban}}"


def spec_of(subjects=SUBJECTS, config=CONFIG):
    text = config.replace("SHARDS", "4").replace("MORE", "")
    text = text.replace("kinds:\n", "kinds:\n  ban: {required: [bad]}\n", 1)
    text = text.replace("maturity: 1d", f"maturity: 1d, {subjects}")
    more = "".join(f"  {name}: {{type: string}}\n" for name in ("listed", "banned", "weird"))
    return loads(text.replace("columns:\n", f"columns:\n{more}", 1), "bans.yaml", CATALOG)


@pytest.mark.parametrize(
    ("verdict", "account"),
    [
        ({"kind": "verdict", "subject": "p1", "whom": "ann"}, "ann"),
        ({"kind": "verdict", "subject": "p1"}, None),
        ({"kind": "verdict", "subject": "p1", "banned": "bob"}, None),  # of an event, and of no ban
        ({"kind": "ban", "banned": "bob"}, "bob"),
        ({"kind": "ban", "banned": "bob", "whom": "ann"}, "ann"),
        ({"kind": "ban", "listed": "bad.example"}, None),  # about no account
        ({"kind": "ban", "listed": "bad.example", "banned": "bob"}, None),  # about the first
        ({"kind": "ban"}, None),
        ({"kind": "post", "who": "cat", "banned": "bob"}, None),
    ],
)
def test_a_verdict_judges_the_account_that_it_names_or_is_about(verdict, account):
    spec = spec_of()
    event = {"event_id": "1", "event_time": day_us(AS_OF), "bad": True} | verdict
    batch = decode_json(spec, [json.dumps(event).encode()], "test").batch
    assert batch.num_rows == 1
    made = judgements_of(spec, derive(spec, batch), "whom", ["who"])
    assert made["account"].to_pylist() == ([] if account is None else [account])
    assert made["abusive"].to_pylist() == [True] * len(made)


@pytest.mark.parametrize(
    ("config", "of"), [(CONFIG, graph_fingerprint), (RINGS, campaigns_fingerprint)]
)
def test_a_snapshot_knows_which_verdicts_about_subjects_it_was_made_of(config, of):
    others = ("who: {column: listed, kind: ban}", "who: {column: banned}", "who: {kind: ban}")
    others += ("who: {column: banned, kind: ban}", "weird: {column: banned, kind: ban}")
    others += ("who: {column: banned, kind: ban}, weird: {column: listed, kind: ban}",)
    free = config.replace("required: [subject, bad]", "required: [bad]")
    made = [spec_of("", free), spec_of(config=free)]
    made += [spec_of(f"subjects: {{{one}}}", free) for one in others]
    assert len({of(one) for one in made}) == len(made)
    weighed = SUBJECTS.replace("kind: ban}", "kind: ban, most_weight: 7, reach: 2d}")
    assert of(spec_of(weighed, free)) == of(made[1])
