"""A cross-check of the ideal values: the scorer's fold, over the same events in total order.

The backfill must give the same bits. Where it does not, one of the two is at fault, and no late,
missing or twice folded event is an excuse, because this fold has none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from scoring.engine import SCORED, Engine, Resident
from scoring.parity.compare import differing_columns
from transforms.duplicates import RecentIds, hash_ids
from transforms.order import order_events
from transforms.social.as_of import NO_SNAPSHOTS, Snapshots

_BATCH_EVENTS = 16_384

Floats = npt.NDArray[np.float32]


def distinct_in_order(spec: Spec, events: pa.Table) -> pa.RecordBatch:
    """Events in total order, without those that repeat the id of an earlier one: decoded `[m]`."""
    ordered = events.take(pa.array(order_events(spec, events))).combine_chunks()
    hashes = hash_ids(ordered.column(EVENT_ID))
    new = RecentIds(spec.events.dedup_us).take(*hashes, ordered.column(EVENT_TIME).to_numpy())
    return ordered.filter(pa.array(new)).combine_chunks().to_batches()[0]


def contradicted(
    spec: Spec,
    start: Resident,
    events: pa.Table,
    ids: pa.Array,
    numeric: Floats,
    snapshots: Snapshots = NO_SNAPSHOTS,
) -> npt.NDArray[np.bool_]:
    """Which of the backfill's numeric blocks the engine does not give in any bit: bool `[s]`.

    Args:
      spec: the use.
      start: the state before the first event.
      events: decoded, each id once or more.
      ids: of the events that are looked at `[s]`.
      numeric: float32 `[s, K]`, the backfill's.
      snapshots: of the social graph.

    Ids that the engine does not decide (the state knew them) are not contradicted.
    """
    batch = distinct_in_order(spec, events)
    engine = Engine(spec, start.copy(), None, snapshots)
    found, blocks = [], []
    for begin in range(0, batch.num_rows, _BATCH_EVENTS):
        piece = batch.slice(begin, _BATCH_EVENTS)
        outcome = engine.step(piece, np.zeros(piece.num_rows, np.bool_))
        found.append(outcome.events.column(EVENT_ID).filter(outcome.events.column(SCORED)))
        blocks.append(outcome.numeric)
    place = pc.index_in(ids, value_set=pa.concat_arrays(found))
    known = place.is_valid().to_numpy(zero_copy_only=False)
    block = np.concatenate(blocks)[place.drop_null().to_numpy()]
    differs = np.zeros(len(ids), np.bool_)
    differs[known] = differing_columns(numeric[known], block).any(1)
    return differs
