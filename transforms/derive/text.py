"""Text made comparable: Unicode NFKC, casefold, and single spaces."""

from __future__ import annotations

import dataclasses
import unicodedata
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType

# What str.split() takes for white space within ASCII; RE2's \s knows less.
_SPACES = r"[\t\n\v\f\r\x1c-\x1f ]+"
_UNTIDY = r"[\t\n\v\f\r\x1c-\x1f]|  |^ | $"


@dataclasses.dataclass(frozen=True)
class NormalizeText:
    """NFKC, casefold, NFKC again (Unicode 15, section 3.13, D146), runs of white space as one.

    ASCII, by far the most of it, takes the vectorised way, on which lower case is the same.

    >>> batch = pa.RecordBatch.from_pydict({"t": ["  WIN  \\uff26REE ", None, "Stra\\u00dfe"]})
    >>> NormalizeText("t").apply(batch).to_pylist()
    ['win free', None, 'strasse']
    """

    op: ClassVar[str] = "normalize_text"
    about: ClassVar[str] = "text in NFKC, case folded, with single spaces"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = frozenset({ColumnType.STRING})

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        ascii_only = pc.fill_null(pc.string_is_ascii(array), True)
        lowered = pc.ascii_lower(array)
        if pc.any(pc.match_substring_regex(lowered, _UNTIDY)).as_py():
            spaced = pc.replace_substring_regex(lowered, _SPACES, " ")
            lowered = pc.ascii_trim_whitespace(spaced)
        other = np.flatnonzero(~ascii_only.to_numpy(zero_copy_only=False))
        if not len(other):
            return lowered
        texts = [normalize(text) for text in array.take(pa.array(other)).to_pylist()]
        mask = pc.invert(ascii_only)
        return pc.replace_with_mask(lowered, mask, pa.array(texts, pa.string()))


def normalize(text: str) -> str:
    """One string as `NormalizeText` makes it.

    >>> normalize("A\\u00a0 B")
    'a b'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
