"""Protocols of published benchmarks, said in YAML: what trains, what tests, what is measured.

What enters: a file such as `configs/protocols/youtube_spam.yaml`. What leaves: a frozen
`Protocol`, or all of the file's mistakes, each with its line. `lockstep evaluate --protocol`
runs it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs._yaml import Mistakes, Section, did_you_mean, read_yaml
from configs.files import find_yaml, read_text
from configs.frozen import Frozen
from configs.metrics import Metric, read_metrics

VERSION = 1
SPLITS = ("time", "file", "id", "order", "account")
INPUTS = ("all", "text")
EACH = ("file", "fold")
_DAYS = re.compile(r"(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)")


@dataclasses.dataclass(frozen=True)
class ProtocolSplit:
    """Which events train, and which test; what is not of its kind is empty.

    Attributes:
      by: "time": days; "file": patterns of file names; "id": files with an id a line; "order": the
        first share of each group in file order trains; "account": folds of whole accounts.
      train, test: patterns of names (file), or one path (id).
      train_days, test_days: first and last day.
      first: the share that trains (order).
      of_each: "file" and "label": what the share is taken of each of (order).
      folds, column, seed: how many folds; the column of the account; of the hash that deals
        accounts out.
    """

    by: str
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    train_days: tuple[dt.date, dt.date] | None = None
    test_days: tuple[dt.date, dt.date] | None = None
    first: float = 0.0
    of_each: tuple[str, ...] = ()
    folds: int = 0
    column: str = ""
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Rule:
    """A source of weak labels: a pattern that is found in a column says abuse, or not abuse.

    Attributes:
      pattern: a regular expression in RE2's syntax, whatever the case of letters.
    """

    name: str
    pattern: str
    abuse: bool


@dataclasses.dataclass(frozen=True)
class Protocol(Frozen):
    """A protocol.

    Attributes:
      config: a shipped config's name, or a file beside the protocol.
      change: values of the config that this protocol sets otherwise, nested as there.
      inputs: "all", or "text": the text model alone, without velocity and other inputs.
      each: what has a row of its own in the result: "file", "fold" or "" (nothing).
      folder: of the protocol's file; its paths begin there.
      rules: sources that label the rows that train, instead of verdicts; none: verdicts do.
      rules_of: the column that they read.
      prior: the share of abuse that the label model begins from; .5 as in Snorkel.
      sure: how probable a row's label has to be, by the label model, for the row to teach the
        classifier.
    """

    name: str
    about: str
    config: str
    change: Mapping[str, Any]
    split: ProtocolSplit
    inputs: str
    metrics: tuple[Metric, ...]
    each: str
    folder: Path
    rules: tuple[Rule, ...] = ()
    rules_of: str = ""
    prior: float = 0.5
    sure: float = 0.5


def load_protocol(name: str) -> Protocol:
    """The protocol of a YAML file, or of a shipped one by its name ("youtube_spam").

    Raises:
      ConfigError: the file's mistakes, all of them, each with its line.
      InputError: there is no such file, or it cannot be read.
    """
    path = find_yaml(name, "protocol", "protocols")
    return loads_protocol(read_text(path, "protocol"), str(path), path.parent)


def loads_protocol(text: str, name: str, folder: Path) -> Protocol:
    """The protocol of YAML text; `name` stands for the file in messages.

    Raises:
      ConfigError: the text's mistakes, all of them.
    """
    mistakes = Mistakes(name, text)
    root = read_yaml(text, mistakes)
    version = root.integer("protocol")
    if version is not None and version != VERSION:
        root.note("protocol", f"protocol: this release reads version {VERSION}, found {version}")
    change = root.section("change") if "change" in root else None
    rules = root.section("rules") if "rules" in root else None
    split = root.section("split")
    if split is None and "split" not in root:
        root.note("split", "split: is missing", "say what trains and what tests")
    made = Protocol(
        name=root.text("name", "unnamed"),
        about=root.text("about", ""),
        config=root.text("config") or "",
        change=dict(root.raw("change")) if change is not None else {},
        split=_split(split) if split is not None else ProtocolSplit("time"),
        inputs=root.choice("inputs", INPUTS, "all"),
        metrics=read_metrics(root),
        each=root.choice("each", EACH, ""),
        folder=folder,
        rules=_rules(rules) if rules is not None else (),
        rules_of=(rules.text("column") or "") if rules is not None else "",
        prior=rules.number("prior", 0.5, 0.001, 0.999) if rules is not None else 0.5,
        sure=rules.number("sure", 0.5, 0.5, 0.999) if rules is not None else 0.5,
    )
    if rules is not None:
        rules.done()
    _check(root, made)
    root.done()
    mistakes.raise_if_any()
    return made


def _split(section: Section) -> ProtocolSplit:
    by = section.choice("by", SPLITS) or "time"
    made = ProtocolSplit(by)
    if by == "time":
        made = ProtocolSplit(
            by, train_days=_days(section, "train"), test_days=_days(section, "test")
        )
    elif by in ("file", "id"):
        made = ProtocolSplit(by, _names(section, "train"), _names(section, "test"))
        for key, found in (("train", made.train), ("test", made.test)):
            if by == "id" and len(found) > 1:
                section.note(key, f"{key}: expected one file with an id a line")
    elif by == "order":
        first = section.number("first") or 0.0
        if not 0.0 < first < 1.0:
            section.note("first", f"first: expected a share between 0 and 1, found {first:g}")
        of_each = section.strings("of_each", one=True)
        for word, place in of_each:
            if word not in ("file", "label"):
                hint = did_you_mean(word, ("file", "label"))
                section.mistakes.add(place, f"of_each: {word!r} is not known", hint)
        made = ProtocolSplit(by, first=first, of_each=tuple(word for word, _ in of_each))
    elif by == "account":
        folds = section.integer("folds", 5, least=2, most=100)
        seed = section.integer("seed", 0, least=0, most=2**32)
        made = ProtocolSplit(by, folds=folds, column=section.text("column") or "", seed=seed)
    section.done()
    return made


def _names(section: Section, key: str) -> tuple[str, ...]:
    found = tuple(one for one, _ in section.strings(key, one=True))
    if not found:
        section.note(key, f"split: {key} is missing", f"{key}: [one, another]")
    return found


def _days(section: Section, key: str) -> tuple[dt.date, dt.date] | None:
    text = section.text(key)
    if text is None:
        return None
    match = _DAYS.fullmatch(text)
    try:
        first, last = map(dt.date.fromisoformat, match.groups() if match else ("", ""))
    except ValueError:
        section.note(key, f"{key}: expected days as 2018-06-01..2018-08-31, found {text!r}")
        return None
    if last < first:
        section.note(key, f"{key}: the last day, {last}, is before the first, {first}")
    return first, last


def _rules(section: Section) -> tuple[Rule, ...]:
    made: list[Rule] = []
    for key in ("abuse", "fine"):
        inner = section.section(key)
        for name in inner.keys() if inner is not None else ():
            pattern = inner.text(name) if inner is not None else None
            if any(one.name == name for one in made):
                section.note(key, f"rules: {name!r} says abuse and fine", "give each its own name")
            made.append(Rule(name, pattern or "", key == "abuse"))
    if not made:
        section.mistakes.add(section.position, "rules: expected abuse: and fine:, each with rules")
    return tuple(made)


def _check(root: Section, made: Protocol) -> None:
    """Notes what does not go together."""
    split = made.split
    if made.rules and (split.by not in ("file", "id") or made.each):
        root.note(
            "rules",
            "rules: labels by rules are for a split by file or id, without each",
            "name the rows that train without labels, and those that test",
        )
    if split.by == "time" and made.inputs == "text":
        root.note(
            "inputs",
            "inputs: text alone is for splits of rows; a split by time is a nightly run's",
            "set training: {model: text} under change, or split by file, id, order or account",
        )
    if made.each == "fold" and split.by != "account":
        root.note("each", "each: fold is for a split by account")
    if made.each == "file" and split.by == "time":
        root.note("each", "each: file is for splits of rows, and this one is by time")
    if split.train_days and split.test_days and split.test_days[0] <= split.train_days[1]:
        root.note(
            "split",
            f"split: the test begins on {split.test_days[0]}, and training ends on "
            f"{split.train_days[1]}",
            "let the test begin after that",
        )
