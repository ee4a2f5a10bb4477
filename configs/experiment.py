"""Experiments, said in YAML: a config, challengers as differences from it, and how they compare.

What enters: a file such as that of docs/experiments.md. What leaves: a frozen `Experiment` whose
configs are read and checked, or all of the file's mistakes, each with its line.
`lockstep experiment run` runs it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs._nodes import Fields, Items, Position
from configs._yaml import Mistakes, Section, read_yaml, what_is
from configs.catalog import Catalog
from configs.changed import load_changed
from configs.files import find_beside, read_text
from configs.fingerprint import fingerprint
from configs.frozen import Frozen
from configs.loader import loads
from configs.metrics import Metric, read_metrics
from configs.schema import Spec

VERSION = 1
UNITS = ("campaigns", "accounts", "events")
CHAMPION = "champion"
MOST_NIGHTS = 366
_DAY_US = 86_400_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RANGE = re.compile(r"(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)")
_METRICS = (Metric("average_precision"), Metric("auc"))


@dataclasses.dataclass(frozen=True)
class Contender(Frozen):
    """A config that takes part.

    Attributes:
      name: of the challenger, or `CHAMPION`.
      spec, text: its config.
      change: what is otherwise than in the champion's, nested as there; {} for the champion.
    """

    name: str
    about: str
    spec: Spec
    text: str
    change: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def differences(self) -> tuple[str, ...]:
        """The change, a line for each setting."""
        return tuple(_lines(self.change))


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
      as_of: days of training runs, ascending: each contender is trained as of every one of them.
      test_us: how long after such a day the events are that contenders are compared on.
      over: of `UNITS`: what the bootstrap draws.
      metrics: that are compared; the first one is what is concluded from.
      challengers: in the order of the file.
    """

    name: str
    about: str
    champion: Contender
    as_of: tuple[dt.date, ...]
    test_us: int
    over: str
    metrics: tuple[Metric, ...]
    challengers: tuple[Contender, ...]

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """All of them, the champion first."""
        return (self.champion, *self.challengers)


def load_experiment(name: str | Path, catalog: Catalog) -> Experiment:
    """The experiment of a YAML file.

    Raises:
      ConfigError: mistakes of the file, or of the config that it names: all of them, each with its
        line.
      InputError: there is no such file or config, or it cannot be read.
    """
    path = Path(name)
    return loads_experiment(read_text(path, "experiment"), str(path), path.parent, catalog)


def loads_experiment(text: str, name: str, folder: Path, catalog: Catalog) -> Experiment:
    """The experiment of YAML text.

    Args:
      name: stands for the file in messages.
      folder: where the config is looked for first.

    Raises:
      ConfigError: mistakes of the text, or of the config that it names.
      InputError: there is no such config.
    """
    mistakes = Mistakes(name, text)
    root = read_yaml(text, mistakes)
    version = root.integer("experiment")
    if version is not None and version != VERSION:
        root.note(
            "experiment", f"experiment: this release reads version {VERSION}, found {version}"
        )
    title = root.text("name", "unnamed")
    if not _NAME.fullmatch(title):
        root.note("name", f"name: {title!r} names a folder: letters, digits, _ and - only")
    about, as_of = root.text("about", ""), _days(root)
    test_us = root.duration("test", _DAY_US)
    metrics = read_metrics(root, _METRICS)
    config, sections = root.text("config") or "", root.sections("challengers")
    over = root.choice("over", UNITS, "")
    if not sections and not len(mistakes):
        root.note("challengers", "challengers: expected at least one", _EXAMPLE)
    if not config:
        _contenders(root, sections, None, catalog)
        root.done()
        mistakes.raise_if_any()
    path = find_beside(config, folder)
    given = read_text(path, "config")
    champion = Contender(CHAMPION, "", loads(given, str(path), catalog), given)
    challengers = _contenders(root, sections, champion, catalog)
    made = Experiment(
        name=title,
        about=about,
        champion=champion,
        as_of=as_of,
        test_us=test_us,
        over=over or ("accounts" if champion.spec.evaluation.group else "events"),
        metrics=metrics,
        challengers=challengers,
    )
    _check(root, made)
    root.done()
    mistakes.raise_if_any()
    return made


_EXAMPLE = "NAME: {change: {training: {span: 14d}}}"


def _contenders(
    root: Section, sections: list[tuple[str, Section]], champion: Contender | None, catalog: Catalog
) -> tuple[Contender, ...]:
    """The challengers that are without mistakes; None: their configs are not looked at."""
    made: dict[str, Contender] = {}
    seen = {} if champion is None else {fingerprint(champion.spec): CHAMPION}
    for name, section in sections:
        about, change = section.text("about", ""), section.section("change")
        fields = section.raw("change")
        section.done()
        if not _NAME.fullmatch(name) or name == CHAMPION:
            place = root.mistakes
            said = f"challengers: {name!r} is no name for one"
            place.add(section.position, said, f"letters, digits, _ and -, and not {CHAMPION!r}")
        if change is None or not isinstance(fields, Fields):
            if "change" not in section:
                section.mistakes.add(
                    section.position, f"{name}: 'change' is missing (a section)", _EXAMPLE
                )
            continue
        if champion is None:
            continue
        spec, text = load_changed(
            champion.text, f"the config {champion.spec.name}", fields, catalog, section
        )
        if spec is None:
            continue
        made[name] = Contender(name, about, spec, text, fields)
        twin = seen.setdefault(fingerprint(spec), name)
        if twin != name:
            section.mistakes.add(
                section.at_key("change"),
                f"{name}: with this change it is the same as {twin!r}",
                "change something, or leave it out",
            )
    return tuple(made.values())


def _days(root: Section) -> tuple[dt.date, ...]:
    """The days of `as_of`: one, a list of them, or a range A..B."""
    value = root.raw("as_of")
    if value is None:
        root.mistakes.add(
            root.position, "as_of is missing: the days as of which models are trained", _DAYS
        )
        return ()
    if isinstance(value, str) and (match := _RANGE.fullmatch(value.strip())):
        ends = [_day(root, text, root.at("as_of")) for text in match.groups()]
        first, last = ends
        if first is None or last is None:
            return ()
        if last < first or (last - first).days >= MOST_NIGHTS:
            root.note(
                "as_of",
                f"as_of: expected 1 to {MOST_NIGHTS} days from the first to the last, found "
                f"{first}..{last}",
            )
            return ()
        return tuple(first + dt.timedelta(days=one) for one in range((last - first).days + 1))
    every = (
        list(zip(value, value.places, strict=True))
        if isinstance(value, Items)
        else [(value, root.at("as_of"))]
    )
    found = [day for one, place in every if (day := _day(root, one, place)) is not None]
    if sorted(set(found)) != found:
        root.note("as_of", "as_of: expected days in their order, each once")
    if not every:
        root.note("as_of", "as_of: expected at least one day", _DAYS)
    return tuple(found)


_DAYS = "as_of: 2026-03-11, or [2026-03-11, 2026-03-13], or 2026-03-11..2026-03-13"


def _day(root: Section, value: object, place: Position) -> dt.date | None:
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value.strip())
        except ValueError:
            root.mistakes.add(place, f"as_of: {value!r} is no day", _DAYS)
            return None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    found = "a time" if isinstance(value, dt.datetime) else what_is(value)
    root.mistakes.add(place, f"as_of: expected a day, found {found}", _DAYS)
    return None


def _check(root: Section, made: Experiment) -> None:
    """Notes what does not go together."""
    spec = made.champion.spec
    if made.test_us <= 0:
        root.note("test", "test: expected more than 0s")
    gaps = [(b - a).days * _DAY_US for a, b in zip(made.as_of, made.as_of[1:], strict=False)]
    if gaps and made.test_us > min(gaps):
        root.note(
            "test",
            f"test: events after one day of as_of reach beyond the next, {min(gaps) // _DAY_US} "
            "day(s) later, so they would be tested twice",
            "let test be shorter, or the days be further apart",
        )
    if spec.training is None or spec.labels is None:
        root.note("config", f"config: {spec.name!r} has no training or no labels; expected both")
    if made.over == "campaigns" and spec.campaigns is None:
        root.note(
            "over",
            f"over: the config {spec.name!r} has no section campaigns",
            "add one (docs/campaigns.md), or say over: accounts",
        )
    if made.over == "accounts" and spec.evaluation.group is None:
        root.note(
            "over",
            f"over: the config {spec.name!r} does not say what an account is",
            "set evaluation: {group: COLUMN}, or say over: events",
        )


def _lines(change: Mapping[str, Any], path: str = "") -> list[str]:
    """A change, a line for each setting.

    >>> _lines({"training": {"span": "14d"}, "gate": None})
    ['training.span: 14d', 'gate: left out']
    """
    made: list[str] = []
    for key, value in change.items():
        place = f"{path}.{key}".lstrip(".")
        if isinstance(value, Mapping) and value and "op" not in value:
            made += _lines(value, place)
        else:
            made.append(f"{place}: {'left out' if value is None else _flow(value)}")
    return made


def _flow(value: Any) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
