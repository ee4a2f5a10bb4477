"""Whether a trained model may serve: floors, evidence, and the model that serves now.

The gate only judges; it moves nothing.
"""

from __future__ import annotations

import dataclasses

from configs.errors import GateError
from configs.schema import Gate
from training.dataset import TimeRange
from training.delayed import RefitComparison
from training.evaluate import Metrics
from transforms.ticks import DAY_US

MOST_MORE, FEW = 2.0, 10
"""What serves may flag so many times the harmless events of the judged model, or of so few."""


@dataclasses.dataclass(frozen=True)
class GateRule:
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
    rules: tuple[GateRule, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was not passed, in words."""
        return tuple(rule.words for rule in self.rules if not rule.passed)

    def require(self, bundle: str) -> None:
        """Does nothing if the model may serve.

        Args:
          bundle: its fingerprint.

        Raises:
          GateError: it may not; what serves now is to stay.
        """
        if not self.passed:
            raise GateError(
                f"the new model may not serve: {'; '.join(self.reasons)}. What serves now stays. "
                "Look at the page of this run; if the gate asks too much, change `gate` in the "
                f"configuration. The model is kept as {bundle}: who knows better lets it serve "
                f'with `lockstep bundle promote {bundle} --because "…"`'
            )


@dataclasses.dataclass(frozen=True)
class ServingComparison:
    """The candidate and the bundle that serves, on the events of the gate slice new to both.

    Attributes:
      where: event times of these events: what is left of the gate slice after the serving bundle's
        training span; empty (start >= end) if nothing is.
      candidate, serving: metrics on these same events; None: not measured, and `fault` says why.
      fault: why there can be no comparison: the two do not read the same inputs.
      same: the candidate is the bundle that serves, so there is nothing to compare.
      lost: why the serving bundle itself is measured, and not the one that was judged for it, in
        words; "": nothing is lost.
    """

    where: TimeRange
    candidate: Metrics | None = None
    serving: Metrics | None = None
    fault: str = ""
    same: bool = False
    lost: str = ""

    def __post_init__(self) -> None:
        one, other = self.candidate, self.serving
        if one is None or other is None:
            return
        if (one.labelled, one.positives) != (other.labelled, other.positives):
            raise ValueError(
                f"the candidate was measured on {one.labelled} labelled events with "
                f"{one.positives} positives, the serving bundle on {other.labelled} with "
                f"{other.positives}; expected the same events"
            )


def check_gate(
    gate: Gate,
    candidate: Metrics,
    compared: ServingComparison | None = None,
    to_serve: bool = True,
    refit: RefitComparison | None = None,
) -> GateResult:
    """The gate's decision on a candidate.

    Args:
      gate: floors and the largest allowed drop.
      candidate: metrics on the gate slice of a model that did not see it.
      compared: the candidate and the serving bundle on events new to both; None: nothing serves.
      to_serve: it would serve at once. If not, one that cannot be compared with the serving bundle
        is let pass, so that it is kept and someone can judge it; a worse one is not.
      refit: of a candidate that has learnt from young events after it was judged.

    >>> from training.evaluate import evaluate
    >>> import numpy as np
    >>> made = evaluate(np.array([0.9, 0.1]), np.array([1, 0], np.int8), np.arange(2))
    >>> check_gate(Gate(min_positives=2), made).reasons
    ('1 positives in the gate slice; at least 2 are needed as evidence',)
    """
    rules = [
        GateRule(
            "evidence",
            candidate.positives >= gate.min_positives,
            f"{candidate.positives:,} positives in the gate slice; at least {gate.min_positives} "
            "are needed as evidence",
        ),
        _floor("average precision", candidate.average_precision, gate.min_average_precision),
        _floor("AUC", candidate.auc, gate.min_auc),
        _serving_rule(gate, compared, to_serve),
        *([_refit_rule(gate, refit)] if refit is not None else ()),
    ]
    return GateResult(all(rule.passed for rule in rules), tuple(rules))


def _floor(name: str, value: float | None, least: float) -> GateRule:
    if value is None:
        return GateRule(name, False, f"{name} has no value: the gate slice has one class only")
    sign = ">=" if value >= least else "<"
    return GateRule(
        name, value >= least, f"{name} {value:.4f} {sign} {least:.4f}, the least allowed"
    )


def _serving_rule(gate: Gate, compared: ServingComparison | None, to_serve: bool) -> GateRule:
    """A model that cannot be compared with the serving one is not let past it."""
    name = "compared with the serving model"
    if compared is None:
        return GateRule(name, True, "nothing serves yet, so there is nothing to fall behind")
    if compared.same:
        return GateRule(name, True, "it is the bundle that serves")
    fault = _no_comparison(gate, compared)
    measure = _MEASURE_ONE if compared.fault else "`lockstep evaluate` of both"
    if fault and not to_serve:
        return GateRule(name, True, f"not compared, so {measure} comes first: {fault}")
    candidate, serving = compared.candidate, compared.serving
    if fault or candidate is None or serving is None:
        return GateRule(
            name,
            False,
            f"{fault}; judge it with {measure}, and `lockstep bundle promote` by hand",
        )
    drop = (serving.average_precision or 0.0) - (candidate.average_precision or 0.0)
    passed = drop <= gate.max_drop
    change = f"a gain of {-drop:.4f}"
    if drop > 0:
        change = (
            f"a drop of {drop:.4f}, {'within' if passed else 'more than'} the "
            f"{gate.max_drop:.4f} allowed"
        )
    return GateRule(
        name,
        passed,
        f"average precision {candidate.average_precision or 0:.4f} against the serving bundle's "
        f"{serving.average_precision or 0:.4f} on the same events ({compared.where}): {change}"
        + f". The serving bundle itself is measured: {compared.lost}"
        * bool(compared.lost),
    )


def _refit_rule(gate: Gate, refit: RefitComparison) -> GateRule:
    """What serves has seen the gate slice with its labels, so there it should do no worse."""
    faults = []
    if refit.served - refit.judged < -gate.max_drop:
        faults.append(f"a drop of more than the {gate.max_drop:.4f} allowed")
    faults += [
        f"{one.action} flags more than {MOST_MORE:g} times as many harmless events"
        for one in refit.actions
        if one.served > MOST_MORE * max(one.judged, FEW)
    ]
    flagged = "; ".join(
        f"{one.action} flags {one.served:,} harmless events there ({one.judged:,}) and "
        f"{one.young_served:,} young ones ({one.young_judged:,})"
        for one in refit.actions
    )
    words = (
        f"what serves has learnt also from {refit.events:,} young events, which no figure is of. "
        "On the gate slice, which it has seen, it has average precision "
        f"{refit.served:.4f} (the judged model: {refit.judged:.4f})"
    )
    words += f"; {flagged}" * bool(flagged)
    if faults:
        words += (
            f": {', and '.join(faults)}. Look for wrong verdicts on young events (`lockstep "
            "labels`), or set training.delayed_feedback: none"
        )
    return GateRule("what serves against what was judged", not faults, words)


_MEASURE_ONE = (
    "`lockstep evaluate` of it (of the serving one only on days that are backfilled under that "
    "one's own spec.yaml into another --out)"
)


def _no_comparison(gate: Gate, compared: ServingComparison) -> str:
    """Why the two cannot be compared; "" if they can."""
    if compared.fault:
        return f"it cannot be compared with the serving bundle: {compared.fault}"
    if compared.where.start_us >= compared.where.end_us:
        return (
            "the gate slice holds nothing later than what the serving bundle was trained on, so "
            f"the two cannot be compared; {_wait(compared)}"
        )
    serving = compared.serving
    positives = 0 if serving is None else serving.positives
    if positives < gate.min_positives:
        return (
            f"{positives:,} positives among the events later than what the serving bundle was "
            f"trained on ({compared.where}), and at least {gate.min_positives} are needed to "
            f"compare the two; {_wait(compared)}"
        )
    if serving is None or serving.average_precision is None:
        what = f"average precision has no value: {compared.where} has one class only"
        return f"{what}; {_wait(compared)}"
    return ""


def _wait(compared: ServingComparison) -> str:
    """Until the gate slice has events that are new to both."""
    missing = compared.where.start_us - compared.where.end_us
    days = max(missing, 0) // DAY_US + 1
    words = "wait a day" if days == 1 else f"wait {days} days"
    return f"{words}, or mend this: {compared.lost}" if compared.lost else words
