"""The sample that a run trains on, the graph that workers analyse from it, and the training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import EvidenceError
from configs.schema import EVENT_ID, Spec
from pipelines.analyze import analyze_days
from pipelines.campaign_units import CampaignUnits
from pipelines.dataset import Dataset, count_events, load_dataset, published_parts
from pipelines.layout import Layout, day_of
from pipelines.nightly.plan import sections
from pipelines.progress import Progress
from pipelines.read_days import sample_hashes, sample_limit
from pipelines.runners import Running
from scoring.files import is_local
from training.dataset import Slices, TimeRange
from training.delayed import YoungSpan
from training.fit import Fitted, fit, fit_parts
from training.models import Span
from transforms.constants import Transformed


def load_sample(spec: Spec, layout: Layout, cut: Slices, as_of_us: int) -> Dataset:
    """At most `training.train_rows` scored events of the training span; with
    `training.delayed_feedback` so many that with the young events after it there are no more.

    Raises:
      EvidenceError: the published days begin too late, or hold no scored event.
    """
    training, _ = sections(spec)
    first = layout.published()[0]
    if first > day_of(cut.span.start_us):
        raise EvidenceError(
            f"{layout.root} begins at {first}, and this run trains on {cut.span}; "
            "choose a later --as-of or a shorter training.span, or begin earlier with --since "
            "in another --out"
        )
    most = training.train_rows
    if training.delayed_feedback != "none" and cut.span.end_us < as_of_us:
        count = count_events(layout, cut.span.start_us, cut.span.end_us)
        young = count_events(layout, cut.span.end_us, as_of_us)
        most = max(1, most * count // max(count + young, 1)) if count + young > most else most
    data = load_dataset(spec, layout, cut.span.start_us, cut.span.end_us, as_of_us, most)
    if not len(data):
        raise EvidenceError(
            f"there is no scored event from {cut.span} under {layout.root}; is the "
            "source complete, and is --as-of the day that is meant?"
        )
    return data


def analyse_sample(
    spec: Spec, layout: Layout, where: TimeRange, data: Dataset, graph: Path, running: Running
) -> None:
    """Writes the analysed graph: workers read the range's events of the sample from the days.

    Raises:
      EvidenceError: the range has none.
    """
    training, _ = sections(spec)
    mask = pa.array(where.mask(data.times))
    hashes = sample_hashes(data.events.column(EVENT_ID).filter(mask))
    if not len(hashes):
        raise EvidenceError(
            f"no rows to analyse: there is no scored event from {where}; choose a later "
            "--as-of or a longer training.span"
        )
    analyze_days(
        spec,
        published_parts(layout, where.start_us, where.end_us),
        where.start_us,
        where.end_us,
        sample_limit(hashes, training.analyse_rows),
        graph,
        # Workers elsewhere share the output folder with us: none, where it is no folder of ours.
        running if is_local(layout.root) else Running(),
    )


def fit_sample(
    spec: Spec,
    cut: Slices,
    data: Dataset,
    transformed: Transformed,
    threads: int,
    progress: Progress,
    units: CampaignUnits | None = None,
    weights: npt.NDArray[np.float64] | None = None,
    young: YoungSpan | None = None,
) -> Fitted:
    """Trains on a sample; `units` are campaigns that no slice is to part.

    Args:
      spec: the use; cut: its slices of time.
      data: the sample; transformed: `[n]`, its rows of the TFT graph.
      threads, progress: as of the run.
      units: campaigns.
      weights: float64 `[n]`, of what is learnt from; None: those of `labels.subjects` alone.
      young: events after the span, which only the models that serve learn from.

    Raises:
      EvidenceError: a slice holds one class only.
    """
    with progress.step("train", fit_parts(spec), "parts") as step:
        groups = data.group(spec)
        given = data.subject_weights(spec) if weights is None else weights
        span = Span(transformed, data.times, data.labels, groups, data.share, weights=given)
        if units is not None and groups is not None:
            campaigns, clusters = units.of_accounts(groups), units.clusters(groups)
            span = dataclasses.replace(span, campaigns=campaigns, clusters=clusters)
        return fit(spec, span, cut, threads, step.advance, young)
