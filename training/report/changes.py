"""What changed between two runs: config, inputs, models, thresholds, figures.

What enters: two reports. What leaves: lines for the page. Figures of two runs are of different
events, so a change of them may be one of the traffic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from training.report.facts import NightlyReport, RunChange

_FIGURES = (
    ("average precision", "average_precision"),
    ("AUC", "auc"),
    ("share of abuse", "prevalence"),
    ("calibration error", "calibration_error"),
)


def changes_between(before: NightlyReport, now: NightlyReport) -> tuple[RunChange, ...]:
    """What another run has otherwise; its figures and thresholds even where they are the same.

    Of what a report does not have (an earlier build's, a failed run's) nothing is said.
    """
    made: list[RunChange] = []
    if before.setup is not None and now.setup is not None:
        made += _otherwise("setting", before.setup.settings, now.setup.settings)
        made += _inputs(before.setup.inputs, now.setup.inputs)
        made += _otherwise("software", before.setup.software, now.setup.software)
    elif before.spec_fingerprint != now.spec_fingerprint:
        made.append(
            RunChange("setting", "(all)", before.spec_fingerprint or "", now.spec_fingerprint or "")
        )
    if before.metrics is None or now.metrics is None:
        return tuple(made)
    for name, of in (("new model", "bundle_fingerprint"), ("serving model", "serving_fingerprint")):
        one, other = getattr(before, of) or "", getattr(now, of) or ""
        if one != other:
            made.append(RunChange("model", name, one, other))
    return (*made, *_thresholds(before, now), *_figures(before, now))


def _otherwise(of: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[RunChange]:
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) != now.get(name):
            yield RunChange(of, name, before.get(name, ""), now.get(name, ""))


def _inputs(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[RunChange]:
    """Inputs that came, went, or mean something else under the same name."""
    for one in _otherwise("input", before, now):
        if one.before and one.now:
            yield RunChange("input", one.name, "one meaning", "another")
        else:
            yield RunChange("input", one.name, one.before and "read", one.now and "read")


def _thresholds(before: NightlyReport, now: NightlyReport) -> Iterator[RunChange]:
    values = [
        {one.action: _score(one.value) or "off" for one in report.thresholds}
        for report in (before, now)
    ]
    for name in dict.fromkeys([*values[0], *values[1]]):
        yield RunChange("threshold", name, values[0].get(name, ""), values[1].get(name, ""))


def _figures(before: NightlyReport, now: NightlyReport) -> Iterator[RunChange]:
    for name, field in _FIGURES:
        pair = (_score(getattr(one.metrics, field)) for one in (before, now))
        yield RunChange("figure", name, *pair)
    recalls = [
        {one.action: _score(one.recall) for one in report.metrics.at} if report.metrics else {}
        for report in (before, now)
    ]
    for name in dict.fromkeys([*recalls[0], *recalls[1]]):
        yield RunChange(
            "figure", f"recall at {name}", recalls[0].get(name, ""), recalls[1].get(name, "")
        )


def _score(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"
