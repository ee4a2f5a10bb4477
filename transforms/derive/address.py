"""Addresses of mail, and text whose case does not matter."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.derive.links import registrable_domain, without_end

_MARK = re.compile(r'\\.|["()]', re.DOTALL)  # RFC 5322, sections 3.2.1 to 3.2.4
_HOST = r"(?P<host>\[[^\s\]]*\]|[^\s@<>,;:\"]+)"
_USER = r"(?:[^\s@<>,;]*@)*"  # what comes before the last @
_STRINGS = frozenset({ColumnType.STRING})


@dataclasses.dataclass(frozen=True)
class Lowercase:
    """Lower case, as Unicode has it.

    >>> Lowercase("t").apply(pa.RecordBatch.from_pydict({"t": ["AbC", None]})).to_pylist()
    ['abc', None]
    """

    op: ClassVar[str] = "lowercase"
    about: ClassVar[str] = "text in lower case"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        return pc.utf8_lower(batch.column(self.of))


@dataclasses.dataclass(frozen=True)
class EmailDomain:
    """The registrable domain of a mail address, with or without a display name; null without one.

    >>> texts = ["Ann <ann@mail.example.org>", "nobody"]
    >>> EmailDomain("t").apply(pa.RecordBatch.from_pydict({"t": texts})).to_pylist()
    ['example.org', None]
    """

    op: ClassVar[str] = "email_domain"
    about: ClassVar[str] = "registrable domain of a mail address"
    returns: ClassVar[ColumnType] = ColumnType.STRING
    accepts: ClassVar[frozenset[ColumnType]] = _STRINGS

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """string `[n]`."""
        # Within quotes and comments anything may stand, also an address.
        array = batch.column(self.of)
        marked = pc.fill_null(pc.match_substring_regex(array, '["(]'), False)
        if pc.any(marked).as_py():
            texts = array.filter(marked).to_pylist()
            plain = pa.array([_without_remarks(text) for text in texts], pa.string())
            array = pc.replace_with_mask(array, marked, plain)
        # What stands in angle brackets is the address; a display name may look like another.
        hosts = pc.coalesce(
            _host(array, rf"<[^<>]*@{_HOST}>[^<>]*$"), _host(array, rf"@{_USER}{_HOST}")
        ).dictionary_encode()
        domains = [_domain(host) for host in hosts.dictionary.to_pylist()]
        return pa.array(domains, pa.string()).take(hosts.indices)


def _without_remarks(text: str) -> str:
    """Without what is quoted, and without comments, which nest; a comment alone stays.

    >>> _without_remarks('(c@a.example (d)) "x@b.example"@c.example')
    ' ""@c.example'
    """
    kept: list[str] = []
    depth, quoted, done = 0, False, 0
    for match in _MARK.finditer(text):
        mark = match[0]
        if quoted:
            if mark == '"':
                kept.append('""')
                quoted, done = False, match.end()
        elif depth:
            depth += {"(": 1, ")": -1}.get(mark, 0)
            done = done if depth else match.end()
        elif mark in ('"', "("):
            kept.append(text[done : match.start()])
            quoted, depth, done = mark == '"', int(mark == "("), match.start()
    made = "".join([*kept, text[done:]])
    return text if "@" not in made and text.lstrip().startswith("(") else made


def _domain(host: str) -> str | None:
    if host.startswith("["):  # an address, RFC 5321, section 4.1.3
        inner = host[1:-1]
        is_v6 = inner[:5].lower() == "ipv6:"
        return registrable_domain(f"[{inner[5:]}]" if is_v6 else inner)
    name = host.partition("(")[0]  # a comment, RFC 5322, section 3.2.2
    return registrable_domain(without_end(name))


def _host(array: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(array, pattern), "host")
