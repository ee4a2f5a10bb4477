"""A shadow scores what was decided, bit for bit as a backfill would; the champion never hears."""

import dataclasses
import json
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from backfill_world import CONFIG, tree_bytes
from stream_world import after_night, hear, logged, publish, request
from typer.testing import CliRunner

from configs.errors import InputError, StateError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.commands import add_verb
from pipelines.experiment.shadow import ShadowRequest, compare_shadow, read_shadow
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.streaming.counts import Counts
from pipelines.streaming.run import stream
from pipelines.streaming.shadow import FOLDER, Shadow
from pipelines.streaming.timings import STAGE_BOUNDS_S, Histogram
from scoring.bundle import load_bundle
from scoring.engine import Outcome
from scoring.scorer import Scorer
from scoring.shadow import SHADOW_SCHEMA, check_shadow
from transforms.catalog import CATALOG

OTHER = (
    CONFIG.replace(
        "  text: {column: clean, buckets: 256}",
        "  computed: {spent_per_post: 'who_amounts_1d / who_posts_1d'}\n  exclude: [who_places_1h]",
    )
    .replace("numeric: [amount]", "numeric: [amount, longer]")
    .replace("derive:\n", "derive:\n  longer: {op: text_length, of: text}\n")
    .replace(
        "policy: {actions: {block: {min_precision: 0.8",
        "policy: {default: pass, actions: {block: {per_day: 60",
    )
)


@pytest.fixture(scope="module")
def challenger(stream_house):
    """A bundle of another config, with inputs that the champion lacks, in another folder."""
    folder, _, made = stream_house
    spec = loads(OTHER, "other.yaml", CATALOG)
    as_of = made.report.as_of_us
    source, out = str(folder / "input"), folder / "challenger"
    days = Days.parse("2026-03-01..2026-03-10")
    backfill(BackfillRequest(spec, source, out, days))
    night = Days.parse("2026-03-09").first
    assert as_of == Days(night, night).start_us
    return nightly(NightlyRequest(spec, OTHER, source, out, night))


@pytest.fixture(scope="module")
def streamed(stream_house, challenger, lockstep_server, tmp_path_factory):
    """State folders of a scorer with the shadow and of one without, and what was published."""
    from stream_world import set_up_topics

    folder, events, _ = stream_house
    made = []
    for shadow in (str(challenger.folder), None):
        set_up_topics(lockstep_server)
        publish(lockstep_server, after_night(events), disorder=1)
        state = tmp_path_factory.mktemp("shadow") / "state"
        asked = request(folder, lockstep_server, state, shadow=shadow, shadow_share=1.0)
        report = stream(asked)
        made.append((state, report, hear(lockstep_server)))
    return made


def test_the_shadow_scores_each_event_as_a_backfill_with_its_bundle_does(
    streamed, stream_house, challenger, tmp_path
):
    (state, report, _), _ = streamed
    table = read_shadow(state)
    spec = loads(OTHER, "other.yaml", CATALOG)
    days = Days.parse("2026-03-01..2026-03-10")
    source = str(stream_house[0] / "input")
    backfill(BackfillRequest(spec, source, tmp_path, days, bundle=challenger.folder))
    frame = pl.read_parquet(str(tmp_path / "features" / "**" / "*.parquet"))
    there = dict(zip(frame["event_id"].to_list(), frame["score"].to_list(), strict=True))
    ids = table.column("event_id").to_pylist()
    scores = table.column("challenger_score").to_numpy()
    assert np.array_equal(scores, np.array([there[one] for one in ids]))
    assert table.schema.equals(SHADOW_SCHEMA)
    assert report.counts.shadow_events == len(ids) == report.counts.decisions
    assert report.counts.shadow_dropped == 0
    assert set(table.column("challenger").to_pylist()) == {challenger.bundle}


def test_what_is_decided_and_logged_is_what_it_is_without_a_shadow(
    streamed, tiny_spec, stream_house
):
    (beside, _, heard), (alone, _, expected) = streamed
    assert {one["decision_id"]: one for one in heard} == {
        one["decision_id"]: one for one in expected
    }
    rows = logged(beside, tiny_spec)
    assert {key: one[:2] for key, one in rows.items()} == {
        key: one[:2] for key, one in logged(alone, tiny_spec).items()
    }
    table = read_shadow(beside).to_pylist()
    assert {one["event_id"]: one["champion_score"] for one in table} == {
        key: one[2]["score"] for key, one in rows.items()
    }
    assert {one["champion"] for one in table} == {stream_house[2].bundle}
    assert not (alone / FOLDER).exists()


def test_both_are_compared_on_the_events_that_have_a_label(streamed, stream_house):
    (state, _, _), (alone, _, _) = streamed
    whole = stream_house[0] / "whole"
    (whole / "bundles").mkdir(exist_ok=True)
    house = stream_house[0] / "house"
    if not any((whole / "bundles").iterdir()):
        import shutil

        shutil.copytree(house / "bundles", whole / "bundles", dirs_exist_ok=True)
    found = compare_shadow(ShadowRequest(state, whole))
    assert found.challenger and found.champions == (stream_house[2].bundle,)
    assert found.events == found.published > found.labelled > found.positives > 0
    assert [one.metric for one in found.differences] == ["average_precision", "auc"]
    assert found.differences[0].champion > 2 * found.positives / found.labelled
    rows = read_shadow(state).to_pylist()
    acts = [
        (one["champion_action"] == "block", one["challenger_action"] == "block") for one in rows
    ]
    assert {one["challenger_action"] for one in rows} <= {"block", "pass"}
    assert found.same_action == sum(one == other for one, other in acts) / len(rows) > 0.5
    assert 0 < found.challenger_acted.events <= sum(other for _, other in acts) < found.labelled
    assert found.over == "events"
    with pytest.raises(InputError, match="it has no shadow log"):
        compare_shadow(ShadowRequest(alone, whole))
    with pytest.raises(InputError, match=r"no shadow 'zz'; it has rows of "):
        read_shadow(state, "zz")
    app = typer.Typer()
    add_verb(app, "experiment")
    words = ["experiment", "shadow", "--state", str(state), "--out", str(whole)]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0 and "same action: " in ended.output
    plain = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert plain["labelled"] == found.labelled
    assert plain["differences"][0]["conclusion"] == found.differences[0].conclusion


def test_a_bundle_that_needs_other_state_is_refused_before_anything_is_there(
    stream_house, challenger, tmp_path, lockstep_server, monkeypatch
):
    folder, _, _ = stream_house
    real = load_bundle

    def other_state(place, *rest):
        made = real(place, *rest)
        if made.fingerprint != challenger.bundle:
            return made
        changed = loads(OTHER.replace("[1h, 1d]", "[1h, 1d, 2d]"), "x", CATALOG)
        return dataclasses.replace(made, spec=changed)

    monkeypatch.setattr("pipelines.streaming.run.load_bundle", other_state)
    monkeypatch.setattr("pipelines.streaming.run.Scorer", _NoGraph)
    asked = request(folder, lockstep_server, tmp_path / "state", shadow=str(challenger.folder))
    with pytest.raises(StateError, match=r"the bundle's state of entity 'who' is"):
        stream(asked)
    assert not (tmp_path / "state").exists()


class _NoGraph(Scorer):
    """A scorer that is not asked."""

    def __init__(self, bundle):
        self.bundle = bundle

    def under(self, controls):
        return self


def test_of_another_use_or_another_reading_of_events_it_is_refused(tiny_spec):
    check_shadow(tiny_spec, loads(OTHER, "x", CATALOG))
    for text, said in (
        (OTHER.replace("name: tiny", "name: other"), "the bundle is of 'other'"),
        (OTHER.replace("dedup: 1h", "dedup: 2h"), "'who' is|reads events otherwise"),
    ):
        with pytest.raises(StateError, match=said):
            check_shadow(tiny_spec, loads(text, "x", CATALOG))


class Slow:
    """A scorer that takes as long as it is told, and counts."""

    def __init__(self, spec, took_s=0.0):
        self.bundle = dataclasses.make_dataclass("Bundle", ["spec", "fingerprint"])(spec, "ff")
        self.took_s, self.calls = took_s, 0


def outcomes(monkeypatch, slow, gate=None):
    """Makes `score_beside` one that waits; returns an outcome of so many events."""

    def beside(scorer, spec, outcome):
        slow.calls += 1
        if gate is not None:
            gate.wait(10)
        time.sleep(slow.took_s)
        return None

    monkeypatch.setattr("pipelines.streaming.shadow.score_beside", beside)
    scored = dataclasses.make_dataclass("Scored", ["score"])

    def outcome(count):
        none = np.empty((0, 0), np.float32)
        return Outcome(None, none, none, scored(np.zeros(count)), "aa", 0)

    return outcome


def test_what_comes_faster_than_its_share_is_dropped_and_counted(tiny_spec, tmp_path, monkeypatch):
    slow, gate = Slow(tiny_spec), threading.Event()
    outcome, counts = outcomes(monkeypatch, slow, gate), Counts()
    shadow = Shadow(slow, tmp_path, counts, Histogram(STAGE_BOUNDS_S), most_waiting=100)
    shadow.start()
    for _ in range(10):  # the first is being scored, and waits as the others do
        shadow.offer(tiny_spec, outcome(30))
    assert counts.shadow_dropped == 7 * 30
    gate.set()
    while counts.shadow_events < 30:
        time.sleep(0.01)
    shadow.close()
    assert counts.shadow_events + counts.shadow_dropped == 300


def test_it_rests_so_that_it_takes_its_share_and_no_more(tiny_spec, tmp_path, monkeypatch):
    """By a clock of the test's own: each batch takes 2 s, and the share is a quarter."""
    slow = Slow(tiny_spec)
    outcome = outcomes(monkeypatch, slow)
    now, rested = [0.0], []

    def clock():
        now[0] += 1.0
        return now[0]

    shadow = Shadow(slow, tmp_path, Counts(), Histogram(STAGE_BOUNDS_S), 0.25, clock=clock)
    wait_for = shadow._changed.wait_for

    def noted(predicate, timeout=None):
        if timeout is not None:
            rested.append(timeout)
        return wait_for(predicate, None if timeout is None else 0)

    monkeypatch.setattr(shadow._changed, "wait_for", noted)
    shadow._score(tiny_spec, outcome(5), 5)
    assert rested == [pytest.approx(3.0)]  # 1 s by the clock, so 3 s of rest


def test_a_challenger_that_fails_ends_no_scorer(tiny_spec, tmp_path, monkeypatch, caplog):
    counts, slow = Counts(), Slow(tiny_spec)
    outcome = outcomes(monkeypatch, slow)

    def fails(*_):
        raise ValueError("a secret")

    monkeypatch.setattr("pipelines.streaming.shadow.score_beside", fails)
    shadow = Shadow(slow, tmp_path, counts, Histogram(STAGE_BOUNDS_S), 0.25, clock=lambda: 0.0)
    shadow._waiting, rested = 4, []
    monkeypatch.setattr(shadow._changed, "wait_for", lambda _, timeout: rested.append(timeout))
    shadow._score(tiny_spec, outcome(4), 4)
    assert (counts.shadow_events, counts.shadow_dropped) == (0, 4)
    assert "could not score" in caplog.text and "secret" not in caplog.text
    assert rested == [3.0], "a failure takes no more than its share either"


@pytest.mark.parametrize("ails", ["raises", "never ends"])
def test_whatever_ails_a_challenger_what_decides_is_what_it_is_without(
    ails, streamed, stream_house, challenger, lockstep_server, tmp_path, monkeypatch
):
    """All is decided, the same to the byte, while the challenger is still at its first step."""
    from stream_world import set_up_topics

    entered, gate = threading.Event(), threading.Event()

    def beside(*_):
        entered.set()
        if ails == "raises":
            raise ValueError("a secret")
        gate.wait(60)  # until everything else has ended
        return None

    monkeypatch.setattr("pipelines.streaming.shadow.score_beside", beside)
    monkeypatch.setattr("pipelines.streaming.shadow._JOIN_S", 0.1)
    folder, events, _ = stream_house
    set_up_topics(lockstep_server)
    publish(lockstep_server, after_night(events), disorder=1)
    report = stream(request(folder, lockstep_server, tmp_path / "s", shadow=str(challenger.folder)))
    heard = hear(lockstep_server)
    assert entered.is_set() and not gate.is_set()
    gate.set()
    _, (_, _, expected) = streamed
    assert {one["decision_id"]: one for one in heard} == {
        one["decision_id"]: one for one in expected
    }
    assert report.counts.shadow_events == 0 and report.counts.decisions == len(expected)


def test_after_a_swap_that_it_does_not_fit_it_sees_nothing(
    tiny_spec, tmp_path, monkeypatch, caplog
):
    counts, slow = Counts(), Slow(tiny_spec)
    outcome = outcomes(monkeypatch, slow)
    shadow = Shadow(slow, tmp_path, counts, Histogram(STAGE_BOUNDS_S), 1.0)
    other = loads(CONFIG.replace("dedup: 1h", "dedup: 2h"), "x", CATALOG)
    shadow.offer(other, outcome(3))
    shadow.offer(other, outcome(3))
    assert counts.shadow_dropped == 6 and caplog.text.count("sees nothing any more") == 1
    shadow.offer(tiny_spec, outcome(3))
    assert counts.shadow_dropped == 6 and len(shadow._jobs) == 1
    shadow.close()
    assert counts.shadow_dropped == 9


def test_files_are_kept_for_so_long_and_a_full_disk_drops_rows(
    streamed, tiny_spec, tmp_path, monkeypatch
):
    (state, _, _), _ = streamed
    rows = read_shadow(state).to_batches()
    counts = Counts(shadow_events=rows[0].num_rows)
    shadow = Shadow(Slow(tiny_spec), tmp_path, counts, Histogram(STAGE_BOUNDS_S), keep_s=-1.0)
    shadow._rows = [rows[0]]
    shadow._write()
    assert tree_bytes(tmp_path) == {}, "what is too old goes, and its folder's files with it"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.streaming.shadow.replace_file", full)
    shadow._rows = [rows[0]]
    shadow._write()
    assert (counts.shadow_events, counts.shadow_dropped) == (0, rows[0].num_rows)


def test_the_shadow_of_a_job_of_an_engine_is_refused():
    app = typer.Typer()
    add_verb(app, "stream")
    app.command("other")(lambda: None)
    words = ["stream", "--bundles", "b", "--subscription", "projects/p/subscriptions/s"]
    words += ["--decisions", "projects/p/topics/d", "--state", "s", "--shadow", "x"]
    ended = CliRunner().invoke(app, [*words, "--runner=FlinkRunner"], env={"COLUMNS": "200"})
    assert ended.exit_code == 2 and "--shadow does not go with --runner" in ended.output
    assert not Path("s").exists()
