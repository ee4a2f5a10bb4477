"""The thread that looks which bundle serves lives on, whatever it meets."""

import logging
import threading

from pipelines.streaming.counts import Counts
from pipelines.streaming.watch import BundleWatch
from scoring import files
from scoring.store import Store


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
