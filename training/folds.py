"""Out-of-fold scores by time: what a model says of events that it could not have learnt.

What enters: rows in order of time, and a way to fit on some rows and score others. What leaves: a
score per row from a model of earlier rows only.

The text model's score is an input of the booster. Were it taken from a model that had read the
same row, the booster would trust it far more than it deserves. Random folds do not help: abuse
comes in campaigns of near-identical texts, so a random fold leaves twins of every row in the
other folds. Leaving out one block and learning from both sides has the same fault at the block's
edges, and shows the booster a text model that knows tomorrow's campaign, which the serving one
never does. So blocks are chained forward: block i is scored by a model of blocks 0 to i - 1, as
the serving model scores tomorrow. The price: the first block has no score (NaN, which the booster
treats as missing), and early blocks have one from less data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
FitAndScore = Callable[[Rows, Rows], npt.NDArray[np.float32] | None]
"""Fits on the first rows, scores the second: float32[len(second)]; None: cannot be fitted."""


def time_blocks(event_times: npt.NDArray[np.int64], blocks: int) -> Rows:
    """Consecutive blocks of about equal numbers of rows; equal times are never parted.

    Args:
      event_times: int64[n], µs UTC, not falling.
      blocks: how many, at least 1; fewer come out where times are equal.

    Returns:
      int64[n], the block of each row, from 0, not falling.

    Raises:
      ValueError: times fall, or no block is asked for.

    >>> time_blocks(np.array([1, 2, 2, 2, 3, 4]), 3).tolist()
    [0, 0, 0, 0, 2, 2]
    """
    if blocks < 1:
        raise ValueError(f"{blocks} blocks; expected at least 1")
    times = np.asarray(event_times)
    require_in_order(times)
    if len(times) == 0:
        return np.zeros(0, np.int64)
    first_of_time = np.searchsorted(times, times, side="left")
    return first_of_time.astype(np.int64) * blocks // len(times)


def chain_forward(
    blocks: Rows, fit_and_score: FitAndScore, campaigns: Rows | None = None
) -> npt.NDArray[np.float32]:
    """A score per row from a model of the blocks before its own.

    Args:
      blocks: int64[n], not falling, as from :func:`time_blocks`.
      fit_and_score: called once per block that has earlier rows.
      campaigns: int64[n] (-1: none). A model that scores a block learns from no row of a campaign
        that goes on in it, since it would know the answer; None: there are none.

    Returns:
      float32[n]; NaN where there are no earlier rows, or no model can be made of them.

    >>> mean = lambda fit, score: np.full(len(score), fit.mean(), np.float32)
    >>> chain_forward(np.array([0, 0, 1, 2]), mean).tolist()
    [nan, nan, 0.5, 1.0]
    """
    scores = np.full(len(blocks), np.nan, np.float32)
    for block in np.unique(blocks)[1:]:
        start, end = np.searchsorted(blocks, [block, block + 1])
        known = np.arange(start)
        if campaigns is not None:
            before, asked = campaigns[:start], campaigns[start:end]
            known = np.flatnonzero((before < 0) | ~np.isin(before, asked))
        made = fit_and_score(known, np.arange(start, end)) if len(known) else None
        if made is not None:
            scores[start:end] = made
    return scores


def require_in_order(event_times: npt.NDArray[np.int64]) -> None:
    """Refuses rows that are not in order of time.

    Raises:
      ValueError: a time is before its predecessor's.

    >>> require_in_order(np.array([1, 1, 2]))
    """
    falls = int(np.count_nonzero(np.diff(event_times) < 0))
    if falls:
        raise ValueError(
            f"{falls} of {len(event_times)} rows are earlier than the row before; expected rows "
            "in total order: sort by event time first"
        )
