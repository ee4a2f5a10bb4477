"""The shape of an operation that YAML can name, and the catalog that the loader checks against.

What enters: classes from ``transforms`` (the loader is to their right, so they are handed in).
What leaves: :class:`Catalog`, which `loader.load` takes. An operation is a frozen dataclass whose
fields are its YAML arguments: a field without a default is a required key; its annotation says
what is accepted (`ColumnName`, `AggregateName`, `Expression`, str, int, float, bool, or a tuple of
these), and `argument` gives it limits. So adding one is one class, and the loader, the JSON Schema
and `lockstep features` already know it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NewType, Protocol

from configs.schema import Aggregate, Column, ColumnType, Entity, Spec

ColumnName = NewType("ColumnName", str)
"""An argument that names an event column or a derived column."""

AggregateName = NewType("AggregateName", str)
"""An argument that names another aggregate of the same entity."""


def argument(
    default: Any = dataclasses.MISSING,
    *,
    least: int | None = None,
    most: int | None = None,
    needed_for: ColumnType | None = None,
    only_for: frozenset[ColumnType] | None = None,
    now: int | None = None,
    counted: bool = False,
) -> Any:
    """A field of an operation with limits, which the loader and the JSON Schema both keep.

    Args:
      default: the value where YAML says nothing; without one, the argument is required.
      now: the value where YAML says nothing, of an argument that there was not always; `default` is
        then what there was before it, which no fingerprint tells from a spec without it.
      counted: whether fingerprints have it where YAML says nothing too. Either way a default that
        is written out and silence have one fingerprint, which is that of the configs there were.
      least, most: closed range of a whole number.
      needed_for: where the operation's column is of this type, YAML must give the argument, because
        no default would be safe.
      only_for: types of the operation's column for which the argument means something; None: all.
    """
    limits = {"least": least, "most": most, "needed_for": needed_for, "only_for": only_for}
    limits |= {"now": now, "counted": counted}
    return dataclasses.field(default=default, metadata=limits)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """What an argument is where YAML says nothing; `MISSING` where it must say it."""
    now = field.metadata.get("now")
    return field.default if now is None else now


class DerivationOp(Protocol):
    """What the loader reads from a derivation class (transforms/derive/)."""

    op: ClassVar[str]
    """The name in YAML."""
    about: ClassVar[str]
    """One line, for people."""
    returns: ClassVar[ColumnType]
    accepts: ClassVar[frozenset[ColumnType]]
    """Types that its `ColumnName` arguments may have."""
    # `least` and `most`, the smallest and the largest value that it can make, may be left out.


class AggregateOp(Protocol):
    """What the loader reads from an aggregate class (transforms/velocity/aggregates/)."""

    op: ClassVar[str]
    about: ClassVar[str]
    windowed: ClassVar[bool]
    """Whether there is one feature per window, or one in all."""
    accepts: ClassVar[frozenset[ColumnType]]
    """Types that its `ColumnName` arguments may have."""
    unit: ClassVar[str]
    """Unit of the feature: "events", "seconds", "share", …; "" stands for the column's own."""
    null_rule: ClassVar[str]
    """What the feature is when the window is empty, in words."""
    # Some that a class may leave out:
    #   least, most: the smallest and the largest value that it can make.
    #   bounds: a method, the same by the declared values of its column (`Column`).
    #   error: str, by how much the feature may be off, in words, if it is an estimate.
    #   needs_length: bool, whether it means nothing over a lifetime window ("all").


Bounds = tuple[int | float | None, int | float | None]
"""The smallest and the largest value; None where there is no such bound."""
BoundsOf = Callable[[Entity, Aggregate, Mapping[str, Column], "Catalog"], Bounds]
ValuesCheck = Callable[[str, Aggregate, Mapping[str, Column], "Catalog"], tuple[str, str] | None]


@dataclasses.dataclass(frozen=True)
class Catalog:
    """Every operation that a config may name."""

    derivations: Mapping[str, type[Any]]
    aggregates: Mapping[str, type[Any]]
    check_entity: Callable[[Entity, Catalog], tuple[str, str] | None] | None = None
    """What the fold cannot hold of an entity, in words, and what to do; None: it can."""
    check_values: ValuesCheck | None = None
    """Which declared values an aggregate of an entity cannot hold; likewise."""
    bounds: BoundsOf | None = None
    """What values the features of an aggregate can have."""

    @classmethod
    def of(
        cls,
        derivations: Iterable[type[Any]],
        aggregates: Iterable[type[Any]],
        check_entity: Callable[[Entity, Catalog], tuple[str, str] | None] | None = None,
        check_values: ValuesCheck | None = None,
        bounds: BoundsOf | None = None,
    ) -> Catalog:
        """A catalog of these classes by their `op` names.

        Raises:
          ValueError: two classes have one name.
        """
        return cls(_by_name(derivations), _by_name(aggregates), check_entity, check_values, bounds)


def with_plain_defaults(spec: Spec, catalog: Catalog) -> Spec:
    """A spec whose derivations have their defaults in one form, written out in YAML or not."""
    derived = {}
    for name, one in spec.derived.items():
        arguments = dict(one.arguments)
        for field in dataclasses.fields(catalog.derivations[one.op]):
            if field.default is dataclasses.MISSING or field.metadata.get("now") is not None:
                continue
            if field.metadata.get("counted"):
                arguments.setdefault(field.name, field.default)
            elif arguments.get(field.name) == field.default:
                del arguments[field.name]
        derived[name] = dataclasses.replace(one, arguments=arguments)
    return dataclasses.replace(spec, derived=derived)


def without_later_arguments(spec: Spec, catalog: Catalog) -> Spec:
    """What a spec meant before its derivations had the arguments that came later (`argument`)."""
    derived = {}
    for name, one in spec.derived.items():
        fields = dataclasses.fields(catalog.derivations[one.op])
        later = {field.name for field in fields if field.metadata.get("now") is not None}
        arguments = {key: value for key, value in one.arguments.items() if key not in later}
        derived[name] = dataclasses.replace(one, arguments=arguments)
    return dataclasses.replace(spec, derived=derived)


def operand_fields(operation: type[Any]) -> tuple[str, ...]:
    """Fields that name other aggregates; an operation that has some is made of their features.

    It then has `combine`, of the finished features in the order of these fields, and no `cells`.
    """
    hints = typing.get_type_hints(operation)
    return tuple(f.name for f in dataclasses.fields(operation) if hints[f.name] is AggregateName)


def _by_name(classes: Iterable[type[Any]]) -> dict[str, type[Any]]:
    named: dict[str, type[Any]] = {}
    for one in classes:
        if one.op in named:
            raise ValueError(f"two operations are called {one.op!r}: {named[one.op]} and {one}")
        named[one.op] = one
    return named
