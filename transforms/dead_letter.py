"""Records that cannot be used: where they were lost, why, and where to find them again.

None holds the payload: position and source lead to it.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

import pyarrow as pa


class Stage(enum.StrEnum):
    """Where in an event's walk a record was lost."""

    READ = "read"
    DECODE = "decode"
    DEDUPLICATE = "deduplicate"
    SCORE = "score"


class Reason(enum.StrEnum):
    """Why a record was lost. New ones are added at the end; names are stable."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    BROKEN_ROW = "broken_row"
    UNKNOWN_KIND = "unknown_kind"
    MISSING_COLUMN = "missing_column"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    NOT_FINITE = "not_finite"
    TOO_LARGE = "too_large"
    BAD_TIME = "bad_time"
    DUPLICATE_ID = "duplicate_id"
    LONE_SURROGATE = "lone_surrogate"
    INTERNAL_ERROR = "internal_error"


EXPECTED_UTF8 = "expected UTF-8; of text files, `events.encoding` names another encoding"


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    """One lost record.

    Attributes:
      stage, reason: where and why.
      source: the file, or the subscription.
      position: row or line of the file, from 0; or the message's number in its micro-batch.
      column: the column at fault, if one is.
      detail: what was expected, in words; never a value of the record.
    """

    stage: Stage
    reason: Reason
    source: str
    position: int
    column: str | None = None
    detail: str = ""


DEAD_LETTER_SCHEMA = pa.schema(
    {
        "stage": pa.string(),
        "reason": pa.string(),
        "source": pa.string(),
        "position": pa.int64(),
        "column": pa.string(),
        "detail": pa.string(),
    }
)


def dead_letter_table(dead: Iterable[DeadLetter]) -> pa.Table:
    """Dead letters as a table, one row each.

    >>> letter = DeadLetter(Stage.DECODE, Reason.NOT_JSON, "a.jsonl", 7)
    >>> dead_letter_table([letter]).column("reason").to_pylist()
    ['not_json']
    """
    rows = [dataclasses.asdict(one) for one in dead]
    return pa.Table.from_pylist(rows, DEAD_LETTER_SCHEMA)
