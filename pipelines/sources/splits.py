"""A part of the input that one task reads."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence

from configs.errors import InputError

_BYTES_PER_ROW = 200  # of JSON or CSV, as events of people are
_GZIP_RATIO = 5


@dataclasses.dataclass(frozen=True)
class Split:
    """Some rows of one file.

    Attributes:
      path: the file.
      format: "parquet", "jsonl", "csv" or "mail".
      compression: "" or "gzip".
      row_groups: of a Parquet file; empty: all of the file.
      first_row: position of the first row in the file.
      rows: how many rows; None where the format does not tell.
      min_us, max_us: closed range of the times of the events that they make; None: unknown.
      size: bytes, of the file or the row groups.
      file_bytes: of the file.
      modified: when the file was written last, seconds since 1970; 0: the filesystem does not say.
    """

    path: str
    format: str
    compression: str = ""
    row_groups: tuple[int, ...] = ()
    first_row: int = 0
    rows: int | None = None
    min_us: int | None = None
    max_us: int | None = None
    size: int = 0
    file_bytes: int = 0
    modified: float = 0.0

    @property
    def likely_rows(self) -> int:
        """How many rows, guessed from the size where the format does not tell; for plans only.

        >>> Split("a.csv", "csv", size=1000).likely_rows, Split("a", "parquet", rows=3).likely_rows
        (5, 3)
        """
        if self.rows is not None:
            return self.rows
        return self.size * (_GZIP_RATIO if self.compression else 1) // _BYTES_PER_ROW

    @property
    def name(self) -> str:
        """A short stable name, for files that are about this split.

        >>> Split("/data/2026/a.parquet", "parquet", row_groups=(3,)).name.split("-")[0]
        'a.parquet'
        """
        where = f"{self.path}#{','.join(map(str, self.row_groups))}"
        digest = hashlib.sha256(where.encode()).hexdigest()[:8]
        return f"{os.path.basename(self.path)}-{digest}"


def require_once(path: str, names: Sequence[str]) -> None:
    """Does nothing if a file has each of the columns that are read but once.

    Raises:
      InputError: it has not; which of the two is meant, nobody can tell.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"{path} has more than one column {', '.join(map(repr, twice))}, which the config "
            "reads; write it with one"
        )
