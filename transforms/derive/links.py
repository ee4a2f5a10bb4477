"""Links in a text: how many, and the registrable domain of the first that a browser opens.

The host is read by a parser of the WHATWG URL standard (`ada_url`), with UTS 46 for names, so that
senders cannot choose a key that is not the host: percent-encoded bytes, several slashes or
backslashes, characters that nobody sees, Punycode, numbers for IPv4. What a text adds is ours:
where a link begins and ends.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import ClassVar
from urllib.parse import unquote

import ada_url
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from publicsuffixlist import PublicSuffixList

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.text.characters import INVISIBLE

_STRINGS = frozenset({ColumnType.STRING})
_LINK = r"(?:https?:[/\\]+|\bwww\.)[^\s/?#<>\"\\][^\s/?#<>\"',;\\]*"
_AUTHORITY = re.compile(
    r"(?:https?:[/\\]+|(?<![0-9A-Za-z_])(?=www\.))"
    r"([^\s/?#\\<>\"]+)",
    re.IGNORECASE,
)
_NEXT = re.compile(r"(?<![,;])[,;]++(?:https?$|www\.)", re.IGNORECASE)  # the next of a list
_SCHEME = re.compile(r"https?:$", re.IGNORECASE)
_PLAIN = re.compile(r"(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*")  # is its own serialisation
# What a text puts after a name: punctuation, closing brackets and quotes, of Asia too, and marks
# that nobody sees (a text's direction goes back after a link).
_AFTER = re.compile(
    r"[.,;:!?'()\[\]{}*_~|`^=+&$\-"
    "\u2026\u2019\u2018\u201d\u201c\u00bb\u00ab\u203a\u2039"
    "\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\uff09\u300d\u300f\u3011\u300b\u3009"
    f"{INVISIBLE}]+"
)
_MOST_HOST = 253  # RFC 1035, section 2.3.4
_MOST_PORT = 65_535
_MOST_READ = 4096  # characters of a host that the parser takes, however they are written
# What UTS 46 drops from a name.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u180b-\u180f\u200b\u2060\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)


@dataclasses.dataclass(frozen=True)
class CountLinks:
    """How many links (http:, https: with slashes, or www.) a text has.

    >>> texts = ["see http://a.example and www.b.example", "none", None]
    >>> CountLinks("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    [2, 0, None]
    """

    op: ClassVar[str] = "count_links"
    about: ClassVar[str] = "number of links"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    least: ClassVar[int] = 0
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        array = batch.column(self.of)
        return pc.count_substring_regex(array, _LINK, ignore_case=True).cast(pa.int64())


@dataclasses.dataclass(frozen=True)
class LinkDomain:
    """The registrable domain of a text's first link that a browser opens; null without one.

    It is that of the Public Suffix List, as the library carries it; nothing is downloaded. A host
    that is an address, or a public suffix itself, stands for itself. Give it texts as they came:
    folding changes names (`fa\u00df.de` is not `fass.de`).

    >>> texts = ["see https://cheap.shop.example.co.uk/x?y", "http://a.example%2eevil.com", "hi"]
    >>> LinkDomain("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    ['example.co.uk', 'evil.com', None]
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


def registrable_domain(host: str) -> str | None:
    """The part of a host that someone registered; None if no browser takes it for a host.

    Names are lower case and in Unicode, addresses as numbers, so that one host has one form.

    Args:
      host: a name, an address, or an IPv6 address in brackets; percent-encoded or not.

    >>> registrable_domain("a.b.example.com"), registrable_domain("0xc0.0.2.7")
    ('example.com', '192.0.2.7')
    >>> registrable_domain("www.xn--bcher-kva.example") == registrable_domain("b\u00fccher.example")
    True
    """
    if len(host) > _MOST_READ:  # invisible characters may make it so long, and are not counted
        host = _UNSEEN.sub("", unquote(host))
        return _registrable_domain(host) if len(host) <= _MOST_READ else None
    return _registrable_domain(host)


def without_end(name: str) -> str:
    """Without what a text puts after a name, seen or not.

    >>> without_end("evil.example\\u200e).\\u2069")
    'evil.example'
    """
    after = _AFTER.match(name[::-1])  # backwards: `+$` would take the square of a long run's time
    return name[: len(name) - after.end()] if after else name


@functools.lru_cache(maxsize=65_536)
def _registrable_domain(host: str) -> str | None:
    name = host if _PLAIN.fullmatch(host) and "xn--" not in host else _parsed(host)
    if not name or len(name) > _MOST_HOST:
        return None
    if name.startswith("[") or name.rpartition(".")[2].isdigit():
        return name
    domain = str(_suffixes().privatesuffix(name) or name)
    return ada_url.idna_to_unicode(domain) or domain if "xn--" in domain else domain


def _parsed(host: str) -> str | None:
    """The host as the standard serialises it, without dots around it."""
    try:
        url = ada_url.normalize_url(f"http://{host}/")
    except ValueError:
        return None
    name = url.removeprefix("http://").removesuffix("/")
    if "@" in name or "/" in name or (":" in name and not name.endswith("]")):
        return None  # more than a host was given
    return name.strip(".")


def _first_domain(text: str) -> str | None:
    start = 0
    while match := _AUTHORITY.search(text, start):
        if (domain := registrable_domain(_host(match[1]))) is not None:
            return domain
        inner = _SCHEME.search(match[1])  # what is refused may have run into the next link
        start = match.end() - len(inner[0]) if inner else match.end()
    return None


def _host(authority: str) -> str:
    """What stands between a user and a port, without the punctuation of the text around it."""
    host = authority.rpartition("@")[2]  # however long the user's part is
    if host.startswith("["):  # IPv6, RFC 3986, section 3.2.2
        address, closed, rest = host.partition("]")
        rest, _, port = rest.partition(":")
        is_address = closed and not without_end(rest) and _is_port(port)
        return f"{address}]" if is_address else ""
    host, _, port = host.partition(":")
    if not _is_port(port):
        return ""
    if "," in host or ";" in host:
        host = _NEXT.split(host)[0]
    return without_end(host)


def _is_port(port: str) -> bool:
    """Whether a browser takes it; none is one, and so is one that punctuation follows."""
    digits = without_end(_NEXT.split(port)[0]).lstrip("0")
    return not digits or (
        digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= _MOST_PORT
    )


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)
