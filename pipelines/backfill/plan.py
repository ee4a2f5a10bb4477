"""What a backfill will do, before it does it: days, splits, state to start from, estimated cost."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import InputError, StateError
from configs.fingerprint import dataset_fingerprint, order_fingerprints
from configs.schema import Spec
from pipelines.backfill.input_manifest import InputManifest, require_events
from pipelines.backfill.publish import entity_marker
from pipelines.beam_worker import core_count
from pipelines.layout import DAY_US, FILES, STATE, Days, Layout, day_us
from pipelines.runners import Running
from pipelines.snapshots import GRAPH, read_snapshots
from pipelines.sources import Split, open_source
from pipelines.sources.listing import require_apart
from pipelines.states import group_of
from scoring.files import Place, join
from scoring.manifest import verify_files
from scoring.store import fetch_bundle
from transforms.inputs import numeric_names
from transforms.order import contents_decide
from transforms.social.as_of import AsOf, reads_snapshots

CHUNK_EVENTS = 2_000_000  # days are taken together up to about so many events
EVENTS_PER_WORKER = 500_000  # with fewer, the start of another process takes longer than it saves
_MOST_READ_AGAIN = 1.25  # times the events, by reading splits of several chunks for each of them
# Rough, of runs on 2 cores, rounded; for --dry-run's estimate only. `python -m benchmarks.batch`
# measures events a second; a day and the start are read off a backfill's own times.
EVENTS_PER_SECOND_PER_WORKER = 50_000
SECONDS_PER_DAY = 0.03  # with few events: its files, state and marker
START_SECONDS = 10  # processes import Beam and TensorFlow, and load compiled kernels
BYTES_PER_EVENT = 500


@dataclasses.dataclass(frozen=True)
class BackfillRequest:
    """What someone asks for.

    Attributes:
      source: file, folder or glob (`pipelines.sources`).
      out: the output folder, on this machine or any filesystem of Beam's.
      workers: processes of the embedded runner; None: as many as pay for their start.
      flags: of Beam, such as `--runner=FlinkRunner`; see `pipelines.runners`.
      exchange: "files" or "engine", how batches travel between steps; "": files if embedded.
      only_new_features: compute only what the published days lack under this spec.
      bundle: folder of a bundle whose model inputs and scores are added; or None.
      keep_states: how many of the last days' state snapshots stay.
      allow_empty_days: publish days after the newest event that the source shows.
      snapshots: of the social graph, that events see; None: those of the output folder.
      graph_store: where their accounts are looked up; None: in their files.
    """

    spec: Spec
    source: str
    out: Place
    days: Days
    workers: int | None = None
    only_new_features: bool = False
    bundle: Place | None = None
    keep_states: int = 14
    allow_empty_days: bool = False
    flags: tuple[str, ...] = ()
    exchange: str = ""
    snapshots: AsOf | None = None
    graph_store: str | None = None


@dataclasses.dataclass(frozen=True)
class BackfillPlan:
    """What will be done.

    Attributes:
      days: days to make, ascending and consecutive; may be empty.
      done: days of the request that are there already.
      computed: entities whose features are computed; others are taken from the published days.
      before: the day at whose end the state is that this starts from; None: a cold start.
      published: days of the output folder before `days`.
      splits: what is read; source: all that there is.
      events: estimated; 0 where the source does not tell.
      bundle: the fingerprint of the request's; None: none.
      states: days whose state snapshots will be there afterwards, ascending.
      sees: the snapshots of the social graph, of which each event sees the newest that was known.
    """

    request: BackfillRequest
    days: tuple[dt.date, ...]
    done: tuple[dt.date, ...]
    computed: tuple[str, ...]
    before: dt.date | None
    published: tuple[dt.date, ...]
    splits: tuple[Split, ...]
    source: tuple[Split, ...]
    events: int
    bundle: str | None = None
    states: tuple[dt.date, ...] = ()
    sees: AsOf | None = None

    def snapshots_of(self, day: dt.date) -> list[str]:
        """The snapshots that events of a day see, by name."""
        start_us = day_us(day)
        return [] if self.sees is None else self.sees.names_between(start_us, start_us + DAY_US)

    @property
    def running(self) -> Running:
        """Where its pipelines run: a worker more for every `EVENTS_PER_WORKER`, up to the cores."""
        request = self.request
        workers = request.workers or min(core_count(), 1 + self.events // EVENTS_PER_WORKER)
        return Running(workers, request.flags)

    @property
    def chunk_days(self) -> int:
        """How many days are taken together."""
        if not self.days or not self.events:
            return max(len(self.days), 1)
        return min(len(self.days), max(1, int(CHUNK_EVENTS * len(self.days) / self.events)))

    @property
    def chunks(self) -> tuple[tuple[dt.date, ...], ...]:
        """Days that are made together, one pipeline each.

        All at once where splits belong to many chunks, as those of an input that is in no order
        of time, which would be read for each chunk again.
        """
        size = self.chunk_days
        chunks = tuple(self.days[at : at + size] for at in range(0, len(self.days), size))
        read = sum(s.likely_rows for days in chunks for s in self.splits_of(days))
        if len(chunks) > 1 and read > _MOST_READ_AGAIN * sum(s.likely_rows for s in self.splits):
            return (self.days,)
        return chunks

    @property
    def kept(self) -> tuple[dt.date, ...]:
        """Days whose state stays."""
        return self.days[-self.request.keep_states :]

    def splits_of(self, days: Sequence[dt.date]) -> tuple[Split, ...]:
        """Splits that may have events of some days."""
        return tuple(split for split in self.splits if _overlaps(split, days))

    @property
    def seconds(self) -> float:
        """Estimated wall time."""
        if not self.days:
            return 0.0
        folded = self.events / (EVENTS_PER_SECOND_PER_WORKER * self.running.workers)
        return START_SECONDS + SECONDS_PER_DAY * len(self.days) + folded

    def to_builtins(self) -> dict[str, Any]:
        """The plan for machines."""
        request = self.request
        return {
            "config": request.spec.name,
            "source": request.source,
            "out": str(request.out),
            "days": [str(day) for day in self.days],
            "already": [str(day) for day in self.done],
            "chunk_days": self.chunk_days,
            "workers": self.running.workers,
            "computed": list(self.computed),
            "starts_from": str(self.before) if self.before else None,
            "states": [str(day) for day in self.states],
            "splits": len(self.splits),
            "snapshots": {str(day): self.snapshots_of(day) for day in self.days},
            "events": self.events,
            "estimated_seconds": round(self.seconds, 1),
            "estimated_bytes": self.events * BYTES_PER_EVENT,
        }

    def lines(self) -> list[str]:
        """The plan in words."""
        spec, request = self.request.spec, self.request
        if not self.days:
            return [
                f"features: nothing to do, {request.days} is there already ({len(self.done)} days)",
                *self._states_lines(),
            ]
        start = f"state at the end of {self.before}" if self.before else "no state (cold)"
        text = [
            f"{spec.name}: {self.days[0]}..{self.days[-1]} ({len(self.days)} days, "
            f"{len(self.done)} already there) into {request.out}",
            f"reads {len(self.splits)} splits of {request.source}, about {self.events:,} events",
            f"starts from {start}; {self.chunk_days} day(s) at a time, "
            f"{self.running.workers} worker(s)",
            f"computes features of {', '.join(self.computed) or 'no entity'} "
            f"({len(numeric_names(spec))} model inputs)",
            f"estimated: {self.seconds:,.0f} s, {self.events * BYTES_PER_EVENT / 1e6:,.0f} MB",
            *self._states_lines(),
        ]
        text += self._snapshot_lines()
        if self.before is None:
            longest = max(
                (w.length_us for e in spec.entities.values() for a in e.aggregates
                 for w in a.windows),
                default=0,
            )  # fmt: skip
            text.append(
                f"a cold start: windows fill up over the first {longest / 86_400e6:.3g} days"
            )
            if any(w.is_lifetime for e in spec.entities.values() for a in e.aggregates
                   for w in a.windows):  # fmt: skip
                text.append(f"windows of all begin with {self.days[0]}")
        return text

    def _snapshot_lines(self) -> list[str]:
        """Which snapshots of the social graph are seen, and which days see none at all."""
        if self.sees is None:
            return []
        names = dict.fromkeys(name for day in self.days for name in self.snapshots_of(day))
        without = [day for day in self.days if not self.snapshots_of(day)]
        lines = [f"sees {len(names)} snapshot(s) of the social graph, each as of when it was known"]
        if without:
            lines.append(
                f"{without[0]}..{without[-1]}: no snapshot was known yet, and features of accounts "
                "are null"
            )
        return lines

    def _states_lines(self) -> list[str]:
        """From which days a scorer can start, and how to make it more."""
        states = self.states
        if not states:
            return [
                "keeps no state snapshot: `lockstep stream --from-night` has no day to start from"
            ]
        kept = f"{states[0]}..{states[-1]}" if len(states) > 1 else str(states[0])
        return [
            f"keeps the state at the end of {kept} ({len(states)} day(s)): `lockstep stream "
            "--from-night` can start from these; for an earlier day give a larger --keep-states, "
            "or backfill up to that day into another --out"
        ]


def make_backfill_plan(request: BackfillRequest) -> BackfillPlan:
    """Works out what is missing and where to start.

    Raises:
      InputError: the source cannot be read; published days belong to another spec; the request
        would leave a gap in time; nothing to extend with new features; the source ends before the
        last day.
      StateError: the snapshot to start from is gone.
      BundleError: the bundle is none, or damaged.
    """
    _check_numbers(request)
    require_apart(request.source, str(request.out))
    layout = Layout(request.out)
    published = layout.published()
    wanted = list(request.days)
    _check_range(request, published)
    sees = request.snapshots
    if sees is None and reads_snapshots(request.spec):
        sees = read_snapshots(join(layout.root, GRAPH), request.graph_store).of(request.spec)
    _require_copies(sees, wanted)
    current = dataset_fingerprint(request.spec)
    markers = {day: layout.read_marker(day) for day in wanted if day in set(published)}
    done = [day for day, marker in markers.items() if marker["spec"] == current]
    other = [day for day in markers if day not in set(done)]
    if other and not request.only_new_features:
        raise InputError(
            f"{request.out} holds {other[0]} under another spec "
            f"({markers[other[0]]['spec']}, now {current}); choose another --out, or add "
            "--only-new-features to bring its days up to this spec"
        )
    if request.only_new_features and len(markers) < len(wanted):
        missing = next(day for day in wanted if day not in markers)
        raise InputError(
            f"--only-new-features extends days that are there, and {missing} is not; "
            "run without it for new days"
        )
    todo = [day for day in wanted if day not in set(done)]
    computed = tuple(request.spec.entities)
    if request.only_new_features:
        computed = _changed_entities(request.spec, [markers[day] for day in todo])
    while todo and todo[0] > request.days.first and not layout.state(_before(todo[0])):
        # Days of one chunk share a snapshot at its end; a run killed between them makes the
        # chunk's days again, the same bytes.
        todo.insert(0, _before(todo[0]))
    done = [day for day in done if day not in set(todo)]
    before = _state_before(layout, todo[0], published) if todo else None
    bundle = verify_files(fetch_bundle(request.bundle))["fingerprint"] if request.bundle else None
    for day in done if bundle else ():
        if markers[day].get("bundle") != bundle:
            raise InputError(
                f"{request.out} holds {day} without the scores of bundle {bundle}; choose another "
                "--out for a dataset with them"
            )
    # A source is opened even if nothing is to do: a wrong path is an error on every run.
    source = open_source(request.source, request.spec)
    splits = [s for s in source if _overlaps(s, todo)]
    if todo and not request.allow_empty_days and not request.only_new_features:
        require_events(InputManifest(source), todo)
    return BackfillPlan(
        request=request,
        days=tuple(todo),
        done=tuple(done),
        computed=computed,
        before=before,
        published=tuple(day for day in published if day not in set(todo)),
        splits=tuple(splits),
        source=tuple(source),
        events=_estimate(splits, todo),
        bundle=bundle,
        states=_states(request, layout, todo, published),
        sees=sees,
    )


def _require_copies(sees: AsOf | None, days: list[dt.date]) -> None:
    """Does nothing if a store of accounts has what events of some days see, or there is none."""
    if sees is None or sees.store is None:
        return
    names = set(sees.names_between(day_us(days[0]), day_us(days[-1]) + DAY_US))
    for one in sees.published:
        if one.name in names:
            sees.store.require(one)


def _check_numbers(request: BackfillRequest) -> None:
    if request.exchange not in ("", "files", "engine"):
        raise InputError(f"--exchange {request.exchange}: expected files or engine")
    for name, value in (("--workers", request.workers), ("--keep-states", request.keep_states)):
        if value is not None and value < 1:
            raise InputError(
                f"{name} {value}: expected at least 1; the last day's state is what the next day "
                "starts from"
                if name == "--keep-states"
                else f"{name} {value}: at least one worker is needed"
            )


def _check_range(request: BackfillRequest, published: Sequence[dt.date]) -> None:
    if not published:
        return
    first, last = published[0], published[-1]
    if request.days.first > last + dt.timedelta(days=1):
        gap = f"{last + dt.timedelta(days=1)}..{request.days.first - dt.timedelta(days=1)}"
        raise InputError(
            f"{request.out} ends at {last}; days {gap} would be missing and windows would not "
            f"see them. Run --days {last + dt.timedelta(days=1)}..{request.days.last}"
        )
    if request.days.first < first:
        raise InputError(
            f"{request.out} begins at {first}; earlier days cannot be put before it, because "
            "later features depend on them. Choose another --out"
        )


def _changed_entities(spec: Spec, markers: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Entities whose features and state some published days have otherwise than a spec has them."""
    if any(_is_ordered_otherwise(spec, marker) for marker in markers):
        return tuple(spec.entities)
    now = entity_marker(spec)
    names = set(numeric_names(spec))
    computed_from = {c for e in spec.inputs.computed.values() for c in e.columns}
    changed = []
    for entity in spec.entities:
        needed = (names | computed_from) & set(now[entity]["features"])
        if any(
            marker["entities"].get(entity, {}).get("state") != now[entity]["state"]
            or _shards(marker, entity) not in (0, spec.shards)
            or not needed <= set(marker["columns"])
            for marker in markers
        ):
            changed.append(entity)
    return tuple(changed)


def _is_ordered_otherwise(spec: Spec, marker: Mapping[str, Any]) -> bool:
    """Whether a day's events of one time may come in another order, or another copy may count."""
    before, now = marker.get("order"), order_fingerprints(spec)
    if before is None or before["rule"] != now["rule"]:  # None: by an earlier build, nobody knows
        return True
    return before != now and (marker["duplicates"] > 0 or contents_decide(spec))


def _shards(marker: Mapping[str, Any], entity: str) -> int:
    """Into how many files a day's state of an entity is cut; 0: it is not kept."""
    return sum(group_of(one["name"]) == entity for one in marker[FILES].get(STATE, []))


def _before(day: dt.date) -> dt.date:
    return day - dt.timedelta(days=1)


def _state_before(layout: Layout, day: dt.date, published: Sequence[dt.date]) -> dt.date | None:
    if not published or day <= published[0]:
        return None
    before = _before(day)
    if not layout.state(before):
        raise StateError(
            f"{layout.folder(STATE, before)} is gone or not whole, and {day} needs the state that "
            "it held; begin at an earlier day whose snapshot is there, choose another --out, or "
            "keep more with --keep-states"
        )
    return before


def _states(
    request: BackfillRequest, layout: Layout, made: Sequence[dt.date], published: Sequence[dt.date]
) -> tuple[dt.date, ...]:
    every = sorted({*made, *published})
    newest = every[-request.keep_states :] if made else every
    return tuple(day for day in newest if day in set(made) or layout.state(day))


def _overlaps(split: Split, days: Sequence[dt.date]) -> bool:
    if not days:
        return False
    wanted = Days(days[0], days[-1])
    if split.min_us is None or split.max_us is None:
        return True
    return bool(split.min_us < wanted.end_us and split.max_us >= wanted.start_us)


def _estimate(splits: Sequence[Split], days: Sequence[dt.date]) -> int:
    total = 0.0
    for split in splits:
        rows = float(split.likely_rows)
        if split.min_us is not None and split.max_us is not None and days:
            wanted = Days(days[0], days[-1])
            inside = min(split.max_us + 1, wanted.end_us) - max(split.min_us, wanted.start_us)
            rows *= max(0.0, inside / max(1, split.max_us + 1 - split.min_us))
        total += rows
    return round(total)
