"""The candidate compared with the model that serves, on events that neither has seen.

The serving bundle may have been trained on part of the gate slice (a long slice, or a nightly run
that is repeated): both are then measured on the rest. One that has learnt from young events
(`training.delayed_feedback`) has seen all of it; in its place the model is compared that was judged
for it, which is kept as a bundle too. Where that one is lost, the comparison waits until the gate
slice is later than all that the serving bundle has seen.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from configs.errors import BundleError, InputError
from configs.schema import EVENT_ID
from pipelines.campaign_units import CampaignUnits
from pipelines.dataset import Dataset, published_parts
from pipelines.layout import Layout
from pipelines.nightly.plan import NightlyRequest, sections
from pipelines.read_days import sample_hashes, sample_limit
from pipelines.score_days import ScoreRequest, count_daily, measure, score_days, trained_on
from scoring.bundle import load_bundle
from scoring.files import exists, join
from scoring.manifest import MANIFEST
from scoring.store import JUDGED, Store
from training.dataset import TimeRange
from training.evaluate import evaluate
from training.fit import Fitted
from training.gate import ServingComparison
from transforms.catalog import CATALOG
from transforms.signature import find_unlike, input_fingerprints
from transforms.ticks import DAY_US


def compare_with_serving(
    request: NightlyRequest,
    layout: Layout,
    where: TimeRange,
    data: Dataset,
    judged: Dataset,
    fitted: Fitted,
    name: str,
    units: CampaignUnits | None = None,
) -> ServingComparison:
    """Measures both; the serving bundle scores the published days in a pipeline.

    Args:
      request, layout: of the run; the published days are made under the request's spec.
      where: the gate slice.
      data: the whole sample; judged: its events of the gate slice.
      fitted: the candidate, with its scores of `judged`.
      name: the serving bundle's fingerprint.
      units: campaigns, which intervals count with; None: they count with groups.

    Raises:
      BundleError: the serving bundle is damaged, or does not say what it was trained on.
    """
    spec, store = request.spec, Store(layout.bundles)
    serving = load_bundle(store.path(name), CATALOG)
    judged_alone, lost = str(serving.provenance.get(JUDGED, "")), ""
    if judged_alone:
        try:
            if not exists(join(store.place(judged_alone), MANIFEST)):
                raise BundleError("it is gone")
            serving, name = load_bundle(store.path(judged_alone), CATALOG), judged_alone
        except BundleError as error:
            lost = (
                f"the bundle {judged_alone}, which was judged for it, cannot be read ({error}); "
                "bring its folder back from a copy, or let a newer bundle serve by hand"
            )
    seed = sections(spec)[0].seed
    fresh = TimeRange(max(where.start_us, trained_on(serving).end_us), where.end_us)
    unlike = find_unlike(serving.spec, input_fingerprints(spec))
    if unlike:
        return ServingComparison(fresh, fault=f"that one reads {unlike}")
    rows = np.flatnonzero(fresh.mask(judged.times))
    if not len(rows):
        return ServingComparison(fresh, lost=lost)
    part = judged.take(rows)
    hashes = sample_hashes(data.events.column(EVENT_ID))
    scored = score_days(
        ScoreRequest(
            dataclasses.replace(serving.spec, evaluation=spec.evaluation),
            store.place(name),
            published_parts(layout, fresh.start_us, fresh.end_us),
            fresh.start_us,
            fresh.end_us,
            sample_limit(hashes, len(hashes)),
        ),
        request.running,
        layout.root,
    )
    if scored.column(EVENT_ID).combine_chunks() != part.events.column(EVENT_ID).combine_chunks():
        raise InputError(
            f"the published days changed while they were measured: {scored.num_rows:,} events of "
            f"{fresh} now, {len(part):,} before; run `lockstep nightly` again"
        )
    days = (fresh.end_us - fresh.start_us) / DAY_US * data.share
    top, groups = spec.evaluation.top, part.group(spec)
    clusters = units.clusters(groups) if units is not None and groups is not None else None
    return ServingComparison(
        fresh,
        candidate=evaluate(
            fitted.gate_scores[rows],
            part.labels,
            part.times,
            ranks=fitted.gate_ranks[rows],
            thresholds=fitted.policy.thresholds,
            groups=groups,
            clusters=clusters,
            top=top,
            seed=seed,
        ),
        serving=measure(
            serving,
            scored,
            part.labels,
            top,
            seed,
            clusters,
            count_daily(serving, scored, days, clusters),
        ),
        lost=lost,
    )
