"""Whether a trained model may serve: floors, evidence, and the model that serves now.

What enters: the gate of the spec, the candidate's metrics on the gate slice, and the serving
bundle's on the same events. What leaves: every rule with its answer, in words, for the page and
for the message of the refusal. The gate only judges; it moves nothing.
"""

from __future__ import annotations

import dataclasses

from configs.errors import GateError
from configs.schema import Gate
from training.dataset import TimeRange
from training.evaluate import Metrics


@dataclasses.dataclass(frozen=True)
class Rule:
    """One question that the gate asked, whether it was passed, and the answer in words."""

    name: str
    passed: bool
    words: str


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The gate's decision.

    Attributes:
      passed: every rule passed.
      rules: in the order asked.
    """

    passed: bool
    rules: tuple[Rule, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was not passed, in words."""
        return tuple(rule.words for rule in self.rules if not rule.passed)

    def require(self) -> None:
        """Does nothing if the model may serve.

        Raises:
          GateError: it may not; what serves now is to stay.
        """
        if not self.passed:
            raise GateError(
                f"the new model may not serve: {'; '.join(self.reasons)}. What serves now stays. "
                "Look at the page of this run; if the gate asks too much, change `gate` in the "
                "configuration"
            )


def check_gate(
    gate: Gate,
    candidate: Metrics,
    serving: Metrics | None = None,
    serving_trained: TimeRange | None = None,
    judged_on: TimeRange | None = None,
) -> GateResult:
    """The gate's decision on a candidate.

    Args:
      gate: floors and the largest allowed drop.
      candidate: metrics on the gate slice of a model that did not see it.
      serving: the serving bundle's metrics on the same events; None: nothing serves.
      serving_trained: the span that the serving bundle was trained on.
      judged_on: the gate slice. Where the serving bundle was trained on part of it (a run
        repeated for one night), it has seen the exam: the rule is not asked, and says so.

    Raises:
      ValueError: the two were not measured on the same events.

    >>> from training.evaluate import evaluate
    >>> import numpy as np
    >>> made = evaluate(np.array([0.9, 0.1]), np.array([1, 0], np.int8), np.arange(2))
    >>> check_gate(Gate(min_positives=2), made).reasons
    ('1 positives in the gate slice; at least 2 are needed as evidence',)
    """
    rules = [
        Rule(
            "evidence",
            candidate.positives >= gate.min_positives,
            f"{candidate.positives:,} positives in the gate slice; at least {gate.min_positives} "
            "are needed as evidence",
        ),
        _floor("average precision", candidate.average_precision, gate.min_average_precision),
        _floor("AUC", candidate.auc, gate.min_auc),
        _beside_serving(gate, candidate, serving, serving_trained, judged_on),
    ]
    return GateResult(all(rule.passed for rule in rules), tuple(rules))


def _floor(name: str, value: float | None, least: float) -> Rule:
    if value is None:
        return Rule(name, False, f"{name} has no value: the gate slice has one class only")
    sign = ">=" if value >= least else "<"
    return Rule(name, value >= least, f"{name} {value:.4f} {sign} {least:.4f}, the least allowed")


def _beside_serving(
    gate: Gate,
    candidate: Metrics,
    serving: Metrics | None,
    serving_trained: TimeRange | None,
    judged_on: TimeRange | None,
) -> Rule:
    name = "beside the serving model"
    if serving is None:
        return Rule(name, True, "nothing serves yet, so there is nothing to fall behind")
    if (serving.labelled, serving.positives) != (candidate.labelled, candidate.positives):
        raise ValueError(
            f"the candidate was measured on {candidate.labelled} labelled events with "
            f"{candidate.positives} positives, the serving bundle on {serving.labelled} with "
            f"{serving.positives}; expected the same events"
        )
    if (
        serving_trained is not None
        and judged_on is not None
        and _overlap(serving_trained, judged_on)
    ):
        return Rule(
            name,
            True,
            f"not compared: the serving bundle was trained on {serving_trained}, which holds part "
            f"of the gate slice ({judged_on})",
        )
    if candidate.average_precision is None or serving.average_precision is None:
        return Rule(name, False, "average precision has no value: the gate slice has one class")
    drop = serving.average_precision - candidate.average_precision
    passed = drop <= gate.max_drop
    change = f"a gain of {-drop:.4f}"
    if drop > 0:
        change = (
            f"a drop of {drop:.4f}, {'within' if passed else 'more than'} the "
            f"{gate.max_drop:.4f} allowed"
        )
    return Rule(
        name,
        passed,
        f"average precision {candidate.average_precision:.4f} beside the serving bundle's "
        f"{serving.average_precision:.4f} on the same events: {change}",
    )


def _overlap(one: TimeRange, other: TimeRange) -> bool:
    return one.start_us < other.end_us and other.start_us < one.end_us
