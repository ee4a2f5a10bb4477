"""An experiment as one HTML page that needs no network: the nightly page's style, no script.

What enters: an `ExperimentResult`. What leaves: the page's text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import markupsafe
from matplotlib import rc_context

from training.experiment import ExperimentResult, metric_words
from training.paired import Difference
from training.report.page import environment, packaged
from training.report.plots import BAD, INK, NEW, SERVING, STYLE, as_svg, make_axes

_NOTHING = "\N{EN DASH}"
_COLOURS = {"better": NEW, "worse": BAD}


@dataclasses.dataclass(frozen=True)
class MetricTable:
    """One metric: the champion's figure, and the challengers' beside it."""

    name: str
    champion: str
    rows: tuple[tuple[str, Difference], ...]
    plot: markupsafe.Markup


def render_experiment(result: ExperimentResult) -> str:
    """The page. Equal results give equal pages."""
    return (
        environment("training.report")
        .get_template("experiment.html.jinja")
        .render(
            result=result,
            css=markupsafe.Markup(packaged("training.report", "page.css")),
            tables=[_table(result, at) for at in range(len(result.metrics))],
            contenders=(result.champion, *result.challengers),
            measured=[one for one in (result.champion, *result.challengers) if not one.error],
            first=metric_words(result.metrics[0]),
            figure=figure,
            signed=signed,
        )
    )


def figure(value: float | None) -> str:
    """A figure with three digits; nothing where there is none."""
    return _NOTHING if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """A difference with its sign.

    >>> signed(0.0123)
    '+0.012'
    """
    if value is None:
        return _NOTHING
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def interval(one: Difference) -> str:
    """The interval of a difference, in words."""
    return f"{signed(one.low)} to {signed(one.high)}" if one.low is not None else _NOTHING


def _table(result: ExperimentResult, at: int) -> MetricTable:
    name = result.metrics[at]
    rows = [(one.name, one.differences[at]) for one in result.challengers if one.differences]
    drawn = _differences_svg(name, rows) if any(one.low is not None for _, one in rows) else ""
    champion = figure(result.champion.figures.get(name))
    return MetricTable(metric_words(name), champion, tuple(rows), markupsafe.Markup(drawn))


def _differences_svg(name: str, rows: Sequence[tuple[str, Difference]]) -> str:
    """Each challenger's difference with its interval, the first one on top; 0 is the champion."""
    with rc_context(STYLE):
        drawn, axes = make_axes("difference from the champion", "")
        axes.set_position((0.32, 0.16, 0.63, 0.80))
        for place, (_, one) in enumerate(rows):
            if one.low is None or one.high is None:
                continue
            colour = _COLOURS.get(one.conclusion, SERVING)
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
            axes.plot([one.difference], [place], "o", color=colour, markersize=6)
        axes.axvline(0.0, color=INK, linewidth=0.8, dashes=(2, 3))
        axes.set_yticks(range(len(rows)), [_short(name) for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
        words = f"difference of {name.replace('_', ' ')} from the champion's, by challenger"
        return as_svg(drawn, f"{words}, with intervals; the table has the figures")


def _short(name: str, most: int = 16) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
