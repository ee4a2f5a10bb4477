"""From disk to a resident state: cold, from a night's snapshot, or from the scorer's own.

What enters: the state folder, or a backfill's snapshot of a day. What leaves: the `Resident` to go
on from, the number of the next step, and the decisions that were logged but perhaps not published.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from configs.errors import StateError
from configs.fingerprint import state_fingerprint
from configs.schema import Spec
from pipelines.files import arrow_bytes, read_arrow, read_published
from pipelines.layout import DAY_US, STATE, Layout, day_us
from pipelines.states import WHOLE_RECENT_IDS, group_of, read_recent_ids
from pipelines.streaming.arrivals import Done
from pipelines.streaming.journal import Journal, list_snapshots
from scoring.engine import Engine, Resident, arrivals_done
from scoring.files import Place
from scoring.limits import Given
from transforms.order import Position
from transforms.velocity import ShardState, make_plan

_REMEDY = "Keep --state, and start a fresh one with --from-night and --seek, which need no log"
MANIFEST = "manifest.json"
ORIGIN = "origin.json"
"""Beside the state that a scorer began with: the night that it came from."""
GIVEN = "given-actions.arrow"
"""Of a snapshot: limited actions that were given lately; not there where there were none."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """Where to go on.

    Attributes:
      resident: the state after the last logged step.
      next_step: the number of the next one.
      unpublished: (step, decisions) that were logged after the cursor, read as they are asked for.
      done: messages of the arrival log that need nothing more.
      origin: in words, for the log.
    """

    resident: Resident
    next_step: int
    unpublished: Iterator[tuple[int, list[bytes]]]
    origin: str
    done: Done = dataclasses.field(default_factory=Done)


def restore(spec: Spec, journal: Journal) -> Restored | None:
    """The state after the last logged step; None where the folder holds none.

    Raises:
      StateError: the snapshot is of another spec, or the log is damaged, or it lacks a step.
      InputError: a file cannot be read.
    """
    snapshots = list_snapshots(journal.root)
    if not snapshots:
        return None
    step, folder = snapshots[-1]
    engine = Engine(spec, read_snapshot(spec, folder), None)
    cursor, last, done = journal.published, step, read_done(folder)
    for logged in journal.steps(step):
        if logged.number != last + 1:
            raise StateError(
                f"{journal.root}: after the snapshot before step {step + 1} the log begins with "
                f"step {logged.number}; a segment is gone. {_REMEDY}"
            )
        engine.fold_logged(logged.batch)
        done.add(arrivals_done(logged.batch))
        last = logged.number
    if last < cursor:
        raise StateError(
            f"{journal.root}: the log ends with step {last}, and step {cursor} was published; its "
            f"end is gone. {_REMEDY}"
        )
    return Restored(
        engine.resident,
        last + 1,
        journal.unpublished(),
        f"snapshot before step {step + 1}, {last - step} logged steps since",
        done,
    )


def from_night(spec: Spec, out: Place, day: dt.date) -> Resident:
    """The state at the end of a day that a backfill published.

    Raises:
      StateError: there is no such snapshot, or it is of another spec.
    """
    layout = Layout(out)
    files = layout.state(day)
    if not files:
        there = [str(one) for one in layout.published() if layout.state(one)]
        raise StateError(
            f"{layout.folder(STATE, day)} is not there, or not whole; {out} has snapshots of: "
            f"{', '.join(there) or 'no day'}. "
            "A backfill keeps those of the newest --keep-states days: choose one of these for "
            "--from-night, or backfill up to that day into another --out"
        )
    states = {}
    for entity in spec.entities:
        plan = make_plan(spec, entity)
        whole = ShardState.empty(plan)
        paths = [path for name, path in files.items() if group_of(name) == entity]
        if not paths:
            raise StateError(
                f"{layout.folder(STATE, day)} has no state of entity {entity!r}; run the backfill "
                f"of {day} anew"
            )
        for path in paths:
            whole.merge(ShardState.from_table(read_published(path, StateError), plan))
        states[entity] = whole
    recent = read_recent_ids(files, spec.events.dedup_us, layout.folder(STATE, day))
    return Resident(states, recent, Position(day_us(day) + DAY_US, b""))


def snapshot_files(
    spec: Spec, resident: Resident, step: int, done: Done | None = None
) -> dict[str, bytes]:
    """A snapshot as files; takes copies, so it may run beside the scorer.

    Of the spec's entities only: what another bundle left behind is folded no longer.

    Args:
      spec, resident: the state.
      step: the last one that it holds.
      done: messages of the arrival log that need nothing more after that step.
    """
    files = {
        f"{entity}.arrow": arrow_bytes(resident.states[entity].to_table()).to_pybytes()
        for entity in spec.entities
    }
    files[WHOLE_RECENT_IDS] = arrow_bytes(resident.recent.to_table()).to_pybytes()
    if len(resident.given):
        files[GIVEN] = arrow_bytes(resident.given.to_table()).to_pybytes()
    states = {entity: state_fingerprint(spec, entity) for entity in spec.entities}
    manifest: dict[str, Any] = {"step": step, "state": states}
    if resident.position is not None:
        position = resident.position
        manifest["position"] = [position.time_us, position.place.hex()]
    done = done or Done()
    manifest["arrivals"] = [done.below, sorted(done.beyond)]
    manifest["crc32"] = {name: zlib.crc32(data) for name, data in files.items()}
    manifest["crc32"][MANIFEST] = zlib.crc32(_json(manifest))  # without this line of it
    files[MANIFEST] = _json(manifest)
    return files


def read_snapshot(spec: Spec, folder: Path) -> Resident:
    """A snapshot that `snapshot_files` made.

    Raises:
      StateError: it is of another spec, or incomplete.
    """
    manifest = _checked_manifest(folder)
    # A state file that the manifest does not name is an earlier build's, and stale.
    kept = manifest.get("state", spec.entities)
    states = {}
    for entity in spec.entities:
        path = folder / f"{entity}.arrow"
        if entity not in kept or not path.exists():
            raise StateError(
                f"{folder} holds no state of entity {entity!r}, which the spec has; start a fresh "
                "--state with --from-night, from a backfill under this spec, or promote a bundle "
                f"without {entity!r} again"
            )
        states[entity] = ShardState.from_table(read_arrow(str(path)), make_plan(spec, entity))
    files = {path.name: str(path) for path in folder.glob(WHOLE_RECENT_IDS)}
    recent = read_recent_ids(files, spec.events.dedup_us, str(folder))
    return Resident(states, recent, _position(manifest), _read_given(folder, manifest))


def _read_given(folder: Path, manifest: Mapping[str, Any]) -> Given:
    """Of a snapshot; an earlier build's has none."""
    if GIVEN not in manifest.get("crc32", {}):
        return Given()
    if not (folder / GIVEN).exists():
        raise StateError(f"{folder / GIVEN} is gone, and its manifest names it. {_REMEDY}")
    return Given.from_table(read_arrow(str(folder / GIVEN)))


def _checked_manifest(folder: Path) -> dict[str, Any]:
    """A snapshot's manifest, once its files are what it says; an earlier build's says nothing."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise StateError(f"{path} is damaged ({error}). {_REMEDY}") from None
    checks = manifest.get("crc32", {})
    own = checks.pop(MANIFEST, 0)
    written_here = "crc32" in manifest or "arrivals" in manifest
    found = {MANIFEST: zlib.crc32(_json(manifest))} if written_here else {}
    for name in checks:
        if (folder / name).exists():
            found[name] = zlib.crc32((folder / name).read_bytes())
    for name, check in found.items():
        expected = own if name == MANIFEST else checks[name]
        if check != expected:
            raise StateError(
                f"{folder / name} is damaged: its checksum is {expected:08x}, what is there has "
                f"{check:08x}. {_REMEDY}"
            )
    return manifest


def _json(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True).encode()


def read_done(folder: Path) -> Done:
    """The messages that a snapshot says are done; none where an earlier build wrote it."""
    below, beyond = json.loads((folder / MANIFEST).read_text()).get("arrivals", (0, ()))
    return Done(below, set(beyond))


def _position(manifest: Mapping[str, Any]) -> Position | None:
    """Of the last event that was folded in order."""
    if "position" in manifest:
        time, place = manifest["position"]
        return Position(time, bytes.fromhex(place))
    if "frontier" in manifest:  # of a build that ordered by ids: all of its microsecond went
        return Position(manifest["frontier"][0], b"\xff")
    return None
