"""What a scorer makes of another bundle: a bad or unfit one is refused, once."""

import dataclasses
import datetime as dt
import itertools
import json
import logging
import os
import shutil
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from backfill_world import CONFIG
from nightly_world import request as night_request
from stream_world import NIGHT, after_night, hear, publish, request
from swap_world import fires_always, until

from configs.loader import loads
from pipelines.nightly import nightly
from pipelines.parity import check_served
from pipelines.streaming import watch
from pipelines.streaming.journal import Journal
from pipelines.streaming.run import stream
from pipelines.streaming.service import ServiceSettings
from scoring.bundle import load_bundle
from scoring.controls import Controls, change_controls
from scoring.engine import BUNDLE
from scoring.manifest import BOOSTER
from scoring.store import POINTER, Store
from transforms.catalog import CATALOG


def test_a_damaged_bundle_is_refused_once_and_the_old_one_serves_on(scoring, caplog):
    assert scoring.decide() == scoring.first
    name = scoring.twin("0123456789abcdef")
    path = scoring.store.root / name / BOOSTER
    path.write_bytes(path.read_bytes()[:-9])
    scoring.point_at(name)
    with caplog.at_level(logging.ERROR):
        assert [scoring.decide() for _ in range(3)] == [scoring.first] * 3
    assert scoring.service.counts.refused_bundles == 1
    [said] = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert name in said
    assert BOOSTER in said
    assert scoring.store.rollback() == scoring.first
    assert scoring.decide() == scoring.first
    assert scoring.service.counts.swaps == 0


def test_a_pointer_that_is_damaged_is_told_of_once(scoring, caplog):
    (scoring.store.root / POINTER).write_text("{")
    with caplog.at_level(logging.ERROR):
        assert [scoring.decide() for _ in range(3)] == [scoring.first] * 3
    assert scoring.service.counts.refused_bundles == 1


def test_a_damaged_pointer_is_told_of_again_when_it_was_right_meanwhile(scoring):
    pointer = scoring.store.root / POINTER
    right = pointer.read_text()
    for times in (1, 2):
        pointer.write_text("{")
        assert [scoring.decide() for _ in range(2)] == [scoring.first] * 2
        assert scoring.service.counts.refused_bundles == times
        pointer.write_text(right)
        scoring.decide()


def damaged(scoring, name="0123456789abcdef"):
    """A bundle whose model is cut off; and the bytes that it lacks nothing with."""
    scoring.twin(name)
    path = scoring.store.root / name / BOOSTER
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    scoring.point_at(name)
    return name, path, whole


@pytest.fixture
def under_any_name(monkeypatch):
    """A twin is taken for what its folder is called, as if it were a bundle of its own."""

    def load(folder, catalog):
        return dataclasses.replace(load_bundle(folder, catalog), fingerprint=folder.name)

    monkeypatch.setattr(watch, "load_bundle", load)


def test_a_bundle_that_was_repaired_is_taken_where_the_pointer_stayed(scoring, under_any_name):
    name, path, whole = damaged(scoring)
    assert [scoring.decide() for _ in range(2)] == [scoring.first] * 2
    path.write_bytes(whole)
    assert scoring.decide() == name
    assert scoring.service.counts.swaps == 1
    assert scoring.service.counts.refused_bundles == 1


def test_a_bundle_that_was_repaired_is_taken_when_it_is_promoted_again(scoring, under_any_name):
    name, path, whole = damaged(scoring)
    path.write_bytes(whole[:-1] + b"x")  # damaged, and as long as the right one
    stat = path.stat()
    assert scoring.decide() == scoring.first
    scoring.point_at(scoring.first)
    assert scoring.decide() == scoring.first
    path.write_bytes(whole)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    scoring.point_at(name)
    assert scoring.decide() == name


def test_a_bundle_under_another_name_is_refused_and_not_loaded_again_and_again(
    scoring, monkeypatch
):
    loads_made = []

    def load(folder, catalog):
        loads_made.append(folder)
        return load_bundle(folder, catalog)

    monkeypatch.setattr(watch, "load_bundle", load)
    scoring.point_at(scoring.twin("0123456789abcdef"))
    assert [scoring.decide() for _ in range(4)] == [scoring.first] * 4
    assert len(loads_made) == 1
    assert scoring.service.counts.refused_bundles == 1


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), MemoryError(), KeyError()])
def test_a_load_that_fails_otherwise_is_told_of_once_and_tried_again(
    scoring, under_any_name, monkeypatch, caplog, failure
):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock.now))
    name = scoring.twin("0123456789abcdef")
    scoring.point_at(name)
    tried, load = [], watch.load_bundle

    def fails(folder, catalog):
        tried.append(folder)
        if len(tried) < 3:
            raise failure
        return load(folder, catalog)

    monkeypatch.setattr(watch, "load_bundle", fails)
    with caplog.at_level(logging.ERROR):
        assert [scoring.decide() for _ in range(3)] == [scoring.first] * 3
        assert len(tried) == 1
        clock.now += 31.0
        assert scoring.decide() == scoring.first
        clock.now += 31.0
        assert scoring.decide() == name
    assert len([r for r in caplog.records if "is refused" in r.getMessage()]) == 1


def test_a_micro_batch_waits_for_no_store_and_no_load(scoring, under_any_name, monkeypatch):
    name = scoring.twin("0123456789abcdef")
    scoring.point_at(name)
    with monkeypatch.context() as patched:
        patched.setattr(watch, "load_bundle", None)
        patched.setattr(Store, "serving", None)
        assert scoring.decide(look=False) == scoring.first
    scoring.service.watch.look()
    assert scoring.decide(look=False) == name


def test_the_thread_looks_until_it_is_stopped_and_ends_a_load_first(
    scoring, under_any_name, monkeypatch
):
    load, began = watch.load_bundle, threading.Event()

    def slowly(folder, catalog):
        began.set()
        time.sleep(0.5)
        return load(folder, catalog)

    monkeypatch.setattr(watch, "load_bundle", slowly)
    name = scoring.twin("0123456789abcdef")
    scoring.point_at(name)
    scoring.service.watch.start()
    assert began.wait(60)
    scoring.service.watch.stop()
    assert not any(thread.name == "bundle-watch" for thread in threading.enumerate())
    assert scoring.decide(look=False) == name


def test_what_is_loaded_is_not_taken_when_the_pointer_went_back(scoring, under_any_name):
    scoring.point_at(scoring.twin("0123456789abcdef"))
    scoring.service.watch.look()
    scoring.point_at(scoring.first)
    assert scoring.decide() == scoring.first
    assert scoring.service.counts.swaps == 0


def test_a_bundle_that_reads_events_otherwise_is_refused_and_harms_nothing(
    scoring, under_any_name, monkeypatch, caplog
):
    other = loads(CONFIG.replace("dedup: 1h", "dedup: 1h, disorder: 9s"), "tiny.yaml", CATALOG)
    load = watch.load_bundle
    monkeypatch.setattr(
        watch, "load_bundle", lambda *given: dataclasses.replace(load(*given), spec=other)
    )
    scoring.point_at(scoring.twin("0123456789abcdef"))
    assert [scoring.decide() for _ in range(2)] == [scoring.first] * 2
    assert "restart it: its own --state fits" in caplog.text


@pytest.mark.slow
def test_a_running_scorer_follows_the_pointer_there_and_back(
    stream_house, server, tiny_spec, tmp_path
):
    """Promoted, refused and rolled back while it runs; every decision names its bundle."""
    folder, events, made = stream_house
    house, state, live = tmp_path / "house", tmp_path / "state", after_night(events)
    shutil.copytree(folder / "house", house)
    store, config = Store(house / "bundles"), CONFIG.replace("rounds: 20", "rounds: 7")
    source, night = str(folder / "input"), NIGHT + dt.timedelta(days=1)
    later = nightly(night_request(source, house, config, night, promote=False)).bundle
    assert store.serving() == made.bundle
    waiting, failures = list(live), []

    def bundles():
        return [step.batch.column(BUNDLE)[0].as_py() for step in Journal(state).steps()]

    def trickle(what):
        """Publishes on until it has come."""

        def one_more():
            some = [waiting.pop(0) for _ in range(min(3, len(waiting)))]
            assert some, "all is published, and it has not come"
            publish(server, some, disorder=1)
            time.sleep(0.1)
            return what()

        until(one_more)

    def drive():
        try:
            trickle(lambda: made.bundle in bundles())
            store.promote(later)
            trickle(lambda: bundles()[-1] == later)
            bad = store.root / "0123456789abcdef"
            shutil.copytree(store.path(made.bundle), bad)
            (bad / BOOSTER).write_bytes(b"no model")
            pointer = {"serving": bad.name, "history": [made.bundle, later]}
            (store.root / POINTER).write_text(json.dumps(pointer))
            before = len(bundles())
            trickle(lambda: len(bundles()) > before + 15)
            assert (store.rollback(), store.rollback()) == (later, made.bundle)
            shutil.rmtree(bad)  # not while it is pointed at: half of it would be refused anew
            trickle(lambda: bundles()[-1] == made.bundle)
            publish(server, waiting, disorder=1)
        except BaseException as failure:
            failures.append(failure)

    driver = threading.Thread(target=drive)
    driver.start()
    asked = request(house.parent, server, state, settings=ServiceSettings(swap_poll_s=0.1))
    reads = dataclasses.replace(asked.source, end_after_idle_s=12.0)
    report = stream(dataclasses.replace(asked, source=reads))
    driver.join()
    assert not failures, failures
    assert report.counts.swaps == 2
    assert report.counts.refused_bundles == 1
    decisions = hear(server)
    posts = {event["id"] for event in live if event["kind"] == "post"}
    assert {one["event_id"] for one in decisions} == posts
    order = [one["bundle"] for one in sorted(decisions, key=lambda one: one["event_time"])]
    assert [name for name, _ in itertools.groupby(order)] == [made.bundle, later, made.bundle]
    check_served(state, store.root).require()


@pytest.mark.slow
def test_an_idle_scorer_takes_another_bundle_and_controls(stream_house, server, tmp_path, caplog):
    """An operator sees that a kill switch holds before the next event comes."""
    folder, events, made = stream_house
    state, failures = tmp_path / "state", []
    shutil.copytree(folder / "house", tmp_path / "house")
    store = Store(tmp_path / "house" / "bundles")
    [post, *_] = [event for event in after_night(events) if event["kind"] == "post"]
    publish(server, [post], disorder=1)

    def drive():
        try:
            until(lambda: state.exists() and list(Journal(state).steps()))
            name = fires_always(SimpleNamespace(store=store, first=made.bundle))
            until(lambda: f"bundle {name} decides from step" in caplog.text)
            off = Controls(off=("block",))
            change_controls(store.root, lambda now: off, {"why": "a test"})
            until(lambda: f"controls in force from step 1 on: {off.digest}" in caplog.text)
        except BaseException as failure:
            failures.append(failure)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    driver = threading.Thread(target=drive)
    driver.start()
    asked = request(tmp_path, server, state, settings=ServiceSettings(swap_poll_s=0.1))
    reads = dataclasses.replace(asked.source, end_after_idle_s=90.0)
    report = stream(dataclasses.replace(asked, source=reads))
    driver.join()
    assert not failures, failures
    assert (report.counts.swaps, report.next_step) == (1, 1)
