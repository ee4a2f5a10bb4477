"""Mappings that nobody can change, for the dataclasses of `configs.schema`.

`types.MappingProxyType` would do, but workers get specs by pickle, which refuses it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn


class ReadOnly(dict[str, Any]):
    """A dictionary that refuses to change; it pickles, copies and compares as any other.

    >>> ReadOnly(a=1) == {"a": 1}
    True
    """

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a spec is read-only: make another with dataclasses.replace")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[ReadOnly], tuple[dict[str, Any]]]:
        return ReadOnly, (dict(self),)


class Frozen:
    """A base of frozen dataclasses whose dictionaries become read-only."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if type(value) is dict:
                object.__setattr__(self, field.name, ReadOnly(value))
