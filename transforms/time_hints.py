"""What is said of a time that lies outside the config's bounds, and which setting would help."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Spec
from transforms.columns import true_mask

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_UNIT_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}


_NUMBER = r"^\s*[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?\s*$"


def are_numbers(column: pa.Array) -> Mask:
    """Which values are numbers, as they are or in words: bool `[n]`.

    >>> are_numbers(pa.array(["17", "1e3", "2026-03-01", None])).tolist()
    [True, True, False, False]
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return true_mask(pc.match_substring_regex(column, _NUMBER))
    if pa.types.is_union(kind):  # JSON whose values are of several types
        codes = column.type_codes.to_numpy()
        dense = kind.mode == "dense"
        at = column.offsets.to_numpy() if dense else np.arange(len(column))
        made = np.zeros(len(column), np.bool_)
        for place, code in enumerate(kind.type_codes):
            here = codes == code
            made[here] = are_numbers(column.field(place))[at[here]]
        return made
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return np.full(len(column), numeric)


def in_other_units(spec: Spec, moments: Int64s, absurd: Mask) -> Iterator[tuple[str, Mask]]:
    """Of numbers whose times lie outside, those that in another unit would lie within."""
    if absurd.any():
        events, taken = spec.events, _UNIT_US[spec.events.time_unit]
        for unit, length_us in _UNIT_US.items():
            other = moments * (length_us / taken)
            yield unit, absurd & (other >= events.earliest_us) & (other <= events.latest_us)


def expected_time(spec: Spec, unit: str | None = None) -> str:
    """What was expected of a time that lies outside, and which setting to change.

    Args:
      spec: the use.
      unit: of numbers, with which it would lie within; None: there is no such unit.
    """
    start = dt.datetime(1970, 1, 1)
    bounds = []
    for moment in (spec.events.earliest_us, spec.events.latest_us):
        bounds.append(f"{start + dt.timedelta(microseconds=moment):%Y-%m-%d}")
    numbers = f"a number is {_UNITS[spec.events.time_unit]} since 1970 (events.time_unit)"
    return (
        f"expected a time from events.earliest, {bounds[0]}, to events.latest, {bounds[1]} UTC: "
        + (
            f"{numbers}; if these are {_UNITS[unit]}, say `events: {{time_unit: {unit}}}`"
            if unit
            else "say `events: {earliest: 1990-01-01}` in the config if such times are right; "
            + numbers
        )
    )
