"""The slices of a training run: which stretch of time fits, which checks, which judges.

Slices are stretches of time, never random draws: a random draw puts two messages of one campaign on
both sides, and reports a model that has seen its own exam.

    |<-------------------- span -------------------->|<- delay ->| as of
    |<---------- fit ---------->|<- valid. ->|< gate >|  verdicts still come in
"""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError, EvidenceError
from configs.schema import Training
from training.labels import NEGATIVE, POSITIVE, UNLABELLED


@dataclasses.dataclass(frozen=True)
class TimeRange:
    """The event times `[start_us, end_us)`, microseconds UTC.

    >>> day = TimeRange(0, 86_400_000_000)
    >>> str(day)
    '1970-01-01 00:00 to 1970-01-02 00:00'
    """

    start_us: int
    end_us: int

    def mask(self, event_times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of int64[n] µs UTC lie in the range.

        >>> TimeRange(2, 4).mask(np.array([1, 2, 3, 4])).tolist()
        [False, True, True, False]
        """
        times = np.asarray(event_times)
        return (times >= self.start_us) & (times < self.end_us)

    def __str__(self) -> str:
        return f"{_minute(self.start_us)} to {_minute(self.end_us)}"


@dataclasses.dataclass(frozen=True)
class Slices:
    """The ranges of one training run; `fit`, `validation` and `gate` make up `span`."""

    fit: TimeRange
    validation: TimeRange
    gate: TimeRange
    span: TimeRange


def slices(training: Training, as_of_us: int) -> Slices:
    """The slices of a run as of a moment (see the module's drawing).

    Args:
      training: spans and shares.
      as_of_us: the moment of knowing, microseconds UTC.

    Raises:
      ConfigError: the gate leaves nothing of the span to train on, or a slice is empty.

    >>> day = 86_400_000_000
    >>> cut = slices(Training(span_us=11 * day, delay_us=3 * day, validation_share=0.2), 14 * day)
    >>> [one.end_us // day for one in (cut.fit, cut.validation, cut.gate, cut.span)]
    [8, 10, 11, 11]
    """
    end = as_of_us - training.delay_us
    start = end - training.span_us
    judged_from = end - training.gate_us
    checked_from = judged_from - round((judged_from - start) * training.validation_share)
    if not start < checked_from < judged_from < end:
        raise ConfigError(
            f"training.span of {_days(training.span_us)} with training.gate of "
            f"{_days(training.gate_us)} and training.validation_share of "
            f"{training.validation_share} leaves a slice of no length; expected a gate above 0 and "
            "shorter than the span, and a share between 0 and 1: change them"
        )
    return Slices(
        fit=TimeRange(start, checked_from),
        validation=TimeRange(checked_from, judged_from),
        gate=TimeRange(judged_from, end),
        span=TimeRange(start, end),
    )


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """How many events of a slice are abuse, not abuse, and not labelled."""

    positives: int
    negatives: int
    unlabelled: int


def count_labels(labels: npt.NDArray[np.int8]) -> LabelCounts:
    """Counts of int8[n] labels.

    >>> count_labels(np.array([1, 0, 0, -1], np.int8))
    LabelCounts(positives=1, negatives=2, unlabelled=1)
    """
    return LabelCounts(
        positives=int(np.count_nonzero(labels == POSITIVE)),
        negatives=int(np.count_nonzero(labels == NEGATIVE)),
        unlabelled=int(np.count_nonzero(labels == UNLABELLED)),
    )


def require_both_classes(
    name: str, where: TimeRange, labels: npt.NDArray[np.int8], fewest: int = 1
) -> LabelCounts:
    """The counts of a slice, if it can teach the difference between abuse and not.

    Args:
      name: of the slice, for the message.
      where: its range, for the message.
      labels: int8[n], of the events in it.
      fewest: at least so many of each class.

    Raises:
      EvidenceError: fewer than `fewest` positives or negatives.

    >>> require_both_classes("fit", TimeRange(0, 1), np.array([1, 0], np.int8))
    LabelCounts(positives=1, negatives=1, unlabelled=0)
    """
    counts = count_labels(labels)
    if counts.positives >= fewest and counts.negatives >= fewest:
        return counts
    if counts.positives + counts.negatives == 0:
        fault = "no labels at all"
    elif counts.positives == 0 or counts.negatives == 0:
        fault = "only one class in the labels"
    else:
        fault = f"fewer than {fewest} labels of a class"
    raise EvidenceError(
        f"{fault}: the {name} slice ({where}) has {counts.positives} positives, "
        f"{counts.negatives} negatives and {counts.unlabelled} unlabelled events; expected at "
        f"least {fewest} of each class. Check that verdict events of that time were read (kind, "
        "subject column, ids) and were known by then, or choose a later --as-of or a longer "
        "training.span"
    )


def _minute(time_us: int) -> str:
    """A time for people; beyond the calendar, its microseconds."""
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=time_us)
    except OverflowError:
        return f"{time_us} µs"
    return moment.strftime("%Y-%m-%d %H:%M")


def _days(length_us: int) -> str:
    return f"{length_us / 86_400_000_000:g} days"
