"""Row-level columns: one idea per file, each a frozen dataclass whose fields are its arguments.

A derivation sees one row at a time: the result for a row is the same in any batch. To add a kind:
one class in one file here, and its name in `DERIVATIONS` (docs/extending.md).
"""

from __future__ import annotations

import functools
from typing import Any

import pyarrow as pa

from configs.catalog import Catalog
from configs.schema import Spec
from transforms.derive.address import EmailDomain, Lowercase
from transforms.derive.arithmetic import Arithmetic
from transforms.derive.clock import HourOfDay, IsNight, IsWeekend
from transforms.derive.disguise import CountDisguises, CountMixedWords, RestoreText
from transforms.derive.fingerprint import Fingerprint
from transforms.derive.links import CountLinks, CountShorteners, LinkDomain
from transforms.derive.near_duplicate import NearDuplicate
from transforms.derive.shape import DigitShare, TextLength, UppercaseShare
from transforms.derive.text import NormalizeText

DERIVATIONS: tuple[type[Any], ...] = (
    Arithmetic,
    CountDisguises,
    CountLinks,
    CountMixedWords,
    CountShorteners,
    DigitShare,
    EmailDomain,
    Fingerprint,
    HourOfDay,
    IsNight,
    IsWeekend,
    LinkDomain,
    Lowercase,
    NearDuplicate,
    NormalizeText,
    RestoreText,
    TextLength,
    UppercaseShare,
)


_SHIPPED = Catalog.of(DERIVATIONS, ())


def derive(spec: Spec, batch: pa.RecordBatch, catalog: Catalog = _SHIPPED) -> pa.RecordBatch:
    """Appends the derived columns of a spec, in the order of their dependencies.

    Args:
      spec: the use; `spec.derived` is in that order already.
      batch: decoded events `[n]`.
      catalog: with the classes of the derivations that the spec names.

    Returns:
      The batch with one more column per derivation.
    """
    for name, derived in spec.derived.items():
        operation: Any = catalog.derivations[derived.op]
        made = _make(operation, tuple(sorted(derived.arguments.items())))
        batch = batch.append_column(name, made.apply(batch))
    return batch


@functools.lru_cache(maxsize=1024)
def _make(operation: Any, arguments: tuple[tuple[str, Any], ...]) -> Any:
    return operation(**dict(arguments))


__all__ = ["DERIVATIONS", "derive"]
