"""What makes a bundle that bundle: a digest of all that decides a score.

What enters: a spec and a bundle's folder. What leaves: 16 hex digits, the same for two trainings
that came to the same, although TFT's `saved_model.pb` has other bytes each time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from configs.errors import BundleError
from configs.fingerprint import fingerprint
from configs.schema import Spec
from scoring.files import sha256_of
from scoring.manifest import BOOSTER, CALIBRATION, GRAPH, LINEAR, POLICY, TEXT
from transforms.constants import CONSTANTS
from transforms.encoder import ENCODER
from transforms.encoder_model import FILES as ENCODER_FILES

_LIBRARIES = ("tensorflow", "xgboost", "scikit-learn")
_TF_STRING = 7  # names of checkpoints and files, which differ from run to run


def spec_digest(spec: Spec) -> str:
    """Of a bundle's spec: its text encoder counts by its files, not by where they were."""
    text = spec.inputs.text
    if text is not None and text.encoder:
        named = dataclasses.replace(text, encoder=ENCODER)
        spec = dataclasses.replace(spec, inputs=dataclasses.replace(spec.inputs, text=named))
    return fingerprint(spec)


def semantic_fingerprint(spec: str, model: str, folder: Path) -> str:
    """Of spec, graph constants, text encoder, models, calibration and thresholds, in 16 hex digits.

    Args:
      spec: digest of the use (`spec_digest`).
      model: which serves.
      folder: of the bundle's files; a manifest need not be there.

    Raises:
      BundleError: the graph is no SavedModel.
    """
    digest = hashlib.sha256()
    digest.update(spec.encode())
    digest.update(model.encode())
    digest.update(graph_constants(folder / GRAPH).encode())
    encoder = [f"{GRAPH}/{ENCODER}/{name}" for name in ENCODER_FILES]
    for name in (f"{GRAPH}/{CONSTANTS}", *encoder, BOOSTER, LINEAR, TEXT, CALIBRATION, POLICY):
        if (folder / name).exists():
            digest.update(name.encode() + sha256_of(folder / name).encode())
    return digest.hexdigest()[:16]


def graph_constants(graph: Path) -> str:
    """A digest of all numbers in a SavedModel: what analysis found, whatever nodes are called.

    Raises:
      BundleError: it is no SavedModel.
    """
    path = graph / "transform_fn" / "saved_model.pb"
    try:
        found = sorted(_constants(path.read_bytes()))
    except ValueError as error:
        raise BundleError(f"{path.name} is damaged: it is no SavedModel") from error
    digest = hashlib.sha256()
    for data in found:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def _constants(model: bytes) -> Iterator[bytes]:
    """The tensors of a SavedModel's `Const` nodes but strings, as they are written in it.

    Read by Protobuf's wire format, by the field numbers of TensorFlow's messages, which never
    change: importing TensorFlow for them took six seconds of every start.
    """
    for meta in _messages(model, 2):
        for graph in _messages(meta, 2):
            nodes = list(_messages(graph, 1))
            for library in _messages(graph, 2):
                for function in _messages(library, 1):
                    nodes += _messages(function, 3)
            for node in nodes:
                if b"Const" not in _messages(node, 2):
                    continue
                for attribute in _messages(node, 5):
                    if b"value" in _messages(attribute, 1):
                        for value in _messages(attribute, 2):
                            yield from filter(_is_no_string, _messages(value, 8))


def _is_no_string(tensor: bytes) -> bool:
    return [value for number, value in _fields(tensor) if number == 1] != [_TF_STRING]


def _messages(data: bytes, number: int) -> list[bytes]:
    return [value for one, value in _fields(data) if one == number and isinstance(value, bytes)]


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message; a number of fixed width is 0.

    Raises:
      ValueError: it is no message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: int | bytes = 0
        if tag & 7 == 0:
            value, at = _varint(data, at)
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError(f"wire type {tag & 7}")
        if at > len(data) or tag >> 3 == 0:
            raise ValueError("cut short")
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    made = 0
    for index in range(10):
        if at + index >= len(data):
            break
        made |= (data[at + index] & 127) << (7 * index)
        if data[at + index] < 128:
            return made, at + index + 1
    raise ValueError("cut short")


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
