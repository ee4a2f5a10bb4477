"""What the new model's actions do to the gate slice: why they fire, on whom, and how soon."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from configs.schema import EVENT_ID, Spec
from pipelines.campaign_snapshots import campaign_snapshots
from pipelines.dataset import Dataset
from pipelines.layout import Layout
from scoring.explanation import input_meanings
from scoring.models import input_names, model_inputs
from training.fit import Fitted
from training.flag_reasons import ActionReasons, count_reasons
from training.groups import encode_groups
from training.harm import HarmBefore, harm_before
from training.labels import NEGATIVE, POSITIVE
from training.subjects import SubjectMetrics, evaluate_subjects
from transforms.campaigns.lookup import campaigns_of_events
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
    people, abuse = _people(spec, gate), gate.labels == POSITIVE
    accounts, fault = None, ""
    harm: list[HarmBefore] = []
    try:
        campaigns = _campaigns(spec, layout, as_of, gate)
    except InputError as error:
        campaigns, fault = None, f"Campaigns are left out of this page: {error}."
    if campaigns is not None:
        # Few of a campaign's events are judged: all count but those that somebody found harmless.
        harmful = ~(gate.judged & (gate.labels == NEGATIVE))
        harm += harm_before(
            "campaign", scores, gate.times, campaigns, abuse, harmful, thresholds, people
        )
    if group is not None:
        units = encode_groups(group)
        accounts = evaluate_subjects(scores, gate.labels, gate.times, units, thresholds)
        harm += harm_before("account", scores, gate.times, units, abuse, abuse, thresholds, people)
    reasons = tuple(_reasons(spec, transformed, fitted))
    return Effects(reasons, accounts, tuple(harm), fault)


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


def _campaigns(
    spec: Spec, layout: Layout, as_of: dt.date, gate: Dataset
) -> npt.NDArray[np.int64] | None:
    """A number per campaign of the newest snapshot up to a night: int64 `[n]`; None: none is there.

    Raises:
      InputError: the snapshot is damaged.
    """
    known = [one for one in campaign_snapshots(spec, layout.root) if one.as_of <= str(as_of)]
    if not known:
        return None
    found = campaigns_of_events(gate.events.column(EVENT_ID), known[-1].read("events"))
    return encode_groups(found)


def _people(spec: Spec, gate: Dataset) -> npt.NDArray[np.float64] | None:
    """How many people each event reaches, where the config says which input has it."""
    name = spec.evaluation.recipients
    if name is None:
        return None
    return gate.numeric[:, numeric_names(spec).index(name)].astype(np.float64)
