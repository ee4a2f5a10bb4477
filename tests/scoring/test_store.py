"""The store: an atomic pointer with its history; what does not fit changes nothing."""

import itertools
import json
import multiprocessing
import os
import threading

import pytest
from bundle_world import copy_bundle

from configs.errors import BundleError
from scoring import files
from scoring.manifest import MANIFEST
from scoring.store import POINTER, ChangeNote, ServingChange, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def names(tmp_path):
    """Two whole bundles: one that serves a booster, one that serves a linear rule."""
    return [copy_bundle(tmp_path, model).name for model in ("booster", "linear")]


def test_an_empty_store(store):
    assert store.list() == []
    assert store.serving() is None
    with pytest.raises(BundleError, match=r"no bundle of .* serves"):
        store.path("serving")
    with pytest.raises(BundleError, match="no bundle served before"):
        store.rollback()
    with pytest.raises(BundleError, match=r"no bundle called 'abc'.*there are: none"):
        store.promote("abc")
    assert Store(store.root / "nowhere").list() == []


def test_promote_and_roll_back(store, names):
    one, two = names
    assert store.promote(one) == one
    assert (store.serving(), store.path("serving").name) == (one, one)
    assert store.promote(two) == two
    assert store.promote(two) == two  # once more is no change, and no history
    assert store.rollback() == one
    with pytest.raises(BundleError, match="no bundle served before"):
        store.rollback()
    assert store.serving() == one


def test_a_bundle_is_found_by_the_beginning_of_its_name(store, names):
    assert store.path(names[0][:6]).name == names[0]
    with pytest.raises(BundleError, match=rf"no bundle called ''.*{names[0]}"):
        store.path("")
    with pytest.raises(BundleError, match=r"no bundle called '\.\./x'"):
        store.path("../x")


def test_the_list_tells_what_there_is(store, names):
    store.promote(names[1])
    infos = store.list()
    assert {info.fingerprint for info in infos} == set(names)
    assert [info.serving for info in infos if info.fingerprint == names[1]] == [True]
    assert {(info.name, info.made) for info in infos} == {("tiny", "2026-03-04")}
    assert {info.model for info in infos} == {"booster", "linear"}


def test_a_damaged_bundle_hides_no_other(store, names):
    (store.root / names[0] / MANIFEST).write_text("{")
    (store.root / ".writing-x").mkdir()
    infos = {info.fingerprint: info for info in store.list()}
    assert set(infos) == set(names)
    assert "manifest.json is damaged" in infos[names[0]].damaged
    assert infos[names[1]].damaged == ""


@pytest.mark.parametrize("damage", ["changed", "renamed", "missing"])
def test_what_does_not_match_does_not_serve(store, names, damage):
    one, two = names
    store.promote(one)
    if damage == "changed":
        (store.root / two / "policy.json").write_text("{}")
    elif damage == "renamed":
        (store.root / two).rename(store.root / "0000000000000000")
        two = "0000000000000000"
    else:
        (store.root / two / "policy.json").unlink()
    before = (store.root / POINTER).read_bytes()
    with pytest.raises(BundleError, match=r"policy.json|names the bundle"):
        store.promote(two)
    assert (store.root / POINTER).read_bytes() == before


def test_what_serves_and_what_did_before_are_never_removed(store, names):
    one, two = names
    store.promote(one)
    store.promote(two)
    assert store.remove(names) == ()
    assert store.rollback() == one
    assert store.remove([two, "0123456789abcdef"]) == (two,)
    with pytest.raises(BundleError, match="no bundle served before"):
        store.before()
    assert [info.fingerprint for info in store.list()] == [one]


def test_removal_that_was_killed_is_finished_by_the_next(store, names, monkeypatch):
    """The bundle is gone with its manifest: nobody sees half of one."""
    one, two = names
    store.promote(one)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scoring.store.remove_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove([two])
    assert (store.root / two).exists()
    assert [info.fingerprint for info in store.list()] == [one]
    (store.root / "mine").mkdir()
    (store.root / "mine" / "notes").touch()
    assert store.remove([]) == ()
    assert not (store.root / two).exists() and (store.root / "mine" / "notes").exists()


def test_a_bundle_that_is_removed_while_it_is_checked_does_not_serve(store, names, monkeypatch):
    one, two = names
    store.promote(one)
    verify = Store.verify

    def removed_after(self, fingerprint):
        manifest = verify(self, fingerprint)
        Store(self.root).remove([fingerprint])
        return manifest

    monkeypatch.setattr(Store, "verify", removed_after)
    with pytest.raises(BundleError, match="removed from"):
        store.promote(two)
    assert store.serving() == one


def test_rollback_to_a_damaged_bundle_changes_nothing(store, names):
    one, two = names
    store.promote(one)
    store.promote(two)
    (store.root / one / "text.npz").write_bytes(b"")
    with pytest.raises(BundleError, match=r"text.npz .*cut short"):
        store.rollback()
    assert store.serving() == two


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"serving": 3, "history": []}', '{"serving": "a", "history": [1]}']
)
def test_a_damaged_pointer_is_named(store, names, text):
    (store.root / POINTER).write_text(text)
    with pytest.raises(BundleError, match=r"serving.json is damaged"):
        store.serving()


def test_a_full_disk_leaves_the_pointer(store, names, monkeypatch):
    store.promote(names[0])

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.promote(names[1])
    assert store.serving() == names[0]
    assert not [path for path in store.root.iterdir() if path.name.startswith(f".{POINTER}")]


def test_a_reader_sees_the_old_or_the_new_and_nothing_else(store, names):
    store.promote(names[0])
    done, seen = threading.Event(), set()

    def read():
        while not done.is_set():
            seen.add(store.serving())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        store.promote(names[1])
        store.promote(names[0])
    done.set()
    reader.join()
    assert seen <= set(names)


def promote_often(root, name):
    for _ in range(20):
        Store(root).promote(name)


def test_writers_at_once_lose_no_history(store, names):
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=promote_often, args=(store.root, name)) for name in names]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    pointer = json.loads((store.root / POINTER).read_text())
    walk = [*pointer["history"], pointer["serving"]]
    assert all(one != other for one, other in itertools.pairwise(walk))
    assert oct(os.stat(store.root / POINTER).st_mode)[-3:] == "644"


def test_rollback_makes_nothing_where_there_is_no_store(tmp_path):
    with pytest.raises(BundleError, match="no bundle served before"):
        Store(tmp_path / "typo").rollback()
    assert not (tmp_path / "typo").exists()


def test_who_changed_what_serves_and_why_is_kept(store, names):
    one, two = names
    store.promote(one, ChangeNote("2026-03-11T04:00:00+00:00", "nightly run", because="AUC 0.9"))
    store.promote(one, ChangeNote("2026-03-11T05:00:00+00:00", "promoted by hand", "bob"))
    store.promote(two, ChangeNote("2026-03-12T04:00:00+00:00", "promoted by hand", "ana", "a raid"))
    store.rollback(ChangeNote("2026-03-12T06:00:00+00:00", "rolled back", "bob", "appeals"))
    assert store.serving() == one
    assert store.changes() == (
        ServingChange(
            "2026-03-11T04:00:00+00:00", "nightly run", because="AUC 0.9", serving=one
        ),
        ServingChange(
            "2026-03-12T04:00:00+00:00", "promoted by hand", "ana", "a raid",
            serving=two, before=one,
        ),
        ServingChange(
            "2026-03-12T06:00:00+00:00", "rolled back", "bob", "appeals",
            serving=one, before=two,
        ),
    )  # fmt: skip


def test_a_pointer_of_an_earlier_release_has_no_reasons_and_damaged_ones_decide_nothing(
    store, names
):
    one, two = names
    pointer = {"serving": one, "history": [two]}
    (store.root / POINTER).write_text(json.dumps(pointer))
    assert store.changes() == () and store.serving() == one
    odd = [3, {"serving": 4}, {"serving": two, "by": 5, "else": 6}]
    (store.root / POINTER).write_text(json.dumps({**pointer, "changes": odd}))
    assert store.changes() == (ServingChange(serving=two),)
    (store.root / POINTER).write_text(json.dumps({**pointer, "changes": 7}))
    assert store.changes() == ()
    store.rollback()
    assert store.serving() == two and [one.serving for one in store.changes()] == [two]
