"""Where bundles live, and which one serves: an atomic pointer, with its history.

The pointer is one small file, replaced whole; a reader sees the old or the new bundle, never
neither.

    STORE/<fingerprint>/    bundles, immutable
    STORE/serving.json      {"serving": ..., "history": [..., oldest first]}
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from configs.errors import BundleError
from scoring.arrays import load_json
from scoring.files import exclusive, replace_file
from scoring.manifest import MANIFEST, METRICS, PROVENANCE, verify_files

POINTER = "serving.json"
_MOST_HISTORY = 100


@dataclasses.dataclass(frozen=True)
class BundleInfo:
    """A bundle in a list.

    Attributes:
      made: the day that it was trained as of, "2026-03-04".
      damaged: why its facts cannot be read; "" if they can. `verify` looks at every file.
    """

    fingerprint: str
    name: str
    model: str
    serving: bool
    made: str
    metrics: dict[str, Any]
    damaged: str = ""


class Store:
    """A folder of bundles.

    Args:
      root: the folder; need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[BundleInfo]:
        """All bundles, oldest first; a damaged one says so, and hides no other."""
        serving = self.serving()
        found = [_info(self.root / name, name == serving) for name in self._names()]
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
        names = self._names()
        found = [name for name in names if fingerprint and name.startswith(fingerprint)]
        if len(found) != 1:
            what = "no bundle" if not found else f"{len(found)} bundles"
            known = ", ".join(names) or "none"
            raise BundleError(f"{what} called {fingerprint!r} in {self.root}; there are: {known}")
        return self.root / found[0]

    def verify(self, fingerprint: str) -> dict[str, Any]:
        """Checks every file of a bundle; returns its manifest.

        Raises:
          BundleError: what does not match.
        """
        folder = self.path(fingerprint)
        manifest = verify_files(folder)
        if manifest["fingerprint"] != folder.name:
            raise BundleError(
                f"{folder.name}: {MANIFEST} names the bundle {manifest['fingerprint']}; a bundle's "
                "folder has its name: copy it anew"
            )
        return manifest

    def serving(self) -> str | None:
        """Fingerprint of the bundle that serves; None if none does.

        Raises:
          BundleError: the pointer is damaged.
        """
        return self._pointer()[0]

    def promote(self, fingerprint: str) -> str:
        """Makes a bundle serve, after checking its files; returns its fingerprint.

        Raises:
          BundleError: it is damaged; what serves stays.
        """
        name = str(self.verify(fingerprint)["fingerprint"])
        with exclusive(self.root):
            before, history = self._pointer()
            if before != name:
                self._write(name, (*history, before) if before else history)
        return name

    def before(self) -> str:
        """The bundle that served before the one that serves now.

        Raises:
          BundleError: there is none.
        """
        _, history = self._pointer()
        if not history:
            raise BundleError(
                f"{self.root}: no bundle served before the one that serves now; `lockstep bundle "
                "list` shows which there are"
            )
        return history[-1]

    def rollback(self) -> str:
        """Makes the bundle serve that did before; returns its fingerprint.

        Raises:
          BundleError: there is none, or it is damaged; what serves stays.
        """
        self.before()  # nothing is made, not even a lock, where there is no store
        with exclusive(self.root):
            _, history = self._pointer()
            self.verify(history[-1])
            self._write(history[-1], history[:-1])
        return history[-1]

    def _names(self) -> tuple[str, ...]:
        found = (path.parent.name for path in self.root.glob(f"*/{MANIFEST}"))
        return tuple(sorted(name for name in found if not name.startswith(".")))

    def _pointer(self) -> tuple[str | None, tuple[str, ...]]:
        path = self.root / POINTER
        if not path.exists():
            return None, ()
        pointer = load_json(path)
        serving, history = pointer.get("serving"), pointer.get("history")
        names = (serving, *history) if isinstance(history, list) else (None,)
        if not all(isinstance(one, str) for one in names):
            raise BundleError(
                f"{path} is damaged: it should name the bundle that serves, and those before it; "
                "remove it and `lockstep bundle promote` the right one"
            )
        return str(serving), tuple(map(str, names[1:]))

    def _write(self, serving: str, history: tuple[str, ...]) -> None:
        pointer = {"serving": serving, "history": history[-_MOST_HISTORY:]}
        replace_file(self.root / POINTER, (json.dumps(pointer, indent=1) + "\n").encode())


def _info(folder: Path, serving: bool) -> BundleInfo:
    try:
        manifest = load_json(folder / MANIFEST)
        metrics = load_json(folder / METRICS)
        made = str(load_json(folder / PROVENANCE).get("as_of", ""))
    except BundleError as error:
        return BundleInfo(folder.name, "", "", serving, "", {}, str(error))
    name, model = str(manifest.get("name", "")), str(manifest.get("model", ""))
    return BundleInfo(folder.name, name, model, serving, made, metrics)
