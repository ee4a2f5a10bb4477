"""Figures that protocols and experiments can ask for, by the words that files use."""

from __future__ import annotations

import dataclasses
import re

from configs._yaml import Section, did_you_mean

METRICS = ("accuracy", "auc", "average_precision", "mcc")
_RATE = re.compile(r"tpr_at_fpr\((0?\.\d+)\)")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure of the test events.

    Attributes:
      name: one of `METRICS`, or "tpr_at_fpr".
      at: the highest rate of false positives that is allowed; None: means nothing here.
    """

    name: str
    at: float | None = None

    def __str__(self) -> str:
        return self.name if self.at is None else f"{self.name}({self.at:g})"


def read_metrics(root: Section, default: tuple[Metric, ...] = ()) -> tuple[Metric, ...]:
    """The figures that `metrics:` names; what is not known is noted.

    Args:
      default: where there is no such key; (): there must be one.
    """
    if default and "metrics" not in root:
        root.raw("metrics")
        return default
    made = []
    for word, place in root.strings("metrics"):
        rate = _RATE.fullmatch(word)
        if rate is not None and float(rate[1]) > 0.0:
            made.append(Metric("tpr_at_fpr", float(rate[1])))
        elif word in METRICS:
            made.append(Metric(word))
        else:
            known = (*METRICS, "tpr_at_fpr(0.02)")
            root.mistakes.add(place, f"metrics: {word!r} is not known", did_you_mean(word, known))
    if not made and not len(root.mistakes):
        root.note("metrics", "metrics: expected at least one", f"one of: {', '.join(METRICS)}")
    return tuple(made)
