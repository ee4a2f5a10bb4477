"""The page's plots as inline SVG, drawn by matplotlib, coloured by the page's style sheet.

What enters: metrics. What leaves: `<svg>` text without any address, metadata or date, the same
bytes for the same metrics. Colours are drawn as marker values and replaced by CSS variables, so
that one picture serves a light and a dark page; text stays text.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import io
import itertools
import re
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scoring.decision import Threshold
from training.early import DayFigures
from training.evaluate import Metrics
from training.label_flow import LabelFlow
from training.report.early import early_lines
from training.report.facts import PastRun

# Colours that occur nowhere else -> the page's variables.
INK, FAINT, NEW, SERVING, BASELINE, BAD = (
    "#010101",
    "#020202",
    "#030303",
    "#040404",
    "#050505",
    "#060606",
)
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    NEW: "var(--new)",
    SERVING: "var(--serving)",
    BASELINE: "var(--baseline)",
    BAD: "var(--bad)",
}
_MOST_TICKS = 7
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lockstep",
    "font.size": 10.5,
    "font.family": "sans-serif",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
}


def precision_recall_svg(
    metrics: Metrics,
    baseline: Metrics | None = None,
    serving: Metrics | None = None,
    thresholds: Sequence[Threshold] = (),
) -> str:
    """Precision over recall: the new model, the baseline, what serves, and the thresholds."""
    with rc_context(STYLE):
        figure, axes = make_axes("recall: share of abuse that is found", "precision")
        for other, colour, name, line in (
            (baseline, BASELINE, "logistic regression", ":"),
            (serving, SERVING, "serving now", "--"),
            (metrics, NEW, "new model", "-"),
        ):
            if other is not None and other.precision_recall:
                axes.plot(
                    [point.recall for point in other.precision_recall],
                    [point.precision for point in other.precision_recall],
                    color=colour,
                    label=name,
                    linestyle=line,
                )
        if metrics.prevalence is not None:
            axes.axhline(
                metrics.prevalence, color=INK, linewidth=0.8, dashes=(2, 3), label="chance"
            )
        dots = [(one.recall, one.precision, one.action) for one in thresholds
                if one.recall is not None and one.precision is not None]  # fmt: skip
        for recall, precision, _ in dots:
            axes.plot([recall], [precision], "o", color=NEW, markersize=6)
        for recall, precision, names in _labels(dots, wide=0.2, high=0.06):
            far = recall > 0.6
            axes.annotate(
                names,
                (recall, precision),
                textcoords="offset points",
                xytext=(-7, 13) if far else (7, 5),  # above the curve, which falls
                ha="right" if far else "left",
            )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.03)
        figure.legend(loc="upper center", ncols=2, handlelength=2.2)
        area = metrics.average_precision
        words = "precision over recall of the new model"
        return as_svg(figure, words if area is None else f"{words}: average precision {area:.3f}")


def calibration_svg(metrics: Metrics) -> str:
    """Share of abuse over mean score per bin, with 95 % intervals; the diagonal is perfect.

    Below, on the same scale of scores, how many events each bin has.
    """
    with rc_context(STYLE):
        figure, axes = make_axes("", "share that is abuse")
        left, low, wide, high = axes.get_position().bounds
        axes.set_position((left, low + 0.24 * high, wide, 0.76 * high))
        axes.tick_params(labelbottom=False)
        bars = figure.add_axes((left, low, wide, 0.2 * high))
        bars.bar(
            [one.low for one in metrics.calibration],
            [one.events for one in metrics.calibration],
            [one.high - one.low for one in metrics.calibration],
            align="edge",
            color=SERVING,
            linewidth=0,
        )
        bars.set_yscale("log")
        bars.set_ylim(0.7, None)
        bars.minorticks_off()
        bars.set_xlim(0, 1.02)
        bars.set_xlabel("mean score of a bin")
        bars.set_ylabel("events")
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, dashes=(2, 3), label="perfect")
        means = [one.mean_score for one in metrics.calibration]
        share = [one.share for one in metrics.calibration]
        below = [one.share - one.share_low for one in metrics.calibration]
        above = [one.share_high - one.share for one in metrics.calibration]
        axes.errorbar(
            means,
            share,
            yerr=[[max(0.0, one) for one in below], [max(0.0, one) for one in above]],
            fmt="o-",
            color=NEW,
            ecolor=NEW,
            elinewidth=0.9,
            capsize=2.5,
            markersize=4.5,
            label="new model, 95 % interval",
        )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.03)
        figure.legend(loc="upper center", ncols=2, handlelength=1.8)
        gap = metrics.calibration_error
        words = "share of abuse over mean score of a bin"
        return as_svg(figure, words if gap is None else f"{words}: mean gap {gap:.4f}")


def histogram_svg(metrics: Metrics, thresholds: Sequence[Threshold] = ()) -> str:
    """Events per bin of score, by class, on a logarithmic axis; thresholds as lines."""
    with rc_context(STYLE):
        figure, axes = make_axes("score", "events (logarithmic)")
        edges = [one.low for one in metrics.histogram] + [1.0]
        for counts, colour, name, filled in (
            ([one.negatives for one in metrics.histogram], SERVING, "not abuse", 0.25),
            ([one.positives for one in metrics.histogram], BAD, "abuse", 0.25),
        ):
            axes.stairs(counts, edges, color=colour, fill=True, alpha=filled, baseline=0.5)
            axes.stairs(counts, edges, color=colour, label=name, linewidth=1.4, baseline=None)
        axes.set_yscale("log")
        most = max((one.negatives + one.positives for one in metrics.histogram), default=1)
        axes.set_ylim(0.5, max(10.0, most * 2.0))
        lines = [(one.value, 0.98, one.action) for one in thresholds if one.value is not None]
        for value, _, _ in lines:
            axes.axvline(value, color=INK, linewidth=1, dashes=(4, 2))
        for value, at, names in _labels(lines, wide=0.09):
            near = value < 0.09
            axes.annotate(
                names,
                (value, at),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                xytext=(3 if near else -3, 0),
                rotation=90,
                ha="left" if near else "right",
                va="top",
            )
        axes.set_xlim(0, 1)
        axes.minorticks_off()
        figure.legend(loc="upper center", ncols=2, handlelength=1.8)
        words = f"events by score: {metrics.positives:,} of {metrics.labelled:,} are abuse"
        return as_svg(figure, words)


def trend_svg(runs: Sequence[PastRun]) -> str:
    """Average precision, AUC and share of abuse over runs that have them, oldest first."""
    with rc_context(STYLE):
        figure, axes = make_axes("run, as of (month-day)", "")
        at = range(len(runs))
        for name, colour, line, values in (
            ("average precision", NEW, "o-", [one.average_precision for one in runs]),
            ("AUC", SERVING, "s--", [one.auc for one in runs]),
            ("share of abuse", BAD, "^:", [one.prevalence for one in runs]),
        ):
            there = [(place, value) for place, value in zip(at, values, strict=True)
                     if value is not None]  # fmt: skip
            axes.plot(*zip(*there, strict=True), line, color=colour, label=name, markersize=4.5)
        shown = list(at)[:: -(-len(runs) // _MOST_TICKS)]
        axes.set_xticks(shown, [_month_day(runs[place].as_of_us) for place in shown])
        axes.set_ylim(0, 1.03)
        figure.legend(loc="upper center", ncols=3, handlelength=2.2)
        words = f"average precision, AUC and share of abuse of {len(runs)} runs"
        return as_svg(figure, f"{words}; the table below has the figures")


def flow_svg(flow: LabelFlow) -> str:
    """Verdicts by the day on which they became known, by source; and those that reverse.

    Args:
      flow: with at least one day.
    """
    with rc_context(STYLE):
        figure, axes = make_axes("day (month-day)", "verdicts")
        places = np.arange(len(flow.days))
        below = np.zeros(len(flow.days))
        colours = (NEW, BASELINE, SERVING)
        for number, one in enumerate(flow.sources):
            axes.bar(
                places,
                one.by_day,
                bottom=below,
                color=colours[number % len(colours)],
                alpha=0.55 ** (number // len(colours)),
                width=0.8,
                label=_short(one.source),
            )
            below += one.by_day
        back = np.sum([one.reversed_by_day for one in flow.sources], axis=0)
        axes.plot(places, back, "o-", color=INK, markersize=3, linewidth=1.2, label="reversing")
        shown = places[:: -(-len(places) // _MOST_TICKS)]
        axes.set_xticks(shown, [_month_day(flow.days[place]) for place in shown])
        axes.set_ylim(bottom=0)
        _legend(figure, axes, 3)
        words = f"verdicts of {len(flow.days)} days by {len(flow.sources)} sources"
        return as_svg(figure, f"{words}: {below[-1]:,.0f} on the last day; the table has the sums")


def over_time_svg(days: Sequence[DayFigures], measure: str) -> str:
    """Precision or recall of each action by day, expected and turned out; young days are shaded.

    Args:
      days: by date, at least one.
      measure: "precision" or "recall".
    """
    lines = [line for line in early_lines(tuple(days)) if line.action]
    young = [day.day_us for day in days if day.young]
    told = []
    with rc_context(STYLE):
        figure, axes = make_axes("day (month-day)", measure)
        at = {day.day_us: place for place, day in enumerate(days)}
        for day_us in young:
            axes.axvspan(at[day_us] - 0.5, at[day_us] + 0.5, color=FAINT, alpha=0.6, linewidth=0)
        names = dict.fromkeys(line.action for line in lines)
        for name, colour in zip(
            names, itertools.cycle((NEW, BASELINE, BAD, SERVING)), strict=False
        ):
            own = [
                (at[line.day_us], pair)
                for line in lines
                for pair in line.pairs
                if line.action == name and pair.name == measure
            ]
            foretold = [
                (
                    place,
                    one.expected,
                    max(0.0, one.expected - one.low),
                    max(0.0, one.high - one.expected),
                )
                for place, one in own
                if one.expected is not None and one.low is not None and one.high is not None
            ]
            axes.errorbar(
                [place for place, *_ in foretold],
                [value for _, value, *_ in foretold],
                yerr=[[below for *_, below, _ in foretold], [above for *_, above in foretold]],
                fmt="o:",
                color=colour,
                ecolor=colour,
                elinewidth=0.9,
                capsize=2.5,
                markersize=4.5,
                markerfacecolor="none",
                label=f"{name}, expected",
            )
            known = [(place, one.turned_out) for place, one in own if one.turned_out is not None]
            axes.plot(
                [place for place, _ in known],
                [value for _, value in known],
                "s-",
                color=colour,
                markersize=4.5,
                label=f"{name}, turned out",
            )
            if known:
                told.append(f"{name} {known[-1][1]:.2f} on the last day with labels")
        shown = list(at.values())[:: -(-len(days) // _MOST_TICKS)]
        axes.set_xticks(shown, [_month_day(days[place].day_us) for place in shown])
        axes.set_xlim(-0.5, len(days) - 0.5)
        axes.set_ylim(0, 1.03)
        _legend(figure, axes, 2)
        words = f"{measure} over {len(days)} days, of which {len(young)} have young labels"
        return as_svg(figure, "; ".join([words, *told]))


def _labels(
    marks: Sequence[tuple[float, float, str]], wide: float, high: float = 1.0
) -> list[tuple[float, float, str]]:
    """Marks (x, y, name) from left to right, with one label where labels would lie on each other.

    >>> _labels([(0.9, 0.1, "hide"), (0.8, 0.1, "block"), (0.1, 0.9, "ban")], 0.2, 0.1)
    [(0.1, 0.9, 'ban'), (0.9, 0.1, 'block, hide')]
    """
    joined: list[tuple[float, float, str]] = []
    for x, y, name in sorted(marks):
        if joined and x - joined[-1][0] < wide and abs(y - joined[-1][1]) < high:
            joined[-1] = (x, max(y, joined[-1][1]), f"{joined[-1][2]}, {name}")
        else:
            joined.append((x, y, name))
    return joined


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    """A legend above the axes, which give way where it has more than two rows."""
    entries = len(axes.get_legend_handles_labels()[1])
    left, low, wide, high = axes.get_position().bounds
    axes.set_position((left, low, wide, high - 0.056 * max(0, -(-entries // columns) - 2)))
    figure.legend(loc="upper center", ncols=columns, handlelength=2.2)


def _short(name: str) -> str:
    """A name from data as a label: no formula (`$`), no hidden one (`_`), not too long."""
    text = name if len(name) <= 18 else f"{name[:17]}\N{HORIZONTAL ELLIPSIS}"
    text = text.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def _month_day(time_us: int) -> str:
    return f"{dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=time_us):%m-%d}"


def make_axes(across: str, up: str) -> tuple[Figure, Axes]:
    """A figure of the page's size with one pair of axes."""
    figure = Figure(figsize=(4.4, 3.7))
    axes = figure.add_axes((0.145, 0.135, 0.82, 0.73))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_axisbelow(True)
    return figure, axes


def as_svg(figure: Figure, alt: str) -> str:
    """The figure's `<svg>` for a page: no prolog, addresses, group ids, fonts, fixed size.

    Args:
      figure: the plot.
      alt: what it shows, for who does not see it.
    """
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    own = hashlib.sha256(text.encode()).hexdigest()[:6]  # no id is on a page of several plots twice
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{own}", text)
    text = re.sub(r"(<svg[^>]*?) width=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = text.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
