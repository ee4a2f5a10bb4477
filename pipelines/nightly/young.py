"""What a run learns from: its sample, and with `training.delayed_feedback` the events after it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from configs.errors import EvidenceError
from configs.schema import EVENT_ID, Spec
from pipelines.backfill import read_verdicts
from pipelines.campaign_units import CampaignUnits
from pipelines.dataset import Dataset, load_dataset, subject_columns
from pipelines.layout import Layout, day_of
from pipelines.nightly.plan import NightlyRequest, sections
from pipelines.nightly.sample import load_sample
from pipelines.nightly.weighting import Weighed, Young, read_seen, weigh
from pipelines.read_days import sample_hashes, sample_limit
from training.dataset import Slices, TimeRange
from training.delayed import YoungSpan
from training.delays import DelayCurve, delay_curve, well_seen
from training.known_labels import first_positive
from training.models import Span
from training.propensity import inverse_propensities
from transforms.executor import Executor

LEAST = 20
"""Verdicts of abuse below which nothing is concluded of their delay."""
FEWEST_SEEN = 10
"""Of these, how many must have been able to take as long as one does, for that one to count."""


def load_weighed(request: NightlyRequest, layout: Layout, cut: Slices) -> Weighed:
    """The sample of a run as its config wants it weighted, and the young events after it.

    Raises:
      EvidenceError: there are too few events, or too few verdicts to know their delay.
      ConfigError, InputError: see `pipelines.nightly.weighting`.
    """
    data = load_sample(request.spec, layout, cut, request.as_of_us)
    weighed = weigh(request, data, cut)
    return dataclasses.replace(weighed, young=load_young(request, layout, cut, data))


def load_young(request: NightlyRequest, layout: Layout, cut: Slices, data: Dataset) -> Young | None:
    """Scored events between the span and the night, with what is known of them by then.

    Args:
      request, layout, cut: of the run.
      data: the sample of the span: young events are sampled alike, and both tell of delays.

    Raises:
      EvidenceError: fewer than `LEAST` verdicts of abuse are known.
    """
    training, labels = sections(request.spec)
    where = TimeRange(cut.span.end_us, request.as_of_us)
    if training.delayed_feedback == "none" or where.start_us >= where.end_us:
        return None
    limit = None
    if data.share < 1.0:
        limit = sample_limit(sample_hashes(data.events.column(EVENT_ID)), len(data))
    # What has no verdict yet counts as harmless, however young: its weight says how sure that is.
    so_far = dataclasses.replace(labels, maturity_us=0)
    spec = dataclasses.replace(request.spec, labels=so_far)
    young = load_dataset(spec, layout, where.start_us, where.end_us, request.as_of_us, limit=limit)
    if not len(young):
        return None
    curve = abuse_delays(request.spec, layout, (data, young), request.as_of_us)
    if curve.events < LEAST:
        raise EvidenceError(
            f"training.delayed_feedback: {curve.events} verdicts of abuse are known on events from "
            f"{TimeRange(cut.span.start_us, where.end_us)}, and {LEAST} are "
            "needed to know how long they take; use a longer training.span, or set "
            "training.delayed_feedback: none"
        )
    weights, undecided = young.subject_weights(spec), 0
    read = read_seen(request, young, where)
    if read is not None:
        seen, undecided = read
        known, inverse = inverse_propensities(young.labels, seen)
        young = dataclasses.replace(young, labels=known)
        weights = inverse if weights is None else inverse * weights
    come = curve.shares(request.as_of_us - young.times)
    return Young(young, weights, come, curve, where.end_us, undecided)


def abuse_delays(
    spec: Spec, layout: Layout, parts: tuple[Dataset, ...], as_of_us: int
) -> DelayCurve:
    """How long first verdicts of abuse take, by what is known of some events before a moment."""
    _, labels = sections(spec)
    verdicts = read_verdicts(layout, day_of(as_of_us - 1))
    found = []
    for data in parts:
        named = {name: data.events.column(name) for name in subject_columns(labels)}
        ids = data.events.column(EVENT_ID)
        first = first_positive(labels, ids, data.times, named, verdicts, as_of_us)
        seen = (first < as_of_us) & (first >= data.times)
        found.append(np.stack([first[seen] - data.times[seen], as_of_us - data.times[seen]]))
    delays, ages = np.concatenate(found, axis=1)
    return delay_curve(*well_seen(delays, ages, FEWEST_SEEN))


def transform_young(
    spec: Spec, young: Young | None, graph: Path, units: CampaignUnits | None
) -> YoungSpan | None:
    """Young events as `training.fit` takes them; None: there are none."""
    if young is None:
        return None
    data, groups = young.data, young.data.group(spec)
    transformed = Executor(graph, spec).transform(data.numeric, data.batch())
    span = Span(transformed, data.times, data.labels, weights=young.weights)
    if units is not None and groups is not None:
        span = dataclasses.replace(span, campaigns=units.of_accounts(groups))
    return YoungSpan(span, young.come, young.curve, young.until_us)
