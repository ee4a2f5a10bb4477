"""Where campaigns are units, no slice of a nightly run parts one, and reports count them."""

import datetime as dt
import json
import random
from pathlib import Path

import numpy as np
import pytest
import typer
from backfill_world import CONFIG, START
from nightly_world import NIGHT, request, write_events
from typer.testing import CliRunner

from configs.errors import ConfigError
from configs.loader import loads
from pipelines.campaign_units import read_units
from pipelines.campaigns import make_campaign_snapshot
from pipelines.commands import add_verb
from pipelines.commands.evaluate import _campaigns
from pipelines.dataset import load_dataset
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, Layout
from pipelines.nightly import nightly
from pipelines.shard_files import SnapshotRequest
from training.dataset import slices
from training.labels import UNLABELLED
from transforms.catalog import CATALOG

SECTION = """
campaigns:
  account: who
  of: post
  recipients: where
  links: {text: {columns: clean, weight: 2}}
"""
UNITS = f"{CONFIG}{SECTION}evaluation: {{group: who, campaigns: true}}\n"
RINGS = {"old": (3, 8), "late": (6.5, 8), "early": (4, 6)}
"""From when to when of March they write: the span is 4 to 8, of which the gate slice is the 7th."""
GATE_DAY = Days.parse("2026-03-07..2026-03-07")


def make_events(seed=2):
    """People with texts of their own, some of it abuse, and three rings with a text each."""
    rng = random.Random(seed)
    made = []
    for number in range(2600):
        days, who, text, bad = 9 * rng.random(), f"w{rng.randrange(400)}", f"note {number}", False
        if number % 13 == 0:
            name = list(RINGS)[number // 13 % 3]
            first, last = RINGS[name]
            days, who, bad = first - 1 + rng.random() * (last - first), f"{name}{number % 4}", True
            text = f"win money now, it is the {name} one"
        elif number % 9 == 0:
            bad = True
        at = START + dt.timedelta(days=days)
        event = {"id": f"p{number:05d}", "at": at.isoformat(), "kind": "post", "who": who}
        event |= {"where": rng.choice("abc"), "amount": rng.random() + bad, "text": text}
        known = (at + dt.timedelta(hours=2)).isoformat()
        verdict = {"id": f"v{number:05d}", "at": known, "kind": "verdict", "bad": bad}
        made += [event, verdict | {"subject": event["id"]}]
    return made


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Source, output folder, spec, snapshot, and a nightly run after it."""
    folder = tmp_path_factory.mktemp("units")
    source, out = write_events(folder / "in", make_events()), folder / "out"
    spec = loads(UNITS, "tiny.yaml", CATALOG)
    now = dt.datetime(2026, 3, 9, 1, tzinfo=dt.UTC)
    snapshot = make_campaign_snapshot(SnapshotRequest(spec, source, out, NIGHT, now))
    assert snapshot.campaigns == 3
    return source, out, spec, snapshot, nightly(request(source, out, UNITS))


def facts_of(outcome):
    return {fact.name: fact.value for fact in outcome.report.facts}


def parts_of(spec, out):
    """Events of the training span, and who of a ring wrote them."""
    cut = slices(spec.training, request("", out, UNITS).as_of_us)
    span = (cut.span.start_us, cut.span.end_us, request("", out, UNITS).as_of_us)
    data = load_dataset(spec, Layout(out), *span)
    who = np.array([one.rstrip("0123456789") for one in data.events["who"].to_pylist()])
    return cut, data, who


def test_a_campaign_that_is_in_an_earlier_slice_judges_nothing_later(night):
    _, out, spec, snapshot, outcome = night
    cut, data, who = parts_of(spec, out)
    inside = {name: part.mask(data.times) for name, part in (
        ("fit", cut.fit), ("validation", cut.validation), ("gate", cut.gate))}  # fmt: skip
    left = np.zeros(len(data), bool)
    for ring in RINGS:
        first = next(name for name, part in inside.items() if (part & (who == ring)).any())
        left |= (who == ring) & ~inside[first]
    assert {*who[left]} == {"old", "late"}
    facts = facts_of(outcome)
    assert facts["campaigns as of"] == snapshot.name
    name = "events left out, of campaigns that began in an earlier slice"
    assert facts[name] == f"{left.sum():,}"
    shown = {one.name: one for one in outcome.report.slices}
    for name in ("validation", "gate"):
        kept = data.labels[inside[name] & ~left]
        assert shown[name].positives == np.count_nonzero(kept == 1)
        assert shown[name].unlabelled == np.count_nonzero(kept == UNLABELLED) + np.count_nonzero(
            inside[name] & left
        )
    assert outcome.report.metrics.positives == shown["gate"].positives


def test_evaluation_counts_campaigns_and_how_early_they_were_caught(night):
    _, out, _, snapshot, outcome = night
    found = evaluate_bundle(EvaluateRequest(out, outcome.bundle, GATE_DAY, NIGHT))
    made = found.campaigns
    assert found.snapshot == snapshot.name
    assert (made.campaigns, made.abusive, made.new) == (2, 2, 0), "the old and the late one"
    assert json.loads(json.dumps(found.to_builtins()))["campaigns"]["abusive"] == 2
    wide = evaluate_bundle(
        EvaluateRequest(out, outcome.bundle, Days.parse("2026-03-05..2026-03-07"), NIGHT)
    )
    assert (wide.campaigns.campaigns, wide.campaigns.new) == (3, 1)
    [block] = wide.campaigns.caught
    assert block.caught == 3
    assert block.median_recipients <= 3, "places, each once"
    lines = _campaigns("b", wide.snapshot, wide.campaigns)
    assert lines[0].startswith(f"b campaigns as of {snapshot.name}: 3 have events here")
    assert "block caught 3 of 3 abusive ones" in lines[1]
    assert evaluate_bundle(EvaluateRequest(out, outcome.bundle, GATE_DAY)).campaigns is not None


def test_units_are_those_of_the_newest_snapshot_of_the_day_or_before(night):
    _, out, spec, snapshot, _ = night
    assert read_units(spec, out, NIGHT).snapshot == snapshot.name
    assert read_units(spec, out, NIGHT - dt.timedelta(days=1)) is None
    without = loads(f"{CONFIG}{SECTION}evaluation: {{group: who}}\n", "tiny.yaml", CATALOG)
    assert read_units(without, out, NIGHT) is None


def test_accounts_of_a_campaign_are_one_cluster_and_others_their_own(night):
    _, out, spec, _, _ = night
    units = read_units(spec, out, NIGHT)
    _, data, who = parts_of(spec, out)
    clusters = units.clusters(data.events["who"])
    accounts = np.array(data.events["who"].to_pylist())
    for ring in RINGS:
        assert len({*clusters[who == ring]}) == 1
    people = who == "w"
    assert len({*clusters[people]}) == len({*accounts[people]})
    assert len({*clusters}) == len({*accounts[people]}) + 3
    assert (units.of_accounts(data.events["who"]) >= 0).tolist() == (~people).tolist()


def test_without_a_snapshot_accounts_are_the_units_and_the_page_says_so(night, tmp_path):
    source, _, _, _, _ = night
    outcome = nightly(request(source, tmp_path / "out", UNITS))
    assert any("There is no snapshot of campaigns" in note for note in outcome.report.notes)
    assert "campaigns as of" not in facts_of(outcome)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{CONFIG}evaluation: {{group: who, campaigns: true}}\n", "there is no section campaigns"),
        (f"{CONFIG}{SECTION}evaluation: {{group: where, campaigns: true}}\n", "theirs is who"),
        (f"{CONFIG}{SECTION}evaluation: {{campaigns: true}}\n", "means nothing here"),
    ],
)
def test_campaigns_of_others_than_the_group_are_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        loads(text, "tiny.yaml", CATALOG)


EXPERIMENT = """experiment: 1
name: rings
config: tiny.yaml
as_of: 2026-03-08
over: campaigns
challengers:
  blind: {change: {inputs: {text: null, numeric: []}}}
"""


def test_an_experiment_over_campaigns_by_command(night, tmp_path):
    """Contenders are fitted by campaigns, as a nightly run is; the bootstrap draws rings whole."""
    source, _, spec, _, _ = night
    (tmp_path / "tiny.yaml").write_text(UNITS)
    (tmp_path / "rings.yaml").write_text(EXPERIMENT)
    app, out = typer.Typer(), tmp_path / "out"
    for verb in ("campaigns", "experiment"):
        add_verb(app, verb)
    to = ["--input", source, "--out", str(out), "--quiet"]
    asked = ["campaigns", str(tmp_path / "tiny.yaml"), "--as-of", "2026-03-08", *to]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    asked = ["experiment", "run", str(tmp_path / "rings.yaml"), *to, "--json"]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert (
        nightly(request(source, out, UNITS, dt.date(2026, 3, 8))).bundle
        == (found["champion"]["nights"][0]["bundle"])
    )
    day = Days.parse("2026-03-08..2026-03-08")
    tested = load_dataset(spec, Layout(out), day.start_us, day.end_us, day.end_us + 86_400_000_000)
    who = tested.events["who"].to_pylist()
    assert found["over"] == "campaigns"
    rings = {one.rstrip("0123456789") for one in who} - {"w"}
    accounts = {one for one in who if one.startswith("w")}
    assert found["units"] == len(rings) + len(accounts)
    assert not found["challengers"][0]["error"]
    assert "rings" in Path(found["page"]).read_text()
