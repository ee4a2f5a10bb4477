"""`Decide`: folded events to rows of the log, each scored one with its decision.

What `Features` gives of unbounded input (`transforms.ticks`) goes through the scorer that serves,
and comes out as the embedded scorer logs it (`scoring.engine.log_batch`): same columns, same bytes
of decisions. Score and decision are made at once, so that one model bundle stands behind both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from configs.schema import Spec
from pipelines.streaming.decisions import encode_decisions
from scoring.engine import SCORED, Outcome, log_batch
from scoring.scorer import Scorer
from scoring.serving import POLL_SECONDS, Serving, shared_serving
from transforms.batches import ShardKey
from transforms.inputs import input_arrays
from transforms.steps.shards import Keyed
from transforms.steps.stamps import tag_batch, tags_of
from transforms.ticks import EVENT, LATE, PLACE_IN_TIME, SEQUENCES, SNAPSHOT, TICK


@dataclasses.dataclass(eq=False)
class Decide(beam.PTransform):
    """Rows (or others) of `Features` to batches of log rows, by shard of the event ids.

    Args:
      spec: that the features are of.
      bundles: folder of a bundle, or of a store, whose serving bundle is followed.
      scored: whether the events are scored; else they are logged under the bundle that serves.
      poll_seconds: how often a store's pointer is looked at.
    """

    spec: Spec
    bundles: str
    scored: bool = True
    poll_seconds: float = POLL_SECONDS

    def expand(self, folded: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Keyed]:
        """Applies it."""
        return folded | "Decide" >> beam.ParDo(
            _Decide(self.spec, self.bundles, self.scored, self.poll_seconds)
        ).with_output_types(Keyed)


def decide_batch(
    spec: Spec, batch: pa.RecordBatch, scorer: Scorer, score: bool = True
) -> pa.RecordBatch:
    """A tick's events of one shard as log rows, tagged as they were; their step is 0 so far.

    Args:
      spec: that the features are of; it names the decisions.
      batch: as `Features` gives it.
      scorer: that serves.
      score: whether the events are scored.
    """
    count = batch.num_rows
    table = pa.Table.from_batches([batch])
    events = pa.RecordBatch.from_struct_array(batch.column(EVENT))
    mask = np.full(count, score)
    events = events.append_column(LATE, batch.column(LATE))
    events = events.append_column(SCORED, pa.array(mask))
    numeric, sequences = np.empty((0, 0), np.float32), np.empty((0, 0), np.int64)
    scored = None
    if score:
        numeric, asked = input_arrays(scorer.bundle.spec, table)
        for name in scorer.reads:
            if name in events.schema.names and name not in asked.schema.names:
                asked = asked.append_column(name, events.column(name))
        scored = scorer.score(numeric, asked)
        flat = batch.column(SEQUENCES).flatten().to_numpy()
        sequences = np.asarray(flat, np.int64).reshape(count, -1)
    names = batch.column(SNAPSHOT) if SNAPSHOT in batch.schema.names else None
    outcome = Outcome(events, numeric, sequences, scored, scorer.name, 0, snapshots=names)
    rows = log_batch(outcome, 0, encode_decisions(spec, outcome, scorer))
    for name in (TICK, PLACE_IN_TIME):
        rows = rows.append_column(name, batch.column(name))
    return tag_batch(rows, **tags_of(batch))


class _Decide(beam.DoFn):
    def __init__(self, spec: Spec, bundles: str, scored: bool, poll_seconds: float) -> None:
        self._spec, self._scored = spec, scored
        self._bundles, self._poll_seconds = bundles, poll_seconds
        self._decided = Metrics.counter("lockstep", "decisions")
        self._swaps = Metrics.counter("lockstep", "bundle_swaps")
        self._serving: Serving | None = None

    def setup(self) -> None:
        """Loads the bundle, once per process."""
        self._serving = shared_serving(self._bundles, self._poll_seconds, acts=True)

    def process(self, batch: pa.RecordBatch) -> Iterator[Keyed]:
        """Decides a batch by one bundle."""
        serving = self._serving or shared_serving(self._bundles, self._poll_seconds, acts=True)
        before = serving.swaps
        scorer = serving.current().under(serving.controls)
        self._swaps.inc(serving.swaps - before)
        self._decided.inc(batch.num_rows if self._scored else 0)
        rows = decide_batch(self._spec, batch, scorer, self._scored)
        yield ShardKey("log", int(tags_of(batch)["shard"])), rows
