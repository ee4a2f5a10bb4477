"""Narrow rows: what one entity's fold needs of an event, and nothing else.

Wide columns (text) stay out of every shuffle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_TIME, KIND, Expression
from transforms.expression import evaluate_mask
from transforms.hashing import hash_column, key_hash, valid_mask
from transforms.numbers import to_floats
from transforms.velocity.cells import LIMIT, NONE, Measure, Slot
from transforms.velocity.plan import Plan

_DISTINCT_SEED = 0x64697374  # sketches hash with a seed of their own

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one entity.

    Attributes:
      time: int64 `[m]`, microseconds UTC.
      key: uint64 `[m]`, the key's hash.
      row: int64 `[m]`, the event's place in its batch.
      query: bool `[m]`, whether the event is scored.
      mask: uint64 `[m]`, bit i: slot i counts.
      values: int64 `[V, m]`, of the slots that bring a value.
      hashes: uint64 `[H, m]`, of the slots that bring a hash.
    """

    time: Int64s
    key: UInt64s
    row: Int64s
    query: Bools
    mask: UInt64s
    values: Int64s
    hashes: UInt64s

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def empty(cls, plan: Plan) -> Rows:
        """No rows."""
        return cls(
            np.empty(0, np.int64),
            np.empty(0, np.uint64),
            np.empty(0, np.int64),
            np.empty(0, np.bool_),
            np.empty(0, np.uint64),
            np.empty((len(plan.values), 0), np.int64),
            np.empty((len(plan.hashes), 0), np.uint64),
        )

    def part(self, first: int, last: int) -> Rows:
        """The rows from `first` up to `last`, not included; nothing is copied."""
        cut = slice(first, last)
        return Rows(
            self.time[cut],
            self.key[cut],
            self.row[cut],
            self.query[cut],
            self.mask[cut],
            self.values[:, cut],
            self.hashes[:, cut],
        )

    def take(self, index: npt.NDArray[np.intp] | Int64s) -> Rows:
        """The rows at some places, in their order."""
        return Rows(
            self.time[index],
            self.key[index],
            self.row[index],
            self.query[index],
            self.mask[index],
            self.values[:, index],
            self.hashes[:, index],
        )


def rows_by_entity(plans: Mapping[str, Plan], batch: pa.RecordBatch) -> dict[str, Rows]:
    """`entity_rows` of each entity; what several ask of a column is made once."""
    asked = _Asked(batch)
    return {entity: _rows(plan, asked) for entity, plan in plans.items()}


def entity_rows(plan: Plan, batch: pa.RecordBatch) -> Rows:
    """The rows of the events that have a key of the entity.

    Args:
      plan: the entity's.
      batch: derived events `[n]`.

    Returns:
      Rows `[m]`, in the order of the batch; an event with a null in its key, or of a kind without
      a key, has none.
    """
    return _rows(plan, _Asked(batch))


class _Asked:
    """A batch, and what was made of its columns so far."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._made: dict[Hashable, Any] = {}

    def of_kind(self, kind: str) -> Bools:
        kinds = self.batch.column(KIND)
        made: Bools = self._once(("kind", kind), lambda: _equals(kinds, kind))
        return made

    def holds(self, where: Expression) -> Bools:
        made: Bools = self._once(("where", where), lambda: evaluate_mask(where, self.batch))
        return made

    def hashes(self, column: str) -> UInt64s:
        array = self.batch.column(column)
        made: UInt64s = self._once(("hash", column), lambda: hash_column(array, _DISTINCT_SEED))
        return made

    def _once(self, what: Hashable, make: Callable[[], Any]) -> Any:
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]


def _rows(plan: Plan, asked: _Asked) -> Rows:
    batch = asked.batch
    of_kind = {kind: asked.of_kind(kind) for kind in plan.config.keys}
    key = np.zeros(batch.num_rows, np.uint64)
    valid = np.zeros(batch.num_rows, np.bool_)
    for columns in dict.fromkeys(plan.config.keys.values()):
        hashes, present = key_hash(batch, columns, plan.entity, plan.hash_seed)
        here = np.zeros(batch.num_rows, np.bool_)
        for kind, its_columns in plan.config.keys.items():
            if its_columns == columns:
                here |= of_kind[kind]
        here &= present
        key = np.where(here, hashes, key)
        valid |= here
    index = np.flatnonzero(valid)
    mask = np.zeros(batch.num_rows, np.uint64)
    values = np.zeros((len(plan.values), batch.num_rows), np.int64)
    hashes_of = np.zeros((len(plan.hashes), batch.num_rows), np.uint64)
    for bit, slot in enumerate(plan.slots):
        counts = _counts(slot, asked, of_kind)
        if slot.measure is Measure.VALUE and slot.column is not None:
            column = batch.column(slot.column)
            if slot.texts:
                column = text_places(column, slot.texts)
            fixed, known = fixed_point(column, slot.decimals)
            values[plan.values.index(slot)] = fixed
            counts &= known
        elif slot.measure is Measure.HASH and slot.column is not None:
            hashes_of[plan.hashes.index(slot)] = asked.hashes(slot.column)
        mask |= counts.astype(np.uint64) << np.uint64(bit)
    scored = np.zeros(batch.num_rows, np.bool_)
    for kind in plan.scored_kinds:
        scored |= of_kind.get(kind, np.zeros(batch.num_rows, np.bool_))
    return Rows(
        batch.column(EVENT_TIME).to_numpy()[index],
        key[index],
        index,
        scored[index],
        mask[index],
        values[:, index],
        hashes_of[:, index],
    )


def fixed_point(array: pa.Array, decimals: int) -> tuple[Int64s, Bools]:
    """Whole multiples of 10^-decimals, half to even; and which values are there.

    Multiples of whole numbers are exact; where 64 bits do not hold them (`NONE` is kept free), they
    are the nearest that is held. Others are clipped at `LIMIT`.

    >>> fixed_point(pa.array([1.25, None, 1e300]), 1)[0].tolist()[::2]
    [12, 4503599627370496]
    >>> fixed_point(pa.array([2**53 + 1, -(2**62)]), 2)[0].tolist()
    [900719925474099300, -9223372036854775807]
    """
    known = valid_mask(array)
    if pa.types.is_integer(array.type):
        whole = array if array.null_count == 0 else array.fill_null(0)
        whole = whole.to_numpy(zero_copy_only=False).astype(np.int64)
        most = np.iinfo(np.int64).max // 10**decimals
        made = np.clip(whole, -most, most) * np.int64(10**decimals)
        return np.where(whole > most, -(NONE + 1), np.where(whole < -most, NONE + 1, made)), known
    numbers = to_floats(array) * 10.0**decimals
    known = known & ~np.isnan(numbers)
    clipped = np.clip(np.where(known, numbers, 0.0), -float(LIMIT), float(LIMIT))
    return np.rint(clipped).astype(np.int64), known


def text_places(array: pa.Array, texts: Sequence[str]) -> pa.Array:
    """The place of each text in a list; the list's length where it is not in it; null stays null.

    >>> text_places(pa.array(["ios", "tv", None]), ("android", "ios")).to_pylist()
    [1, 2, None]
    """
    places = pc.index_in(array, value_set=pa.array(texts, array.type)).cast(pa.int64())
    return pc.if_else(array.is_valid(), pc.fill_null(places, len(texts)), None)


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other; at least one part."""
    return Rows(
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.mask for part in parts]),
        np.concatenate([part.values for part in parts], axis=1),
        np.concatenate([part.hashes for part in parts], axis=1),
    )


def rows_to_batch(rows: Rows) -> pa.RecordBatch:
    """Rows as Arrow, for files and shuffles."""
    columns = {
        "time": pa.array(rows.time),
        "key": pa.array(rows.key),
        "row": pa.array(rows.row.astype(np.int32)),
        "query": pa.array(rows.query.view(np.uint8)),
        "mask": pa.array(rows.mask),
    }
    for name, arrays in (("v", rows.values), ("h", rows.hashes)):
        for index, values in enumerate(arrays):
            columns[f"{name}{index}"] = pa.array(np.ascontiguousarray(values))
    return pa.RecordBatch.from_pydict(columns)


def rows_from_batch(plan: Plan, batch: pa.RecordBatch) -> Rows:
    """The reverse of `rows_to_batch`; most arrays are not copied."""
    count = batch.num_rows
    values = [batch.column(f"v{i}").to_numpy() for i in range(len(plan.values))]
    hashes = [batch.column(f"h{i}").to_numpy() for i in range(len(plan.hashes))]
    return Rows(
        batch.column("time").to_numpy(),
        batch.column("key").to_numpy(),
        batch.column("row").to_numpy().astype(np.int64),
        batch.column("query").to_numpy().view(np.bool_),
        batch.column("mask").to_numpy(),
        np.stack(values) if values else np.empty((0, count), np.int64),
        np.stack(hashes) if hashes else np.empty((0, count), np.uint64),
    )


def shard_of(key: UInt64s, shards: int) -> npt.NDArray[np.int32]:
    """The shard of each key: int32 `[n]`.

    >>> shard_of(np.array([0, 2**63], np.uint64), 16).tolist()
    [0, 8]
    """
    high = (key >> np.uint64(32)).astype(np.uint64)  # the multiply below stays within 64 bits
    return ((high * np.uint64(shards)) >> np.uint64(32)).astype(np.int32)


def _counts(slot: Slot, asked: _Asked, of_kind: dict[str, Bools]) -> Bools:
    counts = np.zeros(asked.batch.num_rows, np.bool_)
    for kind, here in of_kind.items():
        if not slot.kinds or kind in slot.kinds:
            counts |= here
    if slot.where is not None:
        counts &= asked.holds(slot.where)
    if slot.column is not None:
        counts &= valid_mask(asked.batch.column(slot.column))
    return counts


def _equals(kinds: pa.Array, kind: str) -> Bools:
    equal = pc.equal(kinds, kind)
    if equal.null_count:
        equal = equal.fill_null(False)
    mask: Bools = equal.to_numpy(zero_copy_only=False)
    return mask
