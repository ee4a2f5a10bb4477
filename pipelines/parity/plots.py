"""The parity page's plot: when decisions differed, and by what cause."""

from __future__ import annotations

import datetime as dt

from matplotlib import rc_context

from scoring.parity.compare import (
    BINS,
    CAMPAIGN,
    COPY,
    DUPLICATE,
    HAND_OFF,
    LATE,
    MISSING,
    SNAPSHOT,
    UNEXPLAINED,
    VERSION,
    ParityReport,
)
from training.report.plots import BAD, BASELINE, NEW, SERVING, STYLE, as_svg, make_axes

# Colour and opacity: what belongs together differs in the second only.
_COLOURS = {
    LATE: (SERVING, 1.0),
    DUPLICATE: (NEW, 1.0),
    COPY: (SERVING, 0.45),
    MISSING: (BASELINE, 1.0),
    SNAPSHOT: (NEW, 0.7),
    VERSION: (NEW, 0.45),
    HAND_OFF: (BASELINE, 0.45),
    CAMPAIGN: (BAD, 0.45),
    UNEXPLAINED: (BAD, 1.0),
}
_TICKS = (1 / 6, 1 / 2, 5 / 6)


def differences_svg(report: ParityReport) -> str:
    """Share of the decisions that differ, over time, stacked by cause."""
    width = max(report.last_us - report.first_us, 1) / BINS
    at = [report.first_us + width * (i + 0.5) for i in range(BINS)]
    with rc_context(STYLE):
        figure, plot = make_axes("time of the event (UTC)", "decisions that differ, %")
        below = [0.0] * BINS
        for cause, counts in report.differing_over_time.items():
            heights = [100 * n / max(of, 1) for n, of in zip(counts, report.compared, strict=True)]
            colour, alpha = _COLOURS[cause]
            plot.bar(at, heights, width, below, color=colour, alpha=alpha, label=cause, linewidth=0)
            below = [one + other for one, other in zip(below, heights, strict=True)]
        length = report.last_us - report.first_us
        ticks = [report.first_us + length * place for place in _TICKS]
        plot.set_xticks(ticks, [_moment(one, length) for one in ticks])
        plot.set_xlim(report.first_us, max(report.last_us, report.first_us + 1))
        plot.set_ylim(0, max(1e-6, 1.1 * max(below)))
        figure.legend(loc="upper center", ncols=2, handlelength=1.2)
        words = f"share of {report.events:,} decisions that differ, over time, by cause"
        return as_svg(figure, words)


def _moment(time_us: float, length_us: int) -> str:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=int(time_us))
    if length_us > 20 * 86_400_000_000:
        return moment.strftime("%Y-%m-%d")
    if length_us > 20 * 3_600_000_000:
        return moment.strftime("%m-%d %H:%M")
    return moment.strftime("%H:%M" if length_us > 600_000_000 else "%H:%M:%S")
