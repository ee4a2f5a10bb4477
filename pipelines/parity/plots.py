"""The parity page's plot: when decisions differed, and by what cause.

What enters: a report. What leaves: `<svg>` text in the page's colours (`pipelines.report.plots`).
"""

from __future__ import annotations

import datetime as dt

from matplotlib import rc_context

from pipelines.parity.compare import (
    BINS,
    DUPLICATE,
    HAND_OFF,
    LATE,
    MISSING,
    UNEXPLAINED,
    VERSION,
    ParityReport,
)
from pipelines.report.plots import BAD, BASELINE, FAINT, INK, NEW, SERVING, STYLE, as_svg, make_axes

_COLOURS = {
    LATE: SERVING,
    DUPLICATE: NEW,
    MISSING: BASELINE,
    VERSION: FAINT,
    HAND_OFF: INK,
    UNEXPLAINED: BAD,
}
_TICKS = 4


def differences_svg(report: ParityReport) -> str:
    """Share of the decisions that differ, over time, stacked by cause."""
    width = max(report.last_us - report.first_us, 1) / BINS
    at = [report.first_us + width * (i + 0.5) for i in range(BINS)]
    with rc_context(STYLE):
        figure, plot = make_axes("time of the event (UTC)", "decisions that differ, %")
        below = [0.0] * BINS
        for cause, counts in report.differing_over_time.items():
            heights = [100 * n / max(of, 1) for n, of in zip(counts, report.compared, strict=True)]
            plot.bar(at, heights, width, below, color=_COLOURS[cause], label=cause, linewidth=0)
            below = [one + other for one, other in zip(below, heights, strict=True)]
        step = (report.last_us - report.first_us) / _TICKS
        ticks = [report.first_us + step * i for i in range(_TICKS + 1)]
        plot.set_xticks(ticks, [_moment(one, step) for one in ticks])
        plot.set_xlim(ticks[0], max(ticks[-1], ticks[0] + 1))
        plot.set_ylim(0, max(1e-6, 1.1 * max(below)))
        figure.legend(loc="upper center", ncols=2, handlelength=1.2)
        return as_svg(figure)


def _moment(time_us: float, step_us: float) -> str:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=int(time_us))
    if step_us >= 12 * 3_600_000_000:
        return moment.strftime("%m-%d")
    return moment.strftime("%H:%M" if step_us >= 60_000_000 else "%H:%M:%S")
