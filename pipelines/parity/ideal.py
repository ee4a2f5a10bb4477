"""Ideal: the logged events in total order through the real backfill; differences by cause.

What enters: a scorer's state folder, its bundles, and optionally an archive of all that was sent.
What leaves: a `ParityReport` in which each difference has a cause. The offline side is
`pipelines.backfill`, run over the distinct events of the log, from the state that the scorer
started from, with the bundle that serves.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.fingerprint import dataset_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from pipelines.backfill import BackfillRequest, backfill, read_features
from pipelines.backfill.assemble import SCORE as OFFLINE_SCORE
from pipelines.backfill.assemble import dataset_schema
from pipelines.backfill.fold import RECENT_IDS, state_file
from pipelines.backfill.plan import entity_marker
from pipelines.backfill.stage import write_arrow
from pipelines.layout import Days, Layout, day_of, write_json
from pipelines.parity.compare import (
    DUPLICATE,
    HAND_OFF,
    LATE,
    MISSING,
    UNEXPLAINED,
    VERSION,
    Difference,
    ParityReport,
    differing_columns,
    gather,
    hints_for,
)
from pipelines.parity.served import logged_batches, matrix, start_state
from pipelines.sources import open_source, read_split
from pipelines.streaming.engine import LATE as LATE_COLUMN
from pipelines.streaming.engine import NUMERIC, SCORE, SEQUENCE
from scoring.bundle import load_bundle
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.derive import derive
from transforms.hashing import key_hash
from transforms.inputs import numeric_names
from transforms.velocity import Plan, ShardState, make_plan, shard_of

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Logged:
    """The scorer's side: events in fold order, and what was scored of them."""

    events: pa.Table
    late: npt.NDArray[np.bool_]
    ids: list[str]
    numeric: Floats
    scores: npt.NDArray[np.float64]
    sequences: npt.NDArray[np.int64]
    bundles: list[str]


def check_ideal(state: Path, bundles: Path, archive: str | None = None) -> ParityReport:
    """Compares a scorer's log with a backfill of the same events.

    Args:
      state: the scorer's folder.
      bundles: the store.
      archive: file, folder or glob of all events that were sent; shows what never arrived.

    Raises:
      InputError: there is no log.
      BundleError: the serving bundle is gone or damaged.
    """
    bundle = load_bundle(Store(bundles).path("serving"), CATALOG)
    spec = bundle.spec
    logged = _read_log(state, spec)
    missing = _missing(spec, logged, archive)
    every = pa.concat_tables([logged.events, missing]) if missing.num_rows else logged.events
    with tempfile.TemporaryDirectory(prefix="lockstep-parity-") as scratch:
        numeric, scores = _offline(spec, state, every, Path(scratch), bundle.path, logged.ids)
    names = numeric_names(spec)
    columns = differing_columns(numeric, logged.numeric)
    effect = np.abs(scores - logged.scores)
    differ = np.flatnonzero(columns.any(1) | (effect != 0))
    touched = _touched(spec, logged, missing)
    begun = _begun_elsewhere(spec, state, logged, touched)
    differences = []
    unexplained: Counter[str] = Counter()
    for row in differ:
        features = tuple(names[i] for i in np.flatnonzero(columns[row]))
        cause = _cause(int(row), features, logged, bundle.fingerprint, touched, begun)
        if cause == UNEXPLAINED:
            unexplained.update(features)
        differences.append(Difference(int(row), cause, features, float(effect[row])))
    versions = Counter(logged.bundles)
    hints = hints_for(unexplained, names) if unexplained else []
    return gather("ideal", len(logged.ids), differences, versions, hints)


def archive_spec(spec: Spec) -> Spec:
    """The same use, reading events under the names that decode gives them."""
    events = dataclasses.replace(
        spec.events, id=EVENT_ID, time=EVENT_TIME, kind=KIND, aliases={}, max_dead_share=1.0
    )
    return dataclasses.replace(spec, events=events, ingest=())


def _read_log(state: Path, spec: Spec) -> _Logged:
    columns = event_schema(spec).names
    events, late, ids, numeric, scores, sequences, bundles = [], [], [], [], [], [], []
    for batch, name in logged_batches(state):
        events.append(pa.Table.from_batches([batch.select(columns)]))
        late.append(batch.column(LATE_COLUMN).to_numpy(zero_copy_only=False))
        scored = batch.filter(batch.column(SCORE).is_valid())
        ids += scored.column(EVENT_ID).to_pylist()
        numeric.append(np.asarray(matrix(scored.column(NUMERIC), np.float32), np.float32))
        scores.append(scored.column(SCORE).to_numpy())
        sequences.append(np.asarray(matrix(scored.column(SEQUENCE), np.int64), np.int64))
        bundles += [name] * scored.num_rows
    if not events:
        raise InputError(f"{state} holds no log of a scorer; give the --state of `lockstep stream`")
    return _Logged(
        pa.concat_tables(events).combine_chunks(),
        np.concatenate(late),
        ids,
        np.concatenate([one for one in numeric if len(one)]),
        np.concatenate(scores),
        np.concatenate([one for one in sequences if len(one)]),
        bundles,
    )


def _missing(spec: Spec, logged: _Logged, archive: str | None) -> pa.Table:
    """Events of the archive that the log has not, from the log's first event on."""
    empty = event_schema(spec).empty_table()
    if archive is None:
        return empty
    known = logged.events.column(EVENT_ID)
    times = logged.events.column(EVENT_TIME).to_numpy()
    found = []
    for split in open_source(archive, spec):
        for made in read_split(split, spec):
            table = pa.Table.from_batches([made.batch])
            fresh = ~pc.is_in(table.column(EVENT_ID), value_set=known).to_numpy(
                zero_copy_only=False
            )
            moment = table.column(EVENT_TIME).to_numpy()
            fresh &= (moment >= times.min()) & (moment <= times.max())
            found.append(table.filter(pa.array(fresh)))
    return pa.concat_tables(found).combine_chunks() if found else empty


def _offline(
    spec: Spec, state: Path, events: pa.Table, scratch: Path, bundle: Path, ids: list[str]
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Numeric block and scores of a backfill over the events, in the order of `ids`."""
    plain = archive_spec(spec)
    pq.write_table(events, scratch / "events.parquet")
    times = events.column(EVENT_TIME).to_numpy()
    days = Days(day_of(times.min()), day_of(times.max()))
    out = scratch / "out"
    if (state / "start").is_dir():
        _plant_state(plain, state, Layout(out), days.first - dt.timedelta(days=1))
    backfill(BackfillRequest(plain, str(scratch / "events.parquet"), out, days, bundle=bundle))
    names = list(numeric_names(spec))
    table = read_features(Layout(out), list(days), [EVENT_ID, *names, OFFLINE_SCORE])
    place = {event: i for i, event in enumerate(table.column(EVENT_ID).to_pylist())}
    order = np.array([place[event] for event in ids], np.int64)
    block = np.stack([table.column(name).to_numpy() for name in names], 1)
    return block[order], table.column(OFFLINE_SCORE).to_numpy()[order]


def _plant_state(spec: Spec, state: Path, layout: Layout, day: dt.date) -> None:
    """Puts the scorer's first state where a backfill looks for the day before."""
    resident = start_state(spec, state)
    folder = layout.state(day)
    for entity, whole in resident.states.items():
        plan = make_plan(spec, entity)
        for shard, part in enumerate(_by_shard(whole, plan, spec.shards)):
            write_arrow(part.to_table(), folder / state_file(entity, shard))
    write_arrow(resident.recent.to_table(), folder / RECENT_IDS)
    marker = {
        "day": str(day),
        "spec": dataset_fingerprint(spec),
        "entities": entity_marker(spec),
        "columns": dataset_schema(spec).names,
    }
    write_json(layout.marker(day), marker)


def _by_shard(whole: ShardState, plan: Plan, shards: int) -> list[ShardState]:
    table = whole.to_table()
    of = shard_of(table.column("key").to_numpy(), shards)
    return [
        ShardState.from_table(table.filter(pa.array(of == shard)), plan) for shard in range(shards)
    ]


@dataclasses.dataclass(frozen=True)
class _Touched:
    """Per entity: keys that something out of order touched, and the key of each scored event."""

    late: dict[str, set[int]]
    missing: dict[str, set[int]]
    doubled: dict[str, set[int]]
    keys: dict[str, npt.NDArray[np.uint64]]


def _touched(spec: Spec, logged: _Logged, missing: pa.Table) -> _Touched:
    batch = logged.events.combine_chunks().to_batches()[0]
    derived = derive(spec, batch)
    ids = derived.column(EVENT_ID)
    counts = pc.value_counts(ids)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    parts = {
        "late": [derived.filter(pa.array(logged.late))],
        "missing": [derive(spec, one) for one in missing.to_batches()],
        "doubled": [derived.filter(pc.is_in(ids, value_set=twice))],
    }
    found = {
        part: {
            name: {int(key) for one in batches for key in _keys(spec, name, one)} - {0}
            for name in spec.entities
        }
        for part, batches in parts.items()
    }
    scored = derived.take(pc.index_in(pa.array(logged.ids, pa.string()), value_set=ids))
    keys = {name: _keys(spec, name, scored) for name in spec.entities}
    return _Touched(found["late"], found["missing"], found["doubled"], keys)


def _keys(spec: Spec, entity: str, batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """Each event's key of an entity: uint64 `[n]`, 0 without one."""
    kinds = batch.column(KIND)
    found = np.zeros(batch.num_rows, np.uint64)
    for kind, columns in spec.entities[entity].keys.items():
        hashes, valid = key_hash(batch, columns, entity, spec.hash_seed)
        here = pc.equal(kinds, kind).to_numpy(zero_copy_only=False) & valid
        found = np.where(here, hashes, found)
    return found


def _begun_elsewhere(
    spec: Spec, state: Path, logged: _Logged, touched: _Touched
) -> dict[str, npt.NDArray[np.bool_]]:
    """Scored events whose key had a history at the start by the log, and has none in the state.

    A handed-over state that lacks a key, or holds one that the scorer never saw, shows in the
    sequence number of the key's first event.
    """
    resident = start_state(spec, state)
    keys = touched.keys
    wrong = {}
    for index, name in enumerate(spec.entities):
        first_seen: dict[int, int] = {}
        bad: set[int] = set()
        for key, sequence in zip(
            keys[name].tolist(), logged.sequences[:, index].tolist(), strict=True
        ):
            if key and key not in first_seen:
                first_seen[key] = sequence
                known = resident.states[name].get(key) != b""
                if known != (sequence > 0) and not known:
                    bad.add(key)
        wrong[name] = np.array([key in bad for key in keys[name].tolist()], np.bool_)
    return wrong


def _cause(
    row: int,
    features: tuple[str, ...],
    logged: _Logged,
    bundle: str,
    touched: _Touched,
    begun: dict[str, npt.NDArray[np.bool_]],
) -> str:
    if not features:
        return VERSION if logged.bundles[row] != bundle else UNEXPLAINED
    keys = touched.keys
    prefixes = tuple(f"{name}_" for name in keys)
    computed = not any(feature.startswith(prefixes) for feature in features)
    for name in keys:
        concerned = any(feature.startswith(f"{name}_") for feature in features)
        key = int(keys[name][row])
        if not concerned and not computed:
            continue
        if key in touched.missing[name]:
            return MISSING
        if key in touched.doubled[name]:
            return DUPLICATE
        if key in touched.late[name]:
            return LATE
        if begun[name][row]:
            return HAND_OFF
    return UNEXPLAINED
