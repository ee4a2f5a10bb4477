"""How a use is trained, judged and reported, as frozen dataclasses of `configs.schema.Spec`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from configs.frozen import Frozen

DELAYED_FEEDBACK = ("none", "known", "drop", "weight", "corrected")
"""What is made of events whose verdicts are still to come (`training.delayed`)."""


@dataclasses.dataclass(frozen=True)
class Training(Frozen):
    """The training protocol; every number is in event time and relative to `as_of` midnight.

    The scored events of ``[as_of - delay - span, as_of - delay)`` are used. Of these the newest
    `gate` is held out: thresholds, the gate and the page's figures come from it. Of what is
    before it, the last `validation_share`, by time, stops the boosting early and calibrates.

    Attributes:
      booster: XGBoost parameters (eta, max_depth, …); `rounds` is the most rounds.
      refit: after the gate, fit again on all of the span with the rounds found; calibration and
        thresholds are kept.
      text_folds: consecutive time blocks for out-of-fold text scores.
      positive_weight: "balanced" or a number: the weight of a positive against a negative.
      analyse_rows: at most so many rows (hash-sampled by event id) feed the TFT analyzers.
      train_rows: at most so many scored events (hash-sampled likewise) are used: of the span, and
        with `delayed_feedback` of what follows it.
      delayed_feedback: whether and how the models that serve learn also from the events of the last
        `delay`: "none", or one of the ways of `training.delayed`.
    """

    span_us: int
    delay_us: int
    gate_us: int = 86_400_000_000
    validation_share: float = 0.2
    rounds: int = 400
    early_stopping: int = 40
    refit: bool = True
    booster: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)
    text_folds: int = 5
    text_regularisation: float = 1.0
    positive_weight: float | str = 1.0
    model: str = "booster"  # which serves: "booster", "linear" or "text"
    analyse_rows: int = 1_000_000
    train_rows: int = 2_000_000
    seed: int = 0
    delayed_feedback: str = "none"


@dataclasses.dataclass(frozen=True)
class Gate:
    """When a trained bundle may serve.

    Attributes:
      min_average_precision, min_auc: floors on the evaluation slice.
      max_drop: largest allowed fall of average precision against the serving bundle on the same
        events.
      min_positives: evidence below this many positives refuses.
      parity_us: the newest stretch of the scorer's log, in event time, that must be clean under
        `lockstep parity` before a bundle is promoted; 0: parity is not asked.
    """

    min_average_precision: float = 0.0
    min_auc: float = 0.5
    max_drop: float = 0.02
    min_positives: int = 20
    parity_us: int = 0


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How `lockstep evaluate` reports, beside the ranking metrics of all events.

    Attributes:
      group: column whose values are ranked once per day by their highest score (a card, an
        account), for precision at `top`; None: not reported.
      top: how many groups a day are looked at.
      drop_known: leave out events whose group had a positive verdict known at the start of the
        event's day, among events since the start of the bundle's training span.
      campaigns: accounts of a campaign (`lockstep campaigns`) are one unit: no slice of a training
        run parts one, intervals count with campaigns, and reports count how many are caught.
      recipients: numeric input that says how many people an event reaches, for the harm before the
        first action; None: harm is counted in events and time alone.
    """

    group: str | None = None
    top: int = 100
    drop_known: bool = False
    campaigns: bool = False
    recipients: str | None = None
