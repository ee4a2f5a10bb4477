"""Parity holds where it must, and is able to fail: each planted fault is found and named."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG
from stream_world import after_night, publish, request

from configs.errors import ParityError
from configs.loader import loads
from pipelines.backfill import fold
from pipelines.parity import check_ideal, check_served, served
from pipelines.parity.compare import LATE, MISSING
from pipelines.streaming.run import stream
from transforms.catalog import CATALOG
from transforms.duplicates import RecentIds
from transforms.executor import Executor
from transforms.velocity.state import ShardState


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """State folders of scorers, by what happened to them; made once each."""
    return {}, tmp_path_factory.mktemp("logs")


@pytest.fixture
def scored(logs, stream_house, server):
    """Runs a scorer over the events after the night; returns its state folder and the store."""
    made, root = logs
    folder, events, _ = stream_house

    def run(name, live=None, **how):
        if name not in made:
            chosen = after_night(events) if live is None else live(after_night(events))
            publish(server, chosen, **{"disorder": 1, **how})
            stream(request(folder, server, root / name))
            made[name] = root / name
        return made[name], folder / "house" / "bundles"

    return run


def test_as_served_and_ideal_agree_on_an_orderly_stream(scored):
    state, bundles = scored("orderly", duplicates=0.1)
    for report in (check_served(state, bundles), check_ideal(state, bundles)):
        assert report.events > 100
        assert report.differing == 0
        report.require()


def test_late_events_differ_from_the_ideal_and_are_named(scored):
    def some_late(live):
        kept = [event for i, event in enumerate(live) if i % 10]
        return kept + [event for i, event in enumerate(live) if i % 10 == 0]

    state, bundles = scored("late", some_late)
    assert check_served(state, bundles).differing == 0
    ideal = check_ideal(state, bundles)
    assert ideal.differing > 0
    assert set(ideal.by_cause) == {LATE}
    ideal.require()


def test_a_dropped_event_is_found_in_the_archive(scored, stream_house):
    folder = stream_house[0]
    state, bundles = scored("dropped", lambda live: [e for i, e in enumerate(live) if i % 20])
    assert check_served(state, bundles).differing == 0
    ideal = check_ideal(state, bundles, str(folder / "input"))
    assert set(ideal.by_cause) == {MISSING}


def planted(monkeypatch, scored, change):
    """As served, by an installation whose spec was changed behind the bundle's back."""
    state, bundles = scored("orderly", duplicates=0.1)
    load = served.load_bundle

    def changed(folder, catalog):
        bundle = load(folder, catalog)
        spec = change(bundle.spec)
        return dataclasses.replace(bundle, spec=spec)

    monkeypatch.setattr(served, "load_bundle", changed)
    monkeypatch.setattr("pipelines.streaming.restore.ShardState.from_table", _of_any_plan)
    return check_served(state, bundles)


def _of_any_plan(table, plan):
    keys = table.column("key").to_pylist()
    return ShardState(plan, dict(zip(keys, table.column("state").to_pylist(), strict=True)))


def test_a_changed_window_is_found_and_named(monkeypatch, scored):
    def change(spec):
        return loads(
            CONFIG.replace("windows: [1h, 1d]", "windows: [1h, {length: 1d, tiles: 24}]"),
            "x",
            CATALOG,
        )

    report = planted(monkeypatch, scored, change)
    assert report.differing > 0
    assert {name.rsplit("_", 1)[-1] for name in report.by_feature} == {"1d"}
    assert any("window 1d" in hint for hint in report.hints)
    with pytest.raises(ParityError, match="Do not promote"):
        report.require()


def test_another_rounding_is_found(monkeypatch, scored):
    report = planted(
        monkeypatch,
        scored,
        lambda spec: loads(CONFIG.replace("decimals: 2", "decimals: 0"), "x", CATALOG),
    )
    assert set(report.by_feature) == {"who_amounts_1h", "who_amounts_1d"}
    with pytest.raises(ParityError):
        report.require()


def test_a_duplicate_that_is_folded_is_found(monkeypatch, scored):
    state, bundles = scored("orderly", duplicates=0.1)
    batches = list(served.logged_batches(state))

    monkeypatch.setattr(served, "logged_batches", lambda state: iter(batches))
    monkeypatch.setattr(RecentIds, "take", lambda self, a, b, time: np.ones(len(time), bool))
    first, name = batches[0]
    table = pa.Table.from_batches([first])
    twice = pa.concat_tables([table.slice(0, 50), table]).combine_chunks().to_batches()[0]
    batches[0] = (twice, name)
    report = check_served(state, bundles)
    assert report.differing > 0


def test_a_tie_rule_that_was_swapped_is_found(monkeypatch, scored):
    def same_times(live):
        return [{**event, "at": event["at"][:13] + ":00:00+00:00"} for event in live]

    state, bundles = scored("ties", same_times)
    assert check_served(state, bundles).differing == 0
    monkeypatch.setattr(
        fold, "total_order", lambda time, ids: np.lexsort((np.arange(len(time))[::-1], time))
    )
    report = check_ideal(state, bundles)
    assert report.by_cause.get("unexplained", 0) > 0
    with pytest.raises(ParityError):
        report.require()


def test_a_stale_vocabulary_is_found_and_named(monkeypatch, scored):
    state, bundles = scored("orderly", duplicates=0.1)
    transform = Executor.transform

    def stale(self, numeric, batch):
        made = transform(self, numeric, batch)
        return dataclasses.replace(made, categories=np.asarray((made.categories + 1) % 5))

    monkeypatch.setattr(Executor, "transform", stale)
    report = check_served(state, bundles)
    assert set(report.by_cause) == {"bundle or graph version"}
    assert any("vocabulary" in hint for hint in report.hints)
