"""When an action is carried out: not at once, after a time that nobody outside can foresee.

Who is blocked within a second of a message learns which word did it, one try at a time. After a
random delay what is blocked no longer tells why. The delay is a function of the event's id and a
salt alone: the same at a replay, on every path, and whenever a decision is published again. What
carries actions out waits until a decision's `act_after`; Lockstep itself carries nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.policy import Action
from transforms.hashing import hash_column, hash_text

NOW = -1
"""In place of a moment: the action is none, or has no delay."""


def act_after(
    actions: Sequence[Action],
    taken: npt.NDArray[np.int8],
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """The moments before which actions are not to be carried out: int64 `[n]`, µs UTC, or `NOW`.

    Args:
      actions: of the policy, by number from 1 on.
      taken: int8 `[n]`, numbers of actions; 0 is the default.
      event_ids: string `[n]`.
      event_times: int64 `[n]`, microseconds UTC; delays begin there.

    >>> from configs.policy import ActionDelay
    >>> rule = [Action("block", 0.9, delay=ActionDelay("2026", 50, 10)), Action("hide", 0.5)]
    >>> ids, times = pa.array(["m-1", "m-2", "m-3"]), np.array([100, 100, 100])
    >>> made = act_after(rule, np.array([1, 2, 0], np.int8), ids, times)
    >>> bool(110 <= made[0] <= 150), made[1:].tolist()
    (True, [-1, -1])
    """
    made = np.full(len(taken), NOW, np.int64)
    for number, one in enumerate(actions, 1):
        rows = np.flatnonzero(taken == number)
        if one.delay is None or not len(rows):
            continue
        drawn = hash_column(event_ids.take(pa.array(rows)), hash_text(f"delay:{one.delay.salt}"))
        share = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53  # below 1, the same bits
        spread = one.delay.most_us - one.delay.least_us
        made[rows] = (
            event_times[rows] + one.delay.least_us + (share * (spread + 1)).astype(np.int64)
        )
    return made
