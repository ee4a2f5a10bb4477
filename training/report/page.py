"""A nightly run's facts as one HTML page that needs no network.

The page has no script and no address in it: style and plots are inline, so it can be mailed,
archived, or opened from a bucket.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.resources
import re
from collections.abc import Sequence
from typing import Any

import jinja2
import markupsafe

from training.drift import FAR, GAP, MUCH, SCORE, InputDrift
from training.evaluate import AtThreshold, Metrics
from training.report.contracts import contract_lines
from training.report.early import early_lines
from training.report.facts import Fact, NightlyReport, PastRun
from training.report.plots import (
    calibration_svg,
    flow_svg,
    histogram_svg,
    over_time_svg,
    precision_recall_svg,
    trend_svg,
)

_DAY_US = 86_400_000_000
_MOST_SOURCES = 12
_FEWEST_DRIFTS, _MOST_DRIFTS = 5, 20
_MOST_ROWS, _MOST_LETTERS = 60, 1000
_LISTS = (
    "kinds", "dead", "slices", "thresholds", "parts", "stages", "facts", "notes", "commands",
    "wrong", "early", "past", "days", "changed", "changes", "parity", "reasons", "harm", "alarms",
)  # fmt: skip
_MEASURED = ("threshold", "figure")
_CARD = re.compile(r'<section class="card[^"]*" id="([^"]+)">\s*<h2>([^<]+)</h2>')
_NOTHING = "\N{EN DASH}"


@dataclasses.dataclass(frozen=True)
class Tile:
    """A key figure at the top of the page."""

    name: str
    value: str
    note: str


@dataclasses.dataclass(frozen=True)
class Line:
    """A metric of some models."""

    name: str
    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Models on the same events: what the events are, the models' names, a line per metric."""

    note: str
    models: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class ActionLine:
    """What an action of one model did on the events of the comparison."""

    action: str
    model: str
    at: AtThreshold

    @property
    def between(self) -> str:
        """The precision's interval; nothing where nothing was flagged."""
        if not self.at.flagged:
            return ""
        return f"({_share(self.at.precision_low)} to {_share(self.at.precision_high)})"


def render(report: NightlyReport) -> str:
    """The page, below 2 MB whatever the report holds. Equal reports give equal pages.

    >>> page = render(NightlyReport("chat", "", 0, "failed", "decode: no <events>"))
    >>> "decode: no &lt;events&gt;" in page, "http" in page
    (True, False)
    """
    report = _bounded(report)
    sources = sorted(report.sources, key=lambda one: (-one.rows, one.source))
    return (
        environment("training.report")
        .get_template("page.html.jinja")
        .render(
            report=report,
            css=markupsafe.Markup(packaged("training.report", "page.css")),
            tiles=_tiles(report),
            comparisons=_comparisons(report),
            actions=_actions(report),
            contracts=contract_lines(report.thresholds, _same_events(report)[1]),
            figures=[one for one in report.changed if one.of in _MEASURED],
            otherwise=[one for one in report.changed if one.of not in _MEASURED],
            fires=report.metrics.at if report.metrics else (),
            past=_past(report),
            early=early_lines(report.early),
            drifts=_drifts(report),
            rules={"much": MUCH, "far": FAR, "gap": GAP},
            read_note=_read_note(report),
            plots=_plots(report),
            dead_note=_dead_note(report),
            longest=max((one.seconds for one in report.stages), default=0.0) or 1.0,
            facts=_facts(report),
            sources=sources[:_MOST_SOURCES],
            more_sources=max(0, len(sources) - _MOST_SOURCES),
        )
    )


def environment(package: str) -> jinja2.Environment:
    """Templates of a package, with filters that write numbers and times for people."""
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(functools.partial(packaged, package)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_clip,
    )
    made.filters.update(
        day=_day,
        moment=_moment_words,
        count=_count,
        share=lambda value: _share(value).replace(" ", "\N{NO-BREAK SPACE}"),
        score=_score,
        duration=_duration,
        size=_size,
        words=lambda text: text.replace("_", " "),
        lasting=_lasting,
        sections=_sections,
    )
    return made


def _clip(value: object) -> object:
    """A text that fits a page; what the page itself is made of stays as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__") and len(value) > _MOST_LETTERS:
        return value[:_MOST_LETTERS] + "\N{HORIZONTAL ELLIPSIS}"
    return value


def _bounded(report: NightlyReport) -> NightlyReport:
    """The report with the beginnings of its long lists (of days and runs the ends), and a note."""
    shorter: dict[str, Any] = {}
    left = []
    for name in _LISTS:
        whole = getattr(report, name)
        if len(whole) > _MOST_ROWS:
            ends = name in ("early", "past", "days")
            shorter[name] = whole[-_MOST_ROWS:] if ends else whole[:_MOST_ROWS]
            left.append(f"{_count(len(whole) - _MOST_ROWS)} of {name}")
    if not left:
        return report
    note = f"This page leaves off what is in report.json only: {', '.join(left)}."
    return dataclasses.replace(
        report, **shorter | {"notes": (note, *shorter.get("notes", report.notes))}
    )


def packaged(package: str, name: str) -> str:
    """The text of a file that comes with a package."""
    return importlib.resources.files(package).joinpath(name).read_text("utf-8")


def _plots(report: NightlyReport) -> dict[str, markupsafe.Markup]:
    """The plots that there is something to draw for; the rest are empty."""
    metrics = report.metrics
    past = _past(report)
    known = [one for one in past if one.average_precision is not None]
    days = report.days if any(day.expected.at for day in report.days) else ()
    over = {
        name: markupsafe.Markup(over_time_svg(days, name) if days else "")
        for name in ("precision", "recall")
    }
    flow = report.flow
    trend = over | {
        "trend": markupsafe.Markup(trend_svg(known) if len(known) > 1 else ""),
        "flow": markupsafe.Markup(flow_svg(flow) if flow is not None and flow.days else ""),
    }
    if metrics is None or not metrics.labelled:
        empty = markupsafe.Markup()
        return trend | {"precision_recall": empty, "calibration": empty, "histogram": empty}
    drawn = precision_recall_svg(metrics, report.baseline, report.serving, report.thresholds)
    return trend | {
        "precision_recall": markupsafe.Markup(drawn if metrics.precision_recall else ""),
        "calibration": markupsafe.Markup(calibration_svg(metrics)),
        "histogram": markupsafe.Markup(histogram_svg(metrics, report.thresholds)),
    }


def _tiles(report: NightlyReport) -> tuple[Tile, ...]:
    metrics = report.metrics
    if metrics is None:
        return ()
    precisions = _between(metrics.average_precision_low, metrics.average_precision_high)
    areas = _between(metrics.auc_low, metrics.auc_high)
    tiles = [
        Tile("average precision", _score(metrics.average_precision), precisions),
        Tile("AUC", _score(metrics.auc), areas or "chance that abuse outranks the rest"),
        Tile("abuse", _share(metrics.prevalence), f"{_count(metrics.positives)} held-out events"),
        Tile("calibration error", _score(metrics.calibration_error), "mean gap of score and share"),
    ]
    found = metrics.group_precision
    if found is not None:
        tiles.append(Tile(f"precision of top {found.top}", _share(found.mean), "a day's worklist"))
    return tuple(tiles)


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"95 %: {low:.3f} to {high:.3f}"


def _actions(report: NightlyReport) -> tuple[ActionLine, ...]:
    """New and serving thresholds on the same events, action by action."""
    pair = _same_events(report)
    models = [(name, one) for name, one in zip(("new", "serving"), pair, strict=True) if one]
    found = {(at.action, name): at for name, one in models for at in one.at}
    names = dict.fromkeys(action for action, _ in found)
    return tuple(
        ActionLine(action, name, found[action, name])
        for action in names
        for name in ("new", "serving")
        if (action, name) in found
    )


def _same_events(report: NightlyReport) -> tuple[Metrics | None, Metrics | None]:
    """The new model and the serving one, measured on the same events; None: not measured."""
    beside = report.beside
    if report.serving is None and beside is not None and beside.serving is not None:
        return beside.candidate, beside.serving
    return report.metrics, report.serving


def _past(report: NightlyReport) -> tuple[PastRun, ...]:
    """Earlier runs and this one, oldest first."""
    return (*report.past, report.as_past_run())


def _drifts(report: NightlyReport) -> tuple[InputDrift, ...]:
    """Those that moved, the next ones up to a few, and the score wherever it stands."""
    moved = sum(one.moved for one in report.drifts)
    shown = report.drifts[: max(_FEWEST_DRIFTS, min(moved, _MOST_DRIFTS))]
    return (*shown, *(one for one in report.drifts if one.name == SCORE and one not in shown))


def _read_note(report: NightlyReport) -> str:
    if report.rows:
        count = len(report.sources)
        sources = f"{_count(count)} source{'' if count == 1 else 's'}"
        return f"This run read {_count(report.rows)} rows from {sources}."
    if report.sources:
        return (
            "This run read nothing new: an earlier run had published all days up to this one, and "
            "published days are not read again."
        )
    return "The run ended before it had read its input."


def _comparisons(report: NightlyReport) -> tuple[Comparison, ...]:
    """Never two models on different events in one table."""
    metrics, beside = report.metrics, report.beside
    if metrics is None:
        return ()
    others = (("serving", report.serving), ("logistic", report.baseline))
    shown = [("new", metrics), *((name, one) for name, one in others if one is not None)]
    made = [_comparison("All on the same held-out events, the newest of the span.", shown)]
    if beside is not None and beside.candidate is not None and beside.serving is not None:
        where = f"{_moment_words(beside.where.start_us)} to {_moment_words(beside.where.end_us)}"
        note = (
            f"The serving model was trained on some of these, so the two are compared "
            f"on the {_count(beside.serving.labelled)} judged events of {where}."
        )
        both = [("new", beside.candidate), ("serving", beside.serving)]
        made.append(_comparison(note, both))
    return tuple(made)


def _comparison(note: str, models: Sequence[tuple[str, Metrics]]) -> Comparison:
    fields = ("average_precision", "auc", "log_loss", "brier", "calibration_error")
    names = ("average precision", "AUC", "log loss", "Brier score", "calibration error")
    lines = [
        Line(name, tuple(_score(_metric(one, field)) for _, one in models))
        for name, field in zip(names, fields, strict=True)
    ]
    lines.insert(2, Line("AUC, 95 %", tuple(_range(one) for _, one in models)))
    lines += [
        Line(f"recall at {at.action}", tuple(_recall(one, at.action) for _, one in models))
        for at in models[0][1].at
    ]
    return Comparison(note, tuple(name for name, _ in models), tuple(lines))


def _range(metrics: Metrics) -> str:
    if metrics.auc_low is None or metrics.auc_high is None:
        return _NOTHING
    return f"{metrics.auc_low:.3f}\N{EN DASH}{metrics.auc_high:.3f}"


def _metric(metrics: Metrics, field: str) -> float | None:
    value: float | None = getattr(metrics, field)
    return value


def _recall(metrics: Metrics, action: str) -> str:
    """At the model's own threshold for an action; nothing where it has none."""
    found = [one.recall for one in metrics.at if one.action == action]
    return _share(found[0]) if found else _NOTHING


def _dead_note(report: NightlyReport) -> str:
    # A duplicate is a repeated record, not a bad one, so it is no part of the bounded share.
    dead = sum(one.records for one in report.dead if one.reason != "duplicate_id")
    if not report.rows:
        return "No rows were read in this run."
    bound = ""
    if report.max_dead_share is not None:
        bound = f"; a run fails above {_share(report.max_dead_share)}"
    return f"{_share(dead / report.rows)} of the rows, duplicates aside{bound}."


def _facts(report: NightlyReport) -> tuple[Fact, ...]:
    named = (
        ("bundle", report.bundle_fingerprint),
        ("served before", report.serving_fingerprint),
        ("specification", report.spec_fingerprint),
    )
    return (
        Fact("as of", f"{_minute(report.as_of_us)} UTC"),
        *(Fact(name, value) for name, value in named if value),
        *report.facts,
    )


def _moment(time_us: int) -> datetime.datetime:
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=time_us)


def _day(time_us: int) -> str:
    return _moment(time_us).strftime("%Y-%m-%d")


def _minute(time_us: int) -> str:
    return _moment(time_us).strftime("%Y-%m-%d %H:%M")


def _moment_words(time_us: int) -> str:
    """The day alone where it is midnight."""
    return _day(time_us) if time_us % _DAY_US == 0 else _minute(time_us)


def _count(number: int) -> str:
    return f"{number:,}"


def _score(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def _share(value: float | None) -> str:
    """A share in percent, with as many digits as tell something.

    A share that is not whole never shows as 0 % or 100 %.
    """
    if value is None:
        return _NOTHING
    percent = 100.0 * value
    if percent in (0.0, 100.0):
        return f"{percent:.0f} %"
    if percent < 0.01:
        return "< 0.01 %"
    if percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s"


def _lasting(time_us: float | None) -> str:
    """A length of time in the unit that tells most.

    >>> _lasting(90_000_000), _lasting(9_000_000_000)
    ('90 s', '2.5 h')
    """
    if time_us is None:
        return _NOTHING
    seconds = time_us / 1e6
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _sections(body: str) -> list[tuple[str, str]]:
    """Id and heading of each card of a page, for its list of sections."""
    return _CARD.findall(body)


def _size(amount: int) -> str:
    return f"{amount / 1e9:.2f} GB" if amount >= 995_000_000 else f"{amount / 1e6:.0f} MB"
