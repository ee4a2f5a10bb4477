"""The thread that looks which bundle serves lives on, whatever it meets."""

import logging
import threading
from pathlib import Path

from pipelines.streaming import watch
from pipelines.streaming.counts import Counts
from pipelines.streaming.watch import BundleWatch
from scoring.store import Store


def test_a_folder_that_vanishes_while_it_is_walked_has_no_files(tmp_path, monkeypatch):
    def vanishes(path, pattern):
        yield path / "one"
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "rglob", vanishes)
    assert watch._mark("name", tmp_path) == ("name", ())


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
