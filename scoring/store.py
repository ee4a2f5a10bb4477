"""Where bundles live, and which one serves: an atomic pointer, with its history.

The store is a folder of this machine or of any filesystem that Beam knows. The pointer is one small
file, replaced whole; a reader sees the old or the new bundle, never neither. A bundle of an object
store is there when its manifest is, which is written last; it is read from a copy on this machine's
disk.

    STORE/<fingerprint>/    bundles, immutable
    STORE/serving.json      {"serving": ..., "history": [..., oldest first], "changes": [...]}
    STORE/refused.json      {fingerprint: why the gate refused it, ...}; not there: none is

A change of the pointer says when, by whom and why it was made; they are written in one. A bundle
that the gate refused serves only if a person promotes it, and the change keeps what was overridden.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from configs.errors import BundleError
from scoring.arrays import load_json
from scoring.files import (
    Place,
    delete_files,
    exists,
    files_below,
    flush_all,
    is_local,
    join,
    name_of,
    read_file,
    remove_folder,
    replace_file,
)
from scoring.locks import exclusive
from scoring.manifest import MANIFEST, METRICS, PROVENANCE, verify_files

POINTER = "serving.json"
REFUSED = "refused.json"
JUDGED = "judged_bundle"
"""In a bundle's provenance: the bundle of the models that its figures are of, if it is another."""
_MOST_HISTORY = 100
_FINGERPRINT = re.compile("[0-9a-f]{16}")


@dataclasses.dataclass(frozen=True)
class ChangeNote:
    """Who changes what serves, and why.

    Attributes:
      at: by the clock of whoever changes it, UTC, "2026-03-11T04:00:00+00:00".
      how: "nightly run", "promoted by hand" or "rolled back".
      by: a person or a process; because: in their words, "" where none were given.
      overrides: why the gate had refused the bundle; "": it had not.
    """

    at: str = ""
    how: str = ""
    by: str = ""
    because: str = ""
    overrides: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingChange(ChangeNote):
    """A change of the pointer: what serves from then on, and what did before ("": nothing)."""

    serving: str
    before: str = ""

    def __str__(self) -> str:
        """In a line.

        >>> note = ServingChange(serving="5f", at="2026-03-11T04:00:00+00:00", how="rolled back",
        ...                      by="ana", because="appeals")
        >>> str(note)
        '2026-03-11 04:00 5f, rolled back by ana: appeals'
        >>> print(dataclasses.replace(note, how="promoted by hand", overrides="AUC 0.4 < 0.5"))
        2026-03-11 04:00 5f, promoted by hand against the gate (AUC 0.4 < 0.5) by ana: appeals
        """
        when = self.at[:16].replace("T", " ") or "at an unknown time"
        by = f" by {self.by}" if self.by else ""
        against = f" against the gate ({self.overrides})" if self.overrides else ""
        why = self.because or "no reason given"
        return f"{when} {self.serving}, {self.how}{against}{by}: {why}"


@dataclasses.dataclass(frozen=True)
class BundleInfo:
    """A bundle in a list.

    Attributes:
      made: the day that it was trained as of, "2026-03-04".
      damaged: why its facts cannot be read; "" if they can. `verify` looks at every file.
      refused: why the gate refused it; "": it did not.
      judged: the bundle of the models that its figures are of; "": they are of itself.
    """

    fingerprint: str
    name: str
    model: str
    serving: bool
    made: str
    metrics: dict[str, Any]
    damaged: str = ""
    refused: str = ""
    judged: str = ""


_NOTED = tuple(one.name for one in dataclasses.fields(ServingChange))


class Store:
    """A folder of bundles.

    Args:
      root: the folder, on any filesystem that Beam knows; need not exist.
    """

    def __init__(self, root: Place) -> None:
        self.root = root

    def list(self) -> list[BundleInfo]:
        """All bundles, oldest first; a damaged one says so, and hides no other."""
        serving, refused = self.serving(), self.refused()
        found = [
            dataclasses.replace(
                _info(self.place(name), name == serving), refused=refused.get(name, "")
            )
            for name in self._names()
        ]
        return sorted(found, key=lambda one: (one.made, one.fingerprint))

    def path(self, fingerprint: str, anew: bool = False) -> Path:
        """The folder of a bundle on this machine: itself, or a copy (`fetch_bundle`).

        Args:
          fingerprint: an unambiguous beginning of it, or "serving".
          anew: whether a copy is taken anew.

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
        return fetch_bundle(self.place(found[0]), anew)

    def place(self, fingerprint: str) -> str:
        """Where the bundle of a fingerprint is, or would be."""
        return join(self.root, fingerprint)

    def verify(self, fingerprint: str) -> dict[str, Any]:
        """Checks every file of a bundle; returns its manifest.

        Raises:
          BundleError: what does not match.
        """
        folder = self.path(fingerprint, anew=True)
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

    def changes(self) -> tuple[ServingChange, ...]:
        """What has been made to serve, when, by whom and why, oldest first.

        Earlier releases wrote none; what is damaged is left out: it decides nothing.
        """
        found = (self._read() or {}).get("changes")
        return tuple(
            ServingChange(**{key: one[key] for key in _NOTED if isinstance(one.get(key), str)})
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, dict) and isinstance(one.get("serving"), str)
        )

    def refused(self) -> dict[str, str]:
        """Bundles that the gate refused, and why. What is damaged is left out."""
        path = join(self.root, REFUSED)
        try:
            found = load_json(path) if exists(path) else {}
        except BundleError:
            return {}
        return {name: why for name, why in found.items() if isinstance(why, str)}

    def set_refused(self, fingerprint: str, why: str) -> None:
        """Marks a bundle as refused by the gate; with "" as not refused (any longer)."""
        with exclusive(self.root):
            before, names = self.refused(), self._names()
            marks = {name: one for name, one in before.items() if name in names}
            marks.pop(fingerprint, None)
            if why:
                marks[fingerprint] = why
            if marks != before:
                replace_file(
                    join(self.root, REFUSED), (json.dumps(marks, indent=1) + "\n").encode()
                )

    def promote(self, fingerprint: str, note: ChangeNote | None = None) -> str:
        """Makes a bundle serve, after checking its files; returns its fingerprint.

        Args:
          note: who does so, and why; kept if that changes what serves.

        Raises:
          BundleError: it is damaged, or the gate refused it and the note gives no reason why it is
            to serve all the same; what serves stays.
        """
        name = str(self.verify(fingerprint)["fingerprint"])
        overrides = self.refused().get(name, "")
        if overrides:
            if note is None or not note.because:
                raise BundleError(
                    f"the gate refused {name}: {overrides}. To let it serve all the same, give "
                    '`lockstep bundle promote` a reason: --because "…"'
                )
            note = dataclasses.replace(note, overrides=overrides)
        with exclusive(self.root):
            before, history = self._pointer()
            if not exists(join(self.place(name), MANIFEST)):
                raise BundleError(f"{name} was removed from {self.root} meanwhile")
            if before != name:
                self._write(name, (*history, before) if before else history, before, note)
        return name

    def previous(self) -> str | None:
        """The bundle that served before the one that serves now; None: none did."""
        _, history = self._pointer()
        return history[-1] if history else None

    def before(self) -> str:
        """As `previous`.

        Raises:
          BundleError: there is none.
        """
        previous = self.previous()
        if previous is None:
            raise BundleError(
                f"{self.root}: no bundle served before the one that serves now; `lockstep bundle "
                "list` shows which there are"
            )
        return previous

    def rollback(self, note: ChangeNote | None = None) -> str:
        """Makes the bundle serve that did before; returns its fingerprint.

        Args:
          note: who does so, and why.

        Raises:
          BundleError: there is none, or it is damaged; what serves stays.
        """
        self.before()  # nothing is made, not even a lock, where there is no store
        with exclusive(self.root):
            before, history = self._pointer()
            self.verify(history[-1])
            self._write(history[-1], history[:-1], before, note)
        return history[-1]

    def remove(self, names: Collection[str]) -> tuple[str, ...]:
        """Removes bundles, but never what serves or did before it; returns what was removed.

        `rollback` forgets them first. Then their manifests go, and with these the bundles; what is
        left of one by a process that was killed here goes with the next call. Nobody may write a
        bundle meanwhile.
        """
        with exclusive(self.root):
            serving, history = self._pointer()
            there = self._names()
            gone = [one for one in names if one in there and one not in (serving, *history[-1:])]
            kept = tuple(one for one in history if one not in gone)
            if serving is not None and kept != history:
                self._replace(serving, kept, self.changes())
            delete_files(join(self.place(name), MANIFEST) for name in gone)
            if gone and is_local(self.root):
                flush_all(Path(self.root))
            folders = {path.partition("/")[0] for path in files_below(self.root)}
            for name in folders.difference(self._names()):
                if _FINGERPRINT.fullmatch(name):
                    remove_folder(self.place(name))
        return tuple(gone)

    def _names(self) -> tuple[str, ...]:
        found = [path.split("/") for path in files_below(self.root)]
        names = (parts[0] for parts in found if parts[1:] == [MANIFEST])
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def _read(self) -> dict[str, Any] | None:
        path = join(self.root, POINTER)
        return load_json(path) if exists(path) else None

    def _pointer(self) -> tuple[str | None, tuple[str, ...]]:
        path, pointer = join(self.root, POINTER), self._read()
        if pointer is None:
            return None, ()
        serving, history = pointer.get("serving"), pointer.get("history")
        names = (serving, *history) if isinstance(history, list) else (None,)
        if not all(isinstance(one, str) for one in names):
            raise BundleError(
                f"{path} is damaged: it should name the bundle that serves, and those before it; "
                "remove it and `lockstep bundle promote` the right one"
            )
        return str(serving), tuple(map(str, names[1:]))

    def _write(
        self, serving: str, history: tuple[str, ...], before: str | None, note: ChangeNote | None
    ) -> None:
        said = dataclasses.asdict(note or ChangeNote())
        change = ServingChange(serving=serving, before=before or "", **said)
        self._replace(serving, history, (*self.changes(), change))

    def _replace(
        self, serving: str, history: tuple[str, ...], changes: tuple[ServingChange, ...]
    ) -> None:
        pointer = {
            "serving": serving,
            "history": history[-_MOST_HISTORY:],
            "changes": [dataclasses.asdict(one) for one in changes[-_MOST_HISTORY:]],
        }
        replace_file(join(self.root, POINTER), (json.dumps(pointer, indent=1) + "\n").encode())


def fetch_bundle(place: Place, anew: bool = False) -> Path:
    """The folder of a bundle on this machine, copied there if it is elsewhere; not verified.

    Args:
      place: where the bundle is.
      anew: also where this process has a whole copy of the same manifest.

    Raises:
      BundleError: it is no bundle, or its manifest is damaged.
    """
    if is_local(place):
        return Path(place)
    folder = Path(_mirror(str(place)), name_of(place))
    try:
        manifest = read_file(join(place, MANIFEST))
        files = {
            str(name): int(one["bytes"]) for name, one in json.loads(manifest)["files"].items()
        }
    except FileNotFoundError as error:
        raise BundleError(f"{place} is no bundle: {MANIFEST} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{place}: {MANIFEST} is damaged; copy the bundle anew") from error
    copies = {name: folder / name for name in files}
    if not all(one.resolve().is_relative_to(folder.resolve()) for one in copies.values()):
        raise BundleError(f"{place}: {MANIFEST} names a file outside; copy the bundle anew")
    own = folder / MANIFEST
    same = not anew and own.is_file() and own.read_bytes() == manifest
    if same and all(one.is_file() and one.stat().st_size == files[n] for n, one in copies.items()):
        return folder
    for name, copy in copies.items():
        replace_file(copy, read_file(join(place, *name.split("/"))), flush=False)
    replace_file(own, manifest, flush=False)
    return folder


def send_bundle(folder: Path, place: str) -> None:
    """Copies a bundle to where it is not yet; it is there when its manifest is, which goes last."""
    for name in sorted(files_below(folder), key=lambda name: name == MANIFEST):
        replace_file(join(place, *name.split("/")), read_file(folder / name))


@functools.lru_cache(maxsize=64)
def _mirror(place: str) -> str:
    """A folder of this process for the copy of a bundle."""
    return tempfile.mkdtemp(prefix="lockstep-bundle-")


def _info(place: str, serving: bool) -> BundleInfo:
    try:
        manifest = load_json(join(place, MANIFEST))
        metrics = load_json(join(place, METRICS))
        provenance = load_json(join(place, PROVENANCE))
    except BundleError as error:
        return BundleInfo(name_of(place), "", "", serving, "", {}, str(error))
    name, model = str(manifest.get("name", "")), str(manifest.get("model", ""))
    made, judged = (str(provenance.get(key, "")) for key in ("as_of", JUDGED))
    return BundleInfo(name_of(place), name, model, serving, made, metrics, judged=judged)
