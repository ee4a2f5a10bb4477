"""Ideal: the logged events in total order through the real backfill; differences by cause.

The offline side is `pipelines.backfill`, run over the distinct events of the log, from a state that
the scorer kept, with the bundle that serves.

Three values of an event stand side by side: what was served, what folding the log in its own order
gives now, and the ideal one. If the first two differ, the scorer's fold is at fault, and the
sequence numbers say how (`replay`). If only the last differs, the order or the set of the events
is the cause, and it must be one that reached this event (`order`); else it is unexplained. What a
second fold in total order contradicts (`cross_check`) no cause excuses.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import BundleError, InputError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.layout import (
    DAY_US,
    day_of,
    day_us,
)
from pipelines.parity.archive import look_through
from pipelines.parity.log import (
    Base,
    LogBatch,
    TimeSpan,
    find_base,
    logged_batches,
    lost_before,
    nothing_in_range,
)
from pipelines.parity.recompute import Offline, recompute
from pipelines.parity.replay import replay
from pipelines.snapshots import beside, read_snapshots
from scoring.bundle import bundle_spec, load_bundle
from scoring.columns import matrix
from scoring.engine import INPUTS, SCORE
from scoring.files import Place
from scoring.models import input_names
from scoring.parity.causes import OrderCauses, folded_again, out_of_order
from scoring.parity.compare import (
    COPY,
    DUPLICATE,
    LATE,
    SNAPSHOT,
    UNEXPLAINED,
    VERSION,
    Difference,
    ParityReport,
    differing_columns,
    gather,
)
from scoring.parity.cross_check import contradicted, distinct_in_order
from scoring.parity.diagnose import Sided, Suspects, diagnose, unlike_after_the_fold
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.duplicates import hash_ids
from transforms.inputs import numeric_names
from transforms.keys import graph_names
from transforms.signature import input_fingerprints
from transforms.social.as_of import AsOf, Snapshots
from transforms.ticks import LATE as LATE_COLUMN
from transforms.ticks import SNAPSHOT as SNAPSHOT_COLUMN

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Logged:
    """The scorer's side: events in fold order, and what was scored of them.

    Attributes:
      events: decoded columns, and `lockstep_late`.
      ids, times, inside, numeric, inputs, scores, bundles: of the scored ones `[s]`.
      snapshots: of the scored ones, which snapshot of the social graph each saw; null: none.
      causes: of the scored ones whose fold, repeated, gives something else.
    """

    events: pa.Table
    ids: pa.Array
    snapshots: pa.Array
    times: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]
    numeric: Floats
    inputs: Floats
    scores: npt.NDArray[np.float64]
    bundles: npt.NDArray[np.object_]
    causes: list[str | None]


@dataclasses.dataclass(frozen=True)
class _Absent:
    """Why a scored event may have no place in the backfill: bool `[s]` each.

    Attributes:
      beyond: it was late by days, and lies before all that is made anew.
      known: its id is one of the state before the log, or of an event before it.
      copied: the archive has another record of its id, which is the event.
    """

    beyond: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    copied: npt.NDArray[np.bool_]

    def cause(self, row: int) -> str:
        """The cause; a backfill that lost the event has none."""
        if self.beyond[row]:
            return LATE
        if self.copied[row]:
            return COPY
        return DUPLICATE if self.known[row] else UNEXPLAINED


class _InputSignatures:
    """Signatures of the numeric inputs of the log's bundles, against the serving spec's."""

    def __init__(self, store: Store, spec: Spec) -> None:
        self._store, self._spec = store, spec
        self._unlike: dict[str, tuple[str, ...] | None] = {}

    def names(self, bundle: str) -> tuple[str, ...] | None:
        """A bundle's numeric inputs, if they are not those of the serving spec; else None.

        A bundle that is gone has none.
        """
        if bundle not in self._unlike:
            try:
                spec = bundle_spec(self._store.path(bundle), CATALOG)
            except BundleError:
                self._unlike[bundle] = ()
            else:
                same = input_fingerprints(spec) == input_fingerprints(self._spec)
                self._unlike[bundle] = None if same else numeric_names(spec)
        return self._unlike[bundle]

    def aligned(self, names: tuple[str, ...], numeric: Floats) -> Floats:
        """A bundle's numeric block in the columns of the serving spec; NaN where it has none."""
        wanted = numeric_names(self._spec)
        made = np.full((len(numeric), len(wanted)), np.nan, np.float32)
        if numeric.shape[1] == len(names):
            for column, name in enumerate(wanted):
                if name in names:
                    made[:, column] = numeric[:, names.index(name)]
        return made


@dataclasses.dataclass(frozen=True)
class _Found:
    """Differences, and what the unexplained ones point to.

    Attributes:
      unlike: model input -> events with equal numeric blocks in which it differs; "": the score.
    """

    differences: list[Difference]
    suspects: Suspects
    unlike: Counter[str]


def check_ideal(
    state: Path, bundles: Place, archive: str | None = None, span: TimeSpan | None = None
) -> ParityReport:
    """Compares a scorer's log with a backfill of the same events.

    Args:
      state: the scorer's folder; the scorer may be running.
      bundles: the store.
      archive: file, folder or glob of all events that were sent; shows what never arrived.
      span: which decisions are compared; None: all that the log can be replayed for.

    Raises:
      InputError: there is no log, or nothing was decided in the span.
      BundleError: the serving bundle is gone or damaged.
    """
    store, snapshots = Store(bundles), read_snapshots(beside(bundles))
    bundle = load_bundle(store.path("serving"), CATALOG)
    spec = bundle.spec
    base = find_base(state, span)
    as_of = snapshots.of(spec)
    logged = _read_log(spec, state, base, span, _InputSignatures(store, spec), snapshots)
    start = base.state(spec)
    archived = look_through(spec, logged.events, archive, start.recent, base.night_end_us)
    reached = _within_reach(logged.events)
    columns = event_schema(spec).names
    within = logged.events.filter(pa.array(reached)).select(columns)
    every = pa.concat_tables([within, archived.missing, archived.copies])
    with tempfile.TemporaryDirectory(prefix="lockstep-parity-") as scratch:
        resident = start if base.folder else None
        made = recompute(spec, resident, every, Path(scratch), bundle.path, logged.ids, as_of)
    order = OrderCauses.of(spec, logged.events, archived, start.recent)
    beyond = logged.events.filter(pa.array(~reached)).column(EVENT_ID)
    absent = _Absent(
        pc.is_in(logged.ids, value_set=beyond.combine_chunks()).to_numpy(zero_copy_only=False),
        ~start.recent.copy().take(*hash_ids(logged.ids), logged.times),
        pc.is_in(logged.ids, value_set=archived.copies.column(EVENT_ID).combine_chunks()).to_numpy(
            zero_copy_only=False
        ),
    )
    doubted = contradicted(spec, start, every, logged.ids, made.numeric, snapshots) & made.there
    other = _other_snapshots(logged, as_of)
    found = _attribute(spec, logged, order, made, absent, doubted, other, bundle.fingerprint)
    hints = []
    if found.suspects:
        sides = [_ideal_side(spec, every, logged, made.numeric)]
        hints += diagnose(spec, start, sides, found.suspects, "The backfill's values")
    categories = [one.column for one in spec.inputs.categorical]
    hints += unlike_after_the_fold(found.unlike, categories, spec.inputs.text is not None)
    hints += filter(None, [lost_before(state, base, span)])
    faults = [*out_of_order(spec, logged.events), *folded_again(spec, logged.events, start)]
    if doubted.any():
        faults.append(
            f"The backfill's features of {np.count_nonzero(doubted):,} decided events are not "
            "those of a fold in total order: the backfill, or the scorer's fold."
        )
    return gather(
        "ideal",
        logged.times[logged.inside],
        found.differences,
        Counter(logged.bundles[logged.inside].tolist()),
        hints,
        faults,
        None if archive is None else archived.missing.num_rows,
    )


def _attribute(
    spec: Spec,
    logged: _Logged,
    order: OrderCauses,
    made: Offline,
    absent: _Absent,
    doubted: npt.NDArray[np.bool_],
    other_snapshot: npt.NDArray[np.bool_],
    bundle: str,
) -> _Found:
    """Every difference with its cause, and where to look for the unexplained."""
    names = numeric_names(spec)
    columns = differing_columns(made.numeric, logged.numeric) & made.there[:, None]
    scores = np.where(made.there, made.scores, logged.scores)
    other = differing_columns(made.inputs, logged.inputs) & made.there[:, None]
    differ = columns.any(1) | other.any(1) | (scores != logged.scores) | ~made.there
    differ &= logged.inside
    found, inputs = _Found([], Suspects(), Counter()), input_names(spec)
    strayed: list[tuple[int, tuple[str, ...]]] = []
    ids, of_graph = logged.ids.to_pylist(), graph_names(spec)
    for row in np.flatnonzero(differ).tolist():
        features = tuple(names[i] for i in np.flatnonzero(columns[row]))
        if not made.there[row]:
            cause = absent.cause(row)
        elif features and doubted[row]:
            cause = UNEXPLAINED
        elif absent.copied[row]:
            cause = COPY
        elif features:
            rest = features
            if other_snapshot[row]:
                rest = tuple(name for name in features if name not in of_graph)
            cause = logged.causes[row] or (order.cause(ids[row], rest) if rest else SNAPSHOT)
        else:
            cause = VERSION if logged.bundles[row] != bundle else UNEXPLAINED
        if cause == UNEXPLAINED and features:
            strayed.append((row, features))
        elif cause == UNEXPLAINED:
            changed = np.flatnonzero(other[row])
            found.unlike.update([inputs[i] for i in changed] or [""])
        found.differences.append(
            Difference(
                ids[row],
                int(logged.times[row]),
                cause,
                features,
                float(logged.scores[row]),
                float(scores[row]),
            )
        )
    if strayed:
        place = pc.index_in(
            logged.ids.take(pa.array([row for row, _ in strayed])),
            value_set=logged.events.column(EVENT_ID).combine_chunks(),
        )
        events = logged.events.select(event_schema(spec).names).take(place)
        batch = events.combine_chunks().to_batches()[0]
        found.suspects.add(spec, batch, [features for _, features in strayed])
    return found


def _other_snapshots(logged: _Logged, as_of: AsOf | None) -> npt.NDArray[np.bool_]:
    """Which events saw another snapshot than the newest that their time allows: bool `[s]`.

    It was published late: after the scorer had decided them.
    """
    if as_of is None:
        return np.zeros(len(logged.ids), np.bool_)
    wanted = as_of.names_at(logged.times).fill_null("")
    differ: npt.NDArray[np.bool_] = pc.not_equal(wanted, logged.snapshots.fill_null("")).to_numpy(
        zero_copy_only=False
    )
    return differ


def _fitting(spec: Spec, batches: Iterator[LogBatch]) -> Iterator[LogBatch]:
    """Batches whose events have the columns that the serving spec decodes.

    Raises:
      InputError: an earlier bundle's events lack a column.
    """
    for one in batches:
        lacking = [n for n in event_schema(spec).names if n not in one.batch.schema.names]
        if lacking:
            raise InputError(
                f"the log's events under bundle {one.fingerprint} lack column {lacking[0]!r} of "
                "the serving spec; give --days after the swap"
            )
        yield one


def _within_reach(events: pa.Table) -> npt.NDArray[np.bool_]:
    """Which logged events the backfill takes: not those that were late by days.

    One event with a time of years ago would have it make every day since then.
    """
    times = events.column(EVENT_TIME).to_numpy()
    late = events.column(LATE_COLUMN).combine_chunks().to_numpy(zero_copy_only=False)
    first = times.max() if late.all() else times[~late].min()
    return np.asarray(~late | (times >= day_us(day_of(first)) - DAY_US), np.bool_)


def _read_log(
    spec: Spec,
    state: Path,
    base: Base,
    span: TimeSpan | None,
    signatures: _InputSignatures,
    snapshots: Snapshots,
) -> _Logged:
    """The log from the base on, folded once more in its own order."""
    width, deep = len(numeric_names(spec)), len(input_names(spec))
    columns = [*event_schema(spec).names, LATE_COLUMN]
    events, ids, times, inside, scores, bundles = [], [], [], [], [], []
    seen: list[pa.Array] = []
    numeric: list[Floats] = []
    inputs: list[Floats] = []
    causes: list[str | None] = []
    batches = _fitting(spec, logged_batches(state, base, span))
    for one in replay(spec, base, batches, None, snapshots):
        events.append(pa.Table.from_batches([one.log.batch.select(columns)]))
        ids.append(one.scored.column(EVENT_ID))
        named = SNAPSHOT_COLUMN in one.scored.schema.names
        seen.append(
            one.scored.column(SNAPSHOT_COLUMN) if named else pa.nulls(len(ids[-1]), pa.string())
        )
        times.append(one.scored.column(EVENT_TIME).to_numpy())
        inside.append(one.inside)
        names = signatures.names(one.log.fingerprint)
        if names is None:
            scored = len(one.numeric)  # where nothing was, the block has no width
            numeric.append(one.numeric if scored else _null(0, width))
            causes += one.causes
        else:
            numeric.append(signatures.aligned(names, one.numeric))
            causes += [VERSION] * len(one.causes)
        took = np.asarray(matrix(one.scored.column(INPUTS), np.float32), np.float32)
        inputs.append(took if took.shape[1] == deep else _null(len(took), deep))
        scores.append(one.scored.column(SCORE).to_numpy())
        bundles += [one.log.fingerprint] * one.scored.num_rows
    if not sum(map(np.count_nonzero, inside)):
        raise nothing_in_range(state, base, span)
    return _Logged(
        pa.concat_tables(events).combine_chunks(),
        pa.concat_arrays(ids),
        pa.concat_arrays(seen),
        np.concatenate(times),
        np.concatenate(inside),
        np.concatenate(numeric),
        np.concatenate(inputs),
        np.concatenate(scores),
        np.array(bundles, object),
        causes,
    )


def _null(count: int, width: int) -> Floats:
    """What an event has of inputs that its bundle did not know."""
    return np.full((count, width), np.nan, np.float32)


def _ideal_side(spec: Spec, every: pa.Table, logged: _Logged, numeric: Floats) -> Sided:
    """Distinct events in total order, with what the backfill made of the scored ones."""
    events = distinct_in_order(spec, every)
    place = pc.index_in(events.column(EVENT_ID), value_set=logged.ids)
    scored = place.is_valid().to_numpy(zero_copy_only=False)
    return Sided(events, scored, numeric[place.drop_null().to_numpy()])
