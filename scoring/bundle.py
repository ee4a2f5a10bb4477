"""A bundle: graph, models, calibration, thresholds and state schema as one immutable folder.

What enters: the parts, as training has made them. What leaves: a folder with a manifest that holds
the sha256 of every file, or a loaded `Bundle` whose every file was checked. No file is a pickle,
and none is read as one.

    manifest.json       format, fingerprints, versions, and size and sha256 of every other file
    spec.yaml           the config, as it was read
    transform_graph/    the TFT SavedModel
    booster.ubj         XGBoost; linear.npz, text.npz: weights
    calibration.json, policy.json, metrics.json, provenance.json

A bundle's name is its semantic fingerprint: of the spec, the graph's constants, the models, the
calibration and the thresholds; not of `saved_model.pb`, whose bytes differ from run to run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from configs.catalog import Catalog
from configs.errors import BundleError, ConfigError
from configs.fingerprint import fingerprint, state_fingerprint
from configs.loader import loads
from configs.schema import Spec
from scoring.arrays import load_json, save_json
from scoring.booster import BoosterModel
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy
from scoring.linear import LinearModel
from scoring.scorer import Models, input_names
from scoring.text_model import TextModel

FORMAT = 1
MANIFEST, SPEC, GRAPH = "manifest.json", "spec.yaml", "transform_graph"
BOOSTER, LINEAR, TEXT = "booster.ubj", "linear.npz", "text.npz"
CALIBRATION, POLICY = "calibration.json", "policy.json"
METRICS, PROVENANCE = "metrics.json", "provenance.json"


@dataclasses.dataclass(frozen=True)
class BundleParts:
    """What a bundle is made of.

    Attributes:
      config: the YAML text of the spec.
      graph: folder of the analysed graph.
      models: fitted.
      model: which serves: "booster", "linear" or "text".
      metrics, provenance: JSON-able; not part of the fingerprint.
    """

    config: str
    spec: Spec
    graph: Path
    models: Models
    model: str
    calibration: Calibration
    policy: DecisionPolicy
    metrics: dict[str, Any]
    provenance: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A verified bundle, loaded."""

    path: Path
    fingerprint: str
    spec: Spec
    graph: Path
    models: Models
    model: str
    calibration: Calibration
    policy: DecisionPolicy
    metrics: dict[str, Any]
    provenance: dict[str, Any]


def write_bundle(parts: BundleParts, store: Path) -> Path:
    """Writes a bundle aside, verifies it, and renames it to ``store/<fingerprint>``.

    A bundle of that name that is there already is the same bundle, and stays.

    Returns:
      Its folder.
    """
    store.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=store))
    try:
        name = _write_files(parts, aside)
        verify_files(aside)
        target = store / name
        if not target.exists():
            for file in aside.rglob("*"):
                _sync(file)
            os.chmod(aside, 0o755)
            os.rename(aside, target)
            _sync(store)
        return target
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def verify_files(folder: Path) -> dict[str, Any]:
    """Checks every file of a bundle against its manifest; returns the manifest.

    Raises:
      BundleError: which file is missing, changed, cut short or not listed.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} is no bundle: {MANIFEST} is missing")
    manifest = load_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{folder.name}: {MANIFEST} has format {manifest.get('format')!r}, this release reads "
            f"{FORMAT}; use the release that wrote it, or train anew"
        )
    listed = manifest.get("files")
    if not isinstance(listed, dict) or not isinstance(manifest.get("fingerprint"), str):
        raise BundleError(f"{folder.name}: {MANIFEST} is damaged: it lists no files")
    found = {name for name in _files(folder) if name != MANIFEST}
    for name in sorted(found - set(listed)):
        raise BundleError(f"{folder.name}: {name} is not in the manifest; a bundle is never edited")
    for name, facts in sorted(listed.items()):
        if name not in found:
            raise BundleError(f"{folder.name}: {name} is missing; copy the bundle anew")
        size, digest = (folder / name).stat().st_size, _sha256(folder / name)
        if size != facts["bytes"]:
            raise BundleError(
                f"{folder.name}: {name} has {size:,} bytes, the manifest says {facts['bytes']:,}; "
                "it was cut short or changed: copy the bundle anew"
            )
        if digest != facts["sha256"]:
            raise BundleError(
                f"{folder.name}: {name} was changed: its sha256 is {digest[:12]}…, the manifest "
                f"says {facts['sha256'][:12]}…; copy the bundle anew"
            )
    return manifest


def load_bundle(folder: Path, catalog: Catalog) -> Bundle:
    """Verifies and loads a bundle.

    Raises:
      BundleError: see `verify_files`; or its spec no longer means what it did when it was made.
    """
    manifest = verify_files(folder)
    text = (folder / SPEC).read_text()
    try:
        spec = loads(text, f"{folder.name}/{SPEC}", catalog)
    except ConfigError as error:
        raise BundleError(
            f"{folder.name}: {SPEC} does not load in this release:\n{error}"
        ) from error
    if fingerprint(spec) != manifest["spec"]:
        raise BundleError(
            f"{folder.name}: {SPEC} now means {fingerprint(spec)}, the manifest says "
            f"{manifest['spec']}; the bundle was made by a release with other defaults: train anew"
        )
    models = Models(
        spec=spec,
        text=TextModel.load(folder / TEXT) if TEXT in manifest["files"] else None,
        linear=LinearModel.load(folder / LINEAR) if LINEAR in manifest["files"] else None,
        booster=BoosterModel.load(folder / BOOSTER, input_names(spec))
        if BOOSTER in manifest["files"]
        else None,
    )
    return Bundle(
        path=folder,
        fingerprint=manifest["fingerprint"],
        spec=spec,
        graph=folder / GRAPH,
        models=models,
        model=manifest["model"],
        calibration=Calibration.load(folder / CALIBRATION),
        policy=DecisionPolicy.load(folder / POLICY),
        metrics=load_json(folder / METRICS),
        provenance=load_json(folder / PROVENANCE),
    )


def graph_constants(graph: Path) -> str:
    """A digest of all numbers in a SavedModel: what analysis found, whatever nodes are called."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((graph / "transform_fn" / "saved_model.pb").read_bytes())
    found: list[bytes] = []
    for meta in model.meta_graphs:
        nodes = [*meta.graph_def.node]
        for function in meta.graph_def.library.function:
            nodes.extend(function.node_def)
        for node in nodes:
            tensor = node.attr["value"].tensor if node.op == "Const" else None
            if tensor is not None and tensor.dtype != _TF_STRING:
                found.append(tensor.SerializeToString(deterministic=True))
    digest = hashlib.sha256()
    for data in sorted(found):
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


_TF_STRING = 7  # names of checkpoints and files, which differ from run to run


def _write_files(parts: BundleParts, folder: Path) -> str:
    (folder / SPEC).write_text(parts.config)
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
    name = _semantic_fingerprint(parts, folder)
    files = {
        one: {"bytes": (folder / one).stat().st_size, "sha256": _sha256(folder / one)}
        for one in _files(folder)
    }
    spec = parts.spec
    manifest = {
        "format": FORMAT,
        "fingerprint": name,
        "model": parts.model,
        "name": spec.name,
        "spec": fingerprint(spec),
        "state": {entity: state_fingerprint(spec, entity) for entity in spec.entities},
        "files": files,
    }
    save_json(folder / MANIFEST, manifest)
    return name


def _semantic_fingerprint(parts: BundleParts, folder: Path) -> str:
    digest = hashlib.sha256()
    digest.update(fingerprint(parts.spec).encode())
    digest.update(parts.model.encode())
    digest.update(graph_constants(folder / GRAPH).encode())
    for name in (BOOSTER, LINEAR, TEXT, CALIBRATION, POLICY):
        if (folder / name).exists():
            digest.update(name.encode() + _sha256(folder / name).encode())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
