"""A bundle's table of contents: which files it has, how large they are, and their sha256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.errors import BundleError
from scoring.arrays import load_json
from scoring.files import files_below, sha256_of

FORMAT = 1
MANIFEST, SPEC, GRAPH = "manifest.json", "spec.yaml", "transform_graph"
BOOSTER, LINEAR, TEXT = "booster.ubj", "linear.npz", "text.npz"
CALIBRATION, POLICY = "calibration.json", "policy.json"
METRICS, PROVENANCE = "metrics.json", "provenance.json"
_SAVED_MODEL = f"{GRAPH}/transform_fn/saved_model.pb"
_NEEDED = (SPEC, _SAVED_MODEL, CALIBRATION, POLICY, METRICS, PROVENANCE)
FILE_OF = {"booster": BOOSTER, "linear": LINEAR, "text": TEXT}


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
    listed = _listed(folder, manifest)
    found = {name for name in files_below(folder) if name != MANIFEST}
    for name in sorted(found - set(listed)):
        raise BundleError(f"{folder.name}: {name} is not in the manifest; a bundle is never edited")
    for name, (size, digest) in sorted(listed.items()):
        if name not in found:
            raise BundleError(f"{folder.name}: {name} is missing; copy the bundle anew")
        there = (folder / name).stat().st_size
        if there != size:
            raise BundleError(
                f"{folder.name}: {name} has {there:,} bytes, the manifest says {size:,}; "
                "it was cut short or changed: copy the bundle anew"
            )
        made = sha256_of(folder / name)
        if made != digest:
            raise BundleError(
                f"{folder.name}: {name} was changed: its sha256 is {made[:12]}…, the manifest "
                f"says {digest[:12]}…; copy the bundle anew"
            )
    return manifest


def _listed(folder: Path, manifest: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    try:
        listed = {
            str(name): (int(facts["bytes"]), str(facts["sha256"]))
            for name, facts in manifest["files"].items()
        }
        texts = {name: manifest[name] for name in ("fingerprint", "model", "name", "spec")}
        state, versions = manifest["state"], manifest.get("versions", {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder.name}: {MANIFEST} is damaged: {error!r}") from error
    for name, value in texts.items():
        if not isinstance(value, str):
            raise BundleError(f"{folder.name}: {MANIFEST} is damaged: {name} is no text")
    if not isinstance(state, dict) or not isinstance(versions, dict):
        raise BundleError(f"{folder.name}: {MANIFEST} is damaged: state or versions")
    for name in (*_NEEDED, FILE_OF.get(texts["model"], "")):
        if name not in listed:
            what = f"does not list {name}" if name else f"names the model {texts['model']!r}"
            raise BundleError(f"{folder.name}: {MANIFEST} {what}; train anew")
    return listed
