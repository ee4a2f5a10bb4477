"""Scores published days with a model bundle: what `evaluate` and the nightly measure.

    ReadDays ─ Score ─ narrow ─ WriteDays ─ WriteManifest

Workers read the wide columns and score; one machine gets six columns of each event, in total order.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import uuid
from collections.abc import Mapping, Sequence

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import BundleError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.failures import FAILURES
from pipelines.files import open_parquet
from pipelines.layout import make_folders
from pipelines.read_days import ReadDays
from pipelines.runners import Running, run_pipeline
from pipelines.writers import MANIFEST, SCORES, WriteDays, WriteManifest
from scoring.files import Place, join, read_file, remove_folder
from scoring.scorer import Bundle
from scoring.steps import ACTION, RAW, SCORE, Score
from training.daily import DailyNumber, daily_numbers
from training.dataset import TimeRange
from training.evaluate import Metrics, evaluate
from training.groups import encode_groups

GROUP = "group"
MADE = (RAW, SCORE, ACTION)


@dataclasses.dataclass(frozen=True)
class ScoreRequest:
    """What is scored, and by what.

    Attributes:
      spec: of the bundle; its `evaluation` names the column of the group.
      bundle: its folder.
      parts: files of published days, in total order.
      start_us, end_us: half-open range of event times.
      limit: the largest hash of an event's id that is scored; None: all.
    """

    spec: Spec
    bundle: str
    parts: Sequence[str]
    start_us: int
    end_us: int
    limit: int | None = None


def build(root: beam.Pipeline, request: ScoreRequest, attempt: str) -> None:
    """Applies the steps; they write to the attempt's folder."""
    spec, group = request.spec, request.spec.evaluation.group
    _ = (
        root
        | ReadDays(request.parts, spec, request.start_us, request.end_us, attempt, request.limit)
        | Score(request.bundle, columns=MADE)
        | "Narrow" >> beam.Map(narrow, group).with_output_types(pa.RecordBatch)
        | WriteDays(spec, attempt, attempt, SCORES)
        | WriteManifest(attempt)
    )


def narrow(batch: pa.RecordBatch, group: str | None) -> pa.RecordBatch:
    """Scored events without what they were scored from.

    Args:
      batch: as `Score` gives it, its columns last.
      group: the column that is kept as `group`; None: there is none.

    >>> wide = pa.RecordBatch.from_pydict(
    ...     {"event_id": ["a"], "event_time": [1], "x": [2], RAW: [3], SCORE: [4], ACTION: [5]}
    ... )
    >>> narrow(wide, "x").to_pydict()
    {'event_id': ['a'], 'event_time': [1], 'group': [2], 'raw': [3], 'score': [4], 'action': [5]}
    """
    names = batch.schema.names
    kept = {EVENT_ID: EVENT_ID, EVENT_TIME: EVENT_TIME, **({GROUP: group} if group else {})}
    columns = {name: batch.column(names.index(read)) for name, read in kept.items()}
    columns |= dict(zip(MADE, batch.columns[-len(MADE) :], strict=True))
    made = pa.RecordBatch.from_pydict(columns)
    return made.replace_schema_metadata(batch.schema.metadata)


def score_days(request: ScoreRequest, running: Running, shared: Place) -> pa.Table:
    """Scored events in total order: event_id, event_time, `group` if any, raw, score, action.

    Args:
      request: what is scored.
      running: where the pipeline runs.
      shared: a folder that workers on other machines see; not used where it runs on this one.

    Raises:
      InputError: a file is not what it should be.
      BundleError: the bundle is damaged.
    """
    attempt = join(tempfile.gettempdir() if running.embedded else shared, f".score-{uuid.uuid4()}")
    try:
        make_folders(join(attempt, folder) for folder in (FAILURES, SCORES))
        run_pipeline(lambda root: build(root, request, attempt), running, attempt)
        lines = [json.loads(line) for line in read_file(join(attempt, MANIFEST)).splitlines()]
        lines.sort(key=lambda line: int(line["start"]))
        tables = [open_parquet(join(attempt, line["path"])).read() for line in lines]
        return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    finally:
        remove_folder(attempt)


def measure(
    bundle: Bundle,
    scored: pa.Table,
    labels: npt.NDArray[np.int8],
    top: int | None = None,
    seed: int = 0,
    clusters: npt.NDArray[np.int64] | None = None,
    daily: Mapping[str, DailyNumber] | None = None,
) -> Metrics:
    """Metrics of scored events, with the bundle's thresholds.

    Args:
      bundle: that scored.
      scored: `[n]` events, as `pipelines.score_days` gives them.
      labels: int8 `[n]`.
      top: size of a day's worklist; None: as the bundle's spec says.
      seed: of the bootstrap.
      clusters: int64 `[n]`, what intervals count with; None: the groups.
      daily: action -> events a day that it takes, where it promises a number (`count_daily`).
    """
    return evaluate(
        scored.column(SCORE).to_numpy(),
        labels,
        scored.column(EVENT_TIME).to_numpy(),
        ranks=scored.column(RAW).to_numpy(),
        thresholds=bundle.policy.thresholds,
        daily=daily,
        groups=scored.column(GROUP) if GROUP in scored.column_names else None,
        clusters=clusters,
        top=bundle.spec.evaluation.top if top is None else top,
        seed=seed,
    )


def count_daily(
    bundle: Bundle,
    scored: pa.Table,
    days: float,
    clusters: npt.NDArray[np.int64] | None = None,
) -> dict[str, DailyNumber]:
    """What became of the numbers a day that the bundle's actions promise, of all scored events."""
    if clusters is None and GROUP in scored.column_names:
        clusters = encode_groups(scored.column(GROUP))
    scores = scored.column(SCORE).to_numpy()
    policy = bundle.spec.policy
    actions = policy.actions if policy is not None else ()
    return daily_numbers(scores, bundle.policy.thresholds, actions, days, clusters)


def trained_on(bundle: Bundle) -> TimeRange:
    """The event times that a bundle's models learnt from.

    Raises:
      BundleError: it does not say.
    """
    notes = bundle.provenance
    try:
        return TimeRange(int(notes["trained_from_us"]), int(notes["trained_until_us"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.fingerprint}: provenance.json does not say what it was trained on; copy the "
            "bundle anew, or train anew"
        ) from error
