"""A nightly run under `labels.weighting: inverse_propensity`: from the log to the bundle."""

import datetime as dt
import json

import pyarrow as pa
import pytest
import typer
from backfill_world import CONFIG, make_events
from nightly_world import NIGHT, request, write_events
from typer.testing import CliRunner

from configs.errors import ConfigError, EvidenceError
from configs.loader import loads
from pipelines.commands import add_verb
from pipelines.layout import Layout
from pipelines.nightly import nightly
from pipelines.nightly.sample import load_sample
from pipelines.nightly.weighting import weigh
from pipelines.streaming.journal import Journal
from scoring.bundle import load_bundle
from scoring.hold_out import HELD_OUT, is_held_out
from training.dataset import slices
from training.labels import UNLABELLED
from transforms.catalog import CATALOG

SHARE = 0.5
WEIGHTED = CONFIG.replace(
    "policy: {", f"policy: {{hold_out: {{share: {SHARE}, salt: a}}, "
).replace("maturity: 1d}", "maturity: 1d, weighting: inverse_propensity}")
DUE = 5.0  # of the amount: nearly all abuse has more, and half of the rest


def decision(event, share):
    due = event["amount"] > DUE
    through = due and is_held_out(pa.array([event["id"]]), share, "a")[0]
    made = {
        "event_id": event["id"],
        "score": 0.9 if due else 0.1,
        "action": "block" if due and not through else "allow",
        "propensity": share if due else 1.0,
    }
    if through:
        made["withheld"] = {"action": "block", "by": HELD_OUT}
    return made


def write_log(state, events, share=SHARE):
    """A scorer's log of the posts, and the posts and verdicts that enforcement leaves."""
    posts = sorted((one for one in events if one["kind"] == "post"), key=lambda one: one["at"])
    made = [decision(one, share) for one in posts]
    journal = Journal(state)
    times = [round(dt.datetime.fromisoformat(one["at"]).timestamp() * 1e6) for one in posts]
    batch = pa.RecordBatch.from_pydict(
        {
            "step": pa.array([0] * len(posts), pa.int64()),
            "event_time": pa.array(times, pa.int64()),
            "decision": pa.array([json.dumps(one).encode() for one in made], pa.binary()),
        }
    )
    journal.append(0, batch, dt.date(2026, 3, 1))
    journal.close()
    blocked = {one["event_id"] for one in made if one["action"] == "block"}
    left = [one for one in events if one.get("subject") not in blocked]
    return {one["event_id"]: one for one in made}, left


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighted")
    decisions, events = write_log(folder / "state", make_events(3000, days=10))
    source = write_events(folder / "input", events)
    wanted = request(source, folder / "out", WEIGHTED, scorer=folder / "state")
    return wanted, nightly(wanted), decisions


def test_what_was_acted_on_teaches_nothing_and_what_was_let_through_stands_for_it(lived):
    wanted, _, decisions = lived
    cut = slices(wanted.spec.training, wanted.as_of_us)
    data = load_sample(wanted.spec, Layout(wanted.out), cut, wanted.as_of_us)
    made = weigh(wanted, data, cut)
    gate = cut.gate.mask(data.times)
    kept = 0
    rows = zip(data.events["event_id"].to_pylist(), data.labels, made.data.labels, made.weights,
               gate, strict=True)  # fmt: skip
    for event, before, label, weight, in_gate in rows:
        said = decisions[event]
        if said["action"] == "block":
            assert label == UNLABELLED and before in (0, UNLABELLED)
        elif in_gate:
            assert label in (before, UNLABELLED)
            kept += label != UNLABELLED and said["propensity"] == 1.0
            assert label == before or said["propensity"] == 1.0
        else:
            assert label == before
            assert weight == (1 / SHARE if "withheld" in said else 1.0)
    allowed = [e for e, g in zip(data.events["event_id"].to_pylist(), gate, strict=True)
               if g and decisions[e]["propensity"] == 1.0]  # fmt: skip
    assert 0.35 < kept / len(allowed) < 0.65, "about the hold-out's share"
    assert made.undecided == 0
    assert made.slices["gate"].effective == made.slices["gate"].labelled
    assert made.slices["fit"].effective < made.slices["fit"].labelled


def test_the_run_says_what_it_rests_on(lived):
    _, made, _ = lived
    words = "\n".join(made.warnings)
    assert "the fit slice has" in words and "let through; they stand for" in words
    notes = load_bundle(made.folder, CATALOG).provenance
    assert notes["effective_rows"]["fit"] > 100
    assert 0 < notes["weighting"]["gate"]["through"] < notes["weighting"]["gate"]["labelled"]


def test_without_a_log_or_with_too_little_let_through_nothing_is_trained(lived, tmp_path):
    wanted, _, _ = lived
    with pytest.raises(ConfigError, match="give --scorer"):
        nightly(request(wanted.source, tmp_path / "a", WEIGHTED))
    _, events = write_log(tmp_path / "state", make_events(3000, days=10), share=0.01)
    source = write_events(tmp_path / "input", events)
    few = WEIGHTED.replace("share: 0.5", "share: 0.01")
    with pytest.raises(
        EvidenceError, match=r"labelled events that the hold-out let through, and 20"
    ):
        nightly(request(source, tmp_path / "b", few, scorer=tmp_path / "state"))


def test_events_that_the_log_does_not_have_are_counted(lived, tmp_path):
    wanted, _, _ = lived
    cut = slices(wanted.spec.training, wanted.as_of_us)
    data = load_sample(wanted.spec, Layout(wanted.out), cut, wanted.as_of_us)
    posts = [one for one in make_events(3000, days=10) if one["kind"] == "post"]
    write_log(tmp_path / "state", posts[::2])
    made = weigh(
        request(wanted.source, wanted.out, WEIGHTED, night=NIGHT, scorer=tmp_path / "state"),
        data, cut,
    )  # fmt: skip
    assert 0.3 * len(data) < made.undecided < 0.7 * len(data)
    assert any("no decision on" in one for one in made.warnings())


def test_it_needs_a_hold_out():
    with pytest.raises(ConfigError, match=r"policy\.hold_out is not set"):
        loads(
            CONFIG.replace("maturity: 1d}", "maturity: 1d, weighting: inverse_propensity}"),
            "a",
            CATALOG,
        )


EXPERIMENT = """experiment: 1
name: weighed
config: tiny.yaml
as_of: 2026-03-09
over: events
challengers:
  plain: {change: {labels: {weighting: none}}}
"""


def experiment(folder, text, *words):
    app = typer.Typer()
    add_verb(app, "experiment")
    app.command("other")(lambda: None)
    (folder / "mine.yaml").write_text(text)
    given = ["experiment", "run", str(folder / "mine.yaml"), "--quiet", *map(str, words)]
    return CliRunner().invoke(app, given)


def test_a_contender_of_an_experiment_weighs_as_the_nightly_run_does(lived, tmp_path):
    wanted, night, _ = lived
    (tmp_path / "tiny.yaml").write_text(WEIGHTED)
    asked = ("--input", wanted.source, "--out", tmp_path / "out", "--scorer", wanted.scorer)
    ended = experiment(tmp_path, EXPERIMENT, *asked, "--json")
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    plain = nightly(
        request(wanted.source, tmp_path / "plain", WEIGHTED.replace("inverse_propensity", "none"))
    )
    bundles = [one["nights"][0]["bundle"] for one in (found["champion"], *found["challengers"])]
    assert bundles == [night.bundle, plain.bundle] and night.bundle != plain.bundle
    assert any("favour models that are like the one that acted" in one for one in found["notes"])
    again = json.loads(experiment(tmp_path, EXPERIMENT, *asked, "--json").stdout)
    assert all(one["nights"][0]["reused"] for one in (again["champion"], *again["challengers"]))
    posts = [one for one in make_events(3000, days=10) if one["kind"] == "post"]
    write_log(tmp_path / "other", posts[::2])
    other = (*asked[:-1], tmp_path / "other")
    moved = json.loads(experiment(tmp_path, EXPERIMENT, *other, "--json").stdout)
    assert not moved["champion"]["nights"][0]["reused"], "another log is another sample"
    assert moved["challengers"][0]["nights"][0]["reused"]


def test_without_the_scorers_log_such_a_contender_is_refused_by_name(lived, tmp_path):
    wanted, _, _ = lived
    (tmp_path / "tiny.yaml").write_text(WEIGHTED)
    asked = ("--input", wanted.source, "--out", wanted.out)
    ended = experiment(tmp_path, EXPERIMENT, *asked)
    assert isinstance(ended.exception, ConfigError) and "give --scorer" in str(ended.exception)
    (tmp_path / "tiny.yaml").write_text(WEIGHTED.replace("inverse_propensity", "none"))
    text = EXPERIMENT.replace("plain", "weighed").replace("none", "inverse_propensity")
    ended = experiment(tmp_path, text, *asked, "--json")
    (only,) = json.loads(ended.stdout)["challengers"]
    assert ended.exit_code == 11 and "give --scorer" in only["message"]
