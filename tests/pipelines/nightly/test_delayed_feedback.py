"""Nightly runs with `training.delayed_feedback`: what young events teach, and never decide."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from nightly_world import LATER, NIGHT, request, write_events

from configs.errors import EvidenceError, GateError
from configs.loader import loads
from pipelines.dataset import Dataset
from pipelines.layout import DAY_US, Layout, day_us
from pipelines.nightly import nightly, plan_nightly
from pipelines.nightly.young import abuse_delays, load_weighed
from scoring.bundle import load_bundle
from scoring.store import Store
from training.dataset import slices
from training.delayed import STRATEGIES
from transforms.catalog import CATALOG


def config(strategy, text=CONFIG):
    return text.replace("delay: 1d, gate", f"delay: 1d, delayed_feedback: {strategy}, gate")


@pytest.fixture(scope="module")
def world(tmp_path_factory, night_house):
    """An input, an output folder in which days after the night are published, and its bundles."""
    folder = tmp_path_factory.mktemp("delayed")
    source = write_events(folder / "input", make_events(3000, days=10))
    out = folder / "out"
    nightly(request(source, out, night=LATER, promote=False))
    made = {
        strategy: nightly(request(source, out, config(strategy), promote=False))
        for strategy in STRATEGIES
    }
    return source, out, made | {"none": night_house[2]}


def young_of(source, out, strategy):
    wanted = request(source, out, config(strategy))
    return load_weighed(wanted, Layout(out), slices(wanted.spec.training, wanted.as_of_us))


def test_each_way_serves_another_model_and_all_are_judged_alike(world):
    _, _, made = world
    assert len({one.bundle for one in made.values()}) == len(made)
    figures = [one.report.metrics for one in made.values()]
    assert all(one == figures[0] for one in figures)
    thresholds = [one.report.thresholds for one in made.values()]
    assert all(one == thresholds[0] for one in thresholds)


def test_the_bundle_and_the_page_say_what_it_has_learnt_from(world):
    _, _, made = world
    for strategy in STRATEGIES:
        notes = load_bundle(made[strategy].folder, CATALOG).provenance
        about = notes["delayed_feedback"]
        assert about["strategy"] == strategy and about["verdicts"] >= 20
        assert notes["trained_until_us"] == day_us(NIGHT)
        (said,) = [one for one in made[strategy].report.notes if "delayed_feedback" in one]
        assert f"{about['events']:,} events" in said
    assert said in Path(made[strategy].page).read_text(), "the last night's page"
    known, drop, weight, corrected = (
        load_bundle(made[one].folder, CATALOG).provenance["delayed_feedback"] for one in STRATEGIES
    )
    assert drop["events"] < known["events"] == weight["events"] == corrected["events"]
    assert known["positives_weight"] == known["positives"] < weight["positives_weight"]
    assert not any("delayed_feedback" in one for one in made["none"].report.notes)
    assert "delayed_feedback" not in load_bundle(made["none"].folder, CATALOG).provenance


def test_young_events_have_the_labels_that_were_known_and_weigh_by_the_measured_delay(world):
    source, out, _ = world
    young = young_of(source, out, "corrected").young
    span_end = day_us(NIGHT) - DAY_US
    assert young.data.times.min() >= span_end and young.data.times.max() < day_us(NIGHT)
    said = {}
    for one in sorted(make_events(3000, days=10), key=lambda one: one["at"]):
        if one["kind"] == "verdict" and one["at"] < NIGHT.isoformat():
            said[one["subject"]] = int(one["bad"])
    ids = young.data.events["event_id"].to_pylist()
    assert young.data.labels.tolist() == [said.get(one, 0) for one in ids]
    # Verdicts take up to ten hours, each as likely.
    ages = (day_us(NIGHT) - young.data.times) / 3_600_000_000
    assert np.abs(young.come - np.minimum(ages / 10, 1)).max() < 0.15


def test_what_becomes_known_later_changes_nothing(world, tmp_path):
    """The world's folder holds days after the night; a folder that ends with it gives the same."""
    source, _, made = world
    alone = nightly(request(source, tmp_path / "out", config("corrected"), promote=False))
    assert alone.bundle == made["corrected"].bundle


def test_a_verdict_more_on_a_young_event_changes_the_model(world, tmp_path):
    events = make_events(3000, days=10)
    judged = {one["subject"] for one in events if one["kind"] == "verdict"}
    post = next(
        one for one in events
        if one["kind"] == "post" and one["id"] not in judged and "2026-03-08T1" in one["at"]
    )  # fmt: skip
    more = {"id": "x", "at": "2026-03-08T23:00:00+00:00", "kind": "verdict", "bad": True}
    source = write_events(tmp_path / "more", [*events, more | {"subject": post["id"]}])
    made = nightly(request(source, tmp_path / "out", config("corrected"), promote=False))
    assert made.bundle != world[2]["corrected"].bundle
    plain = nightly(request(source, tmp_path / "out", promote=False))
    assert plain.report.metrics == made.report.metrics


def test_the_next_night_is_compared_with_the_model_that_was_judged(world, tmp_path):
    source, _, _ = world
    wanted = request(source, tmp_path / "out", config("weight"))
    first = nightly(wanted)
    second = nightly(dataclasses.replace(wanted, as_of=LATER))
    assert second.report.outcome == "promoted"
    (rule,) = [one for one in second.report.gate.rules if "compared" in one.name]
    assert "on the same events (2026-03-08 00:00 to 2026-03-09 00:00)" in rule.words
    store = Store(Layout(wanted.out).bundles)
    alone = load_bundle(first.folder, CATALOG).provenance["judged_bundle"]
    assert "kept for comparison" in store.refused()[alone]
    own = load_bundle(store.path(alone), CATALOG).provenance
    assert "delayed_feedback" not in own and own["refit"] is False
    assert own["trained_until_us"] == day_us(NIGHT) - 2 * DAY_US


def test_too_few_verdicts_to_know_their_delay_train_nothing(tmp_path):
    events = [
        one for one in make_events(3000, days=10)
        if one["kind"] == "post" or (one["bad"] and int(one["id"][1:]) % 12 == 0)
    ]  # fmt: skip
    source = write_events(tmp_path / "input", events)
    with pytest.raises(EvidenceError, match=r"verdicts of abuse are known .* and 20 are needed"):
        nightly(request(source, tmp_path / "out", config("weight")))


def test_one_late_verdict_on_the_oldest_event_makes_no_others_late(monkeypatch, tmp_path):
    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    times = np.arange(101)
    known = np.append(1000, times[1:] + 20)  # all within 20, but that of the oldest
    ids = pa.array([f"p{at}" for at in times])
    verdicts = pa.table({"event_id": [f"v{at}" for at in times], "event_time": known,
                         "subject": ids, "positive": [True] * 101})  # fmt: skip
    monkeypatch.setattr("pipelines.nightly.young.read_verdicts", lambda *_: verdicts)
    zeros = np.zeros(101, np.int8)
    data = Dataset(
        np.zeros((101, 0), np.float32), pa.table({"event_id": ids}), times, zeros,
        *(zeros.astype(bool) for _ in range(3)),
    )  # fmt: skip
    curve = abuse_delays(spec, Layout(tmp_path), (data,), 1001)
    assert curve.events == 100 and curve.at(20)[0] == 1.0


def test_the_plan_says_so(world):
    source, out, _ = world
    lines = "\n".join(plan_nightly(request(source, out, config("drop"))).lines())
    assert "learns also from 2026-03-08 00:00 to 2026-03-09 00:00" in lines
    assert "learns also" not in "\n".join(plan_nightly(request(source, out)).lines())
    rows = plan_nightly(request(source, out)).rows
    assert plan_nightly(request(source, out, config("drop"))).rows > 1.1 * rows


def test_train_rows_is_of_span_and_young_events_together(world):
    source, out, _ = world
    few = config("known").replace("training: {span", "training: {train_rows: 500, span")
    wanted = request(source, out, few)
    weighed = load_weighed(wanted, Layout(out), slices(wanted.spec.training, wanted.as_of_us))
    assert 390 <= len(weighed.data) <= 410, "four of five days"
    assert 480 <= len(weighed.data) + len(weighed.young.data) <= 520
    assert plan_nightly(wanted).rows == 500


@pytest.mark.parametrize("damage", ["booster.ubj", "all"])
def test_a_night_whose_judged_bundle_is_lost_says_how_long_to_wait_and_how_to_mend(
    world, tmp_path, damage
):
    source, _, _ = world
    wanted = request(source, tmp_path / "out", config("weight"))
    first = nightly(wanted)
    name = load_bundle(first.folder, CATALOG).provenance["judged_bundle"]
    folder = Path(Layout(wanted.out).bundles) / name
    aside = shutil.copytree(folder, tmp_path / "aside")
    if damage == "all":
        shutil.rmtree(folder)
    else:
        (folder / damage).write_bytes(b"")
    later = dataclasses.replace(wanted, as_of=LATER)
    with pytest.raises(GateError, match="wait a day, or mend this: the bundle") as refusal:
        nightly(later)
    assert name in str(refusal.value) and "from a copy" in str(refusal.value)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(aside, folder)
    assert nightly(later).report.outcome == "promoted"


def test_a_flood_of_wrong_verdicts_on_young_events_does_not_serve(world, tmp_path):
    """No figure sees it; what serves against what was judged does, on the gate slice."""
    events = make_events(3000, days=10)
    flood = [
        {"id": f"x{one['id']}", "at": "2026-03-08T23:59:00+00:00", "kind": "verdict",
         "subject": one["id"], "bad": True}
        for one in events
        if one["kind"] == "post" and one["at"] >= "2026-03-08T00" and one["at"] < "2026-03-08T23:59"
    ]  # fmt: skip
    source = write_events(tmp_path / "flood", [*events, *flood])
    with pytest.raises(GateError, match="times as many harmless events") as refusal:
        firing = CONFIG.replace("min_precision: 0.8", "min_precision: 0.2")
        nightly(request(source, tmp_path / "out", config("weight", firing)))
    assert "wrong verdicts on young events" in str(refusal.value)
    assert Store(Layout(tmp_path / "out").bundles).serving() is None
    rules = world[2]["weight"].report.gate.rules
    (rule,) = [one for one in rules if one.name == "what serves against what was judged"]
    assert rule.passed and "young events, which no figure is of" in rule.words
    assert not [one for one in world[2]["none"].report.gate.rules if one.name == rule.name]
