"""The shipped config takes a world as it is: validate, backfill, a nightly run, an evaluation."""

import dataclasses
import datetime as dt

import pytest

from configs.loader import load, shipped
from configs.world import Enforcement, load_world
from pipelines.backfill import read_features
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.labels import report_labels
from pipelines.layout import Days, Layout
from pipelines.nightly import NightlyRequest, nightly
from pipelines.simulate import WorldRequest, read_truth, simulate_world
from transforms.catalog import CATALOG

START = dt.date(2026, 3, 1)


@pytest.mark.slow
def test_a_nightly_run_over_a_world_learns_from_it(tmp_path):
    world = load_world("chat")
    small = dataclasses.replace(
        world,
        people=dataclasses.replace(world.people, messages=4_000, accounts=1_000),
        enforcement=Enforcement(policy="none"),
    )
    simulate_world(WorldRequest(small, tmp_path / "events", days=13, start=START))
    spec = load(shipped("chat"), CATALOG)
    night, source = START + dt.timedelta(days=12), str(tmp_path / "events")
    made = nightly(
        NightlyRequest(
            spec, shipped("chat").read_text(), source, tmp_path / "out", night, workers=1
        )
    )
    labels = report_labels(spec, tmp_path / "out")
    assert {one.source for one in labels.verdicts.sources} >= {"moderator", "automatic", "audit"}
    assert labels.unknown_subjects == 0
    days = Days(START + dt.timedelta(days=8), START + dt.timedelta(days=9))
    measured = evaluate_bundle(EvaluateRequest(tmp_path / "out", made.bundle, days)).scores
    assert measured.num_rows > 5_000
    truth = read_truth(tmp_path / "events.truth")
    table = read_features(Layout(tmp_path / "out"), [days.first], ["event_id"])
    assert set(table["event_id"].to_pylist()) <= set(truth["event_id"].to_pylist())
