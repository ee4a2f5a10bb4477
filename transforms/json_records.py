"""JSON objects as columns: one strict decoder for files and streams alike.

What enters: records as bytes. What leaves: Arrow columns of the wanted members, and the faults of
records that are no JSON object. `msgspec` decodes strictly (RFC 8259; no NaN, no lone surrogates);
what it would let pass, a name that appears twice in one object, is found here: two decoders that
disagree on which one counts would break parity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.dead_letter import Reason

MOST_BYTES = 1_048_576
"""Longest accepted record; a longer one is dead-lettered before it is parsed."""

RecordFault = tuple[int, Reason, str | None, str]
"""Row, reason, column, what was expected."""

_MEMBER = re.compile(rb'"\s*:')


def read_json(
    records: Sequence[bytes], wanted: frozenset[str]
) -> tuple[dict[str, pa.Array], npt.NDArray[np.int64], list[RecordFault]]:
    """The wanted members of JSON objects, as columns.

    Args:
      records: `[m]`.
      wanted: names of members; others are ignored.

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
        try:
            if len(record) > MOST_BYTES:
                faults.append((row, Reason.TOO_LARGE, None, f"at most {MOST_BYTES} bytes"))
                continue
            value = decode(record)
        except RecursionError:
            faults.append((row, Reason.TOO_DEEP, None, "expected a flat object"))
            continue
        except (msgspec.DecodeError, UnicodeDecodeError):
            faults.append((row, *_why(record)))
            continue
        if type(value) is not dict:
            faults.append((row, Reason.NOT_AN_OBJECT, None, "expected a JSON object"))
            continue
        if len(_MEMBER.findall(record)) != len(value):
            fault = _look_closely(record)
            if fault is not None:
                faults.append((row, *fault))
                continue
        objects.append(value)
        rows.append(row)
    columns = {}
    for name in sorted(wanted):
        values = [one.get(name) for one in objects]
        array, wrong = _column(values)
        columns[name] = array
        for place in wrong:
            faults.append((rows[place], Reason.WRONG_TYPE, name, "expected a plain value"))
    index = np.array(rows, np.int64)
    dead = {fault[0] for fault in faults}
    if len(dead) + len(rows) > len(records):  # some rows died of a value
        keep = np.array([row not in dead for row in rows], np.bool_)
        index = index[keep]
        columns = {name: array.filter(pa.array(keep)) for name, array in columns.items()}
    return columns, index, _first_of_each(faults)


def _column(values: list[Any]) -> tuple[pa.Array, list[int]]:
    """Values as one Arrow array, and the places of those that no column can hold."""
    types = set(map(type, values)) - {type(None)}
    if not types:
        return pa.nulls(len(values), pa.string()), []
    if len(types) == 1 and types <= _PLAIN:
        try:
            return pa.array(values), []
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            pass
    if types <= {int, float}:
        return pa.array([_as_text(value) for value in values], pa.string()), []
    texts: list[str | None] = []
    wrong: list[int] = []
    for place, value in enumerate(values):
        text = _as_text(value)
        if text is None and value is not None:
            wrong.append(place)
        texts.append(text)
    return pa.array(texts, pa.string()), wrong


_PLAIN = {str, int, float, bool}
_BEYOND = "9" * 20  # stands for any integer that no column can hold; out of range for all


def _as_text(value: Any) -> str | None:
    """A plain value as text that `transforms.columns` reads back to the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else _BEYOND
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
        return value
    return None


def _why(record: bytes) -> tuple[Reason, str | None, str]:
    try:
        record.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8, None, "expected UTF-8"
    return Reason.NOT_JSON, None, "expected JSON (RFC 8259)"


def _look_closely(record: bytes) -> tuple[Reason, str | None, str] | None:
    """The fault of a record in which an object names a member twice, if one does."""
    repeated = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated |= len({name for name, _ in pairs}) != len(pairs)

    try:
        json.loads(record, object_pairs_hook=look, parse_int=float)
    except RecursionError:
        return Reason.TOO_DEEP, None, "expected a flat object"
    except ValueError:
        return Reason.NOT_JSON, None, "expected JSON (RFC 8259)"
    return (Reason.DUPLICATE_KEY, None, "expected each member once") if repeated else None


def _first_of_each(faults: list[RecordFault]) -> list[RecordFault]:
    first: dict[int, RecordFault] = {}
    for fault in sorted(faults, key=lambda fault: fault[0]):
        first.setdefault(fault[0], fault)
    return list(first.values())
