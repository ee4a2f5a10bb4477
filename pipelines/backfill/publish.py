"""From what an attempt wrote to published days; only who holds the output folder calls this."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from configs.errors import InputError
from configs.fingerprint import dataset_fingerprint, order_fingerprints, state_fingerprint
from configs.schema import Spec
from pipelines.failures import FAILURES
from pipelines.layout import (
    DAY_US,
    DEAD_LETTERS,
    FEATURES,
    FILES,
    STATE,
    VERDICTS,
    Layout,
    day_of,
    json_bytes,
    make_folders,
)
from pipelines.sources.contents import kind_counts
from pipelines.states import group_of
from pipelines.writers import MANIFEST, SPLIT, duplicates_name
from scoring.files import (
    delete_files,
    is_local,
    join,
    list_files,
    name_of,
    read_file,
    replace_files,
)
from scoring.locks import Require
from transforms.inputs import numeric_names
from transforms.selection import dataset_fields
from transforms.velocity import make_plan

Line = Mapping[str, Any]
_OURS = (".parquet", ".arrow")  # other files that someone put there stay
_DAY = re.compile(r"/(?:date=|duplicates-)(\d{4}-\d{2}-\d{2})(?:/|-[0-9a-f]{16}\.|\.parquet)")
_DIGEST = re.compile(r"-[0-9a-f]{16}\.parquet")


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What an attempt wrote: lines of its manifest.

    Attributes:
      parts, verdicts, states: by day; parts in total order.
      dead_letters: name -> line.
      kinds: how many events of each kind a day has, duplicates included.
      splits: what each split that was read held.
    """

    parts: dict[dt.date, list[Line]]
    verdicts: dict[dt.date, Line]
    states: dict[dt.date, list[Line]]
    dead_letters: dict[str, Line]
    kinds: dict[dt.date, Counter[str]]
    splits: list[Line]

    def duplicates(self, day: dt.date) -> int:
        """How many events of a day were dropped."""
        return int(self.dead_letters.get(duplicates_name(day), {"rows": 0})["rows"])

    def files(self, day: dt.date, before: Mapping[str, Any] | None) -> dict[str, list[Line]]:
        """What a day's marker names; entities that were not computed keep the state that it had.

        Args:
          before: the day's marker until now; None: there is none.
        """
        made = self.states.get(day, [])
        computed = {line["group"] for line in made}
        kept = before[FILES].get(STATE, []) if before and made else []
        state = [one for one in kept if group_of(one["name"]) not in computed] + made
        dead = self.dead_letters.get(duplicates_name(day))
        return {
            FEATURES: [_named(line) for line in self.parts[day]],
            VERDICTS: [_named(self.verdicts[day])],
            STATE: sorted((_named(line) for line in state), key=lambda one: str(one["name"])),
            DEAD_LETTERS: [_named(dead)] if dead else [],
        }


def read_attempt(folder: str) -> Attempt:
    """What an attempt's manifest names."""
    lines = [json.loads(line) for line in read_file(join(folder, MANIFEST)).splitlines()]
    of = {what: [one for one in lines if one["what"] == what]
          for what in (FEATURES, VERDICTS, STATE, DEAD_LETTERS, SPLIT)}  # fmt: skip
    parts: dict[dt.date, list[Line]] = {}
    for line in sorted(of[FEATURES], key=lambda one: int(one["start"])):
        parts.setdefault(day_of(line["start"]), []).append(line)
    states: dict[dt.date, list[Line]] = {}
    for line in of[STATE]:
        states.setdefault(day_of(line["moment"] - DAY_US), []).append(line)
    kinds: dict[dt.date, Counter[str]] = {}
    for split in of[SPLIT]:
        for day, seen in split["seen"].items():
            kinds.setdefault(dt.date.fromisoformat(day), Counter()).update(kind_counts(seen))
    return Attempt(
        parts,
        {day_of(line["start"]): line for line in of[VERDICTS]},
        states,
        {line["group"]: line for line in of[DEAD_LETTERS]},
        kinds,
        of[SPLIT],
    )


def make_attempt(layout: Layout, attempt: str, days: Iterable[dt.date], scratch: str = "") -> None:
    """Makes the folders that an attempt writes to; its workers make none."""
    make_folders([join(attempt, FAILURES), layout.dead_letters, *filter(None, [scratch])])
    make_folders(layout.folder(kind, day) for kind in (FEATURES, VERDICTS, STATE) for day in days)


def publish_dead_letters(
    layout: Layout, made: Attempt, names: Iterable[str], require: Require
) -> None:
    """Leaves of splits that were read what an attempt found, and no older dead letters."""
    require()
    read, kept = set(names), {line["path"] for line in made.dead_letters.values()}
    there = {name_of(path): path for path in list_files(layout.dead_letters)}
    delete_files(
        path
        for name, path in there.items()
        if _DIGEST.sub("", name).removesuffix(".parquet") in read
        and f"{DEAD_LETTERS}/{name}" not in kept
    )


def publish_days(
    layout: Layout,
    markers: Mapping[dt.date, Mapping[str, Any]],
    sources: Mapping[dt.date, object],
    require: Require,
) -> None:
    """Publishes days: what they were made from, then their markers, one by one.

    Args:
      layout: of the output folder, which the caller holds.
      markers: of the days, `FILES` included.
      sources: from which files each day was made.
      require: checks that the folder is still held.
    """
    require()
    replace_files(
        {layout.sources(day): json_bytes(sources[day]) for day in markers}
        | {layout.marker(day): json_bytes(marker) for day, marker in markers.items()}
    )


def forget_states(layout: Layout, keep: int, require: Require) -> None:
    """Removes the state of all but the newest days, from their markers first."""
    found = {match[1] for path in list_files(join(layout.root, STATE))
             if (match := _DAY.search(path, len(layout.root)))}  # fmt: skip
    gone = [day for day in layout.published()[:-keep] if str(day) in found]
    if gone:
        require()
        markers = {day: layout.read_marker(day) for day in gone}
        replace_files({
            layout.marker(day): json_bytes({**marker, FILES: {**marker[FILES], STATE: []}})
            for day, marker in markers.items()
        })  # fmt: skip
        remove_unnamed(layout, require, gone)


def remove_unnamed(layout: Layout, require: Require, days: Iterable[dt.date] | None = None) -> None:
    """Removes files that no marker names: of dead attempts, and of days that were made anew.

    Args:
      layout: of the output folder, which the caller holds.
      require: checks that it is still held: what is unnamed may else be the next holder's.
      days: whose files are looked at; None: all.
    """
    require()
    kinds = (FEATURES, VERDICTS, STATE)
    wanted = None if days is None else set(days)
    folders = (
        [join(layout.root, kind) for kind in kinds]
        if wanted is None
        else [layout.folder(kind, day) for kind in kinds for day in wanted]
    )
    paths = [path for folder in (*folders, layout.dead_letters) for path in list_files(folder)]
    delete_files(path for path in paths if path.endswith(".tmp"))  # half written
    found: dict[dt.date, list[str]] = {}
    for path in paths:
        match = _DAY.search(path, len(layout.root))
        day = dt.date.fromisoformat(match[1]) if match and path.endswith(_OURS) else None
        if day and (wanted is None or day in wanted):
            found.setdefault(day, []).append(path)
    published = set(layout.published())
    for day, there in found.items():
        try:
            marker = layout.read_marker(day) if day in published else {FILES: {}}
        except InputError:
            continue  # a damaged marker: nobody knows which files are the day's
        named = {path for kind in marker[FILES] for path in layout.named(marker, kind).values()}
        delete_files(path for path in there if path not in named)
    for folder in (layout.folder(kind, day) for kind in kinds for day in wanted or found):
        if is_local(folder) and os.path.isdir(folder) and not os.listdir(folder):
            os.rmdir(folder)


def entity_marker(spec: Spec) -> dict[str, dict[str, Any]]:
    """What a day's marker keeps of each entity: the state's fingerprint and the features' names."""
    return {
        entity: {
            "state": state_fingerprint(spec, entity),
            "features": list(make_plan(spec, entity).features),
        }
        for entity in spec.entities
    }


def dataset_columns(spec: Spec) -> list[str]:
    """Names of the dataset's columns, without those of scores."""
    event = [field.name for field in dataset_fields(spec)]
    return list(dict.fromkeys([*event[:3], *numeric_names(spec), *event[3:]]))


def spec_marker(spec: Spec) -> dict[str, Any]:
    """What the markers of all days say of the spec that they are made under."""
    return {
        "spec": dataset_fingerprint(spec),
        "entities": entity_marker(spec),
        "order": order_fingerprints(spec),
        "columns": dataset_columns(spec),
    }


def _named(line: Line) -> Line:
    """What a marker says of a file."""
    return {key: line[key] for key in ("name", "path", "bytes", "sha256", "rows") if key in line}
