"""Which difference the arrival of events explains: late, twice, never, or as another copy.

What enters: the log in fold order, and what an archive has beyond it. What leaves: for an event
whose ideal value is another, the cause; but only one that reached it, through a key of the very
entities whose features differ, by an event that lies at or before it in time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from scoring.columns import clock_of
from scoring.engine import Resident
from scoring.parity.compare import COPY, DUPLICATE, HAND_OFF, LATE, MISSING, UNEXPLAINED
from transforms.decode import event_schema
from transforms.derive import derive
from transforms.duplicates import RecentIds, hash_ids
from transforms.keys import entities_of, entity_keys
from transforms.order import order_events
from transforms.ticks import LATE as LATE_COLUMN

_CAUSES = (HAND_OFF, MISSING, DUPLICATE, COPY, LATE)


@dataclasses.dataclass(frozen=True)
class OrderCauses:
    """What came late, twice or never, or was lost at the hand-off, by entity and key.

    Attributes:
      since: cause -> entity -> key -> time of the earliest such event.
      keys: entity -> id of a logged event -> its key.
      times: id of a logged event -> its time.
      entities: numeric input -> entities that it is made of.
    """

    since: dict[str, dict[str, dict[int, int]]]
    keys: dict[str, dict[str, int]]
    times: dict[str, int]
    entities: dict[str, frozenset[str]]

    @classmethod
    def of(cls, spec: Spec, events: pa.Table, archived: Archived, recent: RecentIds) -> OrderCauses:
        """Looks through the log and what it lacks.

        Args:
          spec: the use.
          events: the log: decoded columns and `lockstep_late`.
          archived: events that never arrived, or that another copy stood for.
          recent: ids that were folded before the log begins.
        """
        columns = event_schema(spec).names
        ids = events.column(EVENT_ID).combine_chunks()
        counts = pc.value_counts(ids)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        new = recent.copy().take(*hash_ids(ids), events.column(EVENT_TIME).to_numpy())
        twice = pa.concat_arrays([twice, ids.filter(pa.array(~new))])
        kept = events.filter(pc.invert(events.column(LATE_COLUMN))).column(EVENT_TIME)
        missing = archived.missing
        before = pc.less(missing.column(EVENT_TIME), pc.min(kept))
        copied = pc.is_in(ids, value_set=archived.copies.column(EVENT_ID).combine_chunks())
        parts = {
            COPY: pa.concat_tables([archived.copies, events.filter(copied).select(columns)]),
            MISSING: missing.filter(pc.invert(before)),
            HAND_OFF: missing.filter(before),
            DUPLICATE: events.filter(pc.is_in(ids, value_set=twice)).select(columns),
            LATE: events.filter(events.column(LATE_COLUMN)).select(columns),
        }
        since = {cause: _earliest(spec, table) for cause, table in parts.items()}
        touched = {
            name: {key for one in since.values() for key in one[name]} for name in spec.entities
        }
        keys: dict[str, dict[str, int]] = {name: {} for name in spec.entities}
        for batch in events.select(columns).to_batches():
            derived = derive(spec, batch)
            names = batch.column(EVENT_ID)
            for entity in spec.entities:
                found = entity_keys(spec, entity, derived)
                rows = np.flatnonzero(np.isin(found, np.array(list(touched[entity]), np.uint64)))
                chosen = names.take(pa.array(rows)).to_pylist()
                keys[entity].update(zip(chosen, found[rows].tolist(), strict=True))
        times = dict(zip(ids.to_pylist(), events.column(EVENT_TIME).to_pylist(), strict=True))
        return cls(since, keys, times, entities_of(spec))

    def cause(self, event: str, features: Sequence[str]) -> str:
        """The cause of an event's differing features; each of them must have one.

        Of several causes that reached the event, the first of `_CAUSES`.
        """
        found = set()
        for name in features:
            reached = [
                cause
                for cause in _CAUSES
                if any(self._reaches(cause, entity, event) for entity in self.entities[name])
            ]
            if not reached:
                return UNEXPLAINED
            found.add(reached[0])
        return next(one for one in _CAUSES if one in found)

    def _reaches(self, cause: str, entity: str, event: str) -> bool:
        key = self.keys[entity].get(event)
        began = self.since[cause][entity].get(key) if key is not None else None
        return began is not None and began <= self.times[event]


@dataclasses.dataclass(frozen=True)
class Archived:
    """What an archive has beyond the log: decoded events.

    Attributes:
      missing: ids that never arrived.
      copies: of ids that did, records that are the event by the rule, but were not folded: within
        the deduplication horizon, and earlier in the total order than what was.
    """

    missing: pa.Table
    copies: pa.Table


def folded_again(spec: Spec, events: pa.Table, start: Resident) -> list[str]:
    """Whether the scorer folded an id again that it had to know, in words.

    An id is known until the scorer's clock is the deduplication horizon beyond its event; a copy
    that comes later is no fault.

    Args:
      spec: the use.
      events: the log in fold order: decoded columns and `lockstep_late`.
      start: the state before the first one.
    """
    if not events.num_rows:
        return []
    batch = events.combine_chunks().to_batches()[0]
    times = batch.column(EVENT_TIME).to_numpy()
    clocks = clock_of(batch, *([start.position.time_us] if start.position else []))
    again = ~start.recent.copy().take(*hash_ids(batch.column(EVENT_ID)), times)
    wrong = int(np.count_nonzero(again & (clocks <= times + spec.events.dedup_us)))
    if not wrong:
        return []
    return [
        f"{wrong:,} events were folded again within the deduplication horizon: the scorer's memory "
        "of ids."
    ]


def out_of_order(spec: Spec, events: pa.Table) -> list[str]:
    """Whether the log itself breaks the total order, in words.

    Args:
      spec: the use.
      events: in fold order, with `lockstep_late`; late ones are allowed to.
    """
    kept = events.filter(pc.invert(events.column(LATE_COLUMN)))
    times = kept.column(EVENT_TIME).to_numpy()
    order = order_events(spec, kept)
    wrong = int(np.count_nonzero(order != np.arange(len(order))))
    if not wrong:
        return []
    tied = bool((times[1:] >= times[:-1]).all())
    rule = (
        "of equal time are not in the order of their places: the scorer's tie rule"
        if tied
        else ("are not in the order of their times: the scorer's disorder buffer")
    )
    return [f"{wrong:,} logged events {rule}."]


def _earliest(spec: Spec, table: pa.Table) -> dict[str, dict[int, int]]:
    """Entity -> key -> time of its earliest event."""
    found: dict[str, dict[int, int]] = {name: {} for name in spec.entities}
    for batch in table.to_batches():
        derived = derive(spec, batch)
        times = batch.column(EVENT_TIME).to_pylist()
        for entity in spec.entities:
            first = found[entity]
            for key, time in zip(entity_keys(spec, entity, derived).tolist(), times, strict=True):
                if key:
                    first[key] = min(first.get(key, time), time)
    return found
