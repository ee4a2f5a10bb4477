"""The backfill: source → stage → drop duplicates → fold → assemble → published days.

What enters: a request. What leaves: days of features, verdicts and state in the output folder, and
a report of counts. Each step is a Beam pipeline over tasks (`pipelines.workers`); a chunk of days
goes through all steps and is then published day by day, the marker last. A run that is killed
loses its unpublished days and nothing else; the next one starts at the first of them, and writes
the same bytes as an undisturbed run.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from configs.errors import InputError
from configs.fingerprint import dataset_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill.assemble import (
    SPEC_KEY,
    AssembleTask,
    assemble_part,
    dataset_schema,
    part_ranges,
)
from pipelines.backfill.dead import first_dead_letters
from pipelines.backfill.fold import (
    DayPieces,
    DedupTask,
    FoldTask,
    create_matrix,
    drop_seen,
    duplicate_letters,
    duplicate_rows,
    fold_shard,
    state_file,
)
from pipelines.backfill.origin import Origins, require_events, warn_of_late_files
from pipelines.backfill.plan import BackfillPlan, BackfillRequest, entity_marker, make_backfill_plan
from pipelines.backfill.stage import (
    StageTask,
    kind_counts,
    read_arrow,
    stage_split,
    write_dead_letters,
)
from pipelines.layout import (
    DAY_US,
    REMAKING,
    Layout,
    day_us,
    locked,
    publish_folder,
    write_json,
    write_parquet,
)
from pipelines.meaning import input_fingerprints
from pipelines.meter import Meter, Usage
from pipelines.progress import Progress, Quiet
from pipelines.sources import Split
from pipelines.workers import Workers, explain_os_error
from transforms.dead_letter import Reason
from transforms.velocity import make_plan, total_order


@dataclasses.dataclass(frozen=True)
class BackfillReport:
    """What a backfill did.

    Attributes:
      read: events and dead letters that the source gave.
      outside: events outside the range of days.
      events, scored, duplicates, verdicts: of the days that were made.
      empty: days that were made although the source has no event of them.
      warnings: published days of which the source now holds other events, in words.
      dead: reason -> count; dead_stages: stage -> reason -> count.
      keys: live keys at the end, by entity; state_bytes: of all of them.
      states: days whose state snapshots are there, from which `stream --from-night` can start.
      usage: time and memory by step.
    """

    out: Path
    days: tuple[str, ...]
    already: tuple[str, ...]
    read: int = 0
    outside: int = 0
    events: int = 0
    scored: int = 0
    duplicates: int = 0
    verdicts: int = 0
    empty: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    dead: dict[str, int] = dataclasses.field(default_factory=dict)
    dead_stages: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    keys: dict[str, int] = dataclasses.field(default_factory=dict)
    state_bytes: int = 0
    states: tuple[str, ...] = ()
    usage: tuple[Usage, ...] = ()


def backfill(request: BackfillRequest, progress: Progress | None = None) -> BackfillReport:
    """Makes the days of a request; those that are there stay as they are.

    Raises:
      InputError: see `make_backfill_plan`; or too many dead letters; or a full disk.
      BusyError: another run holds the output folder.
    """
    layout = Layout(request.out)
    try:
        with locked(layout):
            return backfill_locked(make_backfill_plan(request), progress or Quiet())
    except OSError as error:
        raise explain_os_error(error) from error


def backfill_locked(plan: BackfillPlan, progress: Progress) -> BackfillReport:
    """Carries out a plan; the caller holds the output folder (`layout.locked`)."""
    for line in plan.lines():
        progress.say(line)
    with Workers(plan.request.workers, Layout(plan.request.out).work) as workers:
        return _Run(plan, workers, progress).run()


class _Run:
    def __init__(self, plan: BackfillPlan, workers: Workers, progress: Progress) -> None:
        self._plan, self._workers, self._progress = plan, workers, progress
        self._request, self._spec = plan.request, plan.request.spec
        self._layout = Layout(plan.request.out)
        self._inputs = input_fingerprints(plan.request.spec)
        self._staged: set[int] = set()
        self._totals: Counter[str] = Counter()
        self._dead: dict[str, Counter[str]] = {}
        self._empty: list[str] = []
        self._origins = Origins(plan.source)
        self._keys: Counter[str] = Counter()
        self._state_bytes = 0
        self._meter = Meter()

    def run(self) -> BackfillReport:
        days, size = self._plan.days, self._plan.chunk_days
        before = self._plan.before
        for start in range(0, len(days), size):
            before = self._chunk(days[start : start + size], before)
        if days:
            self._forget_states()
        warnings = warn_of_late_files(self._origins, self._layout, self._plan.published)
        for line in warnings:
            self._progress.say(f"warning: {line}")
        return BackfillReport(
            out=self._request.out,
            days=tuple(map(str, days)),
            already=tuple(map(str, self._plan.done)),
            empty=tuple(self._empty),
            warnings=warnings,
            dead=dict(self._dead_reasons()),
            dead_stages={stage: dict(counts) for stage, counts in sorted(self._dead.items())},
            keys=dict(self._keys),
            state_bytes=self._state_bytes,
            states=tuple(map(str, self._plan.states)),
            usage=self._meter.usage,
            **{name: self._totals[name] for name in
               ("read", "outside", "events", "scored", "duplicates", "verdicts")},
        )  # fmt: skip

    def _chunk(self, days: Sequence[dt.date], before: Path | None) -> Path | None:
        with self._meter.step("read, decode, derive"):
            self._stage(days)
        if not self._request.allow_empty_days and not self._request.only_new_features:
            require_events(self._origins, self._plan.days)
        pieces = [self._pieces(day) for day in days]
        old_state = str(before) if before else None
        with self._meter.step("drop duplicates"):
            task = DedupTask(self._spec, tuple(pieces), old_state)
            [dedup] = self._workers.run("DropDuplicates", drop_seen, [task])
        self._totals["duplicates"] += sum(dedup["duplicates"].values())
        with self._meter.step("fold"):
            self._fold(pieces, old_state)
        with self._meter.step("assemble, write"):
            parts = self._assemble(days, pieces)
        with self._meter.step("publish"):
            for day, day_pieces in zip(days, pieces, strict=True):
                self._publish(day, day_pieces, parts[day_pieces.day], dedup["duplicates"])
        last = self._layout.state(days[-1])
        return last if last.is_dir() else None

    def _stage(self, days: Sequence[dt.date]) -> None:
        end_us = day_us(days[-1]) + DAY_US
        tasks = []
        for number, split in enumerate(self._plan.splits):
            later = split.min_us is not None and split.min_us >= end_us
            if number in self._staged or later:
                continue
            self._staged.add(number)
            tasks.append(
                StageTask(
                    number=number,
                    split=split,
                    spec=self._spec,
                    start_us=day_us(days[0]),
                    end_us=day_us(self._plan.days[-1]) + DAY_US,
                    entities=self._plan.computed,
                    folder=str(self._layout.work / "stage"),
                    dead_letters=str(self._dead_file(split)),
                )
            )
        total = sum(task.split.rows or 0 for task in tasks)
        with self._progress.step("read, decode, derive", total, "events") as step:
            results = self._workers.run(
                "Stage", stage_split, tasks, lambda result: step.advance(result["read"])
            )
        for task, result in zip(tasks, results, strict=True):
            self._origins.add(task.split, result["seen"])
            self._totals["read"] += result["read"]
            self._totals["outside"] += result["outside"]
            for stage, reasons in result["dead"].items():
                self._dead.setdefault(stage, Counter()).update(reasons)
        self._check_dead()

    def _dead_reasons(self) -> Counter[str]:
        return sum(self._dead.values(), Counter())

    def _check_dead(self) -> None:
        dead = self._dead_reasons()
        bad = sum(n for reason, n in dead.items() if reason != Reason.DUPLICATE_ID)
        bound = self._spec.events.max_dead_share
        if bad > bound * self._totals["read"]:
            reasons = ", ".join(f"{reason}: {n:,}" for reason, n in dead.most_common())
            files = [self._dead_file(self._plan.splits[number]) for number in sorted(self._staged)]
            first = "".join(f"\n  {line}" for line in first_dead_letters(files))
            raise InputError(
                f"{bad:,} of {self._totals['read']:,} records are dead letters "
                f"({bad / self._totals['read']:.2%}; max_dead_share is {bound:.2%}): {reasons}. "
                f"Look at {self._layout.dead_letters}. {self._kept()}. The first of each kind "
                f"(records count from 0):{first}"
            )

    def _dead_file(self, split: Split) -> Path:
        return self._layout.dead_letters / f"{split.name}.parquet"

    def _kept(self) -> str:
        made = [day for day in self._plan.days if self._layout.marker(day).exists()]
        if not made:
            return "No day was published"
        return f"Days up to {made[-1]} were published before; the others were not"

    def _pieces(self, day: dt.date) -> DayPieces:
        folder = self._layout.work / "stage" / f"date={day}"
        pieces = sorted(map(str, folder.iterdir())) if folder.is_dir() else []
        sizes = [read_arrow(Path(piece, "events.arrow")).num_rows for piece in pieces]
        scored = [read_arrow(Path(piece, "scored.arrow")).num_rows for piece in pieces]
        bases = np.concatenate([[0], np.cumsum(scored)]).astype(int).tolist()
        work = self._layout.work / "days" / str(day)
        work.mkdir(parents=True)
        index = self._plan.days.index(day)
        chunk_end = (index + 1) % self._plan.chunk_days == 0 or index + 1 == len(self._plan.days)
        kept = len(self._plan.days) - index <= self._request.keep_states
        state = self._layout.work / "state" / f"date={day}" if kept or chunk_end else None
        if state:
            state.mkdir(parents=True)
        return DayPieces(
            day=str(day),
            end_us=day_us(day) + DAY_US,
            pieces=tuple(pieces),
            sizes=tuple(sizes),
            bases=tuple(bases[:-1]),
            scored=bases[-1],
            work=str(work),
            state=str(state) if state else None,
        )

    def _fold(self, pieces: Sequence[DayPieces], before: str | None) -> None:
        spec = self._spec
        tasks = []
        for entity in self._plan.computed:
            for day in pieces:
                create_matrix(day, entity, len(make_plan(spec, entity).features))
            tasks += [
                FoldTask(spec, entity, shard, tuple(pieces), before) for shard in range(spec.shards)
            ]
        with self._progress.step("fold", len(tasks), "shards") as step:
            results = self._workers.run("Fold", fold_shard, tasks, lambda result: step.advance(1))
        self._keys, self._state_bytes = Counter(), 0
        for task, result in zip(tasks, results, strict=True):
            self._keys[task.entity] += result["keys"]
            self._state_bytes += result["state_bytes"]

    def _assemble(
        self, days: Sequence[dt.date], pieces: Sequence[DayPieces]
    ) -> dict[str, list[int]]:
        tasks: list[AssembleTask] = []
        parts: dict[str, list[int]] = {}
        bundle = self._request.bundle
        for day, day_pieces in zip(days, pieces, strict=True):
            times = [
                read_arrow(Path(piece, "scored.arrow")).column(EVENT_TIME).to_numpy()
                for piece in day_pieces.pieces
            ]
            ranges = part_ranges(times, day_us(day), day_pieces.end_us)
            first = len(tasks)
            for number, (start, end) in enumerate(ranges):
                name = f"part-{number:05d}.parquet"
                tasks.append(
                    AssembleTask(
                        spec=self._spec,
                        day=day_pieces,
                        start_us=start,
                        end_us=end,
                        target=str(Path(day_pieces.work, "features", name)),
                        computed=self._plan.computed,
                        reuse=str(self._layout.features(day) / name)
                        if self._request.only_new_features
                        else None,
                        bundle=str(bundle) if bundle else None,
                    )
                )
            parts[day_pieces.day] = list(range(first, len(tasks)))
        total = sum(day.scored for day in pieces)
        with self._progress.step("assemble, write", total, "events") as step:
            results = self._workers.run(
                "Assemble", assemble_part, tasks, lambda result: step.advance(result["events"])
            )
        return {day: [results[i]["events"] for i in numbers] for day, numbers in parts.items()}

    def _publish(
        self, day: dt.date, pieces: DayPieces, parts: list[int], duplicates: dict[str, int]
    ) -> None:
        marker = self._layout.marker(day)
        if marker.exists():  # what it says now holds until the folders below are exchanged
            write_json(marker, {**self._layout.read_marker(day, unfinished=True), REMAKING: True})
        verdicts = _day_verdicts(self._spec, pieces)
        write_parquet(verdicts, Path(pieces.work, "verdicts", "part-00000.parquet"))
        if pieces.state is not None:
            self._finish_state(day, Path(pieces.state))
            publish_folder(self._layout, Path(pieces.state), self._layout.state(day))
        publish_folder(self._layout, Path(pieces.work, "verdicts"), self._layout.verdicts(day))
        write_dead_letters(
            duplicate_letters(pieces), self._layout.dead_letters / f"duplicates-{day}.parquet"
        )
        publish_folder(self._layout, Path(pieces.work, "features"), self._layout.features(day))
        counts = {
            "events": sum(pieces.sizes) - duplicates[pieces.day],
            "scored": sum(parts),
            "verdicts": verdicts.num_rows,
        }
        self._totals.update(counts)
        if not sum(pieces.sizes):
            self._empty.append(str(day))
            self._progress.say(f"{day}: the source has no event of this day")
        kinds: Counter[str] = Counter()
        for piece in pieces.pieces:
            kinds.update(kind_counts(piece))
        write_json(self._layout.sources(day), self._origins.record(day))
        write_json(
            marker,
            {
                "day": str(day),
                "spec": dataset_fingerprint(self._spec),
                "entities": entity_marker(self._spec),
                "columns": dataset_schema(self._spec).names,
                "inputs": self._inputs,
                "bundle": self._plan.bundle,
                "duplicates": duplicates[pieces.day],
                "parts": len(parts),
                "kinds": dict(kinds),
                **counts,
            },
        )
        shutil.rmtree(self._layout.work / "stage" / f"date={day}", ignore_errors=True)
        shutil.rmtree(pieces.work)

    def _finish_state(self, day: dt.date, folder: Path) -> None:
        """Entities that were not computed keep the state that the day had."""
        for entity in self._spec.entities:
            if entity in self._plan.computed:
                continue
            for shard in range(self._spec.shards):
                name = state_file(entity, shard)
                old = self._layout.state(day) / name
                if old.exists():
                    os.link(old, folder / name)
        write_json(
            folder / "manifest.json",
            {"day": str(day), "shards": self._spec.shards, "entities": entity_marker(self._spec)},
        )

    def _forget_states(self) -> None:
        for day in self._layout.published()[: -self._request.keep_states]:
            shutil.rmtree(self._layout.state(day), ignore_errors=True)


def _day_verdicts(spec: Spec, day: DayPieces) -> pa.Table:
    """The day's verdicts in total order, without duplicates."""
    tables = []
    for piece, dropped in zip(day.pieces, duplicate_rows(day), strict=True):
        path = Path(piece, "verdicts.arrow")
        if not path.exists():
            continue
        table = read_arrow(path)
        keep = ~np.isin(table.column("index").to_numpy(), dropped)
        tables.append(table.filter(pa.array(keep)).drop_columns(["index"]))
    schema = pa.schema(
        {
            EVENT_ID: pa.string(),
            EVENT_TIME: pa.int64(),
            "subject": pa.string(),
            "positive": pa.bool_(),
        },
        metadata={SPEC_KEY: dataset_fingerprint(spec)},
    )
    if not tables:
        return schema.empty_table()
    table = pa.concat_tables(tables).combine_chunks()
    order = total_order(
        table.column(EVENT_TIME).to_numpy(), table.column(EVENT_ID).combine_chunks()
    )
    return table.take(pa.array(order)).cast(schema).replace_schema_metadata(schema.metadata)
