"""Simulated events before they are written: arrays of one length, text and names not yet drawn."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Kind(enum.IntEnum):
    """The kinds of configs/chat.yaml."""

    MESSAGE = 0
    REPORT = 1
    VERDICT = 2


class Act(enum.IntEnum):
    """What a message is; from CAMPAIGN on it is abuse."""

    CHAT = 0
    PROMO = 1  # an honest author's own link, again and again
    BOT = 2  # honest notifications
    CAMPAIGN = 3  # many accounts, one text, a link
    TAKEOVER = 4  # an old account that somebody else writes with
    FLOOD = 5  # one channel, very fast
    HARASS = 6  # insults, many with no bad word
    SCAM = 7  # aged accounts, a lure without a link, a message or two a day


FIRST_ABUSE = Act.CAMPAIGN


class Source(enum.IntEnum):
    """Who a verdict comes from."""

    MODERATOR = 0
    AUTOMATIC = 1
    APPEAL = 2
    AUDIT = 3  # picked at random


@dataclasses.dataclass(frozen=True)
class Rows:
    """Events, one per position; all arrays `[n]`.

    Attributes:
      time: int64, microseconds UTC.
      id: uint64; its 16 hex digits are the event id.
      kind, act: int8, of `Kind` and `Act`.
      author, target, channel: int64 indices; -1: null.
      theme: int64: whose words (campaign and season, episode, author).
      subject: uint64, the id of the judged or reported event; of a message: null.
      verdict: int8, 1 abuse, 0 not, -1 null.
      source: int8, of `Source`; -1: null.
    """

    time: Integers
    id: npt.NDArray[np.uint64]
    kind: npt.NDArray[np.int8]
    act: npt.NDArray[np.int8]
    author: Integers
    target: Integers
    channel: Integers
    theme: Integers
    subject: npt.NDArray[np.uint64]
    verdict: npt.NDArray[np.int8]
    source: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Rows:
        """The rows at these positions, or where a mask holds."""
        return Rows(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    def split(self, time: int) -> tuple[Rows, Rows]:
        """The rows before a time, and the others."""
        before = self.time < time
        return self.take(before), self.take(~before)


_NULLS = {
    "id": (np.uint64, 0),
    "kind": (np.int8, Kind.MESSAGE),
    "act": (np.int8, Act.CHAT),
    "author": (np.int64, -1),
    "target": (np.int64, -1),
    "channel": (np.int64, -1),
    "theme": (np.int64, 0),
    "subject": (np.uint64, 0),
    "verdict": (np.int8, -1),
    "source": (np.int8, -1),
}


def make_rows(time: Integers, **columns: npt.ArrayLike) -> Rows:
    """Rows of these columns, arrays or single values; columns that are not given are null.

    >>> rows = make_rows(np.array([5, 9]), author=[1, 2], kind=Kind.REPORT)
    >>> rows.author.tolist(), rows.kind.tolist(), rows.channel.tolist()
    ([1, 2], [1, 1], [-1, -1])
    """
    made = {
        name: np.ascontiguousarray(
            np.broadcast_to(np.asarray(columns.get(name, null)).astype(dtype), time.shape)
        )
        for name, (dtype, null) in _NULLS.items()
    }
    return Rows(time=time.astype(np.int64), **made)


def concat(parts: Sequence[Rows]) -> Rows:
    """One after the other.

    >>> len(concat([make_rows(np.arange(2)), make_rows(np.arange(3))]))
    5
    """
    return Rows(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in dataclasses.fields(Rows)
        }
    )


def make_ids(seed: int, kind: Kind | int, unit: int, count: int) -> npt.NDArray[np.uint64]:
    """Ids that tell nothing and never repeat: a counter through SplitMix64's one-to-one mixing.

    Args:
      seed: of the stream.
      kind: below 16: counters of different kinds differ.
      unit: below 2**24, the stretch of time.
      count: below 2**36.

    >>> a, b = make_ids(7, Kind.MESSAGE, 0, 4), make_ids(7, Kind.REPORT, 0, 4)
    >>> len(set(a.tolist()) | set(b.tolist()))
    8
    """
    first = (int(kind) << 60) | (unit << 36)
    ids = np.arange(count, dtype=np.uint64) + np.uint64(first)
    ids ^= np.uint64((seed * 0x9E3779B97F4A7C15) & (2**64 - 1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        ids = (ids ^ (ids >> np.uint64(shift))) * np.uint64(factor)
    return ids ^ (ids >> np.uint64(31))
