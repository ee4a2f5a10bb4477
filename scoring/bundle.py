"""A bundle: graph, models, calibration, thresholds and state schema as one immutable folder.

What enters: the parts, as training has made them. What leaves: a folder with a manifest that holds
the sha256 of every file, or a loaded `Bundle` whose every file was checked. No file is a pickle,
and none is read as one.

    manifest.json       format, fingerprints, versions, and size and sha256 of every other file
    spec.yaml           the config, as it was read
    transform_graph/    the TFT SavedModel; encoder/: the files of a text encoder
    booster.ubj         XGBoost; linear.npz, text.npz: weights
    calibration.json, policy.json, metrics.json, provenance.json

A bundle's name is its semantic fingerprint: of the spec, the graph's constants, the models, the
calibration and the thresholds; not of `saved_model.pb`, whose bytes differ from run to run. It is
computed anew at every load, so a manifest that was edited to fit edited files is found out too.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.catalog import Catalog, without_later_arguments
from configs.errors import BundleError, ConfigError
from configs.fingerprint import fingerprint, state_fingerprint
from configs.loader import loads
from configs.schema import Spec
from scoring.arrays import load_json, save_json
from scoring.booster import BoosterModel
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy
from scoring.files import Place, exists, files_below, is_local, join, publish, sha256_of
from scoring.identity import library_versions, semantic_fingerprint, spec_digest
from scoring.linear import LinearModel
from scoring.locks import exclusive
from scoring.manifest import (
    BOOSTER,
    CALIBRATION,
    FORMAT,
    GRAPH,
    LINEAR,
    MANIFEST,
    METRICS,
    POLICY,
    PROVENANCE,
    SPEC,
    TEXT,
    verify_files,
)
from scoring.models import Models, input_names
from scoring.scorer import Bundle, BundleContents
from scoring.store import fetch_bundle, send_bundle
from scoring.text_model import TextModel
from transforms.catalog import CATALOG
from transforms.encoder import ENCODER
from transforms.encoder_model import load_encoder
from transforms.inputs import numeric_names

__all__ = [
    "Bundle",
    "BundleParts",
    "bundle_spec",
    "fingerprint_parts",
    "load_bundle",
    "write_bundle",
]

_ASIDE = ".writing-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleParts(BundleContents):
    """What a bundle is made of.

    Attributes:
      config: the YAML text of the spec.
    """

    config: str


def write_bundle(parts: BundleParts, store: Place) -> Place:
    """Writes a bundle aside, loads it as a check, and puts it whole at ``store/<fingerprint>``.

    A bundle of that name that is there already is the same bundle, and stays; if it is damaged, it
    is replaced.

    Args:
      parts: of the bundle.
      store: a folder of this machine, or of any filesystem that Beam knows.

    Returns:
      Where it is.

    Raises:
      BundleError: the parts do not fit each other; the store is as it was.
    """
    with exclusive(store):
        if is_local(store):
            return _write_local(parts, Path(store))
        with tempfile.TemporaryDirectory(prefix="lockstep-bundle-") as scratch:
            made = _write_local(parts, Path(scratch))
            place = join(store, made.name)
            if not exists(join(place, MANIFEST)) or not _is_whole(fetch_bundle(place)):
                send_bundle(made, place)
        return place


def _write_local(parts: BundleParts, store: Path) -> Path:
    for left in store.glob(f"{_ASIDE}*"):  # by a writer that was killed
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=store))
    try:
        name = _write_files(parts, aside)
        load_bundle(aside, CATALOG)
        target = store / name
        if target.exists() and not _is_whole(target):
            target.rename(Path(tempfile.mkdtemp(prefix=_ASIDE, dir=store)) / name)
        if not target.exists():
            publish(aside, target)
    finally:
        for left in store.glob(f"{_ASIDE}*"):
            shutil.rmtree(left, ignore_errors=True)
    return target


def fingerprint_parts(parts: BundleParts, scratch: Path) -> str:
    """The name that a bundle of these parts would have.

    Args:
      scratch: a folder for its files, which are gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=scratch) as aside:
        return _write_files(parts, Path(aside))


def load_bundle(place: Place, catalog: Catalog = CATALOG) -> Bundle:
    """Verifies and loads a bundle, from any filesystem that Beam knows.

    Raises:
      BundleError: see `verify_files`; or its spec no longer means what it did when it was made, or
        its parts do not fit each other.
    """
    folder = fetch_bundle(place)
    manifest = verify_files(folder)
    try:
        return _load(folder, manifest, catalog)
    except BundleError as error:
        raise BundleError(f"{folder.name}: {error}") from error


def _write_files(parts: BundleParts, folder: Path) -> str:
    (folder / SPEC).write_text(parts.config, encoding="utf-8")
    shutil.copytree(parts.graph, folder / GRAPH)
    models = parts.models
    if models.text is not None:
        models.text.save(folder / TEXT)
    if models.linear is not None:
        models.linear.save(folder / LINEAR)
    if models.booster is not None:
        models.booster.save(folder / BOOSTER)
    parts.calibration.save(folder / CALIBRATION)
    parts.policy.save(folder / POLICY)
    save_json(folder / METRICS, parts.metrics)
    save_json(folder / PROVENANCE, parts.provenance)
    spec = parts.spec
    digest = spec_digest(spec)
    name = semantic_fingerprint(digest, parts.model, folder)
    files = {
        one: {"bytes": (folder / one).stat().st_size, "sha256": sha256_of(folder / one)}
        for one in files_below(folder)
    }
    manifest = {
        "format": FORMAT,
        "fingerprint": name,
        "model": parts.model,
        "name": spec.name,
        "spec": digest,
        "state": {entity: state_fingerprint(spec, entity) for entity in spec.entities},
        "versions": library_versions(),
        "files": files,
    }
    save_json(folder / MANIFEST, manifest)
    return name


def _load(folder: Path, manifest: Mapping[str, Any], catalog: Catalog) -> Bundle:
    """Loads verified files; messages name the file, the caller adds the bundle."""
    spec = _load_spec(folder, manifest, catalog)
    files = manifest["files"]
    models = Models(
        spec=spec,
        text=_load_text(folder, spec) if TEXT in files else None,
        linear=_load_linear(folder / LINEAR, spec) if LINEAR in files else None,
        booster=BoosterModel.load(folder / BOOSTER, input_names(spec))
        if BOOSTER in files
        else None,
    )
    policy = DecisionPolicy.load(folder / POLICY)
    wanted = (spec.policy.default, *(action.name for action in spec.policy.actions))
    if policy.names != wanted:
        raise BundleError(
            f"{POLICY} has the actions {', '.join(policy.names)}, {SPEC} has {', '.join(wanted)}; "
            "train anew"
        )
    bundle = Bundle(
        path=folder,
        fingerprint=manifest["fingerprint"],
        spec=spec,
        graph=folder / GRAPH,
        models=models,
        model=manifest["model"],
        calibration=Calibration.load(folder / CALIBRATION),
        policy=policy,
        metrics=load_json(folder / METRICS),
        provenance=load_json(folder / PROVENANCE),
        state=manifest["state"],
        versions=manifest.get("versions", {}),
    )
    made = semantic_fingerprint(manifest["spec"], bundle.model, folder)
    if made != bundle.fingerprint:
        raise BundleError(
            f"{MANIFEST} names the bundle {bundle.fingerprint}, its parts make {made}: it was "
            "edited; copy the bundle anew"
        )
    return bundle


def bundle_spec(folder: Path, catalog: Catalog) -> Spec:
    """The spec of a bundle, without its models.

    Raises:
      BundleError: the bundle is damaged, or does not fit this release.
    """
    return _load_spec(folder, verify_files(folder), catalog)


def _load_spec(folder: Path, manifest: Mapping[str, Any], catalog: Catalog) -> Spec:
    spec = _read_spec(folder, catalog)
    if spec_digest(spec) != manifest["spec"]:
        spec = _as_of_then(folder, manifest["spec"], catalog) or spec
    if manifest["spec"] not in (spec_digest(spec), fingerprint(spec)):
        raise BundleError(
            f"{SPEC} now means {spec_digest(spec)}, the manifest says {manifest['spec']}; the "
            "bundle was made by a release with other defaults: train anew"
        )
    state = {entity: state_fingerprint(spec, entity) for entity in spec.entities}
    if state != manifest["state"]:
        entity = next((e for e in state if state[e] != manifest["state"].get(e)), "of another name")
        raise BundleError(
            f"{MANIFEST} and {SPEC} differ in the velocity state of the entity {entity}; the "
            "bundle was made by a release with other state: backfill and train anew"
        )
    return spec


def _read_spec(folder: Path, catalog: Catalog, as_written: bool = False) -> Spec:
    try:
        text = (folder / SPEC).read_text(encoding="utf-8")
        return loads(text, f"{folder.name}/{SPEC}", catalog, as_written)
    except (ConfigError, UnicodeDecodeError) as error:
        raise BundleError(f"{SPEC} does not load in this release:\n{error}") from error


def _as_of_then(folder: Path, digest: str, catalog: Catalog) -> Spec | None:
    """What the spec meant in the release that made it; None: nothing that is known."""
    written = _read_spec(folder, catalog, as_written=True)
    for spec in (written, without_later_arguments(written, catalog)):
        if fingerprint(spec) == digest:
            return spec
    return None


def _load_text(folder: Path, spec: Spec) -> TextModel:
    model, text = TextModel.load(folder / TEXT), spec.inputs.text
    width, what = text.buckets if text else 0, "the spec has {} text buckets"
    if text and text.encoder:
        width = load_encoder(folder / GRAPH / ENCODER, text.encoder_tokens).size
        what = "the text encoder makes {} numbers"
    if model.weights.shape != (width,):
        raise BundleError(
            f"{TEXT} has weights {model.weights.shape}, {what.format(width)}; train anew"
        )
    return model


def _load_linear(path: Path, spec: Spec) -> LinearModel:
    model = LinearModel.load(path)
    width = len(numeric_names(spec)) + (path.with_name(TEXT)).exists()
    count = len(spec.inputs.categorical)
    if model.numeric.shape != (width,) or model.categories.shape[:1] != (count,):
        raise BundleError(
            f"{path.name} has {len(model.numeric)} numeric weights and those of "
            f"{len(model.categories)} categories, the spec makes {width} and {count}; train anew"
        )
    return model


def _is_whole(folder: Path) -> bool:
    try:
        verify_files(folder)
    except BundleError:
        return False
    return True
