"""From a YAML file to a `Spec`, or to a list of everything that is wrong with it.

What enters: a path (or text) and the catalog of operations. What leaves: a frozen `Spec` in which
every name resolves, every type fits, and derived columns stand in the order of their dependencies.
The parts: `_yaml` reads values with their places, `_events` and `_behaviour` build the sections,
this file puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

from configs._behaviour import feature_names, read_entities
from configs._events import (
    read_columns,
    read_derived,
    read_events,
    read_expression,
    read_ingest,
    read_kinds,
)
from configs._yaml import Mistakes, Section, did_you_mean, read_yaml
from configs.catalog import Catalog
from configs.errors import InputError
from configs.schema import (
    Action,
    Categorical,
    Column,
    ColumnType,
    Evaluation,
    Gate,
    Inputs,
    Kind,
    Labels,
    Policy,
    Spec,
    TextInput,
    Training,
)

VERSION = 1
_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN)


def load(path: str | Path, catalog: Catalog) -> Spec:
    """The spec of a YAML file.

    Raises:
      ConfigError: the file's mistakes, all of them, each with its line.
      InputError: the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the config {path} ({error.strerror}); give the path of a YAML file"
        ) from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n")
        mistakes = Mistakes(str(path), "")
        mistakes.add((line, 0), "this line is not UTF-8", "save the file as UTF-8")
        mistakes.raise_if_any()
    return loads(text, str(path), catalog)


def loads(text: str, name: str, catalog: Catalog) -> Spec:
    """The spec of YAML text; `name` stands for the file in messages.

    Raises:
      ConfigError: the text's mistakes, all of them.
    """
    mistakes = Mistakes(name, text)
    root = read_yaml(text, mistakes)
    version = root.integer("lockstep")
    if version is not None and version != VERSION:
        root.note("lockstep", f"lockstep: this release reads version {VERSION}, found {version}")
    columns = read_columns(root)
    kinds = read_kinds(root, columns)
    derived = read_derived(root, columns, catalog)
    types = column_types(columns, derived)
    entities = read_entities(root, kinds, types, catalog)
    features = feature_names(entities, catalog)
    events = read_events(root)
    ingest = read_ingest(root, kinds, columns)
    if events.kind is None and not ingest:
        root.note("events", "events: without ingest, a kind column is needed (kind: NAME)")
    spec = Spec(
        name=root.text("name", "unnamed"),
        about=root.text("about", ""),
        events=events,
        columns=columns,
        kinds=kinds,
        derived=derived,
        entities=entities,
        inputs=_inputs(root, types, features),
        labels=_labels(root, kinds, types),
        training=_training(root),
        policy=_policy(root),
        gate=_gate(root),
        evaluation=_evaluation(root, types),
        ingest=ingest,
        shards=root.integer("shards", 16, least=1),
        hash_seed=root.integer("hash_seed", 0),
    )
    if not spec.scored_kinds:
        root.note("kinds", "kinds: no kind is scored", "add scored: true to one of them")
    if spec.training and spec.training.model == "text" and not spec.inputs.text:
        root.note("training", "training: model text needs inputs.text")
    root.done()
    mistakes.raise_if_any()
    return spec


def shipped(name: str) -> Path:
    """Where a shipped config is: "chat", "card_fraud", "video_comments".

    Raises:
      InputError: there is none of that name.
    """
    folder = Path(str(resources.files("configs")))
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = [one.stem for one in folder.glob("*.yaml")]
        raise InputError(f"there is no shipped config {name!r}; {did_you_mean(name, known)}")
    return path


def column_types(
    columns: Mapping[str, Column], derived: Mapping[str, Any]
) -> dict[str, ColumnType]:
    """Types of every column that an expression or an operation may name."""
    types = {name: one.type for name, one in derived.items()}
    types |= {name: column.type for name, column in columns.items()}
    types |= {"event_id": ColumnType.STRING, "kind": ColumnType.STRING}
    return types | {"event_time": ColumnType.TIMESTAMP}


def _inputs(root: Section, types: Mapping[str, ColumnType], features: Mapping[str, str]) -> Inputs:
    section = root.section("inputs")
    if section is None:
        return Inputs()
    numeric = []
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
            numeric.append(name)
    exclude = []
    for name, place in section.strings("exclude"):
        if name not in features:
            hint = did_you_mean(name, features)
            section.mistakes.add(place, f"exclude: there is no feature {name!r}", hint)
        exclude.append(name)
    numeric_types = {name: types[name] for name in types if types[name] in _NUMERIC}
    numeric_types |= dict.fromkeys(features, ColumnType.NUMBER)
    computed = {}
    inner = section.section("computed")
    for name in inner.keys() if inner else ():
        if name in features or name in types:
            cast(Section, inner).note(name, f"computed: the name {name!r} is taken")
        expression = read_expression(cast(Section, inner), name, numeric_types)
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
    section.done()
    return made


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
                vocabulary=inner.integer("vocabulary", 1000, least=1),
                oov_buckets=inner.integer("oov_buckets", 8, least=1),
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
        buckets=inner.integer("buckets", 65_536, least=2),
        word_ngrams=_ngrams(inner, "word_ngrams") or (1, 2),
        char_ngrams=_ngrams(inner, "char_ngrams"),
        max_tokens=inner.integer("max_tokens", 256, least=1),
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


def _labels(
    root: Section, kinds: Mapping[str, Kind], types: Mapping[str, ColumnType]
) -> Labels | None:
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
    positive = read_expression(section, "positive", types, required=True)
    maturity = section.duration("maturity", None)
    section.done()
    if positive is None:
        return None
    return Labels(kind or "", subject or "", positive, maturity)


def _training(root: Section) -> Training | None:
    section = root.section("training")
    if section is None:
        return None
    weight = section.raw("positive_weight")
    if weight is None:
        weight = 1.0
    elif weight != "balanced":
        weight = section.number("positive_weight", 1.0, least=0.0)
    made = Training(
        span_us=section.duration("span"),
        delay_us=section.duration("delay"),
        gate_us=section.duration("gate", 86_400_000_000),
        validation_share=section.number("validation_share", 0.2, least=0.0, most=0.9),
        rounds=section.integer("rounds", 400, least=1),
        early_stopping=section.integer("early_stopping", 40, least=0),
        refit=section.boolean("refit", True),
        booster=_booster(section),
        text_folds=section.integer("text_folds", 5, least=2),
        text_regularisation=section.number("text_regularisation", 1.0, least=1e-9),
        positive_weight=weight,
        model=section.choice("model", ("booster", "linear", "text"), "booster"),
        analyse_rows=section.integer("analyse_rows", 1_000_000, least=1),
        train_rows=section.integer("train_rows", 2_000_000, least=1),
        seed=section.integer("seed", 0),
    )
    section.done()
    return made


def _booster(section: Section) -> dict[str, float | int | str]:
    inner = section.section("booster")
    found: dict[str, float | int | str] = {}
    for key in inner.keys() if inner else ():
        value = cast(Section, inner).raw(key)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            cast(Section, inner).note(key, f"{key}: expected a number or text")
            continue
        found[key] = (
            str(value)
            if isinstance(value, str)
            else (int(value) if isinstance(value, int) else float(value))
        )
    return found


def _policy(root: Section) -> Policy:
    section = root.section("policy")
    if section is None:
        return Policy()
    actions = []
    for name, inner in section.sections("actions"):
        actions.append(
            Action(
                name=name,
                min_precision=inner.number("min_precision", least=0.0, most=1.0) or 0.0,
                confidence=inner.number("confidence", 0.95, least=0.5, most=0.9999),
            )
        )
        inner.done()
    strict = [action.min_precision for action in actions]
    if strict != sorted(strict, reverse=True):
        section.note(
            "actions", "actions: expected the strictest first (min_precision falling down the list)"
        )
    policy = Policy(tuple(actions), section.text("default", "allow"))
    section.done()
    return policy


def _gate(root: Section) -> Gate:
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


def _evaluation(root: Section, types: Mapping[str, ColumnType]) -> Evaluation:
    section = root.section("evaluation")
    if section is None:
        return Evaluation()
    group = section.text("group", None)
    if group is not None and group not in types:
        section.note("group", f"group: there is no column {group!r}", did_you_mean(group, types))
    made = Evaluation(
        group, section.integer("top", 100, least=1), section.boolean("drop_known", False)
    )
    section.done()
    return made


__all__ = ["load", "loads", "shipped"]
