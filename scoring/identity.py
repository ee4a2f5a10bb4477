"""What makes a bundle that bundle: a digest of all that decides a score.

What enters: a spec and a bundle's folder. What leaves: 16 hex digits, the same for two trainings
that came to the same, although TFT's `saved_model.pb` has other bytes each time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from configs.errors import BundleError
from configs.fingerprint import fingerprint
from configs.schema import Spec
from scoring.files import sha256_of
from scoring.manifest import BOOSTER, CALIBRATION, GRAPH, LINEAR, POLICY, TEXT
from transforms.quiet import import_tensorflow

_LIBRARIES = ("tensorflow", "xgboost", "scikit-learn")
_TF_STRING = 7  # names of checkpoints and files, which differ from run to run


def semantic_fingerprint(spec: Spec, model: str, folder: Path) -> str:
    """Of spec, graph constants, models, calibration and thresholds, in 16 hex digits.

    Args:
      spec: the use.
      model: which serves.
      folder: of the bundle's files; a manifest need not be there.

    Raises:
      BundleError: the graph is no SavedModel.
    """
    digest = hashlib.sha256()
    digest.update(fingerprint(spec).encode())
    digest.update(model.encode())
    digest.update(graph_constants(folder / GRAPH).encode())
    for name in (BOOSTER, LINEAR, TEXT, CALIBRATION, POLICY):
        if (folder / name).exists():
            digest.update(name.encode() + sha256_of(folder / name).encode())
    return digest.hexdigest()[:16]


def graph_constants(graph: Path) -> str:
    """A digest of all numbers in a SavedModel: what analysis found, whatever nodes are called.

    Raises:
      BundleError: it is no SavedModel.
    """
    import_tensorflow()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    path = graph / "transform_fn" / "saved_model.pb"
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise BundleError(f"{path.name} is damaged: it is no SavedModel") from error
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


def other_versions(made_with: Mapping[str, str]) -> list[str]:
    """Libraries whose major or minor version here is not the one that made a bundle, in words.

    Scores may then differ in the last bit from those that were measured; parity would tell.

    >>> other_versions({"xgboost": "0.1"})[0].startswith("xgboost 0.1, here ")
    True
    """
    here = library_versions()
    return [
        f"{name} {version}, here {here.get(name, 'none')}"
        for name, version in sorted(made_with.items())
        if here.get(name) != version
    ]


def library_versions() -> dict[str, str]:
    """Major and minor versions of the libraries that a score depends on."""
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in _LIBRARIES}
