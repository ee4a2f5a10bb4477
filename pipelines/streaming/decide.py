"""`Decide`: folded events to rows of the log, each scored one with its decision.

What `Features` gives of unbounded input (`transforms.ticks`) goes through the scorer that serves,
and comes out as the embedded scorer logs it (`scoring.engine.log_batch`): same columns, same bytes
of decisions. Score and decision are made at once, so that one model bundle stands behind both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from configs.fingerprint import campaigns_fingerprint
from configs.schema import Spec
from pipelines.campaign_snapshots import CampaignsBeside, shared_campaigns
from pipelines.streaming.decisions import encode_decisions
from scoring.controls import Withheld
from scoring.engine import ACTION, DECISION, SCORED, Looked, Outcome, log_batch
from scoring.limit_log import CHOICES, CHOICES_TYPE
from scoring.limits import LIMITED, LIMITS, rules_of, rules_text, weaker_actions
from scoring.scorer import Scorer
from scoring.serving import POLL_SECONDS, Serving, shared_serving
from transforms.batches import ShardKey
from transforms.decode import event_schema
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
      limits: actions are counted behind this (`pipelines.streaming.limited`): rows have what that
        needs. Else a bundle with limits is not taken.
    """

    spec: Spec
    bundles: str
    scored: bool = True
    poll_seconds: float = POLL_SECONDS
    limits: bool = False

    def expand(self, folded: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Keyed]:
        """Applies it."""
        return folded | "Decide" >> beam.ParDo(
            _Decide(self.spec, self.bundles, self.scored, self.poll_seconds, self.limits)
        ).with_output_types(Keyed)


def decide_batch(
    spec: Spec,
    batch: pa.RecordBatch,
    scorer: Scorer,
    score: bool = True,
    limits: bool = False,
    campaigns: CampaignsBeside | None = None,
) -> pa.RecordBatch:
    """A tick's events of one shard as log rows, tagged as they were; their step is 0 so far.

    Args:
      spec: that the features are of; it names the decisions.
      batch: as `Features` gives it.
      scorer: that serves.
      score: whether the events are scored.
      limits: whether actions are to be counted: then rows have the actions that are due, the limits
        in force (null where there are none), and `CHOICES`.
      campaigns: where the decisions of the bundle name theirs by; None: they name none.
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
    own = scorer.bundle.spec
    asked = pa.RecordBatch.from_struct_array(batch.column(EVENT).slice(0, count * score))
    named = None if campaigns is None else campaigns.known(own, asked)
    looked = Looked(numeric, sequences, scored, campaigns=named)
    outcome = Outcome(
        events, numeric, sequences, scored, scorer.name, 0, snapshots=names, looked=looked
    )
    rows = log_batch(outcome, 0, encode_decisions(spec, outcome, scorer))
    if limits:
        text = pa.array([rules_text(rules_of(scorer).values())] * count, pa.string())
        rows = rows.append_column(LIMITS, text)
        rows = rows.append_column(CHOICES, _choices(spec, outcome, scorer))
    for name in (TICK, PLACE_IN_TIME):
        rows = rows.append_column(name, batch.column(name))
    return tag_batch(rows, **tags_of(batch))


def _choices(spec: Spec, outcome: Outcome, scorer: Scorer) -> pa.Array:
    """Weaker actions that events may get over a limit, strongest first; null: not due for one."""
    scored, choices = outcome.scored, dict[int, list[dict[str, str | bytes | None]]]()
    asking = {} if scored is None else weaker_actions(scorer, scored)
    for place in range(1, max(map(len, asking.values()), default=0)):
        numbers = {row: one[place] for row, one in asking.items() if place < len(one)}
        weaker = _with_actions(outcome, numbers)
        names = [] if weaker.scored is None else weaker.scored.actions().to_pylist()
        made = zip(numbers, names, encode_decisions(spec, weaker, scorer), strict=True)
        for row, name, decision in made:
            choices.setdefault(row, []).append({ACTION: name, DECISION: decision})
    return pa.array([choices.get(row) for row in range(outcome.events.num_rows)], CHOICES_TYPE)


def _with_actions(outcome: Outcome, numbers: Mapping[int, int]) -> Outcome:
    """Some events of an outcome, all scored, with the weaker actions that a limit leaves them."""
    scored, rows = outcome.scored, np.fromiter(numbers, np.int64)
    if scored is None or outcome.looked is None:
        raise ValueError("nothing was scored, so no action is due")
    due = scored.action[rows].tolist()
    few = dataclasses.replace(
        scored,
        inputs=scored.inputs[rows],
        raw=scored.raw[rows],
        score=scored.score[rows],
        action=np.fromiter(numbers.values(), np.int8),
        withheld={row: Withheld(scored.names[one], LIMITED) for row, one in enumerate(due)},
    )
    events, numeric = outcome.events.take(pa.array(rows)), outcome.numeric[rows]
    sequences, named = outcome.sequences[rows], outcome.looked.campaigns
    looked = Looked(numeric, sequences, few, campaigns=named and named.take(rows))
    return Outcome(events, numeric, sequences, few, outcome.bundle, 0, looked=looked)


class _Decide(beam.DoFn):
    def __init__(
        self, spec: Spec, bundles: str, scored: bool, poll_seconds: float, limits: bool = False
    ) -> None:
        self._spec, self._scored, self._limits = spec, scored, limits
        self._bundles, self._poll_seconds = bundles, poll_seconds
        self._decided = Metrics.counter("lockstep", "decisions")
        self._swaps = Metrics.counter("lockstep", "bundle_swaps")
        self._serving: Serving | None = None

    def setup(self) -> None:
        """Loads the bundle, once per process."""
        self._serving = self._shared()

    def process(self, batch: pa.RecordBatch) -> Iterator[Keyed]:
        """Decides a batch by one bundle."""
        serving = self._serving or self._shared()
        before = serving.swaps
        scorer = serving.current().under(serving.controls)
        self._swaps.inc(serving.swaps - before)
        self._decided.inc(batch.num_rows if self._scored else 0)
        beside = shared_campaigns(self._bundles, self._poll_seconds)
        rows = decide_batch(self._spec, batch, scorer, self._scored, self._limits, beside)
        yield ShardKey("log", int(tags_of(batch)["shard"])), rows

    def _shared(self) -> Serving:
        counted = tuple(event_schema(self._spec).names) if self._limits else ()
        named = "" if self._spec.campaigns is None else campaigns_fingerprint(self._spec)
        return shared_serving(self._bundles, self._poll_seconds, counted, named)
