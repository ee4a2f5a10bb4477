"""What the new model's actions do to the gate slice: why they fire, on whom, and how soon."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import numpy.typing as npt

from configs.schema import EVENT_ID, Spec
from pipelines.dataset import Dataset
from pipelines.harm import ScoredEvents, find_harm
from pipelines.layout import Layout
from scoring.explanation import input_meanings
from scoring.models import input_names, model_inputs
from training.fit import Fitted
from training.flag_reasons import ActionReasons, count_reasons
from training.groups import encode_groups
from training.harm import HarmBefore
from training.subjects import SubjectMetrics, evaluate_subjects
from transforms.constants import Transformed
from transforms.inputs import numeric_names

_MOST_EXPLAINED = 1_000
"""Flagged events of an action whose reasons are counted: SHAP values take most of a millisecond."""


@dataclasses.dataclass(frozen=True)
class Effects:
    """What actions of the new model do.

    Attributes:
      reasons: per action that flags something; none of a text model.
      accounts: where `evaluation.group` names them.
      harm: of campaigns where a snapshot of them is there, and of accounts.
      fault: why there are no campaigns though there should be, in words; "" if all is well.
    """

    reasons: tuple[ActionReasons, ...]
    accounts: SubjectMetrics | None
    harm: tuple[HarmBefore, ...]
    fault: str = ""


def gather_effects(
    spec: Spec,
    layout: Layout,
    as_of: dt.date,
    gate: Dataset,
    transformed: Transformed,
    fitted: Fitted,
) -> Effects:
    """Looks at the gate slice.

    Args:
      as_of: no later snapshot of campaigns is read.
      gate: events of the gate slice, in total order.
      transformed: the same events.
      fitted: with its scores of them.
    """
    group = gate.group(spec)
    thresholds, scores = fitted.policy.thresholds, fitted.gate_scores
    events = ScoredEvents(
        gate.events.column(EVENT_ID),
        gate.times,
        scores,
        gate.labels,
        gate.judged,
        group,
        _people(spec, gate),
    )
    harm, fault = find_harm(spec, layout.root, as_of, events, thresholds)
    accounts = None
    if group is not None:
        units = encode_groups(group)
        accounts = evaluate_subjects(scores, gate.labels, gate.times, units, thresholds)
    reasons = tuple(_reasons(spec, transformed, fitted))
    words = f"Campaigns are left out of this page: {fault}." if fault else ""
    return Effects(reasons, accounts, harm, words)


def _reasons(spec: Spec, transformed: Transformed, fitted: Fitted) -> list[ActionReasons]:
    training = spec.training
    if training is None:
        return []
    names, meanings = input_names(spec), input_meanings(spec)
    actions = fitted.policy.decide(fitted.gate_scores)
    made = []
    for number, action in enumerate(fitted.policy.names):
        rows = np.flatnonzero(actions == number)
        if not number or not len(rows):
            continue
        some = rows[:: -(-len(rows) // _MOST_EXPLAINED)]
        part = transformed.take(some)
        inputs = model_inputs(part, fitted.judged.text_scores(part))
        parts = fitted.judged.contributions(training.model, inputs)
        if parts is not None:
            made.append(count_reasons(action, len(rows), parts, names, meanings))
    return made


def _people(spec: Spec, gate: Dataset) -> npt.NDArray[np.float64] | None:
    """How many people each event reaches, where the config says which input has it."""
    name = spec.evaluation.recipients
    if name is None:
        return None
    return gate.numeric[:, numeric_names(spec).index(name)].astype(np.float64)
