"""The first dead letters of a run, for the message with which it fails: what to look at first."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.files import open_parquet
from transforms.dead_letter import Reason

_MOST = 8


def first_dead_letters(files: Iterable[str]) -> list[str]:
    """A line for the first dead letter of each reason, column and expectation, in files' order.

    Duplicates are left out: a repeated record is not a bad one. A line says where the record is
    and what was expected; nothing of the record itself. Where there are more kinds than lines, the
    last line says so.

    Args:
      files: tables of `DEAD_LETTER_SCHEMA` as Parquet.

    >>> first_dead_letters([])
    []
    """
    seen: dict[tuple[str, str | None, str], str] = {}
    for path in files:
        if len(seen) > _MOST:
            break
        for one in open_parquet(path).read().to_pylist():
            key = (one["reason"], one["column"], one["detail"])
            if key in seen or one["reason"] == Reason.DUPLICATE_ID:
                continue
            column = f", column {one['column']}" if one["column"] else ""
            detail = f": {one['detail']}" if one["detail"] else ""
            seen[key] = (
                f"{one['source']}, record {one['position']}: {one['reason']}{column}{detail}"
            )
    lines = list(seen.values())
    return lines if len(lines) <= _MOST else [*lines[:_MOST], "and others: see the folder"]
