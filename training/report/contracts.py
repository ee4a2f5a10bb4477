"""Whether actions keep what they promise, in a line for each."""

from __future__ import annotations

import dataclasses

from scoring.decision import Threshold
from training.evaluate import AtThreshold, Metrics

KEPT, OPEN, BROKEN, OFF = "kept", "not shown", "broken", "off"


@dataclasses.dataclass(frozen=True)
class ContractLine:
    """One promise.

    Attributes:
      model: "new" or "serving".
      promise: what is asked, in words.
      state: `KEPT`: evidence shows it; `BROKEN`: it shows the opposite; `OPEN`: neither; `OFF`: the
        action does not fire, since nothing showed it.
      shown: the evidence, in words.
    """

    action: str
    model: str
    promise: str
    state: str
    shown: str


def contract_lines(
    thresholds: tuple[Threshold, ...], serving: Metrics | None
) -> tuple[ContractLine, ...]:
    """The new model's contracts by their evidence, the serving one's by what became of them.

    Args:
      thresholds: of the new model.
      serving: its model on events that its thresholds were not chosen on; None: not measured.

    >>> made = contract_lines((Threshold("block", None, 0.9, "too few", "precision 0.9"),), None)
    >>> made[0].state, made[0].shown
    ('off', 'too few')
    """
    later = {one.action: one for one in serving.at} if serving else {}
    made = []
    for one in thresholds:
        state = OFF if one.value is None else KEPT
        made.append(
            ContractLine(one.action, "new", one.contract, state, one.evidence or one.reason)
        )
        if one.action in later:
            made.append(_served(later.pop(one.action)))
    return (*made, *map(_served, later.values()))


def _served(at: AtThreshold) -> ContractLine:
    promise, shown, kept = [], [], []
    if at.min_precision is not None:
        promise.append(f"precision of at least {at.min_precision:.3g}")
        kept.append(at.precision is not None and at.precision_low >= at.min_precision)
        shown.append("it flagged none of these events")
        if at.precision is not None:
            shown[0] = (
                f"{at.positives:,} of {at.flagged:,} flagged events were abuse: {at.precision:.3f} "
                f"({at.precision_low:.3f} to {at.precision_high:.3f})"
            )
    if at.daily is not None:
        promise.append(f"at most {at.daily.most:,} a day")
        kept.append(at.daily.kept)
        shown.append(
            f"it took {at.daily.found:,.0f} a day ({at.daily.low:,.0f} to {at.daily.high:,.0f})"
        )
    if not promise:  # a report of an earlier release
        promise, kept = ["a number, no precision"], [False]
        shown = [f"{at.flagged:,} of these labelled events flagged"]
    state = BROKEN if at.broken else KEPT if all(kept) else OPEN
    return ContractLine(at.action, "serving", ", ".join(promise), state, "; ".join(shown))
