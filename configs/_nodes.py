"""What YAML text holds: values, and where each of them stands.

What enters: YAML 1.2 text. What leaves: plain values, within `Fields` (mappings) and `Items`
(lists) that know their places. libyaml reads it, at a hundred thousand sections in seconds; text
that it refuses is read again by ruamel.yaml, whose words for a mistake of syntax are what a user
gets (but of long texts). What plain words mean (`yes` is text, 0o17 a number) is ruamel.yaml's: it
knows YAML 1.2.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from yaml.cyaml import CParser  # its wheels have libyaml within
from yaml.error import YAMLError as LibraryError

Position = tuple[int, int]
"""Line and column, both counted from 0."""

MOST_DEPTH = 100
"""Sections and lists within each other; settings nest to 8."""

MOST_MERGED = 1_000_000
"""Keys that all `<<` of a text add: a short text with aliases could ask for any number."""

_LONG = 300_000
"""Characters from which libyaml's words for a mistake have to do: the other takes minutes."""

_DEEP = "no setting nests deeper than 8: look for brackets that are not closed"
_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_SCALARS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp")}


_NO_SUCH = {"timestamp": "expected a day or a time that there is, such as 2026-12-31"}


class NotYaml(Exception):
    """Text is not YAML, or holds what no config has.

    Attributes:
      position: where.
      hint: what to do about YAML of which no config is made; "": it is none.
    """

    def __init__(self, position: Position, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.position, self.hint = position, hint


class Fields(dict[Any, Any]):
    """A mapping, in the order of the text; keys of mappings that are merged in (`<<`) are last.

    Attributes:
      places: where each key and its value stand, in the merged mapping if they come from there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[Any, tuple[Position, Position]] = {}


class Items(list[Any]):
    """A list.

    Attributes:
      places: where each item stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Position] = []


def parse(text: str) -> Any:
    """The value of YAML text; None if it is empty.

    Raises:
      NotYaml: the first mistake of syntax, a key or anchor that is wrong, or too deep nesting.
    """
    try:
        return _Builder().build(_events(CParser(text)))
    except (LibraryError, UnicodeError) as error:
        if len(text) > _LONG:
            raise _not_yaml(error) from error
    try:
        return _Builder().build(YAML(typ="safe", pure=True).parse(text))
    except YAMLError as error:
        raise _not_yaml(error) from error


def _not_yaml(error: Exception) -> NotYaml:
    """A parser's mistake with its place, as far as it says one."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = getattr(error, "problem", None) or getattr(error, "context", None)
    return NotYaml(_place(mark) if mark else (0, 0), words or str(error).splitlines()[0])


def _events(parser: Any) -> Iterator[Any]:
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


class _Open:
    """A mapping or list whose end has not come yet, with the key that waits for a value."""

    def __init__(self, value: Fields | Items, place: Position) -> None:
        self.value, self.place = value, place
        self.key: tuple[Any, Position] | None = None
        self.merged: tuple[Any, Position] | None = None


class _Builder:
    """Values out of events of either parser. Its stack is its own: depth costs no calls."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, Position]] = {}
        self._root: Any = None
        self._documents = self._merged = 0

    def build(self, events: Iterable[Any]) -> Any:
        for event in events:
            # Names and not classes: each parser has classes of its own.
            step = _STEPS.get(type(event).__name__)
            if step is not None:
                step(self, event)
        return self._root

    def document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise NotYaml(_place(event.start_mark), "expected one document, found another")
        if event.version not in (None, (1, 2)):
            raise NotYaml(_place(event.start_mark), "expected YAML 1.2")

    def scalar(self, event: Any) -> None:
        tag, place = event.tag, _place(event.start_mark)
        tag = None if tag is None or tag == "!" else str(tag)
        plain = event.implicit[0] and tag is None
        if tag is not None and tag not in _SCALARS:
            raise NotYaml(place, f"the tag {tag} has no meaning here")
        resolved = tag or (_plain_tag(event.value) if plain else _TAG + "str")
        if resolved == _MERGE and self._wants_key():
            self._put(_MERGE_KEY, place)
            return
        try:
            value = _scalar(resolved, event.value)
        except (ValueError, KeyError, YAMLError) as error:  # the 13th month; !!int of a word
            kind = resolved.removeprefix(_TAG)
            said = _NO_SUCH.get(kind, "write it as YAML has it, or in quotes if it is a text")
            raise NotYaml(place, f"this is no {kind} that can be read", said) from error
        self._name(event.anchor, value, place)
        self._put(value, place)

    def alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            place = _place(event.start_mark)
            raise NotYaml(place, f"found undefined alias {event.anchor!r}")
        value, anchored = self._anchors[event.anchor]
        if any(one.value is value for one in self._open):
            raise NotYaml(
                _place(event.start_mark),
                f"the alias *{event.anchor} is within what it stands for (line {anchored[0] + 1})",
                "write out what is meant here",
            )
        self._put(value, anchored)

    def start(self, event: Any) -> None:
        place = _place(event.start_mark)
        if len(self._open) >= MOST_DEPTH:
            raise NotYaml(place, "sections and lists nest too deeply to be read", _DEEP)
        mapping = type(event).__name__ == "MappingStartEvent"
        tag = None if event.tag is None or event.tag == "!" else str(event.tag)
        if tag not in (None, _TAG + ("map" if mapping else "seq")):
            raise NotYaml(place, f"the tag {tag} has no meaning here")
        value = Fields() if mapping else Items()
        self._name(event.anchor, value, place)
        self._open.append(_Open(value, place))

    def end(self, _: Any) -> None:
        done = self._open.pop()
        if done.merged is not None and isinstance(done.value, Fields):
            before = len(done.value)
            _merge(done.value, *done.merged)
            self._merged += len(done.value) - before
            if self._merged > MOST_MERGED:
                raise NotYaml(
                    done.place, f"more than {MOST_MERGED:,} keys are merged in (<<)", "use fewer"
                )
        self._put(done.value, done.place)

    def _name(self, anchor: str | None, value: Any, place: Position) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, place)

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, Fields) and (
            self._open[-1].key is None
        )  # fmt: skip

    def _put(self, value: Any, place: Position) -> None:
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        if isinstance(top.value, Items):
            top.value.append(value)
            top.value.places.append(place)
        elif top.key is None:
            if isinstance(value, (Fields, Items)):
                raise NotYaml(place, "a key is text, not a list or a section")
            top.key = (value, place)
        else:
            (key, where), top.key = top.key, None
            if key is _MERGE_KEY:
                if top.merged is not None:
                    raise NotYaml(where, 'found duplicate merge key "<<"')
                top.merged = (value, place)
            elif key in top.value:
                known, new = _shown(top.value[key]), _shown(value)
                raise NotYaml(
                    where, f'found duplicate key "{key}" with value {new} (original value: {known})'
                )
            else:
                top.value[key] = value
                top.value.places[key] = (where, place)


_MERGE_KEY = object()

_STEPS = {
    "DocumentStartEvent": _Builder.document,
    "ScalarEvent": _Builder.scalar,
    "AliasEvent": _Builder.alias,
    "SequenceStartEvent": _Builder.start,
    "MappingStartEvent": _Builder.start,
    "SequenceEndEvent": _Builder.end,
    "MappingEndEvent": _Builder.end,
}


def _merge(target: Fields, merged: Any, place: Position) -> None:
    """Adds keys that a mapping has not, the first of several merged ones first."""
    sources = [(merged, place)]
    if isinstance(merged, Items):
        sources = list(zip(merged, merged.places, strict=True))
    for source, where in sources:
        if not isinstance(source, Fields):
            raise NotYaml(where, "expected a mapping or list of mappings for merging")
        for key, value in source.items():
            if key not in target:
                target[key] = value
                target.places[key] = source.places[key]


def _shown(value: Any) -> str:
    """A scalar as it is; a list of lists of aliases could be of any length."""
    if isinstance(value, (Fields, Items)):
        return "a section" if isinstance(value, Fields) else "a list"
    return f'"{value}"'


def _place(mark: Any) -> Position:
    return mark.line, mark.column


@functools.lru_cache(maxsize=4096)
def _plain_tag(text: str) -> str:
    """What a scalar without quotes is, by YAML 1.2."""
    return str(_reader().resolver.resolve(ScalarNode, text, (True, False)))


def _scalar(tag: str, text: str) -> Any:
    if tag == _TAG + "str":
        return text
    return _reader().constructor.construct_object(ScalarNode(tag, text))


@functools.cache
def _reader() -> YAML:
    return YAML(typ="safe", pure=True)
