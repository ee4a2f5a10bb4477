"""The bundle: written whole, the same for the same parts, and refused for any damage."""

import contextlib
import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from bundle_world import CONFIG, copy_bundle, make_models, make_parts, spec_and_graph
from graph_world import as_batch, make_rows
from hypothesis import given
from hypothesis import strategies as st

from configs.catalog import without_later_arguments
from configs.errors import BundleError
from configs.loader import loads
from pipelines.analyze import analyze
from scoring.bundle import load_bundle, write_bundle
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy, Threshold
from scoring.files import files_below, sha256_of
from scoring.linear import LinearModel
from scoring.manifest import MANIFEST, verify_files
from scoring.scorer import Scorer
from scoring.text_model import TextModel
from transforms.catalog import CATALOG
from transforms.derive import derive

FILES = (
    "spec.yaml",
    "transform_graph/transform_fn/saved_model.pb",
    "transform_graph/metadata/schema.pbtxt",
    "booster.ubj",
    "linear.npz",
    "text.npz",
    "calibration.json",
    "policy.json",
    "metrics.json",
    "provenance.json",
)


def reseal(folder):
    """Makes a manifest fit the files that are there, as someone would who edits a bundle."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in files_below(folder)
        if name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))


def edit_manifest(folder, **changes):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


@pytest.fixture
def bundle(tmp_path):
    return copy_bundle(tmp_path)


def test_a_bundle_comes_back_as_it_was(bundle):
    parts, loaded = make_parts(), load_bundle(bundle, CATALOG)
    assert loaded.fingerprint == bundle.name
    assert loaded.spec == parts.spec
    assert (loaded.calibration, loaded.policy) == (parts.calibration, parts.policy)
    assert (loaded.metrics, loaded.provenance) == (parts.metrics, parts.provenance)
    assert set(loaded.state) == set(parts.spec.entities)
    assert set(loaded.versions) == {"tensorflow", "xgboost", "scikit-learn"}
    numeric, table = make_rows(parts.spec, 50, seed=9)
    batch = as_batch(table)
    for model in ("booster", "linear", "text"):
        ours = dataclasses.replace(loaded, model=model, models=parts.models)
        theirs = dataclasses.replace(loaded, model=model)
        one, two = (Scorer(each).score(numeric, batch) for each in (ours, theirs))
        assert one.raw.tobytes() == two.raw.tobytes()
        assert one.score.tobytes() == two.score.tobytes()


def test_it_holds_the_files_that_the_design_says(bundle):
    assert set(FILES) < set(files_below(bundle))
    assert not any(name.endswith((".pkl", ".pickle", ".joblib")) for name in files_below(bundle))


def test_two_analyses_of_the_same_rows_make_one_bundle(tmp_path, bundle):
    spec, first = spec_and_graph()
    analyze(spec, *make_rows(spec, 400, seed=1), tmp_path / "graph")
    saved = "transform_fn/saved_model.pb"
    assert sha256_of(first / saved) != sha256_of(tmp_path / "graph" / saved)
    again = write_bundle(make_parts(graph=tmp_path / "graph"), tmp_path)
    assert again == bundle
    analyze(spec, *make_rows(spec, 400, seed=2), tmp_path / "other")
    assert write_bundle(make_parts(graph=tmp_path / "other"), tmp_path) != bundle


def other_models(**changes):
    return dataclasses.replace(make_models(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "linear"},
        {"calibration": Calibration(slope=1.5, offset=-0.24, reason="made up")},
        {"policy": DecisionPolicy((Threshold("block", 0.81, 0.8, "enough"),), "allow")},
        {"policy": DecisionPolicy((Threshold("block", None, 0.8, "thin"),), "allow")},
        {"models": ("text", TextModel(np.zeros(256), 0.0))},
        {"config": CONFIG.replace("rounds: 20", "rounds: 21")},
    ],
    ids=["model", "calibration", "threshold", "no threshold", "text weights", "spec"],
)
def test_whatever_decides_a_score_changes_the_fingerprint(tmp_path, bundle, changes):
    changes = dict(changes)
    if "models" in changes:
        changes["models"] = other_models(**dict([changes["models"]]))
    if "config" in changes:
        changes["spec"] = loads(changes["config"], "tiny.yaml", CATALOG)
    assert write_bundle(make_parts(**changes), tmp_path).name != bundle.name


def test_metrics_and_comments_do_not_change_the_fingerprint(tmp_path, bundle):
    changed = make_parts(config=f"# a comment\n{CONFIG}", metrics={}, provenance={"as_of": "later"})
    shutil.rmtree(bundle)
    assert write_bundle(changed, tmp_path).name == bundle.name


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "emptied"])
def test_damage_is_named(bundle, name, damage):
    path = bundle / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[:-1])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    said = {"missing": "is missing", "changed": "was changed"}.get(damage, "cut short")
    with pytest.raises(BundleError, match=f"{bundle.name}: {name} .*{said}"):
        load_bundle(bundle, CATALOG)


def test_an_extra_file_is_named(bundle):
    (bundle / "transform_graph" / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"transform_graph/extra.bin is not in the manifest"):
        load_bundle(bundle, CATALOG)
    (bundle / "transform_graph" / "extra.bin").unlink()
    (bundle / "link").symlink_to("/etc")
    with pytest.raises(BundleError, match="link is not in the manifest"):
        load_bundle(bundle, CATALOG)


def test_another_format_is_refused(bundle):
    edit_manifest(bundle, format=2)
    with pytest.raises(BundleError, match=r"manifest.json has format 2, this release reads 1"):
        load_bundle(bundle, CATALOG)


def test_an_empty_folder_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"is no bundle: manifest.json is missing"):
        load_bundle(tmp_path, CATALOG)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\udcff"])
def test_a_broken_manifest_is_refused(bundle, text):
    (bundle / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(bundle, CATALOG)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "linear"},
        {"model": "forest"},
        {"fingerprint": "0" * 16},
        {"spec": "0" * 16},
        {"state": {}},
        {"state": []},
        {"files": {}},
        {"files": []},
        {"name": None},
        {"versions": 3},
    ],
    ids=str,
)
def test_an_edited_manifest_is_refused(bundle, changes):
    edit_manifest(bundle, **changes)
    with pytest.raises(BundleError, match=rf"{bundle.name}: .*{MANIFEST}|{bundle.name}: spec.yaml"):
        load_bundle(bundle, CATALOG)


def save_policy(folder, *thresholds):
    DecisionPolicy(thresholds, "allow").save(folder / "policy.json")


SEALED = {
    "policy.json has the actions": lambda f: save_policy(f, Threshold("ban", 0.5, 0.8)),
    "its parts make": lambda f: save_policy(f, Threshold("block", 0.5, 0.8)),
    "policy.json is damaged": lambda f: (f / "policy.json").write_text('{"thresholds": [1]}'),
    "calibration curve does not rise": lambda f: Calibration(slope=-1).save(f / "calibration.json"),
    "calibration.json is damaged": lambda f: (f / "calibration.json").write_text("{}"),
    "text.npz has weights": lambda f: TextModel(np.zeros(9), 0.0).save(f / "text.npz"),
    "text.npz is damaged": lambda f: (f / "text.npz").write_bytes(b"PK"),
    "linear.npz has 2 numeric": lambda f: LinearModel(np.zeros(2), np.zeros((1, 2)), 0.0).save(
        f / "linear.npz"
    ),
    "booster.ubj is damaged": lambda f: (f / "booster.ubj").write_bytes(b"{L"),
    "saved_model.pb is damaged": lambda f: (
        f / "transform_graph/transform_fn/saved_model.pb"
    ).write_bytes(b"\xff\xff"),
    "spec.yaml now means": lambda f: (f / "spec.yaml").write_text(
        CONFIG.replace("rounds: 20", "rounds: 21")
    ),
    "spec.yaml does not load": lambda f: (f / "spec.yaml").write_text("name: x"),
    "metrics.json is damaged": lambda f: (f / "metrics.json").write_text("[1]"),
}


@pytest.mark.parametrize("said", SEALED)
def test_files_edited_together_with_their_manifest_are_refused(bundle, said):
    SEALED[said](bundle)
    reseal(bundle)
    verify_files(bundle)
    with pytest.raises(BundleError, match=f"{bundle.name}: .*{said}"):
        load_bundle(bundle, CATALOG)


def test_a_booster_of_other_inputs_is_refused(bundle):
    booster = make_models().booster.booster.copy()
    booster.feature_names = [f"other_{name}" for name in booster.feature_names]
    booster.save_model(bundle / "booster.ubj")
    reseal(bundle)
    with pytest.raises(BundleError, match=r"booster.ubj was fitted on the input 'other_amount'"):
        load_bundle(bundle, CATALOG)


@given(data=st.data())
def test_no_damage_of_the_manifest_escapes_as_another_error(tmp_path_factory, data):
    bundle = copy_bundle(tmp_path_factory.mktemp("store"))
    text = (bundle / MANIFEST).read_bytes()
    start = data.draw(st.integers(0, len(text) - 1))
    junk = data.draw(st.sampled_from([b"", b"0", b"{", b"null", b'"', b"\xff", b"[[[["]))
    (bundle / MANIFEST).write_bytes(text[:start] + junk + text[start + len(junk) + 1 :])
    with contextlib.suppress(BundleError):  # white space and names of libraries decide no score
        assert load_bundle(bundle, CATALOG).fingerprint == bundle.name
    shutil.rmtree(bundle.parent)


def test_parts_that_do_not_fit_leave_nothing(tmp_path):
    parts = make_parts(models=other_models(text=TextModel(np.zeros(9), 0.0)))
    with pytest.raises(BundleError, match=r"text.npz has weights"):
        write_bundle(parts, tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(folder, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Calibration, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(make_parts(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_damaged_twin_is_replaced_and_what_a_killed_writer_left_is_removed(bundle):
    (bundle / "text.npz").write_bytes(b"")
    (bundle.parent / ".writing-abc").mkdir()
    assert write_bundle(make_parts(), bundle.parent) == bundle
    assert load_bundle(bundle, CATALOG).fingerprint == bundle.name
    assert sorted(path.name for path in bundle.parent.iterdir()) == [".lock", bundle.name]


def test_a_whole_twin_stays_as_it_is(bundle):
    before = (bundle / "transform_graph/transform_fn/saved_model.pb").stat().st_ino
    write_bundle(make_parts(), bundle.parent)
    assert (bundle / "transform_graph/transform_fn/saved_model.pb").stat().st_ino == before


def test_a_bundle_from_before_a_later_argument_means_what_it_meant(tmp_path):
    """Its config says nothing of `reading`, which means another one by now."""
    config = tmp_path / "tiny.yaml"
    clean = "  clean: {op: normalize_text, of: text}\n"
    config.write_text(CONFIG.replace(clean, f"{clean}  link: {{op: link_domain, of: text}}\n"))
    now = make_parts(path=config)
    before = dataclasses.replace(now, spec=without_later_arguments(now.spec, CATALOG))
    old, new = (load_bundle(write_bundle(one, tmp_path / "store")) for one in (before, now))
    assert old.fingerprint != new.fingerprint
    assert (old.spec, new.spec) == (before.spec, now.spec)
    texts = pa.RecordBatch.from_pydict({"text": ["http:evil.com"]})
    assert [
        derive(one.spec, texts).column("link").to_pylist() for one in (old, new)
    ] == [[None], ["evil.com"]]  # fmt: skip


def test_a_bundle_from_before_defaults_were_one_with_silence_stays(tmp_path):
    """Its config writes a default out, which was another fingerprint then."""
    config = tmp_path / "tiny.yaml"
    clean = "  clean: {op: normalize_text, of: text}\n"
    more = "  plain: {op: restore_text, of: text, words: 0}\n"
    config.write_text(CONFIG.replace(clean, f"{clean}{more}"))
    now = make_parts(path=config)
    then = loads(config.read_text(), "tiny.yaml", CATALOG, as_written=True)
    assert "words" not in now.spec.derived["plain"].arguments
    for spec in (then, without_later_arguments(then, CATALOG)):
        old = write_bundle(dataclasses.replace(now, spec=spec), tmp_path / "store")
        assert load_bundle(old, CATALOG).spec == spec
    assert len(list((tmp_path / "store").iterdir())) == 3  # the lock, too
