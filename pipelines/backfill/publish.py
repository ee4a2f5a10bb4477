"""From what an attempt wrote to published days; only who holds the output folder calls this."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from configs.fingerprint import dataset_fingerprint, state_fingerprint
from configs.schema import Spec
from pipelines.files import join, read_text
from pipelines.layout import DAY_US, REMAKING, Layout, day_of, publish_folder, write_json
from pipelines.sources.contents import kind_counts
from pipelines.states import state_file
from pipelines.writers import DEAD_LETTERS, MANIFEST, PART, SPLIT, STATE, VERDICTS
from scoring.files import flush_all
from transforms.inputs import numeric_names
from transforms.selection import scored_schema
from transforms.velocity import make_plan

Line = Mapping[str, Any]
Sources = Callable[[dt.date], object]


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What an attempt wrote: lines of its manifest.

    Attributes:
      parts, verdicts, states: by day.
      dead_letters: name -> line.
      splits: what each split that was read held.
    """

    parts: dict[dt.date, list[Line]]
    verdicts: dict[dt.date, Line]
    states: dict[dt.date, list[Line]]
    dead_letters: dict[str, Line]
    splits: list[Line]

    def duplicates(self, day: dt.date) -> int:
        """How many events of a day were dropped."""
        return int(self.dead_letters.get(f"duplicates-{day}", {"rows": 0})["rows"])

    def kinds(self, day: dt.date) -> Counter[str]:
        """How many events of each kind a day has, duplicates included."""
        kinds: Counter[str] = Counter()
        for split in self.splits:
            kinds.update(kind_counts(split["seen"].get(str(day), {})))
        return kinds


def read_attempt(folder: str) -> Attempt:
    """What an attempt's manifest names."""
    lines = [json.loads(line) for line in read_text(join(folder, MANIFEST)).splitlines()]
    of = {what: [one for one in lines if one["what"] == what]
          for what in (PART, VERDICTS, STATE, DEAD_LETTERS, SPLIT)}  # fmt: skip
    parts: dict[dt.date, list[Line]] = {}
    for line in sorted(of[PART], key=lambda one: int(one["start"])):
        parts.setdefault(day_of(line["start"]), []).append(line)
    states: dict[dt.date, list[Line]] = {}
    for line in of[STATE]:
        states.setdefault(day_of(line["moment"] - DAY_US), []).append(line)
    return Attempt(
        parts,
        {day_of(line["start"]): line for line in of[VERDICTS]},
        states,
        {line["name"]: line for line in of[DEAD_LETTERS]},
        of[SPLIT],
    )


def publish_dead_letters(layout: Layout, made: Attempt, names: Iterable[str]) -> None:
    """Puts dead letters where people look; of a name that has none now, no file is left."""
    layout.dead_letters.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = layout.dead_letters / f"{name}.parquet"
        if name in made.dead_letters:
            os.replace(made.dead_letters[name]["path"], target)
        else:
            target.unlink(missing_ok=True)


def publish_days(
    layout: Layout, made: Attempt, facts: Mapping[dt.date, Mapping[str, Any]], sources: Sources
) -> None:
    """Publishes days, their markers last.

    What is written reaches the disk in three steps for all of the days, and not file by file: what
    an attempt wrote; that it is in its place; the markers.

    Args:
      layout: of the output folder, which the caller holds.
      made: what the attempt wrote.
      facts: for the marker of each day.
      sources: from which files a day was made.
    """
    for day in facts:
        marker = layout.marker(day)
        if marker.exists():  # what it says now holds until the folders below are exchanged
            before = layout.read_marker(day, unfinished=True)
            write_json(marker, {**before, REMAKING: True}, flush=False)
        _gather(layout, day, made, facts[day]["entities"])
    flush_all(layout.root)
    for day in facts:
        work = layout.work / "days" / str(day)
        if day in made.states:
            publish_folder(layout, work / "state", layout.state(day), flush=False)
        publish_folder(layout, work / "verdicts", layout.verdicts(day), flush=False)
        publish_dead_letters(layout, made, [f"duplicates-{day}"])
        publish_folder(layout, work / "features", layout.features(day), flush=False)
        write_json(layout.sources(day), sources(day), flush=False)
    flush_all(layout.root)
    for day in facts:
        write_json(layout.marker(day), facts[day], flush=False)
    flush_all(layout.root)


def _gather(layout: Layout, day: dt.date, made: Attempt, entities: Mapping[str, Any]) -> None:
    """The folders of a day, under the names that they will have."""
    work = layout.work / "days" / str(day)
    for number, part in enumerate(made.parts[day]):
        _move(part["path"], work / "features" / f"part-{number:05d}.parquet")
    _move(made.verdicts[day]["path"], work / "verdicts" / "part-00000.parquet")
    if day in made.states:
        _finish_state(layout, day, made.states[day], entities, work / "state")


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
    event = scored_schema(spec).names
    return list(dict.fromkeys([*event[:3], *numeric_names(spec), *event[3:]]))


def day_marker(spec: Spec, day: dt.date) -> dict[str, Any]:
    """What a day's marker says of the spec that it was made under."""
    return {
        "day": str(day),
        "spec": dataset_fingerprint(spec),
        "entities": entity_marker(spec),
        "columns": dataset_columns(spec),
    }


def _finish_state(
    layout: Layout, day: dt.date, lines: Iterable[Line], entities: Mapping[str, Any], target: Path
) -> None:
    """Entities that were not computed keep the state that the day had."""
    shards: Counter[str] = Counter()
    for line in lines:
        shards[line["group"]] += 1
        _move(line["path"], target / state_file(line["group"], line["shard"]))
    count = max(shards.values())
    for entity in entities:
        for shard in range(count if entity not in shards else 0):
            old = layout.state(day) / state_file(entity, shard)
            if old.exists():
                os.link(old, target / old.name)
    facts = {"day": str(day), "shards": count, "entities": entities}
    write_json(target / "manifest.json", facts, flush=False)


def _move(path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, target)
