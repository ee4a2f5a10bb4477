"""Decisions at arrival: what an event's features are now, with what waits before it.

An event is scored once it comes, on the state as it is and the events that wait in the disorder
buffer before it. That look changes no state: `Engine.look` folds, and what it makes of the keys is
dropped. The event is folded in total order later, as ever; where no earlier event came meanwhile
its features are the same bits, and its first score stands (`Decided.score`).

    now              look      state + waiting before it + it    -> first decision, revision 0
    after the bound  step      state + it                        -> the same bits: nothing more
                                                                    another action: revision 1

No clock, no I/O: the same calls give the same decisions.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from scoring.controls import Withheld
from scoring.engine import SCORED, Engine, Outcome
from scoring.hold_out import is_let_through
from scoring.limits import is_limited
from scoring.scorer import Scored
from transforms.derive import derive
from transforms.duplicates import hash_ids
from transforms.order import PLACE_TYPE, content_hash, order_events, places, total_order_by
from transforms.selection import scored_mask
from transforms.velocity import Plan, Rows, concat_rows, rows_by_entity

_LEAST_ROOM = 256

Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Arrived:
    """Events that came together.

    Attributes:
      events: decoded, `[n]`, as they came; no id twice.
      places: `[n]`, of the total order.
      rows: of each entity; `row` counts in `events`.
      contents: uint64 `[n]`, their `content_hash`.
    """

    events: pa.RecordBatch
    places: pa.Array
    rows: Mapping[str, Rows]
    contents: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, spec: Spec, plans: Mapping[str, Plan], events: pa.RecordBatch) -> Arrived:
        """These came."""
        return _arrived(spec, plans, events, derive(spec, events))


@dataclasses.dataclass(frozen=True)
class WaitingEvents:
    """Some events that wait: those with some keys.

    Attributes:
      numbers: int64 `[k]`, in order of arrival.
      times: int64 `[k]`, microseconds UTC.
      rows: of each entity; `row` counts in these.
      places_of: places of some of them, by where they stand here.
    """

    numbers: Int64s
    times: Int64s
    rows: Mapping[str, Rows]
    places_of: Callable[[Int64s], list[bytes]]

    def ranks_with(self, times: Int64s, places: pa.Array) -> Int64s:
        """Where these and some other events stand in their total order: int64 `[k + n]`.

        Args:
          times, places: of the others, `[n]`.
        """
        count = len(self.times)

        def places_of(which: Int64s) -> pa.Array:
            others = places.take(pa.array(which[which >= count] - count)).to_pylist()
            here, its = iter(self.places_of(which[which < count])), iter(others)
            return pa.array([next(here if one < count else its) for one in which], PLACE_TYPE)

        order = total_order_by(np.concatenate([self.times, times]), places_of)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank


class Waiting:
    """Events between their arrival and their fold, found by id and by key.

    So a look costs what came, and what waits with the same keys; not all that waits.

    Args:
      spec, plans: by which rows are made.
    """

    def __init__(self, spec: Spec, plans: Mapping[str, Plan]) -> None:
        self.spec, self._plans = spec, plans
        self._batches: dict[int, pa.RecordBatch] = {}  # number of the first event -> events
        self._numbers: dict[str, int] = {}  # id -> number, in order of arrival
        self._times = np.empty(_LEAST_ROOM, np.int64)  # by number, from `_first` on
        self._places: dict[int, bytes] = {}  # by number
        self._rows = {entity: _KeyedRows(plan) for entity, plan in plans.items()}
        self._first = self._next = 0

    @classmethod
    def of(cls, spec: Spec, plans: Mapping[str, Plan], events: pa.RecordBatch) -> Waiting:
        """These wait."""
        made = cls(spec, plans)
        made.add_events(events)
        return made

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, event: str) -> bool:
        return event in self._numbers

    def add(self, arrived: Arrived) -> None:
        """These wait too; none of them did."""
        events, first = arrived.events, self._next
        numbers = range(first, first + events.num_rows)
        self._make_room(events.num_rows)
        self._next = numbers.stop
        self._times[first - self._first : numbers.stop - self._first] = _times_of(events)
        self._numbers |= zip(events.column(EVENT_ID).to_pylist(), numbers, strict=True)
        self._places |= zip(numbers, arrived.places.to_pylist(), strict=True)
        for entity, rows in self._rows.items():
            rows.add(_quiet(arrived.rows[entity], first))
        if events.num_rows:
            self._batches[first] = events

    def add_events(self, events: pa.RecordBatch) -> None:
        """See `add`."""
        self.add(Arrived.of(self.spec, self._plans, events))

    def forget(self, ids: Iterable[str]) -> None:
        """These have been folded; those that did not wait are passed over."""
        gone = [self._numbers.pop(one) for one in ids if one in self._numbers]
        for number in gone:
            del self._places[number]
        for rows in self._rows.values():
            rows.forget(gone)
        oldest = self._oldest
        while self._batches:
            first, events = next(iter(self._batches.items()))
            if first + events.num_rows > oldest:
                break
            del self._batches[first]

    def events(self) -> pa.RecordBatch | None:
        """All that wait, in order of arrival; None where none does."""
        left = [
            batch.filter(pa.array([first + row in self._places for row in range(batch.num_rows)]))
            for first, batch in self._batches.items()
        ]
        return pa.concat_batches(left) if left else None

    def times(self) -> Int64s:
        """Event times of all that wait, microseconds UTC."""
        return self._times_at(np.fromiter(self._places, np.int64, len(self._places)))

    def number(self, event: str) -> int:
        """In order of arrival; -1: it does not wait."""
        return self._numbers.get(event, -1)

    def under(self, spec: Spec, plans: Mapping[str, Plan]) -> Waiting:
        """The same events as another bundle's spec makes rows of them."""
        if spec is self.spec or spec == self.spec:
            self.spec = spec
            return self
        events = self.events()
        return Waiting(spec, plans) if events is None else Waiting.of(spec, plans, events)

    def known(self, asked: Mapping[str, Rows]) -> WaitingEvents:
        """The events that wait with the keys of some rows."""
        found = {entity: self._rows[entity].of(rows.key) for entity, rows in asked.items()}
        numbers = [np.empty(0, np.int64), *(rows.row for rows in found.values())]
        here = np.sort(np.concatenate(numbers))
        here = here[np.diff(here, prepend=-1) > 0]  # as np.unique, which hashes
        return WaitingEvents(
            here,
            self._times_at(here),
            {
                entity: dataclasses.replace(rows, row=np.searchsorted(here, rows.row))
                for entity, rows in found.items()
            },
            lambda which: [self._places[number] for number in here[which].tolist()],
        )

    @property
    def _oldest(self) -> int:
        return next(iter(self._numbers.values()), self._next)

    def _times_at(self, numbers: Int64s) -> Int64s:
        return self._times[numbers - self._first]

    def _make_room(self, more: int) -> None:
        """For the times of so many events more; those of events that are gone go."""
        if self._next + more - self._first <= len(self._times):
            return
        live = self._times[self._oldest - self._first : self._next - self._first]
        self._first = self._oldest
        self._times = np.concatenate([live, np.empty(max(len(live), more, _LEAST_ROOM), np.int64)])

    def beside(self, arrived: Arrived) -> dict[str, Rows]:
        """Rows of the events that came and of those that wait with their keys, in total order.

        `row` counts in `arrived.events`; it is -1 in rows of events that wait.
        """
        known = self.known(arrived.rows)
        rank = known.ranks_with(_times_of(arrived.events), arrived.places)
        made = {}
        for entity, asked in arrived.rows.items():
            rows = known.rows[entity]
            ranks = np.concatenate([rank[rows.row], rank[len(known.times) + asked.row]])
            rows = dataclasses.replace(rows, row=np.full(len(rows), -1))
            made[entity] = concat_rows([rows, asked]).take(np.argsort(ranks, kind="stable"))
        return made


class _KeyedRows:
    """Rows of one entity that wait, by key and by number (`row`)."""

    def __init__(self, plan: Plan) -> None:
        self._rows = Rows.empty(plan)  # with room behind the first `_count`
        self._count = 0
        self._key: dict[int, int] = {}  # number -> key
        self._at: dict[int, dict[int, int]] = {}  # key -> number -> place in the rows

    def add(self, rows: Rows) -> None:
        if self._count + len(rows) > len(self._rows):
            self._make_room(len(rows))
        for field in dataclasses.fields(Rows):
            there, more = getattr(self._rows, field.name), getattr(rows, field.name)
            there[..., self._count : self._count + len(rows)] = more
        self._index(self._count, rows.row.tolist(), rows.key.tolist())
        self._count += len(rows)

    def _index(self, first: int, numbers: Sequence[int], keys: Sequence[int]) -> None:
        self._key |= zip(numbers, keys, strict=True)
        for place, (number, key) in enumerate(zip(numbers, keys, strict=True), first):
            self._at.setdefault(key, {})[number] = place

    def _make_room(self, more: int) -> None:
        """For as many rows again as are live, and no fewer than `more`; what is gone goes."""
        live = self.of(np.fromiter(self._at, np.uint64, len(self._at)))
        live = live.take(np.argsort(live.row))
        self._count = len(live)
        room = max(_LEAST_ROOM, more, len(live))
        arrays = (getattr(live, field.name) for field in dataclasses.fields(Rows))
        self._rows = Rows(
            *(
                np.concatenate([one, np.empty((*one.shape[:-1], room), one.dtype)], axis=-1)
                for one in arrays
            )
        )
        self._at = {}
        self._index(0, live.row.tolist(), live.key.tolist())

    def forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            key = self._key.pop(number, None)
            if key is None:
                continue
            del self._at[key][number]
            if not self._at[key]:
                del self._at[key]

    def of(self, keys: npt.NDArray[np.uint64]) -> Rows:
        """The rows with one of some keys."""
        found = [self._at[key].values() for key in dict.fromkeys(keys.tolist()) if key in self._at]
        places = itertools.chain.from_iterable(found)
        return self._rows.take(np.fromiter(places, np.int64, sum(map(len, found))))


def _times_of(events: pa.RecordBatch) -> Int64s:
    return np.asarray(events.column(EVENT_TIME).to_numpy(), np.int64)


def look(engine: Engine, waiting: Waiting, fresh: pa.RecordBatch) -> tuple[Outcome, Arrived]:
    """Decides events as they come; the engine's state and what waits stay as they are.

    Args:
      engine: whose state, spec and scorer are of now.
      waiting: what came before, and is not folded; by the engine's spec.
      fresh: decoded events `[n]`, none of which is folded or waits (`unseen`).

    Returns:
      The outcome, of `fresh` in its order; and what is to wait (`Waiting.add`).
    """
    spec = engine.spec
    derived, mask = derive(spec, fresh), scored_mask(spec, fresh)
    arrived = _arrived(spec, engine.plans, fresh, derived)
    made, _ = engine.look(derived, mask, waiting.beside(arrived))
    return engine.outcome(fresh, np.zeros(fresh.num_rows, np.bool_), mask, made), arrived


def unseen(engine: Engine, waiting: Waiting, came: pa.RecordBatch) -> pa.RecordBatch:
    """Events that are neither folded nor wait, each once: of copies the first in total order."""
    ids = came.column(EVENT_ID)
    names = ids.to_pylist()
    keep = ~engine.resident.recent.known(*hash_ids(ids), came.column(EVENT_TIME).to_numpy())
    keep &= np.array([one not in waiting for one in names], np.bool_)
    if len(set(names)) == len(names):
        return came if keep.all() else came.filter(pa.array(keep))
    order = order_events(engine.spec, came)
    order = order[keep[order]]
    _, firsts = np.unique(pc.dictionary_encode(ids).indices.to_numpy()[order], return_index=True)
    return came.take(pa.array(np.sort(order[firsts])))


@dataclasses.dataclass(frozen=True)
class First:
    """The first decision on an event, and what it was made of."""

    contents: int
    numeric: npt.NDArray[np.float32]
    inputs: npt.NDArray[np.float32]
    raw: float
    score: float
    action: str
    bundle: str
    withheld: Withheld | None = None


class Decided:
    """First decisions on events that wait."""

    def __init__(self) -> None:
        self._of: dict[str, First] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, spec: Spec, outcome: Outcome, arrived: Arrived | None = None) -> None:
        """Those that `look` made; it made `arrived` too."""
        scored = outcome.scored
        if scored is None:
            return
        mask = outcome.events.column(SCORED)
        contents = content_hash(spec, outcome.events) if arrived is None else arrived.contents
        rows = zip(
            outcome.events.column(EVENT_ID).filter(mask).to_pylist(),
            contents[mask.to_numpy(zero_copy_only=False)].tolist(),
            scored.raw.tolist(),
            scored.score.tolist(),
            scored.actions().to_pylist(),
            strict=True,
        )
        for row, (event, said, raw, score, action) in enumerate(rows):
            self._of[event] = First(
                said,
                outcome.numeric[row].copy(),
                scored.inputs[row].copy(),
                raw,
                score,
                action,
                outcome.bundle,
                scored.withheld.get(row),
            )

    def forget(self, ids: Iterable[str]) -> None:
        """These have been folded."""
        for event in ids:
            self._of.pop(event, None)

    def score(
        self, engine: Engine, numeric: npt.NDArray[np.float32], asked: pa.RecordBatch
    ) -> Scored:
        """As the engine's scorer does; what has the same inputs as at its arrival keeps its score.

        Args:
          engine: whose scorer decides now.
          numeric, asked: as `Scorer.score`.
        """
        scorer = engine.scorer
        if scorer is None:
            raise ValueError("an engine without a scorer; give it one")
        ids = asked.column(EVENT_ID).to_pylist()
        contents = content_hash(engine.spec, asked).tolist()
        kept: list[tuple[int, First]] = []
        for row, event in enumerate(ids):
            first = self._of.get(event)
            if (
                first is not None
                and first.bundle == scorer.name
                and first.contents == contents[row]
                and not is_limited(first.withheld)  # in order, another action may be due
                and first.numeric.tobytes() == numeric[row].tobytes()
            ):
                kept.append((row, first))
        rest = np.setdiff1d(np.arange(len(ids)), [row for row, _ in kept])
        if len(rest) == len(ids):
            return scorer.score(numeric, asked)
        names = scorer.bundle.policy.names
        inputs = np.empty((len(ids), len(kept[0][1].inputs)), np.float32)
        raw, score = np.empty(len(ids), np.float32), np.empty(len(ids), np.float64)
        action = np.empty(len(ids), np.int8)
        withheld: dict[int, Withheld] = {}
        for row, first in kept:
            inputs[row], raw[row], score[row] = first.inputs, first.raw, first.score
            action[row] = names.index(first.action)
            if first.withheld is not None:
                withheld[row] = first.withheld
        if len(rest):
            made = scorer.score(numeric[rest], asked.take(pa.array(rest)))
            inputs[rest], raw[rest], score[rest] = made.inputs, made.raw, made.score
            action[rest] = made.action
            withheld |= {int(rest[row]): one for row, one in made.withheld.items()}
        return Scored(inputs, raw, score, action, names, withheld)

    def revisions(self, outcome: Outcome) -> list[int | None]:
        """For each scored event: 1, other action or held out by one alone; 0, none before; None."""
        if outcome.scored is None:
            return []
        ids = outcome.events.column(EVENT_ID).filter(outcome.events.column(SCORED)).to_pylist()
        made, held = outcome.scored.actions().to_pylist(), outcome.scored.withheld
        return [self._revision(one, made[row], held.get(row)) for row, one in enumerate(ids)]

    def _revision(self, event: str, action: str, held: Withheld | None) -> int | None:
        first = self._of.get(event)
        if first is None:
            return 0
        revised = first.action != action or is_let_through(first.withheld) != is_let_through(held)
        return 1 if revised else None


def _arrived(
    spec: Spec, plans: Mapping[str, Plan], events: pa.RecordBatch, derived: pa.RecordBatch
) -> Arrived:
    said = content_hash(spec, events)
    return Arrived(events, places(spec, events, said), rows_by_entity(plans, derived), said)


def _quiet(rows: Rows, first: int) -> Rows:
    """Rows that ask nothing, of events numbered from `first` on."""
    return dataclasses.replace(rows, query=np.zeros(len(rows), np.bool_), row=rows.row + first)
