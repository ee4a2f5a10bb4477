"""An output folder in an object store: the same bytes as on a disk, and no rename anywhere."""

import datetime as dt
import json
import time

import pytest
from backfill_world import CONFIG, make_events, tree_bytes
from memory_files import memory_files
from nightly_world import NIGHT, request, write_events

from configs.errors import BusyError, InputError, StateError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill, read_features
from pipelines.backfill import run as runs
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, Layout, locked
from pipelines.nightly import nightly
from pipelines.streaming.restore import from_night
from scoring import locks
from scoring.bundle import load_bundle
from scoring.store import Store
from transforms.catalog import CATALOG

MEMORY = memory_files()
OUT = "lockstep-memory://bucket/out"
DAYS = "2026-03-01..2026-03-03"
MORE = CONFIG.replace(
    "      people: {op",
    "      amounts: {op: max, of: post, column: amount, decimals: 1}\n      people: {op",
)


@pytest.fixture(autouse=True)
def empty():
    """Nothing is there before a test, nor after it."""
    yield MEMORY.objects.clear()
    MEMORY.objects.clear()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Events of three days, and what is made of them on a disk: whole, and with more features."""
    folder = tmp_path_factory.mktemp("world")
    events = make_events(150)
    source = write_events(folder / "input", [*events, *events[::9], {"id": "x", "at": "never"}])
    make(source, folder / "out")
    make(source, folder / "more", config=MORE)
    return source, tree_bytes(folder / "out"), tree_bytes(folder / "more")


def make(source, out, days=DAYS, config=CONFIG, **changes):
    spec = loads(config, "tiny.yaml", CATALOG)
    return backfill(BackfillRequest(spec, source, out, Days.parse(days), **changes))


def test_a_backfill_makes_the_bytes_that_it_makes_on_a_disk(world):
    source, expected, _ = world
    report = make(source, OUT)
    assert report.duplicates and report.dead
    assert MEMORY.tree(OUT) == expected
    assert make(source, OUT).days == ()
    assert MEMORY.tree(OUT) == expected
    assert len(read_features(Layout(OUT), list(Days.parse(DAYS)), ["event_id"])) == report.scored


def test_day_by_day_and_state_of_the_newest_days_only(world):
    source, expected, _ = world
    for day in Days.parse(DAYS):
        make(source, OUT, str(day), keep_states=1)
    made = MEMORY.tree(OUT)
    state = {
        path
        for path in expected
        if path.startswith(("state/date=2026-03-01", "state/date=2026-03-02"))
    }
    markers = {"days/2026-03-01.json", "days/2026-03-02.json"}
    assert set(expected) - set(made) == state
    assert {path for path in made if made[path] != expected[path]} == markers
    assert [bool(Layout(OUT).state(day)) for day in Days.parse(DAYS)] == [False, False, True]
    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    assert from_night(spec, OUT, dt.date(2026, 3, 3)).states.keys() == {"who", "place"}
    with pytest.raises(StateError, match="has snapshots of: 2026-03-03"):
        from_night(spec, OUT, dt.date(2026, 3, 1))


def killed(patch, markers):
    """From now on a process dies after so many markers, and removes nothing then."""

    def replace_files(files):
        left = markers
        for path, data in files.items():
            left -= "/days/" in path
            if left < 0:
                patch.setattr(runs, "remove_unnamed", lambda *given: None)
                raise KeyboardInterrupt
            MEMORY.put(path, data)

    patch.setattr("pipelines.backfill.publish.replace_files", replace_files)


@pytest.mark.parametrize("markers", [0, 1])
def test_killed_between_files_and_markers_the_next_run_ends_the_same(world, monkeypatch, markers):
    source, expected, _ = world
    with monkeypatch.context() as patch:
        killed(patch, markers)
        with pytest.raises(KeyboardInterrupt):
            make(source, OUT)
    assert len(Layout(OUT).published()) == markers
    assert any(path.startswith("features/date=2026-03-03") for path in MEMORY.tree(OUT))
    make(source, OUT)
    assert MEMORY.tree(OUT) == expected


@pytest.mark.parametrize("markers", [None, 1])
def test_only_new_features(world, monkeypatch, markers):
    source, _, more = world
    make(source, OUT)
    if markers is not None:
        with monkeypatch.context() as patch:
            killed(patch, markers)
            with pytest.raises(KeyboardInterrupt):
                make(source, OUT, config=MORE, only_new_features=True)
    report = make(source, OUT, config=MORE, only_new_features=True)
    assert len(report.days) == 3 - (markers or 0)
    assert MEMORY.tree(OUT) == more


def test_a_night_and_its_bundle(tmp_path):
    source = write_events(tmp_path / "input", make_events(3000, days=10))
    here, there = nightly(request(source, tmp_path / "out")), nightly(request(source, OUT))
    assert there.bundle == here.bundle and there.report.outcome == "promoted"
    assert there.folder == f"{OUT}/bundles/{there.bundle}"
    assert there.report.metrics == here.report.metrics
    local, made = tree_bytes(tmp_path / "out"), MEMORY.tree(OUT)
    days = {path for path in local if path.split("/")[0] not in ("bundles", "reports")}
    assert {path: made[path] for path in days} == {path: local[path] for path in days}
    assert set(made) == set(local)
    assert not [path for path in made if path.startswith((".work", ".lock"))]
    assert json.loads(made["bundles/serving.json"])["serving"] == here.bundle

    asked = Days.parse("2026-03-08")
    found = evaluate_bundle(EvaluateRequest(OUT, "serving", asked))
    expected = evaluate_bundle(EvaluateRequest(tmp_path / "out", "serving", asked))
    assert found.metrics == expected.metrics and found.scores == expected.scores

    store = Store(f"{OUT}/bundles")
    (info,) = store.list()
    assert (info.fingerprint, info.serving, info.made) == (here.bundle, True, str(NIGHT))
    assert load_bundle(there.folder).fingerprint == here.bundle
    scored = make(source, f"{OUT}-scored", "2026-03-01", bundle=there.folder)
    table = read_features(Layout(scored.out), [dt.date(2026, 3, 1)], ["event_id", "score"])
    assert len(set(table["score"].to_pylist())) > 5
    later = nightly(request(source, OUT, night=NIGHT + dt.timedelta(days=1)))
    assert Store(f"{OUT}/bundles").serving() == later.bundle
    assert store.rollback() == here.bundle
    MEMORY.put(f"{there.folder}/policy.json", b"{}")
    with pytest.raises(Exception, match=r"policy\.json has 2 bytes"):
        store.promote(here.bundle)


def test_one_run_at_a_time(world):
    source, _, _ = world
    with locked(Layout(OUT)), pytest.raises(BusyError, match=r"in use by another run \(process \d"):
        make(source, OUT)
    assert not MEMORY.tree(f"{OUT}/.lock")


def test_a_dead_runs_lock_expires_and_a_late_one_publishes_nothing(world, monkeypatch):
    source, _, _ = world
    with locked(Layout(OUT)) as require:
        require()
        monkeypatch.setattr(locks.time, "time", lambda now=time.time: now() + 2000)
        make(source, OUT, "2026-03-01")
        with pytest.raises(BusyError, match="taken over by another run"):
            require()
    assert [str(day) for day in Layout(OUT).published()] == ["2026-03-01"]


def test_a_run_that_was_taken_over_removes_nothing_of_the_next(world, monkeypatch):
    """It slept, and another run has begun: its files have no marker yet, and stay."""
    source, _, _ = world
    theirs = "features/date=2026-03-02/part-0000-0123456789abcdef.parquet"

    def sleep(*given):
        for path in MEMORY.tree(f"{OUT}/.lock"):
            del MEMORY.objects[f"{OUT}/.lock/{path}"]
        for path in (theirs, ".work/attempt-2/manifest.jsonl"):
            MEMORY.put(f"{OUT}/{path}", b"theirs")
        return run_pipeline(*given)

    run_pipeline = runs.run_pipeline
    monkeypatch.setattr(runs, "run_pipeline", sleep)
    with pytest.raises(BusyError, match="taken over by another run"):
        make(source, OUT)
    assert Layout(OUT).published() == []
    left = MEMORY.tree(OUT)
    assert left[theirs] == left[".work/attempt-2/manifest.jsonl"] == b"theirs"


def test_two_that_start_at_once_never_both_go_on(monkeypatch):
    """Each puts its object there before it looks, so one of them sees the other's."""
    write, inner = locks._write_lock, []

    def write_and_another_starts(path):
        write(path)
        if not inner:
            inner.append(None)
            with pytest.raises(BusyError), locked(Layout(OUT)):
                pass

    monkeypatch.setattr(locks, "_write_lock", write_and_another_starts)
    with locked(Layout(OUT)):
        assert inner


def test_an_input_within_the_output_is_refused(world):
    make(world[0], OUT, "2026-03-01")
    for pattern in (f"{OUT}/features", "lockstep-memory://bucket/**", OUT):
        with pytest.raises(InputError, match="one is within the other"):
            make(pattern, OUT, "2026-03-02")


def test_a_scheme_that_nobody_knows():
    with pytest.raises(InputError, match=r"no filesystem is installed for nowhere://"):
        Layout("nowhere://bucket/out")
