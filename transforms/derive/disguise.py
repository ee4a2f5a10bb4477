"""Texts as their readers read them, and how much of a disguise had to be undone for it.

`tables` is the version of Unicode's tables (`transforms.text.tables.TABLES`). It is part of the
config's fingerprint: other tables make other features.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName, argument
from configs.schema import ColumnType
from transforms.hashing import valid_mask
from transforms.text import Texts, count_mixed_words, restore

_STRINGS = frozenset({ColumnType.STRING})


@dataclasses.dataclass(frozen=True)
class RestoreText:
    """The text without disguises (`transforms.text`), case folded, with single spaces.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["FR\\u200bEE v1\\u0430gra", None]})
    >>> RestoreText("t").apply(batch).to_pylist()
    ['free viagra', None]
    """

    op: ClassVar[str] = "restore_text"
    about: ClassVar[str] = "text without look-alikes, invisible characters and other disguises"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName
    tables: int = argument(1, least=1, most=1)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        made = restore(Texts.of_array(array)).texts.array()
        return pc.if_else(array.is_valid(), made, pa.scalar(None, pa.string()))


@dataclasses.dataclass(frozen=True)
class CountDisguises:
    """Characters that `restore_text` removes or replaces, but for case, emoji and white space.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["FR\\u200bEE v1\\u0430gra", "Free", None]})
    >>> CountDisguises("t").apply(batch).to_pylist()
    [3, 0, None]
    """

    op: ClassVar[str] = "count_disguises"
    about: ClassVar[str] = "characters of a text that are a disguise"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName
    tables: int = argument(1, least=1, most=1)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        array = batch.column(self.of)
        undone = restore(Texts.of_array(array)).undone.values()
        total = np.sum(list(undone), axis=0, dtype=np.int64)
        return pa.array(total, mask=~valid_mask(array))


@dataclasses.dataclass(frozen=True)
class CountMixedWords:
    """Words that mix letters of two scripts, as hardly an honest one does.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["p\\u0430ypal", "\\u043d\\u0435\\u0442", None]})
    >>> CountMixedWords("t").apply(batch).to_pylist()
    [1, 0, None]
    """

    op: ClassVar[str] = "count_mixed_words"
    about: ClassVar[str] = "words that mix letters of two scripts"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName
    tables: int = argument(1, least=1, most=1)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        array = batch.column(self.of)
        counts = count_mixed_words(Texts.of_array(array)).astype(np.int64)
        return pa.array(counts, mask=~valid_mask(array))
