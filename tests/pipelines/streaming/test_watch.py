"""The thread that looks which bundle serves lives on, whatever it meets."""

import logging
import threading
from types import SimpleNamespace

from serving_world import make_store

from pipelines.streaming.counts import Counts
from pipelines.streaming.watch import BundleWatch
from scoring import files
from scoring.bundle import load_bundle
from scoring.controls import Controls, change_controls
from scoring.scorer import Scorer
from scoring.serving import Serving
from scoring.store import Store
from transforms.social.as_of import NO_SNAPSHOTS


def test_a_file_that_vanishes_while_its_folder_is_walked_has_no_stamp(tmp_path, monkeypatch):
    (tmp_path / "one").write_bytes(b"1")
    there = files.list_files(tmp_path)
    assert files.stamps(tmp_path / "nowhere") == ()
    monkeypatch.setattr(files, "list_files", lambda folder: [*there, f"{folder}/gone"])
    assert [path for path, *_ in files.stamps(tmp_path)] == there


def test_a_look_that_fails_is_told_of_once_and_the_thread_looks_again(
    tmp_path, monkeypatch, caplog
):
    looked, often = [], threading.Event()

    def fails(self):
        looked.append(self)
        if len(looked) == 5:
            often.set()
        raise KeyError("a secret")

    monkeypatch.setattr(BundleWatch, "look", fails)
    watched = BundleWatch(Store(tmp_path), lambda: None, 0.01, Counts())
    with caplog.at_level(logging.ERROR):
        watched.start()
        assert often.wait(20)
        watched.stop()
    [said] = [record.getMessage() for record in caplog.records]
    assert "KeyError" in said and "the old bundle serves on" in said
    assert "secret" not in said


def test_damaged_controls_hold_up_no_bundle_and_are_told_of_once(tmp_path, caplog):
    """A rollback has to take effect, whatever has happened to the other file."""
    store, names = make_store(tmp_path / "bundles")
    off = change_controls(store.root, lambda now: Controls(off=("block",)), {})
    scorer = Scorer(load_bundle(store.path(names[0]))).under(off)
    engine = SimpleNamespace(scorer=scorer, spec=scorer.bundle.spec, snapshots=NO_SNAPSHOTS)
    counts = Counts()
    watched = BundleWatch(store, lambda: engine, 1.0, counts)
    serving = Serving(str(store.root), poll_seconds=0.0)
    (tmp_path / "bundles" / "controls.json").write_text("{")
    store.promote(names[1])
    for _ in range(3):
        watched.look()
        assert serving.current().bundle.fingerprint == names[1]
    fresh = watched.take()
    assert (fresh.bundle.fingerprint, fresh.controls, serving.controls) == (names[1], off, off)
    assert counts.refused_bundles == serving.refusals == 1
    said = [record.getMessage() for record in caplog.records]
    assert sum("controls.json" in one for one in said) == 2
