"""As of known: which snapshot of the social graph an event sees, and what of its accounts.

    published snapshots ─ choose by event time ─ look up the event's accounts ─ inputs

An event sees the newest snapshot whose `known_from` is not after the event's own time: the
snapshot's moment and the config's delay. That is a rule of event times alone, so it gives the same
in a backfill, in a scorer and in a replay, whatever their clocks say, as long as they have the same
snapshots. Accounts that a snapshot lacks, null accounts, and events before the first snapshot have
null features (NaN).

Pure functions over Arrow and numpy; whoever has files gives an `Opener`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import StateError
from configs.fingerprint import graph_fingerprint
from configs.schema import EVENT_TIME, Spec
from configs.social import graph_inputs
from transforms.social.shard_table import Floats, Opener, Shard, lookup

Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Published:
    """A snapshot that was published.

    Attributes:
      name: day and digest of its contents.
      known_from: the first event time that may see it, microseconds UTC.
      graph: fingerprint of what it was made by (`configs.fingerprint.graph_fingerprint`).
      columns: features of each account.
      files: by shard of accounts.
    """

    name: str
    known_from: int
    graph: str
    columns: tuple[str, ...]
    files: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What events see.

    Attributes:
      features: `key_of(name)` of each of the config's accounts -> float32 `[n, F]`, NaN for null.
      names: string `[n]`, the snapshot that each event sees; null: none.
    """

    features: Mapping[str, Floats]
    names: pa.StringArray


class AccountStore(Protocol):
    """Where accounts of snapshots are, if not in files."""

    def require(self, snapshot: Published) -> None:
        """Does nothing if all of a snapshot is there."""

    def find(self, snapshot: Published, accounts: pa.Array, wanted: Sequence[int]) -> Floats:
        """As `lookup`."""


class Sees(Protocol):
    """What tells what events see: `AsOf`, or something that follows what is published."""

    def look(self, events: pa.RecordBatch) -> Seen:
        """What events see, by their own times."""


@dataclasses.dataclass(frozen=True, eq=False)
class AsOf:
    """The snapshots that a config's events see.

    Attributes:
      published: by `known_from`, ascending.
      accounts: name -> column of events.
      columns: features of each account.
      open: reads a file.
      store: where accounts are looked up in place of files; None: in files.
    """

    published: tuple[Published, ...]
    accounts: Mapping[str, str]
    columns: tuple[str, ...]
    open: Opener
    store: AccountStore | None = None

    def look(self, events: pa.RecordBatch) -> Seen:
        """What events see, by their own times.

        Args:
          events: derived `[n]`.
        """
        known_from = np.array([one.known_from for one in self.published], np.int64)
        return self._look(events, choose(known_from, events.column(EVENT_TIME).to_numpy()))

    def look_by_name(self, events: pa.RecordBatch, names: pa.StringArray) -> Seen:
        """What events saw, by the names that a log has.

        Raises:
          StateError: one of them is not here.
        """
        place = pc.index_in(
            names, value_set=pa.array([p.name for p in self.published], pa.string())
        )
        gone = names.filter(pc.and_(names.is_valid(), place.is_null()))
        if len(gone):
            raise StateError(
                f"the log names the snapshot {gone[0].as_py()} of the social graph, which is not "
                "among the published ones; snapshots are kept: bring it back from a copy"
            )
        return self._look(events, place.fill_null(-1).to_numpy().astype(np.int64))

    def names_at(self, times: Int64s) -> pa.StringArray:
        """The snapshot that each event of int64 `[n]` times sees: string `[n]`; null: none."""
        known_from = np.array([one.known_from for one in self.published], np.int64)
        return self._names(choose(known_from, times))

    def _names(self, chosen: Int64s) -> pa.StringArray:
        known = pa.array([one.name for one in self.published], pa.string())
        return known.take(pa.array(chosen, mask=chosen < 0))

    def names_between(self, start_us: int, end_us: int) -> list[str]:
        """Snapshots that events of a half-open range of times can see, in order."""
        known_from = np.array([one.known_from for one in self.published], np.int64)
        first, last = choose(known_from, np.array([start_us, end_us - 1])).tolist()
        return [one.name for one in self.published[max(first, 0) : last + 1]]

    def _look(self, events: pa.RecordBatch, chosen: Int64s) -> Seen:
        made = {
            key_of(name): np.full((events.num_rows, len(self.columns)), np.nan, np.float32)
            for name in self.accounts
        }
        for number in np.unique(chosen[chosen >= 0]).tolist():
            rows = np.flatnonzero(chosen == number)
            snapshot = self.published[number]
            wanted = [snapshot.columns.index(name) for name in self.columns]
            for name, column in self.accounts.items():
                accounts = events.column(column).take(pa.array(rows))
                made[key_of(name)][rows] = self._find(snapshot, accounts, wanted)
        return Seen(made, self._names(chosen))

    def _find(self, snapshot: Published, accounts: pa.Array, wanted: Sequence[int]) -> Floats:
        if self.store is not None:
            return self.store.find(snapshot, accounts, wanted)
        return lookup(snapshot.files, self.open, accounts, wanted)


@dataclasses.dataclass(frozen=True, eq=False)
class AsLogged:
    """What some events saw, by the names that a log has of them, in their order."""

    as_of: AsOf
    names: pa.StringArray

    def look(self, events: pa.RecordBatch) -> Seen:
        """See `AsOf.look_by_name`."""
        return self.as_of.look_by_name(events, self.names)


@dataclasses.dataclass(frozen=True)
class Snapshots:
    """All snapshots that are published in one place.

    Attributes:
      place: where, for messages.
      published: in any order.
      open: reads a file.
      store: as `AsOf.store`.
    """

    place: str
    published: tuple[Published, ...]
    open: Opener
    store: AccountStore | None = None

    def of(self, spec: Spec) -> AsOf | None:
        """Those that a config's events see; None: its events see none, by the config.

        Raises:
          StateError: they are to see some, and none is of this config's graph.
        """
        if not reads_snapshots(spec) or spec.graph is None:
            return None
        graph, columns = graph_fingerprint(spec), spec.graph.columns
        fitting = [
            one for one in self.published if one.graph == graph and set(columns) <= set(one.columns)
        ]
        if not fitting:
            out = self.place.rpartition("/")[0] or "OUT"
            raise StateError(
                f"{spec.name} has features of accounts from the social graph (graph.accounts), and "
                f"{self.place} has no snapshot of its graph ({graph}; {len(self.published)} of "
                f"others); make one with `lockstep graph --out {out}`"
            )
        # Of two that fit, of one moment, the values are the same: the narrower one stays in use
        # when a wider one is published beside it.
        fitting.sort(key=lambda one: (one.known_from, -len(one.columns), one.name))
        seen = {one.known_from: one for one in fitting}
        return AsOf(tuple(seen.values()), spec.graph.accounts, columns, self.open, self.store)


def _open_nothing(path: str) -> Shard:
    raise FileNotFoundError(path)


NO_SNAPSHOTS = Snapshots("no folder of snapshots", (), _open_nothing)


def see_nothing(spec: Spec, count: int) -> Seen:
    """What events see where there is no snapshot at all."""
    width = len(spec.graph.columns) if spec.graph is not None else 0
    nothing = np.full((count, width), np.nan, np.float32)
    return Seen({key_of(name): nothing for name in graph_inputs(spec.graph)},
                pa.nulls(count, pa.string()))  # fmt: skip


def reads_snapshots(spec: Spec) -> bool:
    """Whether scored events see features of accounts."""
    return bool(graph_inputs(spec.graph))


def key_of(account: str) -> str:
    """Under which key an account's features stand beside those of entities.

    >>> key_of("author")
    'graph:author'
    """
    return f"graph:{account}"


def choose(known_from: Int64s, times: Int64s) -> Int64s:
    """The newest snapshot that was known at each event's time: int64 `[n]`, -1: none was.

    Args:
      known_from: int64 `[k]`, ascending, microseconds UTC.
      times: int64 `[n]`, of events.

    >>> choose(np.array([10, 20]), np.array([9, 10, 19, 20])).tolist()
    [-1, 0, 0, 1]
    """
    return np.asarray(np.searchsorted(known_from, times, side="right") - 1, np.int64)
