"""Texts as their readers read them, and how much of a disguise had to be undone for it.

`tables` is the version of Unicode's tables (`transforms.text.tables.TABLES`). Others make other
features: a second one would have `now=2` (`configs.catalog.argument`), so another fingerprint.
`reading` is that of what a disguise is, `words` that of a list of English words (`WORDS` there),
used only where it is asked for.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName, argument
from configs.schema import ColumnType
from transforms.hashing import valid_mask
from transforms.text import Texts, count_mixed_words, restore


@dataclasses.dataclass(frozen=True)
class _OfText:
    accepts: ClassVar[frozenset[ColumnType]] = frozenset({ColumnType.STRING})

    of: ColumnName
    tables: int = argument(1, least=1, most=1)


class _Count(_OfText, abc.ABC):
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    least: ClassVar[int] = 0

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`, null where the text is."""
        array = batch.column(self.of)
        return pa.array(self.count(Texts.of_array(array)), mask=~valid_mask(array))

    @abc.abstractmethod
    def count(self, texts: Texts) -> npt.NDArray[np.int64]:
        """int64 `[n]`."""


@dataclasses.dataclass(frozen=True)
class RestoreText(_OfText):
    """The text without disguises (`transforms.text`), case folded, with single spaces.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["FR\\u200bEE v1\\u0430gra", None]})
    >>> RestoreText("t").apply(batch).to_pylist()
    ['free viagra', None]
    >>> batch = pa.RecordBatch.from_pydict({"t": ["BuyCheapNow for freeee"]})
    >>> RestoreText("t", words=1).apply(batch).to_pylist()
    ['buy cheap now for free']
    """

    op: ClassVar[str] = "restore_text"
    about: ClassVar[str] = "text without look-alikes, invisible characters and other disguises"
    returns: ClassVar[ColumnType] = ColumnType.STRING

    words: int = argument(0, least=0, most=1)
    reading: int = argument(1, least=1, most=2, now=2)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        made = restore(Texts.of_array(array), self.words, self.reading).texts.array()
        return pc.if_else(array.is_valid(), made, pa.scalar(None, pa.string()))


@dataclasses.dataclass(frozen=True)
class CountDisguises(_Count):
    """Characters that `restore_text` removes or replaces, but for case, emoji and white space.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["FR\\u200bEE v1\\u0430gra", "Free", None]})
    >>> CountDisguises("t").apply(batch).to_pylist()
    [3, 0, None]
    """

    op: ClassVar[str] = "count_disguises"
    about: ClassVar[str] = "characters of a text that are a disguise"

    words: int = argument(0, least=0, most=1)
    reading: int = argument(1, least=1, most=2, now=2)

    def count(self, texts: Texts) -> npt.NDArray[np.int64]:
        """int64 `[n]`."""
        undone = list(restore(texts, self.words, self.reading).undone.values())
        total: npt.NDArray[np.int64] = np.sum(undone, axis=0, dtype=np.int64)
        return total


@dataclasses.dataclass(frozen=True)
class CountMixedWords(_Count):
    """Words that mix letters of two scripts, as hardly an honest one does.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["p\\u0430ypal", "\\u043d\\u0435\\u0442", None]})
    >>> CountMixedWords("t").apply(batch).to_pylist()
    [1, 0, None]
    """

    op: ClassVar[str] = "count_mixed_words"
    about: ClassVar[str] = "words that mix letters of two scripts"

    def count(self, texts: Texts) -> npt.NDArray[np.int64]:
        """int64 `[n]`."""
        return count_mixed_words(texts).astype(np.int64)
