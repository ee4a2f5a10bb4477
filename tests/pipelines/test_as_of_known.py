"""Events see the newest snapshot that was known: in a backfill, in a scorer, under parity."""

import dataclasses
import json
import shutil

import apache_beam as beam
import numpy as np
import pytest
from as_of_world import (
    DAYS,
    make_service,
    make_world,
    micro_batch,
    of_days,
    rows_of,
    run_scorer,
    seeing_spec,
    text_of,
)
from bundle_world import make_parts
from social_world import AS_OF, DAY
from steps_world import run_steps

from configs.errors import StateError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.beam_yaml import YamlFeatures, rows_to_batch
from pipelines.graph import read_snapshot
from pipelines.layout import Days, Layout, day_us
from pipelines.parity import check_ideal, check_served
from pipelines.snapshots import GRAPH
from pipelines.streaming.journal import Journal
from scoring.bundle import load_bundle, write_bundle
from scoring.engine import Engine, Resident
from scoring.parity.compare import SNAPSHOT
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names

DELAY = 3 * DAY // 24


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("as-of"))


@pytest.fixture(scope="module")
def made(world):
    """The days, backfilled."""
    request = BackfillRequest(world.spec, world.source, world.out, Days(DAYS[0], DAYS[-1]))
    return request, backfill(request)


def expected(world):
    """By a loop over events: id -> features of its two accounts, from the public tables."""
    tables = {}
    for day in DAYS:
        rows = read_snapshot(world.out, day).to_pylist()
        tables[day_us(day) + DELAY] = {row.pop("account"): row for row in rows}
    found = {}
    for event in of_days(world):
        known = [moment for moment in tables if moment <= event["event_time"]]
        seen = tables[max(known)] if known else {}
        found[event["event_id"]] = {
            f"{name}_graph_{column}": value
            for name, account in (("author", event["who"]), ("other", event["whom"]))
            for column, value in seen.get(account, {}).items()
        }
    return found


def test_a_backfill_sees_what_was_known(world, made):
    frame, wanted = rows_of(world.out), expected(world)
    names = [name for name in numeric_names(world.spec) if "_graph_" in name]
    assert len(names) == 2 * 27 - 1
    before = seen = 0
    for row in frame.iter_rows(named=True):
        there = wanted[row["event_id"]]
        before += row["event_time"] < day_us(DAYS[0]) + DELAY
        seen += bool(there)
        for name in names:
            one, other = np.float32(row[name]), np.float32(there.get(name, np.nan))
            assert one.tobytes() == other.tobytes() or (np.isnan(one) and np.isnan(other)), name
    assert before and seen > 50
    age = frame["author_graph_age"].to_numpy().astype(np.float64)
    np.testing.assert_array_equal(frame["days_known"], (age / 86400).astype(np.float32))
    markers = [Layout(world.out).read_marker(day)["snapshots"] for day in DAYS]
    name = {str(one.as_of): one.name for one in world.snapshots}
    first, second, third = (name[str(day)] for day in DAYS)
    assert markers == [[first], [first, second], [second, third]]
    assert "who" not in frame.columns, "an account that is looked up is not kept"


@pytest.mark.parametrize("workers", [1, 2])
def test_again_and_with_two_workers_the_bits_are_the_same(world, made, tmp_path, workers):
    shutil.copytree(world.out / GRAPH, tmp_path / GRAPH)
    backfill(dataclasses.replace(made[0], out=tmp_path, workers=workers, exchange="engine"))
    assert rows_of(tmp_path).equals(rows_of(world.out), null_equal=True)


def test_a_scorer_sees_the_same_and_parity_is_clean(world, made, tmp_path):
    run_scorer(world, world.out, tmp_path)
    frame = rows_of(world.out)
    names = numeric_names(world.spec)
    values = frame.select(names).to_numpy().astype(np.float32)
    block = dict(zip(frame["event_id"], values, strict=True))
    logged = [row for step in Journal(tmp_path).steps() for row in step.batch.to_pylist()]
    scored = [row for row in logged if row["score"] is not None]
    assert len(scored) == len(block)
    assert len({row["lockstep_snapshot"] for row in scored}) == 4
    for row in scored:
        one, other = np.array(row["numeric"], np.float32), block[row["event_id"]]
        np.testing.assert_array_equal(one, other)
    for check in (check_served, check_ideal):
        report = check(tmp_path, world.out / "bundles")
        assert report.events == len(scored)
        assert report.differing == 0
        report.require()


@pytest.fixture(scope="module")
def late(world, tmp_path_factory):
    """A scorer's log whose last snapshot was published six hours after it was to be known."""
    out = tmp_path_factory.mktemp("late")
    shutil.copytree(world.out / GRAPH, out / GRAPH)
    shutil.copytree(world.out / "bundles", out / "bundles")
    marker, aside = out / GRAPH / f"{AS_OF}.json", out / "aside"
    marker.rename(aside)

    def publish(time_us):
        if time_us >= day_us(AS_OF) + 3 * DELAY and aside.exists():
            aside.rename(marker)

    service = run_scorer(world, out, out / "state", publish)
    return out, service


def test_a_late_snapshot_is_taken_between_two_batches_and_named_by_parity(world, late):
    out, service = late
    assert service.counts.graph_snapshots == 1
    checks = (check_served, check_ideal)
    served, ideal = (check(out / "state", out / "bundles") for check in checks)
    assert served.differing == 0
    assert set(ideal.by_cause) == {SNAPSHOT}
    assert all("graph" in name or name == "days_known" for name in ideal.by_feature)
    ideal.require()
    late_ones = [
        event
        for event in of_days(world)
        if event["kind"] == "post" and DELAY <= event["event_time"] - day_us(AS_OF) < 3 * DELAY
    ]
    assert 0 < ideal.by_cause[SNAPSHOT] <= len(late_ones) + 7


def test_what_a_log_names_is_asked_for_when_it_is_gone(world, late, tmp_path):
    out, _ = late
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / GRAPH / f"{DAYS[0]}.json").unlink()
    with pytest.raises(StateError, match=r"names the snapshot 2026-03-10-.*bring it back"):
        check_served(tmp_path / "copy" / "state", tmp_path / "copy" / "bundles")


def test_without_a_snapshot_nothing_is_scored_and_no_day_made(world, made, tmp_path):
    scorer = Scorer(load_bundle(Store(world.out / "bundles").path("serving"), CATALOG))
    with pytest.raises(StateError, match=r"no snapshot of its graph .*lockstep graph"):
        Engine(world.spec, Resident.empty(world.spec), scorer)
    with pytest.raises(StateError, match=r"no snapshot of its graph .*lockstep graph"):
        backfill(dataclasses.replace(made[0], out=tmp_path))
    shutil.copytree(world.out / GRAPH, tmp_path / GRAPH)
    other = seeing_spec().graph
    other = dataclasses.replace(world.spec, graph=dataclasses.replace(other, delay_us=1))
    with pytest.raises(StateError, match=r"3 of\s+others"):
        backfill(dataclasses.replace(made[0], out=tmp_path, spec=other))


def test_a_bundle_that_needs_snapshots_is_taken_over_once_there_are_some(world, tmp_path):
    shutil.copytree(world.out / "bundles", tmp_path / "bundles")
    store, config = Store(tmp_path / "bundles"), tmp_path / "plain.yaml"
    wanted = store.serving()
    config.write_text(text_of(seen=""))
    store.promote(write_bundle(make_parts(path=config), store.root).name)
    (tmp_path / GRAPH).mkdir()
    (tmp_path / GRAPH / "of-others.json").write_text("{")  # who sees no graph does not look at it
    spec = loads(text_of(seen=""), "friends.yaml", CATALOG)
    service = make_service(spec, tmp_path, tmp_path / "state")
    service.watch.look()
    (tmp_path / GRAPH / "of-others.json").unlink()
    store.promote(wanted)
    for _ in range(2):
        service.watch.look()
    assert service.watch.take() is None
    assert service.counts.refused_bundles == 1
    shutil.copytree(world.out / GRAPH, tmp_path / GRAPH, dirs_exist_ok=True)
    service.watch.look()
    service.process(micro_batch(spec, of_days(world)[:3], 0))
    assert service.engine.scorer.bundle.fingerprint == wanted
    assert service.counts.refused_bundles == 1


def test_rows_of_beam_yaml_have_the_features_of_accounts(world, made):
    """And a day's marker names the columns that its files have: the account is none of them."""
    config, days = world.out.parent / "friends.yaml", Layout(world.out)
    events = [rows_to_batch(of_days(world)[:200])]

    def in_rows(given):
        rows = given | beam.FlatMap(lambda batch: [beam.Row(**one) for one in batch.to_pylist()])
        return {"rows": (rows | YamlFeatures(str(config), str(world.out / GRAPH)))["rows"]}

    found = {row.event_id: row for row in run_steps(events, in_rows)[0]["rows"]}
    expected = {row["event_id"]: row for row in rows_of(world.out).to_dicts()}
    assert len(found) > 20
    for event, row in found.items():
        value = expected[event]["author_graph_age"]
        assert row.author_graph_age == (None if np.isnan(value) else value)
    columns = days.read_marker(DAYS[0])["columns"]
    assert set(columns) <= set(rows_of(world.out).columns)


def test_a_damaged_snapshot_stops_a_backfill(world, made, tmp_path):
    shutil.copytree(world.out / GRAPH, tmp_path / GRAPH)
    marker = json.loads((tmp_path / GRAPH / f"{DAYS[0]}.json").read_text())
    path = tmp_path / marker["files"][0]["path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StateError, match="is damaged"):
        backfill(dataclasses.replace(made[0], out=tmp_path))
