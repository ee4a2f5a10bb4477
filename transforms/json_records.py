"""JSON objects as columns: one strict decoder for files and streams alike.

What enters: records as bytes. What leaves: Arrow columns of the wanted members, and the faults of
records that are no JSON object. `msgspec` decodes strictly (RFC 8259; no NaN, no lone surrogates);
a record that it refuses is looked at again, for the reason and for numbers beyond 64-bit floats;
what it would let pass, a name that appears twice in one object, is found here: two decoders that
disagree on which one counts would break parity. So would a limit that depends on the caller's
stack, so depth is counted here too.

A member whose type differs between records becomes a dense union, one child per JSON type, so that
`transforms.columns` reads each value by its own type, whatever its neighbours in the batch are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.dead_letter import EXPECTED_UTF8, Reason

MOST_BYTES = 1_048_576
"""Longest accepted record, unless the spec's columns allow longer text."""
MOST_DEPTH = 32
"""Deepest accepted nesting of objects and arrays; an event is flat, what it carries may not be."""

RecordFault = tuple[int, Reason, str]
"""Row, reason, what was expected."""

_MEMBER = re.compile(rb'"\s*:')
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})
_LARGEST = 2**63 - 1
_LONG, _HUGE = 400, 10**400
_BEYOND = "9" * 400  # stands for any integer that is too large even for a float


def read_json(
    records: Sequence[bytes],
    wanted: frozenset[str],
    aliases: Mapping[str, str] = _NO_ALIASES,
    most_bytes: int = MOST_BYTES,
    absent: Mapping[str, Any] = _NO_ALIASES,
) -> tuple[dict[str, pa.Array], npt.NDArray[np.int64], list[RecordFault]]:
    """The wanted members of JSON objects, as columns.

    Args:
      records: `[m]`.
      wanted: names of members; others are ignored.
      aliases: other name -> wanted name, for records that lack the latter.
      most_bytes: a longer record is not even parsed.
      absent: what members are where a record has none of their name.

    Returns:
      Columns of `[n]` values; int64 `[n]`: which record each row is; and the faults.

    >>> columns, rows, faults = read_json([b'{"a": 1}', b'{"a": ', b"[]"], frozenset("a"))
    >>> columns["a"].to_pylist(), rows.tolist(), [str(fault[1]) for fault in faults]
    ([1], [0], ['not_json', 'not_an_object'])
    """
    objects: list[dict[str, Any]] = []
    rows: list[int] = []
    faults: list[RecordFault] = []
    decode = msgspec.json.Decoder().decode
    for row, record in enumerate(records):
        if len(record) > most_bytes:
            faults.append((row, Reason.TOO_LARGE, f"expected at most {most_bytes} bytes"))
            continue
        if record.count(b"{") + record.count(b"[") > MOST_DEPTH and _depth(record) > MOST_DEPTH:
            faults.append((row, Reason.TOO_DEEP, f"expected at most {MOST_DEPTH} levels"))
            continue
        try:
            value = decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value, fault = _again(record)
            if fault is not None:
                faults.append((row, *fault))
                continue
        if type(value) is not dict:
            faults.append((row, Reason.NOT_AN_OBJECT, "expected a JSON object"))
            continue
        if len(_MEMBER.findall(record)) != len(value) and _repeats_a_name(record):
            faults.append((row, Reason.DUPLICATE_KEY, "expected each member once"))
            continue
        for other, name in aliases.items():
            if other in value and name not in value:
                value[name] = value[other]
        objects.append({**absent, **value} if absent else value)
        rows.append(row)
    columns = {name: _column([one.get(name) for one in objects]) for name in sorted(wanted)}
    return columns, np.array(rows, np.int64), faults


def _column(values: list[Any]) -> pa.Array:
    """Values as one Arrow array: of their type, or a union if they have several."""
    types = set(map(type, values))
    types.discard(type(None))
    if not types:
        return pa.nulls(len(values), pa.string())
    if types == {str}:
        return pa.array(values, pa.string())
    if types == {float}:
        return pa.array(values, pa.float64())
    if types == {bool}:
        return pa.array(values, pa.bool_())
    if types == {int} and _fits(values):
        return pa.array(values, pa.int64())
    return _union(values)


def _fits(values: list[int | None]) -> bool:
    numbers = [value for value in values if value is not None]
    return min(numbers) >= -_LARGEST - 1 and max(numbers) <= _LARGEST


def _union(values: list[Any]) -> pa.Array:
    """One child per JSON type; integers beyond 64 bits are digits among the strings."""
    children: tuple[list[Any], ...] = ([], [], [], [], [])
    kinds = np.empty(len(values), np.int8)
    places = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        kind = _KINDS.get(type(value), 0)
        if kind == 1 and not -_LARGEST - 1 <= value <= _LARGEST:
            kind, value = 0, _digits(value)
        kinds[row], places[row] = kind, len(children[kind])
        children[kind].append([] if kind == 4 else value)
    arrays = [pa.array(one, type_) for one, type_ in zip(children, _CHILD_TYPES, strict=True)]
    return pa.UnionArray.from_dense(pa.array(kinds), pa.array(places), arrays)


_KINDS: dict[type, int] = {str: 0, int: 1, float: 2, bool: 3, list: 4, dict: 4}
_CHILD_TYPES = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.null()))


def _digits(value: int) -> str:
    return str(value) if value.bit_length() <= 1024 else "-" * (value < 0) + _BEYOND


def _depth(record: bytes) -> int:
    """How deep brackets nest outside of strings; of a broken record, at least up to its fault."""
    brackets = np.frombuffer(_STRING.sub(b"", record).translate(None, _NOT_BRACKETS), np.uint8)
    opens = (brackets == ord("{")) | (brackets == ord("["))
    return int(np.cumsum(np.where(opens, 1, -1)).max(initial=0))


def _again(record: bytes) -> tuple[Any, tuple[Reason, str] | None]:
    """What a record holds that `msgspec` refuses, or why nobody can tell.

    Numbers of any size are valid JSON, in whatever member they are: `1e999` becomes an infinity,
    and an integer of thousands of digits one that is too large for anything.
    """
    try:
        text = record.decode()
    except UnicodeDecodeError:
        return None, (Reason.NOT_UTF8, EXPECTED_UTF8)
    wide = False

    def integer(digits: str) -> int:
        nonlocal wide
        wide = wide or len(digits) > _LONG
        if len(digits) <= _LONG:
            return int(digits)
        return -_HUGE if digits.startswith("-") else _HUGE  # Python reads some thousands at most

    def number(digits: str) -> float:
        nonlocal wide
        value = float(digits)
        wide = wide or math.isinf(value)
        return value

    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=integer, parse_float=number)
    except ValueError:
        return None, (Reason.NOT_JSON, "expected JSON (RFC 8259)")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, (Reason.LONE_SURROGATE, "expected surrogates in pairs")
    if not wide:
        return None, (Reason.NOT_JSON, "expected JSON (RFC 8259)")
    return value, None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _repeats_a_name(record: bytes) -> bool:
    """Whether some object of a record that decodes names a member twice."""
    repeated = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({name for name, _ in pairs}) != len(pairs)

    json.loads(record.decode(), object_pairs_hook=look, parse_int=float)
    return repeated
