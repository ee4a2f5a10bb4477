"""The total order of events, defined here and nowhere else.

Events are ordered by `(event_time, place)`. A place is a short byte string that says where an event
stands among those of its own microsecond; places are compared as bytes. It is made of the event
alone, so it can travel in a narrow row, and pieces of any origin are sorted together without
looking an event up. In this order of importance:

1. verdicts (events of `labels.kind`) after all others: none is folded before what it judges, and
   no event of its microsecond sees it;
2. the number in the column `events.sequence`, if there is one; a null before all numbers;
3. scored events before those that are not: what a row says beside them is seen by later ones only;
4. the id, without the kind that an ingest rule puts before it: as a number (`10` after `9`) where
   it is a whole number of 64 bits, signed or not, as programs write them (`-3`, not `+3` or
   `007`), whatever type a file gives it; so too where it is declared an integer; by the row's
   number where a file's rows have no id; else as bytes, after the numbers;
5. a hash of the contents: the kind and the declared columns.

So the name of a kind, a file or a path decides nothing. Of two records with one id and one time,
the one with the smaller hash comes first, and is the one that counts.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from transforms.hashing import combine_hashes, hash_column, hash_text, string_buffers

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

PLACE = "place"
"""The column of a narrow row that holds the event's place."""
PLACE_TYPE = pa.binary()

_SEED = 0x636F6E74  # contents hash with a seed of their own
_SIGN = np.uint64(1 << 63)  # added to an int64, it makes the order of the bytes that of the numbers
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Position:
    """Where an event stands in the total order; its place is made once it is asked for.

    Args:
      time_us: event time, microseconds UTC.
      place: as `places` gives it, or what makes it.
    """

    def __init__(self, time_us: int, place: bytes | Callable[[], bytes]) -> None:
        self.time_us = time_us
        self._place = place

    @property
    def place(self) -> bytes:
        """Among the events of its time."""
        if not isinstance(self._place, bytes):
            self._place = self._place()
        return self._place

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Position):
            return NotImplemented
        return self.time_us == other.time_us and self.place == other.place

    __hash__ = None  # type: ignore[assignment]


def places(
    spec: Spec, batch: pa.RecordBatch | pa.Table, contents: UInt64s | None = None
) -> pa.BinaryArray:
    """Where events stand among those of their microsecond: binary `[n]`, compared as bytes.

    Args:
      spec: the use.
      batch: decoded (or derived) events `[n]`, with all columns of the spec.
      contents: their `content_hash`, where it was made already.

    Returns:
      About 10 bytes and the id for each event; no nulls. Sort with `total_order`.
    """
    kinds = list(spec.kinds)
    codes = pc.index_in(_whole(batch.column(KIND)), value_set=pa.array(kinds, pa.string()))
    code = codes.fill_null(len(kinds)).to_numpy()
    ids = _whole(batch.column(EVENT_ID))
    hashes = _be(content_hash(spec, batch) if contents is None else contents)
    text = np.array([kind not in spec.events.numbered for kind in kinds] + [True])[code]
    text &= ~_are_numbers(*string_buffers(ids), spec.events.prefixed)
    heads = _heads(spec, batch, code, text)
    if text.all():
        made = _joined([heads, _named(spec, ids), b"\0", hashes])
    else:
        number = _numbered(_biased(id_numbers(ids)), ids)
        numbered = _joined([heads, number, hashes, ids.cast(pa.binary())])
        if not text.any():
            return numbered
        named = _joined([heads, _named(spec, ids), b"\0", hashes])
        made = pc.if_else(pa.array(text), named, numbered)
    return made


def contents_decide(spec: Spec) -> bool:
    """Whether events of one time that are no copies may differ in nothing but their contents.

    Ids are compared as numbers, or without their kinds, so two ids can stand in one place: those of
    two kinds that one row makes, or of rows of two files.
    """
    ranks = [(kind == _label_kind(spec), one.scored) for kind, one in spec.kinds.items()]
    return bool(spec.events.numbered) or (
        spec.events.prefixed and any(ranks.count(rank) > 1 for rank in ranks)
    )


def total_order(time: Int64s, place: pa.Array | pa.ChunkedArray) -> Int64s:
    """Where events stand in the order of (time, place): int64 `[n]`, as `np.argsort` gives it.

    Places are compared only where times are equal.

    >>> total_order(np.array([5, 3, 5]), pa.array([b"b", b"z", b"a"])).tolist()
    [1, 2, 0]
    """
    return total_order_by(time, lambda which: _whole(place).take(pa.array(which)))


def total_order_by(time: Int64s, places_of: Callable[[Int64s], pa.Array]) -> Int64s:
    """As `total_order`, of events whose places are asked for only where times are equal.

    Args:
      time: int64 `[n]`.
      places_of: of some of the events, by their numbers.
    """
    order: Int64s = np.argsort(time, kind="stable")
    tied = tied_rows(time, order)
    if len(tied):
        which = order[tied]
        order[tied] = which[_sorted(time[which], places_of(which))]
    return order


def order_events(spec: Spec, batch: pa.RecordBatch | pa.Table) -> Int64s:
    """The total order of decoded events: int64 `[n]`; places are made where times are equal."""
    time = _whole(batch.column(EVENT_TIME)).to_numpy()
    return total_order_by(time, lambda which: places(spec, batch.take(pa.array(which))))


def tied_rows(time: Int64s, order: Int64s) -> Int64s:
    """Places in an order by time of the events that share theirs with another: int64, ascending.

    >>> tied_rows(np.array([5, 3, 5]), np.array([1, 0, 2])).tolist()
    [1, 2]
    """
    ordered = time[order]
    same = ordered[1:] == ordered[:-1]
    return np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))


def position_of(spec: Spec, batch: pa.RecordBatch, row: int) -> Position:
    """Where one event stands."""
    one = batch.slice(row, 1)
    return Position(one.column(EVENT_TIME)[0].as_py(), lambda: bytes(places(spec, one)[0].as_py()))


def content_hash(spec: Spec, batch: pa.RecordBatch | pa.Table) -> UInt64s:
    """XXH64 of what events say, beside id and time: uint64 `[n]`; no name of a file is in it."""
    names = [KIND, *sorted(spec.columns)]
    hashes = [hash_column(batch.column(name), _seed_of(name)) for name in names]
    return combine_hashes(hashes, np.ones(batch.num_rows, np.bool_), _SEED)


@functools.cache
def _seed_of(column: str) -> int:
    return hash_text(column, _SEED)


def id_numbers(ids: pa.StringArray) -> Int64s:
    """The number at the end of each id, which is all of it or comes after `:` or `#`: int64 `[n]`.

    Beyond 64 bits the largest; the least int64 where there is none.

    >>> id_numbers(pa.array(["10", "post:9", "post:a.csv#2", "-3"])).tolist()
    [10, 9, 2, -3]
    """
    return _numbers(*string_buffers(ids))


def _heads(
    spec: Spec,
    batch: pa.RecordBatch | pa.Table,
    code: npt.NDArray[np.int32],
    text: npt.NDArray[np.bool_],
) -> pa.BinaryArray:
    """What comes before the id: verdict or not, the sequence, scored or not, a number or a text."""
    verdict = np.array([*(kind == _label_kind(spec) for kind in spec.kinds), False])[code]
    beside = np.array([*(not kind.scored for kind in spec.kinds.values()), True])[code]
    low = np.asarray((beside << 1) | text, np.uint8)
    if spec.events.sequence is None:
        return _fixed(np.asarray((verdict << 2) | low, np.uint8)[:, None])
    column = _whole(batch.column(spec.events.sequence)).fill_null(_LEAST)
    number = _biased(column.to_numpy(zero_copy_only=False)).astype(">u8")
    middle = np.ascontiguousarray(number).view(np.uint8).reshape(-1, 8)
    return _fixed(np.column_stack([verdict.astype(np.uint8), middle, low]))


def _label_kind(spec: Spec) -> str | None:
    return spec.labels.kind if spec.labels is not None else None


def _named(spec: Spec, ids: pa.StringArray) -> pa.BinaryArray:
    """Ids as bytes, without their kind; 0 and 1 escaped in order, so that a 0 can end them."""
    if spec.events.prefixed:
        ids = pc.replace_substring_regex(ids, "^[^:]*:", "")
    made = ids.cast(PLACE_TYPE)
    offsets, data = string_buffers(made)
    if (data[offsets[0] : offsets[-1]] <= 1).any():
        made = pc.replace_substring(made, b"\x01", b"\x01\x02")
        made = pc.replace_substring(made, b"\0", b"\x01\x01")
    return made


def _numbered(biased: UInt64s, ids: pa.StringArray) -> pa.BinaryArray:
    """Numbers as bytes; after the largest signed one comes by how much the id is larger."""
    made, last = _be(biased), biased == np.uint64(2**64 - 1)
    if not last.any():
        return made
    excess = np.array([int(one) - _MOST for one in _digits(ids.filter(pa.array(last)))], np.uint64)
    whole = np.zeros(len(biased), np.uint64)
    whole[last] = excess
    longer = pc.binary_join_element_wise(made, _be(whole), b"")
    return pc.if_else(pa.array(last), longer, made)


def _digits(ids: pa.StringArray) -> list[int]:
    """The number at the end of each, at most the largest of 64 bits without a sign."""
    ends = pc.struct_field(pc.extract_regex(ids, "(?P<n>[0-9]+)$"), "n").to_pylist()
    return [min(int(end), 2**64 - 1) for end in ends]


def _sorted(time: Int64s, place: pa.Array) -> Int64s:
    table = pa.table({"time": time, "place": place})
    keys = [("time", "ascending"), ("place", "ascending")]
    order: Int64s = pc.sort_indices(table, sort_keys=keys).to_numpy()
    return order


def _joined(parts: list[pa.Array | bytes]) -> pa.BinaryArray:
    return pc.binary_join_element_wise(*parts, b"")


def _biased(numbers: Int64s) -> UInt64s:
    """Unsigned numbers in the order of the signed ones."""
    return numbers.view(np.uint64) ^ _SIGN


def _be(numbers: UInt64s) -> pa.BinaryArray:
    """Eight bytes each, which compare as the numbers do."""
    return _fixed(np.ascontiguousarray(numbers.astype(">u8")).view(np.uint8).reshape(-1, 8))


def _fixed(rows: Bytes) -> pa.BinaryArray:
    """The rows of a matrix of bytes."""
    count, width = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    data = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.BinaryArray.from_buffers(PLACE_TYPE, count, [None, pa.py_buffer(offsets), data])


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@numba.njit(cache=True, nogil=True)
def _numbers(offsets: npt.NDArray[np.int32], data: Bytes) -> Int64s:
    most = np.int64(_MOST)
    numbers = np.empty(len(offsets) - 1, np.int64)
    for row in range(len(numbers)):
        start, end = offsets[row], offsets[row + 1]
        at = end
        while at > start and 48 <= data[at - 1] <= 57:
            at -= 1
        if at == end:
            numbers[row] = _LEAST
            continue
        number = np.int64(0)
        for place in range(at, end):
            digit = np.int64(data[place]) - 48
            number = most if number > (most - digit) // 10 else number * 10 + digit
        minus = at > start and data[at - 1] == 45 and (at - 1 == start or data[at - 2] == 58)
        numbers[row] = -number if minus else number
    return numbers


@numba.njit(cache=True, nogil=True)
def _are_numbers(
    offsets: npt.NDArray[np.int32], data: Bytes, prefixed: bool
) -> npt.NDArray[np.bool_]:
    """Whether each id, or what comes after its kind, is a whole number of 64 bits as written."""
    made = np.zeros(len(offsets) - 1, np.bool_)
    signed, unsigned = np.uint64(_MOST), np.uint64(2**64 - 1)
    for row in range(len(made)):
        start, end = offsets[row], offsets[row + 1]
        if prefixed:
            at = start
            while at < end and data[at] != 58:
                at += 1
            start = at + 1 if at < end else start
        negative = start < end and data[start] == 45
        start += negative
        size = end - start
        if size < 1 or size > 20 or (data[start] == 48 and (size > 1 or negative)):
            continue
        number = np.uint64(0)
        fits: bool | np.bool_ = True
        for at in range(start, end):
            digit = np.uint64(data[at]) - np.uint64(48)  # of what is no digit: 10 or more
            fits &= digit <= np.uint64(9) and number <= (unsigned - digit) // np.uint64(10)
            number = number * np.uint64(10) + digit
        made[row] = fits and (not negative or number <= signed)
    return made
