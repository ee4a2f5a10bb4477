"""YAML with positions: sections that know where each key stands, and a list of every mistake.

What enters: YAML text. What leaves: `Section`s whose getters return typed values, and note a
mistake (file, line, column, what was expected, a hint) instead of raising, so that one reading
finds all mistakes. `Mistakes.raise_if_any` turns them into one `ConfigError`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from configs._nodes import Fields, Items, NotYaml, Position, parse
from configs.errors import ConfigError
from configs.units import parse_duration

T = TypeVar("T")

_MISSING: Any = object()


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One thing that is wrong, where, and what to do."""

    position: Position
    message: str
    hint: str | Suggestion = ""

    def to_builtins(self) -> dict[str, str | int]:
        """For machines; lines and columns from 1."""
        line, column = self.position
        return {
            "line": line + 1, "column": column + 1, "message": self.message, "hint": str(self.hint)
        }  # fmt: skip


class Mistakes:
    """All mistakes of one file."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines = text.splitlines()
        self._found: dict[tuple[Position, str], Mistake] = {}

    def add(self, position: Position, message: str, hint: str | Suggestion = "") -> None:
        """Notes one; the same one at the same place is noted once."""
        self._found.setdefault((position, message), Mistake(position, message, hint))

    def __len__(self) -> int:
        return len(self._found)

    def within(self, start: Position, text: str, offset: int) -> Position:
        """Where a character of a text stands that begins at `start`, quoted, folded or plain.

        White space aside, a text and its source have the same characters in the same order; where
        they have not (an escape), the start has to do.
        """
        line, column = start
        if self._lines[line][column : column + 1] in ("|", ">"):
            line, column = line + 1, 0
        elif self._lines[line][column : column + 1] in ("'", '"'):
            column += 1
        place = start
        for index, character in enumerate(text):
            if character.isspace():
                continue
            while line < len(self._lines) and not self._lines[line][column:].strip():
                line, column = line + 1, 0
            if line >= len(self._lines):
                return start
            column += len(self._lines[line][column:]) - len(self._lines[line][column:].lstrip())
            if self._lines[line][column] != character:
                return start
            place = (line, column)
            if index >= offset:
                return place
            column += 1
        return place

    def raise_if_any(self) -> None:
        """Raises a `ConfigError` that shows every mistake, in order of lines."""
        if not self._found:
            return
        found = [
            dataclasses.replace(one, hint=_worth(one.hint, at))
            for at, one in enumerate(sorted(self._found.values(), key=_by_place))
        ]
        count = f"{len(found)} mistake{'s' if len(found) > 1 else ''}"
        text = "\n\n".join(map(self._show, found))
        raise ConfigError(f"{self.name}: {count}\n\n{text}", [one.to_builtins() for one in found])

    def _show(self, mistake: Mistake) -> str:
        line, column = mistake.position
        source = self._lines[line] if line < len(self._lines) else ""
        text = f"{self.name}:{line + 1}:{column + 1}: {mistake.message}"
        if source.strip():
            text += f"\n    {source.rstrip()}\n    {' ' * column}^"
        if mistake.hint:
            text += f"\n  hint: {mistake.hint}"
        return text


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A hint for a misspelt word: the nearest one, or the list if it is short.

    It is looked for when it is shown, since that takes a comparison with every known word.

    >>> str(Suggestion("agregates", ["aggregates", "key"]))
    "did you mean 'aggregates'?"
    >>> str(Suggestion("x", ["aggregates", "key"]))
    'one of: aggregates, key'
    """

    word: str
    known: Collection[str]

    def __str__(self) -> str:
        words = sorted(self.known)
        near = difflib.get_close_matches(self.word, words, 1, 0.6)
        if near:
            return f"did you mean {near[0]!r}?"
        return f"one of: {', '.join(words)}" if 0 < len(words) <= 30 else ""


def did_you_mean(word: str, known: Collection[str]) -> Suggestion:
    """The hint for a word that is none of the known ones."""
    return Suggestion(word, known)


def read_yaml(text: str, mistakes: Mistakes) -> Section:
    """The file's outermost section.

    Raises:
      ConfigError: it is not YAML, or not a mapping.
    """
    try:
        root = parse(text)
    except NotYaml as error:
        what, hint = f"this is not YAML: {error}", _YAML_HINT
        if error.hint:
            what, hint = str(error), error.hint
        mistakes.add(error.position, what, hint)
        mistakes.raise_if_any()
    if not isinstance(root, Fields):
        found = "the file is empty" if root is None else f"found {what_is(root)}"
        mistakes.add((0, 0), f"expected settings by name, such as 'name: …', but {found}")
        mistakes.raise_if_any()
    return Section(root, (0, 0), "the file", mistakes)


_YAML_HINT = "keys and values are separated by ': ', and nesting is by spaces; a key appears once"


class Section:
    """A mapping of the file. Getters note mistakes; `done` notes keys that nobody asked for."""

    def __init__(self, mapping: Fields, position: Position, title: str, mistakes: Mistakes) -> None:
        self._mapping = mapping
        self.position = position
        self.title = title
        self.mistakes = mistakes
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._mapping

    def at(self, key: str) -> Position:
        """Where a key's value stands; the section's own place if there is no such key."""
        place = self._mapping.places.get(key)
        return self.position if place is None else place[1]

    def at_key(self, key: str) -> Position:
        """Where a key stands."""
        place = self._mapping.places.get(key)
        return self.position if place is None else place[0]

    def within(self, key: str, text: str, offset: int) -> Position:
        """Where a character of a value that is text stands, also of one over several lines."""
        return self.mistakes.within(self.at(key), text, offset)

    def note(self, key: str, message: str, hint: str | Suggestion = "") -> None:
        """A mistake in a key's value."""
        self.mistakes.add(self.at(key), message, hint)

    def raw(self, key: str) -> Any:
        """A value as YAML gave it; None if absent."""
        self._asked.add(key)
        return self._mapping.get(key)

    def keys(self) -> Iterator[str]:
        """The keys, in the order of the file; those that are no text are mistakes."""
        for key in self._mapping:
            if isinstance(key, str):
                yield key
            else:
                self.mistakes.add(self.position, f"{self.title}: the key {key!r} is not text")

    def text(self, key: str, default: Any = _MISSING) -> Any:
        """A string."""
        return self._get(key, default, str, "text", lambda value: str(value))

    def boolean(self, key: str, default: bool) -> bool:
        """true or false."""
        value: bool = self._get(key, default, bool, "true or false", bool)
        return value

    def integer(
        self,
        key: str,
        default: Any = _MISSING,
        least: int | None = None,
        most: int | None = None,
    ) -> Any:
        """A whole number within a closed range."""
        value = self._get(key, default, int, "a whole number", int)
        if isinstance(value, int) and key in self:
            if least is not None and value < least:
                self.note(key, f"{key}: expected at least {least}, found {_number(value)}")
            if most is not None and value > most:
                self.note(key, f"{key}: expected at most {most}, found {_number(value)}")
        return value

    def number(
        self,
        key: str,
        default: Any = _MISSING,
        least: float | None = None,
        most: float | None = None,
    ) -> Any:
        """A number within a closed range."""
        value = self._get(key, default, (int, float), "a number", _to_float)
        if isinstance(value, float) and not math.isfinite(value) and key in self:
            self.note(key, f"{key}: expected a finite number, found {value:g}")
            return None if default is _MISSING else default
        if isinstance(value, float) and key in self:
            if least is not None and value < least:
                self.note(key, f"{key}: expected at least {least:g}, found {value:g}")
            if most is not None and value > most:
                self.note(key, f"{key}: expected at most {most:g}, found {value:g}")
        return value

    def duration(self, key: str, default: Any = _MISSING) -> Any:
        """A length of time such as 15m, in microseconds."""
        text = self._get(key, None if default is not _MISSING else _MISSING, str, _DURATION, str)
        if text is None:
            return default if default is not _MISSING else 0
        try:
            return parse_duration(text)
        except ValueError as error:
            self.note(key, f"{key}: expected {error}, found {text!r}")
            return default if default is not _MISSING else 0

    def choice(self, key: str, known: Iterable[str], default: Any = _MISSING) -> Any:
        """A string out of some."""
        value = self.text(key, default)
        words = list(known)
        if key in self and isinstance(value, str) and value not in words:
            self.note(key, f"{key}: {value!r} is not known", did_you_mean(value, words))
            return default if default is not _MISSING else None
        return value

    def strings(self, key: str, one: bool = False) -> list[tuple[str, Position]]:
        """A list of strings with their places; `one`: a single string stands for a list of one."""
        value = self.raw(key)
        if value is None:
            return []
        if one and isinstance(value, str):
            return [(value, self.at(key))]
        if not isinstance(value, Items):
            self.note(key, f"{key}: expected a list [a, b], found {what_is(value)}")
            return []
        found = []
        for index, item in enumerate(value):
            line, column = value.places[index]
            if isinstance(item, str):
                found.append((item, (line, column)))
            else:
                self.mistakes.add((line, column), f"{key}: expected text, found {what_is(item)}")
        return found

    def section(self, key: str) -> Section | None:
        """A mapping within; None if it is absent or no mapping."""
        value = self.raw(key)
        if value is None:
            if key in self:
                self.note(key, f"{key}: expected a section, found nothing")
            return None
        if not isinstance(value, Fields):
            self.note(key, f"{key}: expected a section of keys and values, found {what_is(value)}")
            return None
        return Section(value, self.at_key(key), key, self.mistakes)

    def sections(self, key: str) -> list[tuple[str, Section]]:
        """A mapping of names to mappings; `name:` with nothing after it is an empty one."""
        outer = self.section(key)
        if outer is None:
            return []
        found = []
        for name in outer.keys():  # noqa: SIM118 - not a dict
            if outer.raw(name) is None:
                found.append((name, Section(Fields(), outer.at_key(name), name, self.mistakes)))
            elif (inner := outer.section(name)) is not None:
                found.append((name, inner))
        return found

    def items(self, key: str) -> list[Section]:
        """A list of mappings."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, Items):
            self.note(key, f"{key}: expected a list of sections, found {what_is(value)}")
            return []
        found = []
        for index, item in enumerate(value):
            line, column = value.places[index]
            if isinstance(item, Fields):
                found.append(Section(item, (line, column), key, self.mistakes))
            else:
                self.mistakes.add(
                    (line, column), f"{key}: expected a section, found {what_is(item)}"
                )
        return found

    def done(self) -> None:
        """Notes the keys that nobody asked for."""
        for key in self.keys():
            if key not in self._asked:
                self.mistakes.add(
                    self.at_key(key),
                    f"{self.title}: there is no setting {key!r} here",
                    did_you_mean(key, self._asked),
                )

    def _get(
        self,
        key: str,
        default: Any,
        types: type[Any] | tuple[type[Any], ...],
        expected: str,
        convert: Callable[[Any], T],
    ) -> Any:
        value = self.raw(key)
        if value is None:
            if default is _MISSING:
                self.mistakes.add(self.position, f"{self.title}: {key!r} is missing ({expected})")
                return None
            return default
        wrong = not isinstance(value, types) or (isinstance(value, bool) and types is not bool)
        if wrong:
            self.note(key, f"{key}: expected {expected}, found {what_is(value)}")
            return None if default is _MISSING else default
        return convert(value)


_DURATION = "a length of time such as 15m"


_MOST_SUGGESTIONS = 20
"""Mistakes, in order of lines, whose misspelt words are compared with all that are known."""


def _worth(hint: str | Suggestion, at: int) -> str:
    return str(hint) if isinstance(hint, str) or at < _MOST_SUGGESTIONS else ""


def _by_place(mistake: Mistake) -> tuple[Position, str]:
    return mistake.position, mistake.message


def what_is(value: object) -> str:
    """A value of the file, in words; of lists and sections no more than that."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {_number(value)}"
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, Sequence):
        return "a list"
    return "a section" if isinstance(value, Fields) else "nothing"


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf if value > 0 else -math.inf


def _number(value: float) -> str:
    """A number as text; one of hundreds of digits by its length."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"one of more than {value.bit_length() * 3 // 10} digits"
    return str(value)
