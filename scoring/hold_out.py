"""The hold-out: a small share of events that nothing is done to, so that what they were is seen.

Enforcement hides outcomes: what is blocked is not read, not reported and rarely judged, so a model
that is trained and measured on what is left learns from its own decisions. A share that is let
through by chance, with a chance that is known, makes up for the rest (`training.selective`).

Which events is a function of their id and a salt alone: the same on every path, at a replay, and
for whoever reads the log later. Who does not know the salt cannot choose an id that gets through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.policy import HoldOut
from scoring.controls import Withheld
from transforms.hashing import hash_column, hash_text

HELD_OUT = "hold-out"
_ONE = 2.0**64


def is_held_out(
    event_ids: pa.Array | pa.ChunkedArray, share: float, salt: str
) -> npt.NDArray[np.bool_]:
    """Which events are let through: bool `[n]`.

    Args:
      event_ids: string `[n]`.
      share: of events, 0 to 1.
      salt: another one draws others.

    >>> ids = pa.array([f"m-{number}" for number in range(10_000)])
    >>> some = is_held_out(ids, 0.05, "2026")
    >>> bool(400 < some.sum() < 600), bool((some & ~is_held_out(ids, 0.1, "2026")).any())
    (True, False)
    """
    drawn = hash_column(event_ids, hash_text(salt))
    return drawn < np.uint64(min(int(share * _ONE), 2**64 - 1)) if share < 1 else drawn == drawn


def propensities(acting: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.float64]:
    """The chance with which each event is let through: `share` where an action is due, else 1.

    >>> propensities(np.array([True, False]), 0.05).tolist()
    [0.05, 1.0]
    """
    return np.where(acting, share, 1.0)


def hold_back(
    rule: HoldOut,
    names: Sequence[str],
    actions: npt.NDArray[np.int8],
    event_ids: pa.Array | pa.ChunkedArray,
) -> tuple[npt.NDArray[np.int8], dict[int, Withheld]]:
    """The actions that are taken, and those that the hold-out holds back, by row.

    Args:
      rule: share and salt.
      names: of actions by number; 0 is the default.
      actions: int8 `[n]`, that are due.
      event_ids: string `[n]`.

    >>> everyone = HoldOut(1.0, "x")
    >>> made, held = hold_back(everyone, ["allow", "block"], np.array([1, 0], np.int8),
    ...                        pa.array(["m-1", "m-2"]))
    >>> made.tolist(), held
    ([0, 0], {0: Withheld(action='block', by='hold-out')})
    """
    held = is_held_out(event_ids, rule.share, rule.salt) & (actions != 0)
    rows = np.flatnonzero(held).tolist()
    return (
        np.where(held, 0, actions).astype(np.int8),
        {row: Withheld(names[actions[row]], HELD_OUT) for row in rows},
    )


def is_let_through(held: Withheld | None) -> bool:
    """Whether it is the hold-out that holds an action back.

    >>> is_let_through(Withheld("block", HELD_OUT)), is_let_through(None)
    (True, False)
    """
    return held is not None and held.by == HELD_OUT
