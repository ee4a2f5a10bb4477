"""Evaluates a bundle on published days, with labels as known at a later moment.

What enters: a bundle, days, and a moment of knowing. What leaves: metrics of the bundle's model
through `scoring`, exactly as it serves.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import EvidenceError, InputError
from configs.schema import EVENT_ID, EVENT_TIME
from pipelines.backfill import read_features, read_verdicts
from pipelines.beside import measure, trained_on
from pipelines.dataset import Dataset, load_dataset
from pipelines.layout import Days, Layout, day_of, day_us, require_folder, write_bytes
from pipelines.progress import Progress, Quiet
from scoring.bundle import Bundle, load_bundle
from scoring.scorer import Scored, Scorer
from scoring.store import Store
from training.dataset import count_labels
from training.evaluate import Metrics
from training.groups import not_yet_known
from training.labels import UNLABELLED
from transforms.catalog import CATALOG
from transforms.signature import marker_unlike


@dataclasses.dataclass(frozen=True)
class EvaluateRequest:
    """What is asked.

    Attributes:
      bundle: fingerprint (or a beginning of it), "serving", or a folder.
      days: of the scored events.
      as_of: labels are those known before this day; None: the day after the last published one.
    """

    out: Path
    bundle: str
    days: Days
    as_of: dt.date | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was found, and on what.

    Attributes:
      left_out: events that the spec's `drop_known` leaves out.
      early: events without a label, since one of their verdicts has an earlier time than they.
      trained_on_days: the part of `days` that the bundle was trained on, "" if none: the figures
        are then those of a model that has seen its own exam.
      silent: actions that never fire -> why, in words.
      scores: what was measured, a row per event in total order: `bundle`, `event_id`,
        `event_time` (int64 microseconds UTC), `label` (int8: 1, 0, null where not known), `judged`
        (whether by a verdict, or only by age), `raw`, `score`, `action`, and `split`: "trained"
        or "new" to the bundle.
    """

    bundle: str
    days: str
    as_of: str
    left_out: int
    early: int
    trained_on_days: str
    metrics: Metrics
    silent: dict[str, str]
    scores: pa.Table

    def to_builtins(self) -> dict[str, Any]:
        """Plain values without the scores, for JSON."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain.pop("scores")
        return plain | {"metrics": self.metrics.to_builtins()}


def evaluate_bundle(request: EvaluateRequest, progress: Progress | None = None) -> Evaluation:
    """Scores days with a bundle and measures it.

    Raises:
      BundleError: there is no such bundle, or it is damaged.
      InputError: a day is not there.
      EvidenceError: no event of these days has a label yet.
    """
    say = (progress or Quiet()).say
    layout = Layout(request.out)
    require_folder(request.out)
    folder = Path(request.bundle)
    if not (folder / "manifest.json").is_file():
        folder = Store(layout.bundles).path(request.bundle)
    bundle = load_bundle(folder, CATALOG)
    published = layout.published()
    if not published:
        raise InputError(
            f"{layout.root} holds no day; run `lockstep backfill` or `lockstep nightly` with this "
            "--out first"
        )
    end = published[-1] + dt.timedelta(days=1)
    as_of = request.as_of or end
    if as_of > end:
        raise InputError(
            f"--as-of {as_of}: {layout.root} ends at {published[-1]}, so verdicts up to {end} are "
            f"known; backfill later days, or give --as-of {end} or an earlier one"
        )
    _require_same_meaning(bundle, layout, request.days)
    say(f"reading {request.days}, labels as known before {as_of} …")
    data = load_dataset(
        bundle.spec, layout, request.days.start_us, request.days.end_us, day_us(as_of)
    )
    total = len(data)
    keep = known_before(bundle, layout, data, request.days) if total else np.ones(0, np.bool_)
    if not keep.all():
        data = data.take(np.flatnonzero(keep))
    counts = count_labels(data.labels)
    if counts.positives + counts.negatives == 0:
        raise EvidenceError(
            f"none of the {total:,} scored events of {request.days} has a label before {as_of}; "
            "wait for verdicts, or give a later --as-of"
        )
    say(f"scoring {len(data):,} events …")
    scored = Scorer(bundle).score(data.numeric, data.batch())
    metrics = measure(bundle.spec, bundle, scored, data)
    return Evaluation(
        bundle=bundle.fingerprint,
        days=str(request.days),
        as_of=str(as_of),
        left_out=total - len(data),
        early=int(np.count_nonzero(data.early)),
        trained_on_days=_seen(bundle, request.days),
        metrics=metrics,
        silent={one.action: one.reason for one in bundle.policy.thresholds if one.value is None},
        scores=_scores(bundle, data, scored),
    )


def write_scores(found: Sequence[Evaluation], path: Path) -> None:
    """Writes the scores of all evaluations as one Parquet file, which is seen whole or not at all.

    Raises:
      InputError: it cannot be written.
    """
    table = pa.concat_tables([one.scores for one in found])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    try:
        write_bytes(path, sink.getvalue().to_pybytes())
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}); give --scores a file in a folder that can "
            "be written"
        ) from error


def _scores(bundle: Bundle, data: Dataset, scored: Scored) -> pa.Table:
    trained = trained_on(bundle).mask(data.times)
    known = data.labels != UNLABELLED
    return pa.table(
        {
            "bundle": pa.array([bundle.fingerprint] * len(data), pa.string()),
            EVENT_ID: data.events.column(EVENT_ID),
            EVENT_TIME: pa.array(data.times),
            "label": pa.array(data.labels, mask=~known),
            "judged": pa.array(data.judged),
            "raw": pa.array(scored.raw),
            "score": pa.array(scored.score),
            "action": scored.actions(),
            "split": pa.array(["new", "trained"], pa.string()).take(pa.array(trained.astype(int))),
        }
    )


def _require_same_meaning(bundle: Bundle, layout: Layout, days: Days) -> None:
    for day in days:
        unlike = marker_unlike(bundle.spec, layout.read_marker(day))
        if unlike:
            raise InputError(
                f"the bundle {bundle.fingerprint} cannot be measured on {day} in {layout.root}: it "
                f"reads {unlike}. Backfill these days under the bundle's own spec.yaml into "
                "another --out, and evaluate there"
            )


def _seen(bundle: Bundle, days: Days) -> str:
    """The days among these that the bundle's models learnt from, in words."""
    trained = trained_on(bundle)
    start, end = max(days.start_us, trained.start_us), min(days.end_us, trained.end_us)
    return str(Days(day_of(start), day_of(end - 1))) if start < end else ""


def known_before(
    bundle: Bundle, layout: Layout, data: Dataset, days: Days
) -> npt.NDArray[np.bool_]:
    """Which events are left in: all, or those whose group was not known yet (`drop_known`)."""
    spec = bundle.spec
    if not spec.evaluation.drop_known or spec.evaluation.group is None:
        return np.ones(len(data), np.bool_)
    group = spec.evaluation.group
    first = day_of(int(bundle.provenance["trained_from_us"]))
    span = Days(first, days.last)
    history = read_features(layout, list(span), [EVENT_ID, group])
    history = pa.table({EVENT_ID: history.column(EVENT_ID), "group": history.column(group)})
    verdicts = read_verdicts(layout, days.last)
    return not_yet_known(data.events.column(group), data.times, history, verdicts)
