"""The backfill: a pipeline per chunk of days (`backfill.build`), each published day by day.

Workers write files that no marker names yet; this process holds the output folder and publishes
what the attempt's manifest names, with the marker of each day. A run that is killed loses its
unpublished days and nothing else; the next one removes what is left of them, starts at the first,
and writes the same bytes as an undisturbed run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from configs.errors import InputError
from pipelines.backfill.build import Chunk, build, other_events
from pipelines.backfill.dead import first_dead_letters
from pipelines.backfill.input_manifest import (
    InputManifest,
    require_events,
    require_same_input,
    warn_of_changes,
    warn_of_silent_files,
)
from pipelines.backfill.plan import BackfillPlan, BackfillRequest, make_backfill_plan
from pipelines.backfill.publish import (
    Attempt,
    forget_states,
    make_attempt,
    publish_days,
    publish_dead_letters,
    read_attempt,
    remove_unnamed,
    spec_marker,
)
from pipelines.beam_metrics import RunMetrics
from pipelines.failures import explain_os_error
from pipelines.files import read_arrow_batch
from pipelines.layout import FILES, Layout, local_scratch, locked, write_json
from pipelines.meter import Meter, Usage
from pipelines.progress import Progress, Quiet
from pipelines.runners import run_pipeline, workers_of
from pipelines.sources.contents import count, kind_counts
from pipelines.sources.listing import require_apart
from scoring.files import Place, exists, join, remove_folder
from scoring.locks import Require
from transforms.dead_letter import Reason
from transforms.input_warnings import warn_of_counts, warn_of_missing_columns
from transforms.signature import input_fingerprints


@dataclasses.dataclass(frozen=True)
class BackfillReport:
    """What a backfill did.

    Attributes:
      read: events and dead letters that the source gave.
      outside: events outside the range of days.
      events, scored, duplicates, verdicts: of the days that were made.
      empty: days that were made although the source has no event of them.
      warnings: what is odd about the source, such as published days of which it now holds other
        events; in words.
      dead: reason -> count; dead_stages: stage -> reason -> count.
      keys: live keys at the end, by entity; state_bytes: of all of them.
      states: days whose state snapshots are there, from which `stream --from-night` can start.
      usage: time and memory by step.
      metrics: Beam's counters and distributions of the run.
    """

    out: Place
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
    metrics: RunMetrics = dataclasses.field(default_factory=RunMetrics)


def backfill(request: BackfillRequest, progress: Progress | None = None) -> BackfillReport:
    """Makes the days of a request; those that are there stay as they are.

    Raises:
      InputError: see `make_backfill_plan`; or too many dead letters; or a full disk.
      BusyError: another run holds the output folder.
    """
    require_apart(request.source, str(request.out))  # before anything is put there
    layout = Layout(request.out)
    try:
        with locked(layout) as require:
            return backfill_locked(make_backfill_plan(request), progress or Quiet(), require)
    except OSError as error:
        raise explain_os_error(error) from error


def backfill_locked(plan: BackfillPlan, progress: Progress, require: Require) -> BackfillReport:
    """Carries out a plan; the caller holds the output folder (`layout.locked` gives `require`)."""
    for line in plan.lines():
        progress.say(line)
    layout = Layout(plan.request.out)
    remove_unnamed(layout, require)
    with (
        local_scratch(layout) as scratch,
        _Tally(plan, progress, require, str(scratch)) as tally,
        workers_of(plan.running),
        progress.step("features", plan.events, "events") as step,
    ):
        for days in plan.chunks:
            try:
                _make_chunk(tally, days)
            finally:  # of a day that failed nothing stays, and nothing old of one that was made
                remove_unnamed(layout, require, days)
            step.advance(sum(tally.of_day[day]["events"] for day in days))
    return tally.report()


def _make_chunk(tally: _Tally, days: tuple[dt.date, ...]) -> None:
    """Makes and publishes some days."""
    plan, layout, request = tally.plan, tally.layout, tally.plan.request
    name = f"attempt-{uuid.uuid4().hex}"
    attempt = join(layout.work, name)
    running = plan.running
    in_files = request.exchange == "files" or (not request.exchange and running.embedded)
    here = join(tally.scratch, name) if running.embedded else attempt
    scratch = join(here, "scratch") if in_files else ""
    make_attempt(layout, attempt, days, scratch)
    splits = plan.splits_of(days)
    chunk = Chunk(
        spec=request.spec,
        days=days,
        splits=tuple((plan.splits.index(split), split) for split in splits),
        computed=plan.computed,
        before=layout.state(days[0] - dt.timedelta(days=1)) or None,
        kept=tuple(day for day in days if day in plan.kept or day == days[-1]),
        attempt=attempt,
        out=layout.root,
        bundle=str(request.bundle) if request.bundle else None,
        scratch=scratch,
        sees=plan.sees,
    )
    with tally.meter.step("features"):
        metrics = run_pipeline(lambda root: build(root, chunk), running, attempt)
    made = read_attempt(attempt)
    require_whole(made, chunk, metrics.counters if running.embedded else {})
    tally.add(made, metrics)
    publish_dead_letters(layout, made, [split.name for split in splits], tally.require)
    tally.check_dead()
    if not request.allow_empty_days and not request.only_new_features:
        require_events(tally.manifest, plan.days)
    if request.only_new_features:
        require_same_input(tally.manifest, layout, days)
    with tally.meter.step("publish"):
        markers = {day: tally.day_marker(day, made) for day in days}
        write_json(layout.source_files, tally.manifest.files())  # known, wherever the run is killed
        sources = {day: tally.manifest.record(day) for day in days}
        publish_days(layout, markers, sources, tally.require)
    read_arrow_batch.cache_clear()  # what it has mapped is on disk until it lets go
    for folder in {attempt, here}:
        tally.remove(folder)


def require_whole(made: Attempt, chunk: Chunk, counters: Mapping[str, int]) -> None:
    """Does nothing if a pipeline wrote all that it was to write.

    Args:
      made: what it wrote.
      chunk: what it was to make.
      counters: of a runner that counts an event once; else {}.

    Raises:
      RuntimeError: a runner has lost something, which is worse than any failure.
    """
    shards = chunk.spec.shards * (len(chunk.computed) + 1)
    for day in chunk.days:
        states = len(made.states.get(day, [])) if day in chunk.kept else shards
        if states != shards or day not in made.parts or day not in made.verdicts:
            raise RuntimeError(
                f"{day}: the pipeline gave {states} of {shards} states, "
                f"{len(made.parts.get(day, []))} parts and "
                f"{'its' if day in made.verdicts else 'no'} verdicts; nothing of it was published. "
                "Its runner has lost elements: run it again, on another runner"
            )
    rows = sum(int(part["rows"]) for parts in made.parts.values() for part in parts)
    scored = counters.get("scored_events", rows)
    if rows < scored:
        raise RuntimeError(
            f"{chunk.days[0]}..{chunk.days[-1]}: {scored:,} events were to be scored, and {rows:,} "
            "rows were written; nothing of it was published. Its runner has lost elements: run it "
            "again, on another runner"
        )


class _Tally(contextlib.AbstractContextManager["_Tally"]):
    """What a run has made so far, for its report; attempts are removed beside the next chunk."""

    def __init__(
        self, plan: BackfillPlan, progress: Progress, require: Require, scratch: str
    ) -> None:
        self.plan, self.progress = plan, progress
        self.require, self.scratch = require, scratch
        self.layout = Layout(plan.request.out)
        files = self.layout.read_source_files()
        self.manifest = InputManifest(plan.source, plan.request.source, files)
        self.meter = Meter()
        self.of_day: dict[dt.date, dict[str, int]] = {}
        self._spec = spec_marker(plan.request.spec)
        self._inputs = input_fingerprints(plan.request.spec)
        self._read: set[int] = set()
        self._columns: set[str] = set()
        self._kinds: set[str] = set()
        self._totals: Counter[str] = Counter()
        self._dead: dict[str, Counter[str]] = {}
        self._metrics = RunMetrics()
        self._keys: Counter[str] = Counter()
        self._state_bytes = 0
        self._empty: list[str] = []
        self._dead_files: dict[str, str] = {}
        self._remover = ThreadPoolExecutor(1)

    def remove(self, folder: str) -> None:
        """Removes a folder, which for scratch files takes 3 % of a backfill."""
        self._remover.submit(remove_folder, folder)

    def __exit__(self, *raised: object) -> None:
        self._remover.shutdown()

    def add(self, made: Attempt, metrics: RunMetrics) -> None:
        """What an attempt read and what state it left; a split counts when it is read first."""
        self._metrics = self._metrics.add(metrics)
        wanted = {str(day) for day in self.plan.days}
        for split in made.splits:
            if split["number"] in self._read:
                continue
            self._read.add(split["number"])
            seen = split["seen"]
            self.manifest.add(self.plan.splits[split["number"]], seen)
            self._columns.update(split["columns"])
            self._kinds.update(kind for day in seen for kind in kind_counts(seen[day]))
            self._totals["read"] += split["read"]
            self._totals["outside"] += sum(count(seen[day]) for day in seen if day not in wanted)
            for stage, reason, rows in split["dead"]:
                self._dead.setdefault(stage, Counter())[reason] += rows
        self._keys, self._state_bytes = Counter(), 0
        for line in made.states.get(max(made.states), []) if made.states else []:
            if line["group"] in self.plan.request.spec.entities:
                self._keys[line["group"]] += line["rows"]
                self._state_bytes += line["state_bytes"]
        self._dead_files.update({name: one["path"] for name, one in made.dead_letters.items()})

    def check_dead(self) -> None:
        """Does nothing while dead letters are few enough.

        Raises:
          InputError: their share is above `events.max_dead_share`.
        """
        dead = sum(self._dead.values(), Counter())
        bad = sum(n for reason, n in dead.items() if reason != Reason.DUPLICATE_ID)
        bound, read = self.plan.request.spec.events.max_dead_share, self._totals["read"]
        if bad > bound * read:
            names = [self.plan.splits[number].name for number in sorted(self._read)]
            files = [
                join(self.layout.root, self._dead_files[name])
                for name in names
                if name in self._dead_files
            ]
            first = "".join(f"\n  {line}" for line in first_dead_letters(files))
            reasons = ", ".join(f"{reason}: {n:,}" for reason, n in dead.most_common())
            raise InputError(
                f"{bad:,} of {read:,} records are dead letters "
                f"({bad / read:.2%}; max_dead_share is {bound:.2%}): {reasons}. "
                f"Look at {self.layout.dead_letters}. {self._kept()}. The first of each kind "
                f"(records count from 0):{first}"
            )

    def day_marker(self, day: dt.date, made: Attempt) -> Mapping[str, Any]:
        """What the marker of a day says, and the report counts."""
        request = self.plan.request
        before = self.layout.read_marker(day) if exists(self.layout.marker(day)) else None
        kinds, duplicates = made.kinds.get(day, Counter()), made.duplicates(day)
        scored = sum(int(part["rows"]) for part in made.parts[day])
        if request.only_new_features and before and before["scored"] != scored:
            raise other_events(day, str(request.out), before["scored"], scored)
        counts = {
            "events": sum(kinds.values()) - duplicates,
            "scored": scored,
            "verdicts": int(made.verdicts[day]["rows"]),
        }
        self.of_day[day] = counts
        self._totals.update(counts)
        self._totals["duplicates"] += duplicates
        if not kinds:
            self._empty.append(str(day))
            self.progress.say(f"{day}: the source has no event of this day")
        return {
            "day": str(day),
            **self._spec,
            "inputs": self._inputs,
            "bundle": self.plan.bundle,
            **({"snapshots": self.plan.snapshots_of(day)} if self.plan.sees else {}),
            "duplicates": duplicates,
            "kinds": dict(kinds),
            **counts,
            FILES: made.files(day, before),
        }

    def report(self) -> BackfillReport:
        """All of it."""
        plan = self.plan
        if plan.days:
            forget_states(self.layout, plan.request.keep_states, self.require)
        warnings = (
            *warn_of_changes(self.manifest, plan.request.spec, self.layout, plan.published),
            *warn_of_silent_files(self.manifest),
            *self._other_snapshots(),
            *self._odd(),
        )
        write_json(self.layout.source_files, self.manifest.files())
        return BackfillReport(
            out=plan.request.out,
            days=tuple(map(str, plan.days)),
            already=tuple(map(str, plan.done)),
            empty=tuple(self._empty),
            warnings=warnings,
            dead=dict(sum(self._dead.values(), Counter())),
            dead_stages={stage: dict(counts) for stage, counts in sorted(self._dead.items())},
            keys=dict(self._keys),
            state_bytes=self._state_bytes,
            states=tuple(map(str, plan.states)),
            usage=self.meter.usage,
            metrics=self._metrics,
            **{name: self._totals[name] for name in
               ("read", "outside", "events", "scored", "duplicates", "verdicts")},
        )  # fmt: skip

    def _other_snapshots(self) -> tuple[str, ...]:
        """A line where published days were made before a snapshot was there that they would see."""
        if self.plan.sees is None:
            return ()
        late = []
        for day in self.plan.published:
            now = self.plan.snapshots_of(day)
            if self.layout.read_marker(day).get("snapshots", now) != now:
                late.append(day)
        if not late:
            return ()
        return (
            f"{len(late)} published day(s), the first {min(late)}, were made with other snapshots "
            "of the social graph than are there now: a snapshot was published late. They stay as "
            "they are; for the others' values make them again in another --out",
        )

    def _odd(self) -> tuple[str, ...]:
        """Warnings about what was read; nothing where nothing was."""
        spec, source = self.plan.request.spec, self.plan.request.source
        lacking: tuple[str, ...] = ()
        # A kind that did not come (verdicts of a first run) may have its columns in other files.
        if self._columns and self._kinds >= set(spec.kinds):
            lacking = warn_of_missing_columns(spec, self._columns, source)
        return (*lacking, *warn_of_counts(self._metrics.counters))

    def _kept(self) -> str:
        made = [day for day in self.plan.days if exists(self.layout.marker(day))]
        if not made:
            return "No day was published"
        return f"Days up to {made[-1]} were published before; the others were not"
