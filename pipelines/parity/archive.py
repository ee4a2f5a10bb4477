"""What an archive of events has beyond a scorer's log."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.sources import open_source, read_split
from scoring.parity.causes import Archived
from transforms.decode import event_schema
from transforms.duplicates import RecentIds, hash_ids
from transforms.order import places
from transforms.ticks import LATE as LATE_COLUMN


def look_through(
    spec: Spec,
    events: pa.Table,
    archive: str | None,
    recent: RecentIds,
    begin_us: int | None = None,
) -> Archived:
    """Events of the archive that the log should have and has not.

    That is from the day that the scorer started after, else from the log's first event that was
    not late, to its last one; what lies outside was folded before, or may still come.

    Args:
      spec: of the archive.
      events: the log: decoded columns and `lockstep_late`.
      archive: file, folder or glob; None: nothing is known to be missing.
      recent: ids that were folded before the log begins.
      begin_us: the end of that day, microseconds UTC.
    """
    empty = event_schema(spec).empty_table()
    nothing = Archived(empty, empty)
    times = events.filter(pc.invert(events.column(LATE_COLUMN))).column(EVENT_TIME).to_numpy()
    if archive is None or not len(times):
        return nothing
    first, last = int(times.min()), int(times.max())
    first = first if begin_us is None else min(first, begin_us)
    known = events.column(EVENT_ID).combine_chunks()
    before = recent.copy()
    found, copies = [empty], [empty]
    for split in open_source(archive, spec):
        if split.min_us is not None and split.min_us > last:
            continue
        for made in read_split(split, spec):
            batch = made.batch
            moments = batch.column(EVENT_TIME).to_numpy()
            fresh = ~pc.is_in(batch.column(EVENT_ID), value_set=known).to_numpy(
                zero_copy_only=False
            )
            fresh &= (moments >= first) & (moments < last)
            chosen = batch.filter(pa.array(fresh))
            new = before.take(*hash_ids(chosen.column(EVENT_ID)), moments[fresh])
            found.append(pa.Table.from_batches([chosen.filter(pa.array(new))]))
            again = batch.filter(pa.array(moments >= first))
            copies.append(_other_copies(spec, events, known, again))
    return Archived(
        pa.concat_tables(found).combine_chunks(), pa.concat_tables(copies).combine_chunks()
    )


def _other_copies(
    spec: Spec, events: pa.Table, known: pa.StringArray, batch: pa.RecordBatch
) -> pa.Table:
    """Records of ids that were logged, each earlier in the total order than what was logged."""
    found = pc.index_in(batch.column(EVENT_ID), value_set=known)
    rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    at = found.drop_null().to_numpy()
    gap = events.column(EVENT_TIME).to_numpy()[at] - batch.column(EVENT_TIME).to_numpy()[rows]
    near = (gap >= 0) & (gap <= spec.events.dedup_us)
    rows, at, gap = rows[near], at[near], gap[near]
    tied = np.flatnonzero(gap == 0)
    columns = event_schema(spec).names
    of_batch = places(spec, batch.take(pa.array(rows[tied]))).to_pylist()
    of_log = places(spec, events.select(columns).take(pa.array(at[tied]))).to_pylist()
    earlier = gap > 0
    earlier[tied] = [one < other for one, other in zip(of_batch, of_log, strict=True)]
    return pa.Table.from_batches([batch.take(pa.array(rows[earlier]))])
