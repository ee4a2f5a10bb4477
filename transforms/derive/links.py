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
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import unquote

import ada_url
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from publicsuffixlist import PublicSuffixList

from configs.catalog import ColumnName, argument
from configs.schema import ColumnType
from transforms.text.characters import INVISIBLE
from transforms.text.tables import shorteners

_STRINGS = frozenset({ColumnType.STRING})
_HTTP = "http(?-i:[sS])?"  # where case does not count U+017F is an `s`, which no scheme has
_LINK = rf"(?:{_HTTP}:[/\\]+|\bwww\.)[^\s/?#<>\"\\][^\s/?#<>\"',;\\]*"
_AUTHORITY = re.compile(
    rf"(?:{_HTTP}:[/\\]+|(?<![0-9A-Za-z_])(?=www\.))"
    r"([^\s/?#\\<>\"]+)",
    re.IGNORECASE,
)
_NEXT = re.compile(rf"(?<![,;])[,;]++(?:{_HTTP}$|www\.)", re.IGNORECASE)  # the next of a list
_LIST = re.compile(r"[,;](?=www\.)", re.IGNORECASE)  # likewise, and nothing of the next is lost
_SCHEME = re.compile(f"{_HTTP}:$", re.IGNORECASE)
# A browser opens `http:evil.com` too; in a text that is a link only where such a host can be meant.
_BARE_LINK = rf"\b{_HTTP}:[^\s/?#<>\"\\]"
_LINK_OR_BARE = f"{_LINK}|{_BARE_LINK}"
_BARE = re.compile(
    rf"(?<![0-9A-Za-z_]){_HTTP}:(?![/\\])([^\s/?#\\<>\"]+)",
    re.IGNORECASE,
)
_AUTHORITY_OR_BARE = re.compile(f"{_BARE.pattern}|{_AUTHORITY.pattern}", re.IGNORECASE)
_SCHEMES = re.compile(f"{_HTTP}:", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_REST = re.compile(rf"(?:(?!{_HTTP}:)[^\s<>\"])*+", re.IGNORECASE)
_ADDRESS = re.compile(r"\[|(?:[^.]+\.){3}|0x|\d{6}", re.IGNORECASE)  # not `http:404`, `http:1.1`
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
    """How many links (http: or https:, or www.) a text has.

    `reading` is the version of what a link is: 1 asks for a slash after http: or https:, 2 takes
    `http:evil.com` too, where the host can be meant.

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
    reading: int = argument(1, least=1, most=2, now=2)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        array = batch.column(self.of)
        counts = pc.count_substring_regex(array, _LINK, ignore_case=True).cast(pa.int64())
        if self.reading == 1:
            return counts
        texts, has = _matching(array, _BARE_LINK)
        if not texts:
            return counts
        more = [_count_bare(text) for text in texts]
        return pc.add(counts, pc.replace_with_mask(_zeros(len(array)), has, pa.array(more)))


@dataclasses.dataclass(frozen=True)
class LinkDomain:
    """The registrable domain of a text's first link that a browser opens; null without one.

    It is that of the Public Suffix List, as the library carries it; nothing is downloaded. A host
    that is an address, or a public suffix itself, stands for itself. Give it texts as they came:
    folding changes names (`fa\u00df.de` is not `fass.de`). `reading`: as of `count_links`; 2 also
    refuses Punycode that stands for nothing, and sees no link in the path of one that is refused.
    With `shorteners`, a version of their list (`transforms.text.tables.SHORTENERS`), the domain of
    a shortener is "shortener": which one it is says little of where the link leads.

    >>> texts = ["see https://cheap.shop.example.co.uk/x?y", "http://a.example%2eevil.com", "hi"]
    >>> LinkDomain("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    ['example.co.uk', 'evil.com', None]
    >>> batch = pa.RecordBatch.from_pydict({"t": ["https://bit.ly/x"]})
    >>> [LinkDomain("t", shorteners=one).apply(batch).to_pylist() for one in (0, 1)]
    [['bit.ly'], ['shortener']]
    """

    op: ClassVar[str] = "link_domain"
    about: ClassVar[str] = "registrable domain of the first link"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName
    reading: int = argument(1, least=1, most=2, now=2)
    shorteners: int = argument(0, least=0, most=1)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        array = batch.column(self.of)
        texts, has = _matching(array, _LINK if self.reading == 1 else _LINK_OR_BARE)
        if not texts:
            return pa.nulls(len(array), pa.string())
        first = _first_host if self.reading == 1 else _first_opened
        domains = pa.array([self._name(first(text)) for text in texts], pa.string())
        return pc.replace_with_mask(pa.nulls(len(array), pa.string()), has, domains)

    def _name(self, host: str | None) -> str | None:
        if host is None:
            return None
        return SHORTENER if self.shorteners and is_shortener(host) else registrable_domain(host)


@dataclasses.dataclass(frozen=True)
class CountShorteners:
    """How many links of a text, or links within these, lead through a shortener.

    `shorteners` is the version of their list (`transforms.text.tables.SHORTENERS`).

    >>> texts = ["https://bit.ly/x and http://www.TinyURL.com", "http://bit.ly.example", None]
    >>> CountShorteners("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    [2, 0, None]
    """

    op: ClassVar[str] = "count_shorteners"
    about: ClassVar[str] = "number of links that lead through a shortener"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    least: ClassVar[int] = 0
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName
    shorteners: int = argument(1, least=1, most=1)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        array = batch.column(self.of)
        texts, has = _matching(array, _LINK_OR_BARE)
        counts = [sum(is_shortener(host) for host in _hosts(text)) for text in texts]
        zeros = pc.if_else(array.is_valid(), _zeros(len(array)), pa.scalar(None, pa.int64()))
        return pc.replace_with_mask(zeros, has, pa.array(counts, pa.int64()))


SHORTENER = "shortener"
"""What `link_domain` says of a shortener where it is asked to."""


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
    host = _short(host)
    return _registrable_domain(host) if len(host) <= _MOST_READ else None


def is_shortener(host: str) -> bool:
    """Whether a host, or one that it is below, is in the list of shorteners.

    >>> is_shortener("www.bit.ly"), is_shortener("bit%2ely"), is_shortener("notbit.ly")
    (True, True, False)
    """
    domain = registrable_domain(host)
    return domain is not None and (domain in shorteners() or _is_listed(_short(host), domain))


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


def _short(host: str) -> str:
    """Without invisible characters where these may make it longer than what is read."""
    return host if len(host) <= _MOST_READ else _UNSEEN.sub("", unquote(host))


def _matching(array: pa.Array, pattern: str) -> tuple[list[str], pa.Array]:
    """The texts that have a match, and where they are: bool `[n]`."""
    has = pc.fill_null(pc.match_substring_regex(array, pattern, ignore_case=True), False)
    where = np.flatnonzero(has.to_numpy(zero_copy_only=False))
    return array.take(pa.array(where)).to_pylist(), has


def _zeros(count: int) -> pa.Array:
    return pa.array(np.zeros(count, np.int64))


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


def _first_host(text: str) -> str | None:
    start = 0
    while match := _AUTHORITY.search(text, start):
        if registrable_domain(host := _host(match[1])) is not None:
            return host
        inner = _SCHEME.search(match[1])  # what is refused may have run into the next link
        start = match.end() - len(inner[0]) if inner else match.end()
    return None


def _first_opened(text: str) -> str | None:
    start = 0
    while match := _AUTHORITY_OR_BARE.search(text, start):
        bare, authority = match[1], match[1] or match[2]
        hosts = _bare_hosts(bare) if bare else _opened_hosts([authority])
        if hosts:
            return hosts[0]
        start = match.end()
        if inner := _SCHEME.search(authority):  # what is refused may have run into the next link
            start -= len(inner[0])
        elif bare and "@" not in bare:  # words, in which a link may begin
            start = match.start(1) if _WWW.search(bare) else start
        elif _SCHEMES.match(text, match.start()) and (rest := _REST.match(text, start)):
            start = rest.end()  # nothing is opened, so a path has no link either
    return None


def _hosts(text: str) -> Iterator[str]:
    """Hosts of all links of a text, in order; those in the path of another link too."""
    start = 0
    while match := _AUTHORITY_OR_BARE.search(text, start):
        bare, authority = match[1], match[1] or match[2]
        parts = _LIST.split(authority.rpartition("@")[2])
        if bare:
            yield from _bare_hosts(parts[0])
            parts = parts[1:]
        yield from _opened_hosts(parts)
        inner = _SCHEME.search(authority)  # it may have run into the next link
        start = match.end() - len(inner[0]) if inner else match.end()


def _opened_hosts(authorities: list[str]) -> list[str]:
    hosts = [_host(authority) for authority in authorities]
    return [host for host in hosts if _opened(host) is not None]


def _opened(host: str) -> str | None:
    """As `registrable_domain`, and null where a label in Punycode stands for nothing."""
    domain = registrable_domain(host)
    if domain is not None and "xn--" in host.lower():
        name = _parsed(host) or ""
        if any(one.startswith("xn--") and ada_url.idna_to_unicode(one) == one
               for one in name.split(".")):  # fmt: skip
            return None
    return domain


def _bare_hosts(authority: str) -> list[str]:
    """Of what follows `http:` without slashes: the hosts that a link can mean.

    They are names under a suffix of the Public Suffix List, and addresses that are no number of a
    port, a version or an answer: `http:status`, `http:8080` and `HTTP:1.1` are words.
    """
    hosts = [_host(piece) for piece in _SCHEMES.split(authority.rpartition("@")[2])]
    domains = [(host, _opened(host)) for host in hosts]
    return [host for host, domain in domains if domain is not None and _is_meant(host, domain)]


def _is_meant(host: str, domain: str) -> bool:
    if domain.startswith("[") or domain.rpartition(".")[2].isdigit():
        return _ADDRESS.match(host) is not None
    return _is_known(domain)


@functools.lru_cache(maxsize=65_536)
def _is_listed(host: str, domain: str) -> bool:
    """Whether a host below its registrable domain is a shortener's, or below one."""
    name = _parsed(host)
    while name and name != domain:
        if name in shorteners():
            return True
        name = name.partition(".")[2]
    return False


@functools.lru_cache(maxsize=65_536)
def _is_known(domain: str) -> bool:
    """Whether someone can have registered it, as far as the Public Suffix List tells."""
    name = domain if domain.isascii() else ada_url.idna_to_ascii(domain).decode()
    return _known_suffixes().privatesuffix(name) is not None


def _count_bare(text: str) -> int:
    """Links without slashes; `www.` within counts by itself."""
    return sum(
        len(_bare_hosts(match[1])) for match in _BARE.finditer(text) if not _WWW.search(match[1])
    )


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
def _known_suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)
