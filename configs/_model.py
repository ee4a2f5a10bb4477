"""The sections of a config about the model: inputs, labels, policy, gate, evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from configs._arguments import read_expression
from configs._events import check_name, present_in
from configs._yaml import Section, did_you_mean
from configs.expression_types import BOOLEAN, NUMBER
from configs.schema import (
    PUBLISHED_COLUMNS,
    RESERVED_COLUMNS,
    Action,
    ActionDelay,
    ActionLimit,
    Categorical,
    Column,
    ColumnType,
    Costs,
    Gate,
    HoldOut,
    Inputs,
    JudgedSubject,
    Kind,
    Labels,
    Policy,
    TextInput,
)

MOST_PLACES = 2**23
"""Of a vocabulary, its buckets, a text: a category is a float of 32 bits, whole below 2^24."""

_NGRAM_SETTINGS = ("buckets", "word_ngrams", "char_ngrams", "max_tokens", "tokens")
WEIGHTINGS = ("none", "inverse_propensity")
LEAST_COST, MOST_COST = 1e-9, 1e9
MOST_OF_LIMIT = 64
"""Actions that a limit counts: bounds the state of a key."""

_COUNTED_BY = (ColumnType.STRING, ColumnType.INTEGER)
_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN)


def read_inputs(
    root: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    features: Mapping[str, str],
    known: Mapping[str, Column],
) -> Inputs:
    """The `inputs` section: what the model sees; `known` says what values columns can have."""
    section = root.section("inputs")
    if section is None:
        return Inputs()
    numeric: dict[str, None] = {}
    for name, place in section.strings("numeric"):
        if name not in types:
            hint = did_you_mean(name, types)
            section.mistakes.add(place, f"numeric: there is no column {name!r}", hint)
        elif types[name] not in _NUMERIC:
            section.mistakes.add(
                place, f"numeric: {name!r} is a {types[name]}; expected a number or a boolean"
            )
        elif name in features or name in numeric:
            section.mistakes.add(place, f"numeric: the name {name!r} is used twice")
        else:
            numeric[name] = None
    exclude = []
    for name, place in section.strings("exclude"):
        if name not in features:
            hint = did_you_mean(name, features)
            section.mistakes.add(place, f"exclude: there is no feature {name!r}", hint)
        if name in exclude:
            section.mistakes.add(place, f"exclude: {name!r} is there twice")
        exclude.append(name)
    numeric_types = {name: types[name] for name in types if types[name] in _NUMERIC}
    numeric_types |= dict.fromkeys(features, ColumnType.NUMBER)
    computed = {}
    present = present_in(kind for kind in kinds.values() if kind.scored)
    inner = section.section("computed")
    for name in inner.keys() if inner else ():
        check_name(cast(Section, inner), name, "computed")
        if name in features or name in types:
            cast(Section, inner).note(name, f"computed: the name {name!r} is taken")
        expression = read_expression(
            cast(Section, inner),
            name,
            numeric_types,
            NUMBER,
            (),
            known,
            features=features,
            present=present,
        )
        if expression is not None:
            computed[name] = expression
    made = Inputs(
        numeric=tuple(numeric),
        exclude=tuple(exclude),
        computed=computed,
        categorical=tuple(_categorical(section, types)),
        text=_text(section, types),
        scaling=section.choice("scaling", ("zscore", "quantile", "none"), "zscore"),
    )
    used = {*numeric, *computed, *(name for one in computed.values() for name in one.columns)}
    used |= {one.column for one in made.categorical} | {made.text.column if made.text else ""}
    refuse_published(section, "inputs", used)
    section.done()
    return made


def refuse_published(section: Section, what: str, names: Iterable[str]) -> None:
    """Notes names of a dataset's columns that the scores are in."""
    for name in sorted(set(names) & set(PUBLISHED_COLUMNS)):
        section.mistakes.add(
            section.position,
            f"{what}: {name!r} is the name of what a dataset holds of a decision",
            f"give it another name; a column of the input gets one by "
            f"events: {{aliases: {{{name}: event_{name}}}}}",
        )


def _categorical(section: Section, types: Mapping[str, ColumnType]) -> list[Categorical]:
    found = []
    for name, inner in section.sections("categorical"):
        if types.get(name) != ColumnType.STRING:
            strings = [one for one, type_ in types.items() if type_ == ColumnType.STRING]
            inner.mistakes.add(
                inner.position,
                f"categorical: there is no string column {name!r}",
                did_you_mean(name, strings),
            )
        found.append(
            Categorical(
                column=name,
                vocabulary=inner.integer("vocabulary", 1000, 1, MOST_PLACES),
                oov_buckets=inner.integer("oov_buckets", 8, 1, MOST_PLACES),
                min_frequency=inner.integer("min_frequency", 2, least=1),
            )
        )
        inner.done()
    return found


def _text(section: Section, types: Mapping[str, ColumnType]) -> TextInput | None:
    inner = section.section("text")
    if inner is None:
        return None
    column = inner.text("column")
    if column is not None and types.get(column) != ColumnType.STRING:
        strings = [one for one, type_ in types.items() if type_ == ColumnType.STRING]
        inner.note(
            "column", f"text: there is no string column {column!r}", did_you_mean(column, strings)
        )
    made = TextInput(
        column=column or "",
        buckets=inner.integer("buckets", 65_536, 2, MOST_PLACES),
        word_ngrams=_ngrams(inner, "word_ngrams") or (1, 2),
        char_ngrams=_ngrams(inner, "char_ngrams"),
        max_tokens=inner.integer("max_tokens", 256, 1, MOST_PLACES),
        tokens=inner.choice("tokens", ("spaces", "words"), "spaces"),
        encoder=inner.text("encoder", ""),
        encoder_tokens=inner.integer("encoder_tokens", 64, 8, 512),
    )
    for key in _NGRAM_SETTINGS if made.encoder else ("encoder_tokens",):
        if key in inner:
            why = (
                "the encoder takes the place of n-grams" if made.encoder else "there is no encoder"
            )
            inner.mistakes.add(
                inner.at_key(key), f"text: {key} means nothing here", f"{why}: leave it out"
            )
    inner.done()
    return made


def _ngrams(section: Section, key: str) -> tuple[int, int] | None:
    value = section.raw(key)
    if value is None:
        return None
    good = isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value)
    if not good or not 1 <= value[0] <= value[1] <= 8:
        section.note(key, f"{key}: expected [fewest, most] between 1 and 8, such as [1, 2]")
        return None
    return value[0], value[1]


def read_labels(
    root: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    columns: Mapping[str, Column],
    known: Mapping[str, Column],
) -> Labels | None:
    """The `labels` section: how verdicts become labels; `known` as in `read_inputs`."""
    section = root.section("labels")
    if section is None:
        return None
    kind = section.choice("kind", kinds)
    subject = section.text("subject")
    if subject is not None and types.get(subject) != ColumnType.STRING:
        section.note(
            "subject",
            f"subject: there is no string column {subject!r}",
            did_you_mean(subject, types),
        )
    subjects = _subjects(section, kind, subject, kinds, types)
    named = dict.fromkeys([kind, *(one.kind for one in subjects)])
    judging = [kinds[one] for one in named if one in kinds]
    positive = read_expression(
        section,
        "positive",
        types,
        BOOLEAN,
        [one.name for one in judging] or kinds,
        known,
        required=True,
        present=present_in(judging),
    )
    maturity = section.duration("maturity", None)
    expires = section.duration("expires", None)
    source = section.text("source", None)
    judge = columns.get(source or "")
    if source is not None and (judge is None or judge.type != ColumnType.STRING):
        what = f"there is no string column {source!r} of events"
        if judge is not None:
            what = f"{source!r} is a {judge.type}; expected a string column of events"
        hint = did_you_mean(source, [n for n, c in columns.items() if c.type == ColumnType.STRING])
        section.note("source", f"source: {what}", hint)
    elif judge is not None and judge.private:
        section.note(
            "source",
            f"source: {source!r} is private, and its values would be on the nightly's page; name "
            "a column that says who or what judged without naming a person",
        )
    precedence = section.strings("precedence")
    if precedence and source is None:
        section.note("precedence", "precedence: it ranks sources, and labels.source names none")
    for at, (name, place) in enumerate(precedence):
        if name in [one for one, _ in precedence[:at]]:
            section.mistakes.add(place, f"precedence: {name!r} is there twice")
    weighting = section.choice("weighting", WEIGHTINGS, "none")
    hold_out = isinstance(policy := root.raw("policy"), Mapping) and "hold_out" in policy
    if weighting != "none" and not hold_out:
        section.note(
            "weighting",
            "weighting: it is by the chance of the hold-out, and policy.hold_out is not set",
            "add policy: {hold_out: {share: 0.02, salt: chat-2026}}, or leave weighting out",
        )
    section.done()
    if positive is None:
        return None
    ranked = tuple(name for name, _ in precedence)
    return Labels(
        kind or "", subject or "", positive, maturity, source, ranked, expires, subjects, weighting
    )


def _subjects(
    labels: Section,
    kind: str | None,
    subject: str | None,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
) -> tuple[JudgedSubject, ...]:
    """What verdicts may be about beside events."""
    found = []
    for of, section in labels.sections("subjects"):
        names = [one for one, type_ in types.items() if type_ == ColumnType.STRING]
        names = [one for one in names if one not in RESERVED_COLUMNS]
        if of not in names:
            section.mistakes.add(
                section.position,
                f"subjects: there is no string column {of!r} of events",
                did_you_mean(of, names),
            )
        column = section.text("column", of)
        if column not in (of, *names):
            hint = did_you_mean(column or "", names)
            section.note("column", f"column: there is no string column {column!r} of events", hint)
        own, reach = section.choice("kind", kinds, kind), section.duration("reach", None)
        if reach is not None and reach <= 0:
            section.note("reach", "reach: expected more than 0", "leave it out for all before")
        same = own == kind and section.raw("kind") in (None, kind)
        if kind is not None and same and subject in kinds[kind].required:
            section.mistakes.add(
                section.position,
                f"subjects: {of}: every {kind} names an event ({subject!r} is required), so none "
                "is about a subject",
                f"give verdicts about it a kind of their own (kind: account_verdict), or take "
                f"{subject} out of kinds: {kind}: required",
            )
        weight = section.integer("most_weight", 100, least=1)
        section.done()
        given = None if own == kind else own
        found.append(JudgedSubject(of, column or "", given, reach, weight))
    return tuple(found)


def read_policy(root: Section, columns: Mapping[str, Column]) -> Policy:
    """The `policy` section: actions, strongest first; `columns` are of events."""
    section = root.section("policy")
    if section is None:
        return Policy()
    actions, strict = [], []
    for name, inner in section.sections("actions"):
        faults = len(inner.mistakes)
        action = _action(name, inner, columns)
        actions.append(action)
        if action.asked is not None and len(inner.mistakes) == faults:  # what was read is meant
            strict.append(action.asked)
        inner.done()
    if strict != sorted(strict, reverse=True):
        section.note(
            "actions",
            "actions: expected the strongest first (the precision that each asks for falling down "
            "the list)",
        )
    policy = Policy(tuple(actions), section.text("default", "allow"), _hold_out(section))
    if policy.hold_out is not None and not actions:
        section.note(
            "hold_out",
            "hold_out: there is no action, so nothing that could be let through",
            "say actions, or leave it out",
        )
    for name, inner in section.sections("actions"):
        if name == policy.default:
            inner.mistakes.add(
                inner.position,
                f"actions: {name!r} is the default too, which is done below all thresholds",
                "give the action another name",
            )
    section.done()
    return policy


def _hold_out(policy: Section) -> HoldOut | None:
    section = policy.section("hold_out")
    if section is None:
        return None
    share, salt = section.number("share", least=0.0, most=1.0), section.text("salt")
    if share == 0.0:
        section.note("share", "share: expected more than 0", "leave hold_out out to have none")
    if salt == "":
        section.note("salt", "salt: expected a text that is not empty", "salt: chat-2026")
    section.done()
    return HoldOut(share or 0.0, salt or "")


def _action(name: str, inner: Section, columns: Mapping[str, Column]) -> Action:
    costs = inner.section("costs")
    if costs is not None and "min_precision" in inner:
        inner.mistakes.add(
            inner.at_key("costs"),
            f"{name}: it has costs and a min_precision",
            "costs mean a precision of their own (false_alarm / (false_alarm + missed)); "
            "leave one out",
        )
    if not {"costs", "min_precision", "per_day"} & set(inner.keys()):
        inner.mistakes.add(
            inner.position,
            f"{name}: an action without a contract",
            "say what it promises: min_precision, costs or per_day",
        )
    made = Action(
        name=name,
        min_precision=inner.number("min_precision", None, least=0.0, most=1.0),
        confidence=inner.number("confidence", 0.95, least=0.5, most=0.9999),
        per_day=inner.integer("per_day", 1, least=1) if "per_day" in inner else None,
        costs=None
        if costs is None
        else Costs(
            costs.number("false_alarm", least=LEAST_COST, most=MOST_COST) or 1.0,
            costs.number("missed", least=LEAST_COST, most=MOST_COST) or 1.0,
        ),
        delay=_delay(inner),
        limit=_limit(inner, columns),
    )
    if costs is not None:
        costs.done()
    return made


def _delay(action: Section) -> ActionDelay | None:
    section = action.section("delay")
    if section is None:
        return None
    faults, salt = len(section.mistakes), section.text("salt")
    most, least = section.duration("most"), section.duration("least", 0)
    sound = len(section.mistakes) == faults
    if salt == "":
        section.note("salt", "salt: expected a text that is not empty", "salt: chat-2026")
    if sound and most <= least:
        section.note(
            "most",
            "most: expected more than least, or the delay is no secret",
            "delay: {most: 2h, salt: chat-2026}",
        )
    section.done()
    return ActionDelay(salt or "", most, least)


def _limit(action: Section, columns: Mapping[str, Column]) -> ActionLimit | None:
    section = action.section("limit")
    if section is None:
        return None
    per = section.choice("per", columns)
    if per is not None and per in columns and columns[per].type not in _COUNTED_BY:
        section.note(
            "per",
            f"per: {per} is {columns[per].type}, which names nobody",
            "count by a text or integer column, such as per: author_id",
        )
    count = section.integer("count", least=1, most=MOST_OF_LIMIT)
    faults = len(section.mistakes)
    length = section.duration("in")
    if len(section.mistakes) == faults and length <= 0:
        section.note("in", "in: expected more than 0", "limit: {per: author_id, count: 3, in: 1h}")
    section.done()
    return ActionLimit(per or "", count or 1, length)


def read_gate(root: Section) -> Gate:
    """The `gate` section: when a bundle may serve."""
    section = root.section("gate")
    if section is None:
        return Gate()
    gate = Gate(
        min_average_precision=section.number("min_average_precision", 0.0, least=0.0, most=1.0),
        min_auc=section.number("min_auc", 0.5, least=0.0, most=1.0),
        max_drop=section.number("max_drop", 0.02, least=0.0, most=1.0),
        min_positives=section.integer("min_positives", 20, least=1),
        parity_us=section.duration("parity", 0),
    )
    section.done()
    return gate
