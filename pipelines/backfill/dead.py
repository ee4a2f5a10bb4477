"""The first dead letters of a run, for the message with which it fails: what to look at first."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.files import open_parquet
from transforms.dead_letter import Reason

_MOST = 5


def first_dead_letters(files: Iterable[str]) -> list[str]:
    """One line for the first dead letter of each reason and column, in the order of the files.

    Duplicates are left out: a repeated record is not a bad one. A line says where the record is
    and what was expected; nothing of the record itself.

    Args:
      files: tables of `DEAD_LETTER_SCHEMA` as Parquet.

    >>> first_dead_letters([])
    []
    """
    seen: dict[tuple[str, str | None], str] = {}
    for path in files:
        if len(seen) >= _MOST:
            break
        for one in open_parquet(path).read().to_pylist():
            key = (one["reason"], one["column"])
            if key in seen or one["reason"] == Reason.DUPLICATE_ID:
                continue
            column = f", column {one['column']}" if one["column"] else ""
            detail = f": {one['detail']}" if one["detail"] else ""
            seen[key] = (
                f"{one['source']}, record {one['position']}: {one['reason']}{column}{detail}"
            )
    return list(seen.values())[:_MOST]
