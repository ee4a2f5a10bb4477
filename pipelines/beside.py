"""The candidate beside the bundle that serves, on events that neither has seen.

What enters: the gate slice with the candidate's scores of it, and the serving bundle. What leaves:
`training.gate.Beside`. The serving bundle may have been trained on part of the gate slice (a long
slice, or a night that is run again): both are then measured on the rest.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from configs.errors import BundleError
from configs.schema import Spec
from pipelines.dataset import Dataset
from scoring.bundle import Bundle
from scoring.scorer import Scored, Scorer
from training.dataset import TimeRange
from training.evaluate import Metrics, evaluate
from training.fit import Fitted
from training.gate import Beside
from transforms.inputs import numeric_names
from transforms.signature import find_unlike, input_fingerprints


def stand_beside(
    spec: Spec, fitted: Fitted, judged: Dataset, where: TimeRange, serving: Bundle, seed: int
) -> Beside:
    """Measures both.

    Args:
      spec: the candidate's, which the published days are made under.
      fitted: the candidate, with its scores of `judged`.
      judged: the events of the gate slice.
      where: the gate slice.
      serving: the bundle that serves.
      seed: of the bootstrap.

    Raises:
      BundleError: the serving bundle does not say what it was trained on.
    """
    fresh = TimeRange(max(where.start_us, trained_on(serving).end_us), where.end_us)
    unlike = find_unlike(serving.spec, input_fingerprints(spec))
    if unlike:
        return Beside(fresh, fault=f"that one reads {unlike}")
    rows = np.flatnonzero(fresh.mask(judged.times))
    if not len(rows):
        return Beside(fresh)
    part = judged.take(rows)
    ours = numeric_names(spec)
    numeric = part.numeric[:, [ours.index(name) for name in numeric_names(serving.spec)]]
    theirs = Scorer(serving).score(np.ascontiguousarray(numeric), part.batch())
    groups = part.group(spec)
    return Beside(
        fresh,
        candidate=evaluate(
            fitted.gate_scores[rows],
            part.labels,
            part.times,
            ranks=fitted.gate_ranks[rows],
            thresholds=fitted.thresholds,
            groups=groups,
            top=spec.evaluation.top,
            seed=seed,
        ),
        serving=measure(
            dataclasses.replace(serving.spec, evaluation=spec.evaluation),
            serving,
            theirs,
            part,
            seed,
        ),
    )


def measure(spec: Spec, bundle: Bundle, scored: Scored, data: Dataset, seed: int = 0) -> Metrics:
    """Metrics of scored events, with the bundle's thresholds."""
    return evaluate(
        scored.score,
        data.labels,
        data.times,
        ranks=scored.raw,
        thresholds=bundle.policy.thresholds,
        groups=data.group(spec),
        top=spec.evaluation.top,
        seed=seed,
    )


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
