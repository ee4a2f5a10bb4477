"""Precision and recall from a scorer's log and the verdicts of auditors, over a simulated world."""

import dataclasses
import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from configs.errors import ConfigError, InputError
from configs.loader import load, shipped
from configs.world import Enforcement, LetThrough, load_world
from pipelines.backfill import BackfillRequest, backfill
from pipelines.commands import add_verb
from pipelines.layout import Days
from pipelines.selective import fits_share, observe, parse_decisions, report_selective
from pipelines.simulate import WorldRequest, read_truth, simulate_world
from pipelines.streaming.journal import Journal
from transforms.catalog import CATALOG

START = dt.date(2026, 3, 1)
MEASURED = Days(START, START + dt.timedelta(days=2))
AUDITS = 0.2


def decision(row):
    """As the scorer encodes it under a policy with a hold-out."""
    through = row["wanted"] and not row["blocked"]
    made = {
        "event_id": row["event_id"],
        "score": 0.9 if row["wanted"] else 0.01,
        "action": "block" if row["blocked"] else "allow",
        "propensity": row["propensity"],
    }
    if through:
        made["withheld"] = {"action": "block", "by": "hold-out"}
    return json.dumps(made).encode()


@pytest.fixture(scope="module")
def spec():
    return load(shipped("chat"), CATALOG)


@pytest.fixture(scope="module")
def lived(tmp_path_factory, spec):
    """A backfill of a world whose verdicts have come, the log of its decisions, and the truth."""
    root = tmp_path_factory.mktemp("lived")
    world = load_world("chat")
    world = dataclasses.replace(
        world,
        people=dataclasses.replace(world.people, messages=3_000, accounts=1_000),
        moderators=dataclasses.replace(world.moderators, audits=AUDITS),
        enforcement=Enforcement("oracle", catches=0.7, false_alarms=0.02, bans=1000),
        hold_out=LetThrough(0.4, "test"),
    )
    simulate_world(WorldRequest(world, root / "events", days=7, start=START))
    days = Days(START, START + dt.timedelta(days=6))
    backfill(BackfillRequest(spec, str(root / "events"), root / "out", days, workers=1))
    truth = read_truth(root / "events.truth")
    journal = Journal(root / "state")
    for step in range(0, truth.num_rows, 1000):
        rows = truth.slice(step, 1000)
        batch = pa.RecordBatch.from_pydict(
            {
                "step": pa.array([step // 1000] * rows.num_rows, pa.int64()),
                "event_time": rows["sent_at"].cast(pa.int64()).combine_chunks(),
                "decision": pa.array([decision(row) for row in rows.to_pylist()], pa.binary()),
            }
        )
        journal.append(step // 1000, batch, START)
    journal.close()
    time = truth["sent_at"].cast(pa.int64()).to_numpy()
    inside = (time >= MEASURED.start_us) & (time < MEASURED.end_us)
    return root, truth.filter(pa.array(inside))


def test_estimates_hold_the_truth_that_the_log_and_the_events_do_not_have(lived, spec):
    root, truth = lived
    made = report_selective(spec, str(root / "out"), root / "state", MEASURED, "audit", AUDITS)
    abuse, wanted = (truth[name].to_numpy() for name in ("is_abuse", "wanted"))
    blocked = truth["blocked"].to_numpy()
    assert (made.decisions, made.due) == (truth.num_rows, wanted.sum())
    assert made.through == (wanted & ~blocked).sum() > 20
    assert made.unjudged == 0
    true = {
        "precision": (abuse & wanted).sum() / wanted.sum(),
        "recall": (abuse & wanted).sum() / abuse.sum(),
        "prevalence": abuse.mean(),
    }
    for figure, by_method in made.estimates.items():
        for method, one in by_method.items():
            assert one.low <= true[figure] <= one.high, (figure, method)
            assert one.high - one.low < 0.5


def test_the_command_prints_them_and_what_is_wrong(lived):
    root, _ = lived
    app = typer.Typer()
    add_verb(app, "selective")

    def run(*more, audits=AUDITS):
        words = ["chat", "--out", root / "out", "--state", root / "state", "--audits", audits]
        return CliRunner().invoke(app, list(map(str, [*words, *more])))

    done = run("--days", f"{MEASURED.first}..{MEASURED.last}")
    assert done.exit_code == 0, done.output
    assert "recall (doubly robust): 0." in done.output and "let through" in done.output
    plain = run("--days", f"{MEASURED.first}..{MEASURED.last}", "--json")
    assert json.loads(plain.output)["estimates"]["precision"]["self_normalised"]["labels"] > 20
    assert "warning: " not in done.output
    assert json.loads(plain.output)["fits"] is True
    # The share of audits is another one than was said: both are told.
    days = ("--days", f"{MEASURED.first}..{MEASURED.last}")
    for audits in (AUDITS / 2, 2 * AUDITS):
        wrong = run(*days, audits=audits)
        assert f"--audits is {audits:g}" in wrong.output
        assert "chance does not explain the difference" in wrong.output
        told = json.loads(run(*days, "--json", audits=audits).output)
        assert told["fits"] is False and told["audits"] == audits
        assert abs(told["audited"] / told["not_due"] - AUDITS) < 0.05
        assert f"judged {told['audited']:,}, a share of 0." in wrong.output
    # Nobody of that name has judged anything: nothing is concluded, and it says so.
    other = run("--days", str(MEASURED.first), "--source", "nobody")
    assert "warning: " in other.output and "not concluded" in other.output


def test_what_does_not_go_together_is_refused(lived, spec, tmp_path):
    root, _ = lived
    out, state = str(root / "out"), root / "state"
    with pytest.raises(InputError, match="has no decision on an event of"):
        report_selective(spec, out, state, Days.parse("2025-01-01"), "audit", 0.1)
    for missing in (tmp_path, tmp_path / "typo"):
        with pytest.raises(InputError, match="holds no log of a scorer; give the --state"):
            report_selective(spec, out, missing, MEASURED, "audit", 0.1)
    with pytest.raises(InputError, match="expected a share above 0"):
        report_selective(spec, out, state, MEASURED, "audit", 0.0)
    nameless = dataclasses.replace(spec, labels=dataclasses.replace(spec.labels, source=None))
    with pytest.raises(ConfigError, match=r"has no labels\.source"):
        report_selective(nameless, out, state, MEASURED, "audit", 0.1)
    with pytest.raises(InputError, match="1 of 2 decisions have no propensity"):
        parse_decisions(
            [
                b'{"event_id": "a", "score": 0.1, "action": "allow"}',
                b'{"event_id": "b", "score": 0.1, "action": "allow", "propensity": 1.0}',
            ],
            "allow",
        )


def test_only_what_had_a_chance_counts_and_the_last_word_of_the_source():
    made = parse_decisions(
        [
            json.dumps(
                {"event_id": name, "score": 0.5, "action": action, "propensity": chance} | more
            ).encode()
            for name, action, chance, more in (
                ("acted", "block", 0.1, {}),
                ("through", "allow", 0.1, {"withheld": {"action": "block", "by": "hold-out"}}),
                ("off", "allow", 1.0, {"withheld": {"action": "block", "by": "switched off"}}),
                ("plain", "allow", 1.0, {}),
                ("limited", "allow", 0.1, {"withheld": {"action": "block", "by": "limit"}}),
            )
        ],
        "allow",
    )
    assert made.ids.to_pylist() == ["acted", "through", "off", "plain", "limited"]
    assert made.due.tolist() == made.flagged.tolist() == [True, True, False, False, True]
    assert made.through.tolist() == [False, True, False, False, False]
    verdicts = pa.table(
        {
            "event_time": [4, 3, 2, 1, 5, 6],
            "subject": ["acted", "through", "through", "plain", "off", "limited"],
            "positive": [True, False, True, True, True, True],
            "source": ["audit", "audit", "audit", "audit", "report", "audit"],
        }
    )
    seen = observe(made, verdicts, "audit", 0.02)
    assert seen.labels.tolist() == [-1, 0, -1, 1, -1]
    assert np.allclose(seen.propensity, [0.1, 0.1, 0.02, 0.02, 0.1])


def test_a_share_that_was_drawn_fits_and_few_events_fit_much():
    generator = np.random.default_rng(8)
    drawn = generator.binomial(20_000, 0.02, 500)
    assert np.mean([fits_share(int(one), 20_000, 0.02) for one in drawn]) > 0.99
    assert not any(fits_share(int(one), 20_000, 0.04) for one in drawn)
    assert fits_share(0, 0, 0.02) and fits_share(0, 50, 0.02)
    assert fits_share(50, 50, 1.0) and not fits_share(49, 50, 1.0)


def test_a_revision_changes_what_is_measured_and_not_what_was_seen():
    held = {"withheld": {"action": "block", "by": "hold-out"}}

    def said(name, action, chance, more=None):
        one = {"event_id": name, "score": 0.5, "action": action, "propensity": chance}
        return json.dumps(one | (more or {})).encode()

    made = parse_decisions(
        [
            said("let through, then allowed", "allow", 0.1, held),
            said("blocked, then allowed", "block", 0.1),
            said("allowed, then blocked", "allow", 1.0),
            said("allowed, then let through", "allow", 1.0),
            said("let through, then allowed", "allow", 1.0),
            said("blocked, then allowed", "allow", 1.0),
            said("allowed, then blocked", "block", 0.1),
            said("allowed, then let through", "allow", 0.1, held),
        ],
        "allow",
    )
    assert made.flagged.tolist() == [False, False, True, True]
    assert made.due.tolist() == [True] * 4
    assert made.through.tolist() == [True, False, False, True]
    verdicts = pa.table(
        {
            "event_time": [1, 2, 3, 4],
            "subject": made.ids,
            "positive": [True] * 4,
            "source": ["audit"] * 4,
        }
    )
    seen = observe(made, verdicts, "audit", 0.02)
    # What was blocked at arrival was not audited by chance, and what was held out weighs ten.
    assert seen.labels.tolist() == [1, -1, -1, 1]
    assert np.allclose(seen.propensity, 0.1)
    assert seen.flagged.tolist() == made.flagged.tolist()
