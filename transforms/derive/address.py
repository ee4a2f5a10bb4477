"""Addresses of mail, and text whose case does not matter."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.derive.links import registrable_domain

_QUOTED = r'"(?:[^"\\]|\\.)*"'
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
        # Within quotes anything may stand, also an address; what counts is after the last @.
        array = pc.replace_substring_regex(batch.column(self.of), _QUOTED, "q")
        # What stands in angle brackets is the address; a display name may look like another.
        hosts = pc.coalesce(
            _host(array, rf"<[^<>]*@{_HOST}>[^<>]*$"), _host(array, rf"@{_USER}{_HOST}")
        ).dictionary_encode()
        domains = [_domain(host) for host in hosts.dictionary.to_pylist()]
        return pa.array(domains, pa.string()).take(hosts.indices)


def _domain(host: str) -> str | None:
    if host.startswith("["):  # an address, RFC 5321, section 4.1.3
        inner = host[1:-1]
        is_v6 = inner[:5].lower() == "ipv6:"
        return registrable_domain(f"[{inner[5:]}]" if is_v6 else inner)
    name = host.partition("(")[0]  # a comment, RFC 5322, section 3.2.2
    return registrable_domain(name.rstrip(")]}'.!?"))


def _host(array: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(array, pattern), "host")
