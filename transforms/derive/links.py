"""Links in a text: how many, and the registrable domain of the first."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from publicsuffixlist import PublicSuffixList

from configs.catalog import ColumnName
from configs.schema import ColumnType

_STRINGS = frozenset({ColumnType.STRING})
_LINK = r"(?:https?://|www\.)[^\s/?#<>\"']"
_HOST = re.compile(r"(?:https?://(?:[^\s/?#@<>\"']*@)?|www\.)([^\s/?#:<>\"'@]+)", re.IGNORECASE)
_MOST_HOST = 253  # RFC 1035, section 2.3.4


@dataclasses.dataclass(frozen=True)
class CountLinks:
    """How many links (http://, https:// or www.) a text has.

    >>> texts = ["see http://a.example and www.b.example", "none", None]
    >>> CountLinks("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    [2, 0, None]
    """

    op: ClassVar[str] = "count_links"
    about: ClassVar[str] = "number of links"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        array = batch.column(self.of)
        counts = pc.count_substring_regex(array, _LINK, ignore_case=True)
        # "http://www." is one link, and matches twice
        both = pc.count_substring_regex(array, r"https?://www\.[^\s/?#<>\"']", ignore_case=True)
        return pc.subtract(counts, both).cast(pa.int64())


@dataclasses.dataclass(frozen=True)
class LinkDomain:
    """The registrable domain of a text's first link, by the Public Suffix List; null without one.

    The list is the snapshot that the library carries; nothing is downloaded. A host that is an
    address, or a public suffix itself, stands for itself.

    >>> texts = ["go to https://cheap.shop.example.co.uk/x?y", "hello"]
    >>> LinkDomain("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    ['example.co.uk', None]
    """

    op: ClassVar[str] = "link_domain"
    about: ClassVar[str] = "registrable domain of the first link"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        has = pc.fill_null(pc.match_substring_regex(array, _LINK, ignore_case=True), False)
        where = np.flatnonzero(has.to_numpy(zero_copy_only=False))
        if not len(where):
            return pa.nulls(len(array), pa.string())
        texts = array.take(pa.array(where)).to_pylist()
        domains = pa.array([_first_domain(text) for text in texts], pa.string())
        return pc.replace_with_mask(pa.nulls(len(array), pa.string()), has, domains)


def registrable_domain(host: str) -> str:
    """The part of a host that someone registered.

    >>> registrable_domain("a.b.example.com"), registrable_domain("192.0.2.7")
    ('example.com', '192.0.2.7')
    """
    return _registrable(host.lower().strip("."))


def _first_domain(text: str) -> str | None:
    match = _HOST.search(text)
    if match is None or len(match[1]) > _MOST_HOST:
        return None
    return registrable_domain(match[1]) or None


@functools.lru_cache(maxsize=65_536)
def _registrable(host: str) -> str:
    if not host or host.replace(".", "").isdigit():
        return host
    return _suffixes().privatesuffix(host) or host


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)
