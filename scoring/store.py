"""Where bundles live, and which one serves: an atomic pointer, with its history.

What enters: a folder. What leaves: bundles by fingerprint, and the one that serves. The pointer is
one small file, replaced whole; a reader sees the old or the new bundle, never neither.

    STORE/<fingerprint>/    bundles, immutable
    STORE/serving.json      {"serving": ..., "history": [..., oldest first]}
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from configs.errors import BundleError
from scoring.arrays import load_json
from scoring.bundle import MANIFEST, METRICS, PROVENANCE, verify_files

POINTER = "serving.json"
_MOST_HISTORY = 100


@dataclasses.dataclass(frozen=True)
class BundleInfo:
    """A bundle in a list."""

    fingerprint: str
    name: str
    model: str
    serving: bool
    made: str
    metrics: dict[str, Any]


class Store:
    """A folder of bundles.

    Args:
      root: the folder; need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[BundleInfo]:
        """All bundles, oldest first; damaged ones are told by `verify`, not here."""
        serving = self.serving()
        found = []
        for folder in self.root.glob(f"*/{MANIFEST}"):
            if folder.parent.name.startswith("."):
                continue
            manifest, metrics = load_json(folder), load_json(folder.parent / METRICS)
            made = load_json(folder.parent / PROVENANCE).get("as_of", "")
            found.append(
                BundleInfo(
                    fingerprint=manifest.get("fingerprint", folder.parent.name),
                    name=manifest.get("name", ""),
                    model=manifest.get("model", ""),
                    serving=folder.parent.name == serving,
                    made=made,
                    metrics=metrics,
                )
            )
        return sorted(found, key=lambda one: (one.made, one.fingerprint))

    def path(self, fingerprint: str) -> Path:
        """The folder of a bundle, by its fingerprint, an unambiguous beginning of it, or "serving".

        Raises:
          BundleError: there is none, or several begin so.
        """
        if fingerprint == "serving":
            serving = self.serving()
            if serving is None:
                raise BundleError(
                    f"no bundle of {self.root} serves; `lockstep bundle promote` makes one serve"
                )
            fingerprint = serving
        names = [path.parent.name for path in self.root.glob(f"*/{MANIFEST}")]
        found = [name for name in names if name.startswith(fingerprint) and name[:1] != "."]
        if len(found) != 1:
            what = "no bundle" if not found else f"{len(found)} bundles"
            known = ", ".join(sorted(names)) or "none"
            raise BundleError(f"{what} called {fingerprint!r} in {self.root}; there are: {known}")
        return self.root / found[0]

    def verify(self, fingerprint: str) -> dict[str, Any]:
        """Checks every file of a bundle; returns its manifest.

        Raises:
          BundleError: what does not match.
        """
        return verify_files(self.path(fingerprint))

    def serving(self) -> str | None:
        """Fingerprint of the bundle that serves; None if none does.

        Raises:
          BundleError: the pointer is damaged.
        """
        serving = self._pointer().get("serving")
        return str(serving) if serving else None

    def promote(self, fingerprint: str) -> str:
        """Makes a bundle serve, after checking its files; returns its fingerprint.

        Raises:
          BundleError: it is damaged; what serves stays.
        """
        folder = self.path(fingerprint)
        verify_files(folder)
        pointer = self._pointer()
        before = pointer.get("serving")
        if before == folder.name:
            return folder.name
        history = [*pointer.get("history", []), *([before] if before else [])]
        self._write({"serving": folder.name, "history": history[-_MOST_HISTORY:]})
        return folder.name

    def rollback(self) -> str:
        """Makes the bundle serve that did before; returns its fingerprint.

        Raises:
          BundleError: there is none, or it is damaged; what serves stays.
        """
        pointer = self._pointer()
        history = list(pointer.get("history", []))
        if not history:
            raise BundleError(f"{self.root}: no bundle served before the one that serves now")
        before = history.pop()
        verify_files(self.path(before))
        self._write({"serving": before, "history": history})
        return str(before)

    def _pointer(self) -> dict[str, Any]:
        path = self.root / POINTER
        return load_json(path) if path.exists() else {}

    def _write(self, pointer: dict[str, Any]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        aside = self.root / f".{POINTER}.tmp"
        with open(aside, "w") as file:
            json.dump(pointer, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.root / POINTER)
