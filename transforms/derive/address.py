"""Addresses of mail, and text whose case does not matter."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.derive.links import registrable_domain

_HOST = r"(?P<host>[^\s@<>,;:\"]+)"
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
        array = batch.column(self.of)
        # What stands in angle brackets is the address; a display name may look like another.
        hosts = pc.coalesce(_host(array, rf"<[^<>]*@{_HOST}>[^<>]*$"), _host(array, rf"@{_HOST}"))
        hosts = hosts.to_pylist()
        domains = [registrable_domain(host) if host else None for host in hosts]
        return pa.array(domains, pa.string())


def _host(array: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(array, pattern), "host")
