"""The backfill's side of the ideal check: logged events through the real backfill.

It starts from a state that the scorer kept, with the bundle that serves.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from pipelines.backfill import BackfillRequest, backfill, read_features
from pipelines.backfill.publish import spec_marker
from pipelines.files import arrow_bytes, write_by_content
from pipelines.layout import FILES, STATE, Days, Layout, day_of, make_folders, write_json
from pipelines.states import WHOLE_RECENT_IDS, state_file
from scoring.columns import matrix
from scoring.engine import Resident
from scoring.steps import MODEL_INPUTS, SCORE
from transforms.inputs import numeric_names
from transforms.social.as_of import AsOf
from transforms.velocity import make_plan

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Offline:
    """The backfill's side of the scored events, in their order.

    Attributes:
      there: bool `[s]`; an event that had been folded before the log begins has no place in it.
    """

    numeric: Floats
    inputs: Floats
    scores: npt.NDArray[np.float64]
    there: npt.NDArray[np.bool_]


def recompute(
    spec: Spec,
    start: Resident | None,
    events: pa.Table,
    scratch: Path,
    bundle: Path,
    ids: pa.Array,
    snapshots: AsOf | None,
) -> Offline:
    """What a backfill over the events makes of those with some ids.

    Args:
      spec: the use.
      start: the state before the events; None: a cold start.
      events: distinct or not, in any order, with the columns of `event_schema`.
      scratch: an empty folder.
      bundle: that serves.
      ids: string `[s]`.
      snapshots: of the social graph; None where the spec reads none.
    """
    plain = archive_spec(spec)
    pq.write_table(events, scratch / "events.parquet")
    times = events.column(EVENT_TIME).to_numpy()
    days = Days(day_of(times.min()), day_of(times.max()))
    out = scratch / "out"
    if start is not None:
        _plant_state(plain, start, Layout(out), days.first - dt.timedelta(days=1))
    source = str(scratch / "events.parquet")
    backfill(BackfillRequest(plain, source, out, days, bundle=bundle, snapshots=snapshots))
    names = list(numeric_names(spec))
    table = read_features(Layout(out), list(days), [EVENT_ID, *names, MODEL_INPUTS, SCORE])
    place = pc.index_in(ids, value_set=table.column(EVENT_ID).combine_chunks())
    order = place.fill_null(0).to_numpy()
    block = np.stack([table.column(name).to_numpy() for name in names], 1)
    inputs = matrix(table.column(MODEL_INPUTS).combine_chunks(), np.float32)
    return Offline(
        block[order],
        np.asarray(inputs, np.float32)[order],
        table.column(SCORE).to_numpy()[order],
        place.is_valid().to_numpy(zero_copy_only=False),
    )


def archive_spec(spec: Spec) -> Spec:
    """The same use, reading events under the names that decode gives them."""
    events = dataclasses.replace(
        spec.events, id=EVENT_ID, time=EVENT_TIME, kind=KIND, aliases={}, max_dead_share=0.0
    )
    return dataclasses.replace(spec, events=events, ingest=())


def _plant_state(spec: Spec, resident: Resident, layout: Layout, day: dt.date) -> None:
    """Puts the scorer's state where a backfill looks for the day before."""
    tables = {WHOLE_RECENT_IDS: resident.recent.to_table()}
    for entity, whole in resident.states.items():
        for shard, part in enumerate(whole.split(make_plan(spec, entity), spec.shards)):
            tables[state_file(entity, shard)] = part.to_table()
    make_folders([layout.folder(STATE, day)])
    files = [
        write_by_content(layout.root, f"{STATE}/date={day}", name, arrow_bytes(table))
        for name, table in tables.items()
    ]
    write_json(layout.marker(day), {"day": str(day), **spec_marker(spec), FILES: {STATE: files}})
