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
_LINK = r"(?:https?://|\bwww\.)[^\s/?#<>\"',;]+"
# What a browser takes for the authority (a backslash ends it, as a slash does).
_AUTHORITY = re.compile(
    r"(?:https?://|(?<![0-9A-Za-z_])(?=www\.))([^\s/?#\\<>\"']+)", re.IGNORECASE
)
_NAME = re.compile(r"[^\x00-,/:-@\[-^`{-\x7f]+")  # no ASCII punctuation but - . _
_AROUND = ".-_\u2026\u2019\u201d\u00bb\u3001\uff0c"  # what text puts after a name
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
        return pc.count_substring_regex(array, _LINK, ignore_case=True).cast(pa.int64())


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


def registrable_domain(authority: str) -> str | None:
    """The part of a link's or an address's host that someone registered; None where there is none.

    Letters are lower case, and names in Punycode (RFC 3492) are as people see them, so that one
    domain has one form.

    Args:
      authority: a host, perhaps with a user before it and a port or punctuation after it.

    >>> registrable_domain("good.example@a.b.example.com:80"), registrable_domain("192.0.2.7")
    ('example.com', '192.0.2.7')
    >>> registrable_domain("www.xn--bcher-kva.example") == registrable_domain("b\u00fccher.example")
    True
    """
    host = authority.rpartition("@")[2]
    if host.startswith("["):  # IPv6, RFC 3986, section 3.2.2
        return host.partition("]")[0].lower() + "]" if len(host) <= _MOST_HOST else None
    match = _NAME.match(host)
    if match is None:
        return None
    name = match[0].replace("\u3002", ".").strip(_AROUND)
    return _registrable(name.lower()) if 0 < len(name) <= _MOST_HOST else None


def _first_domain(text: str) -> str | None:
    match = _AUTHORITY.search(text)
    return None if match is None else registrable_domain(match[1])


@functools.lru_cache(maxsize=65_536)
def _registrable(host: str) -> str:
    if host.replace(".", "").isdigit():
        return host
    host = ".".join(_unicode_label(label) for label in host.split("."))
    return _suffixes().privatesuffix(host) or host


def _unicode_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        made = label[4:].encode("ascii").decode("punycode")
        made.encode()  # it can hold surrogates, which are no text
    except ValueError:
        return label
    return made


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)
