"""What messages lead to: reports after minutes, verdicts after hours, appeals after days."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.simulate.rows import (
    FIRST_ABUSE,
    Floats,
    Integers,
    Kind,
    Rows,
    Source,
    concat,
    make_ids,
    make_rows,
)
from pipelines.simulate.world import DAY_US, World

# Mean reports per message, and the share of messages that are judged, by act. Honest ones: false
# reports, and random audits.
_REPORTS = np.array([0.004, 0.012, 0.003, 0.25, 0.4, 0.06, 0.25, 0.12])
_JUDGED = np.array([0.006, 0.012, 0.006, 0.995, 0.97, 0.99, 0.65, 0.55])
_AUTOMATIC = np.array([0.05, 0.1, 0.05, 0.35, 0.15, 0.4, 0.1, 0.0])
_WRONG = np.array([0.015, 0.02, 0.01, 0.005, 0.02, 0.005, 0.06, 0.06])
_WRONG_AFTER_REPORT = 0.12  # of honest messages
_SECOND_US = 1_000_000


def react(world: World, rng: np.random.Generator, messages: Rows, seed: int, unit: int) -> Rows:
    """Reports, verdicts and appeals about messages, at the times when they become known.

    Args:
      world: whose accounts report.
      rng: of this stretch.
      messages: with ids.
      seed, unit: of the ids.

    Returns:
      Rows with ids, in no order.
    """
    act = messages.act.astype(np.int64)
    abuse = act >= FIRST_ABUSE
    count = len(act)
    reports = rng.poisson(_REPORTS[act])
    audited = rng.random(count) < _JUDGED[act]
    judged = audited | ((reports > 0) & (rng.random(count) < 0.5))
    about = np.repeat(np.arange(count), reports)
    reported_at = messages.time[about] + _minutes(rng, len(about), 6, 1.4, 3 * DAY_US)
    reporter = world.draw_present(rng, reported_at)

    row = np.flatnonzero(judged)
    truth = abuse[row]
    misled = ~truth & (reports[row] > 0)
    wrong = np.where(misled, _WRONG_AFTER_REPORT, _WRONG[act[row]])
    judged_bad = truth ^ (rng.random(len(row)) < wrong)
    automatic = rng.random(len(row)) < _AUTOMATIC[act[row]]
    delay = np.where(
        automatic,
        _minutes(rng, len(row), 2, 0.8, DAY_US),
        _minutes(rng, len(row), 240, 1.3, 10 * DAY_US),
    )
    known = messages.time[row] + delay

    appeals = np.flatnonzero(judged_bad & (rng.random(len(row)) < np.where(truth, 0.03, 0.5)))
    upheld = truth[appeals] ^ (rng.random(len(appeals)) < 0.05)
    heard = known[appeals] + _minutes(rng, len(appeals), 1200, 0.8, 10 * DAY_US)
    return concat(
        [
            make_rows(
                reported_at,
                id=make_ids(seed, 1, unit, len(about)),
                kind=Kind.REPORT,
                author=reporter,
                target=messages.author[about],
                subject=messages.id[about],
            ),
            _verdicts(known, messages, row, judged_bad, np.where(automatic, 1, 0), seed, 2, unit),
            _verdicts(heard, messages, row[appeals], upheld, int(Source.APPEAL), seed, 3, unit),
        ]
    )


def _verdicts(
    known: Integers,
    messages: Rows,
    row: Integers,
    judged_bad: npt.NDArray[np.bool_],
    source: npt.ArrayLike,
    seed: int,
    series: int,
    unit: int,
) -> Rows:
    return make_rows(
        known,
        id=make_ids(seed, series, unit, len(row)),
        kind=Kind.VERDICT,
        target=messages.author[row],
        subject=messages.id[row],
        verdict=judged_bad,
        source=source,
    )


def _minutes(
    rng: np.random.Generator, count: int, median: float, sigma: float, most_us: int
) -> Integers:
    return draw_delays(rng, count, median * 60 * _SECOND_US, sigma, most_us)


def draw_delays(
    rng: np.random.Generator, count: int, median_us: float, sigma: float, most_us: int
) -> Integers:
    """Lognormal delays in microseconds, never under a second: int64 `[count]`.

    >>> draw_delays(np.random.default_rng(0), 3, 60e6, 1.0, 10**8).max() <= 10**8
    np.True_
    """
    drawn: Floats = rng.lognormal(np.log(median_us), sigma, count)
    return np.clip(drawn, _SECOND_US, most_us).astype(np.int64)
