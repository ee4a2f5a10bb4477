"""The reference of every setting: docs/reference.md, and texts and defaults of the JSON Schema.

`python -m pipelines.reference` writes both files anew. Everything comes from the JSON Schema (types
and ranges), the dataclasses of `configs.schema` and of the operations (defaults) and
`configs.texts` (words).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from configs.booster import ALIASES, BOOSTER
from configs.campaigns import CampaignLink, CampaignRules, Rarity
from configs.catalog import Catalog
from configs.catalog import default_of as default_of_argument
from configs.expression import FUNCTIONS
from configs.schema import (
    Action,
    ActionDelay,
    ActionLimit,
    Categorical,
    Column,
    Evaluation,
    Events,
    Gate,
    HoldOut,
    Ingest,
    Inputs,
    JudgedSubject,
    Kind,
    Labels,
    Policy,
    Spec,
    TextInput,
    Training,
)
from configs.social import SocialGraph
from configs.texts import EXPERIMENT, SHARED, TEXTS
from configs.units import format_duration

_CLASSES: Mapping[str, type[Any]] = {
    "": Spec,
    "events": Events,
    "columns.NAME": Column,
    "kinds.NAME": Kind,
    "ingest": Ingest,
    "inputs": Inputs,
    "inputs.categorical.NAME": Categorical,
    "inputs.text": TextInput,
    "labels": Labels,
    "labels.subjects.NAME": JudgedSubject,
    "training": Training,
    "policy": Policy,
    "policy.actions.NAME": Action,
    "policy.actions.NAME.delay": ActionDelay,
    "policy.actions.NAME.limit": ActionLimit,
    "policy.hold_out": HoldOut,
    "gate": Gate,
    "evaluation": Evaluation,
    "graph": SocialGraph,
    "campaigns": CampaignRules,
    "campaigns.links.NAME": CampaignLink,
    "campaigns.rarity": Rarity,
}
_OTHER_DEFAULTS = {"name": "unnamed"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting as the reference shows it; `schema` is its part of the JSON Schema."""

    path: str
    schema: dict[str, Any]
    required: bool


def settings(schema: Mapping[str, Any], path: str = "") -> Iterator[Setting]:
    """Every setting of a JSON Schema but those of operations and of XGBoost, in its order."""
    for option in schema.get("anyOf", ()):
        yield from settings(option, path)
    for key, inner in schema.get("properties", {}).items():
        place = f"{path}.{key}".lstrip(".")
        yield Setting(place, inner, key in schema.get("required", ()))
        if place != "training.booster":
            yield from settings(inner, place)
    named = schema.get("additionalProperties")
    if isinstance(named, dict):
        yield from settings(named, f"{path}.NAME")
    if isinstance(schema.get("items"), dict):
        yield from settings(schema["items"], path)


def default_of(path: str) -> Any:
    """A setting's default as YAML writes it, from its dataclass; None: none."""
    if path in _OTHER_DEFAULTS:
        return _OTHER_DEFAULTS[path]
    section, _, key = path.rpartition(".")
    fields = (
        {f.name: f for f in dataclasses.fields(_CLASSES[section])} if section in _CLASSES else {}
    )
    field = fields.get(key) or fields.get(f"{key}_us")
    if field is None or field.default is dataclasses.MISSING or field.default in (None, "", ()):
        return None
    if key in ("earliest", "latest"):
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=field.default)
        return f"{moment:%Y-%m-%d}"
    if field.name.endswith("_us"):
        return format_duration(field.default) if field.default else "0s"
    if dataclasses.is_dataclass(field.default):
        return None
    return list(field.default) if isinstance(field.default, tuple) else field.default


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema with `description` and `default` of each setting.

    Raises:
      KeyError: a setting has no text.
    """
    return _described(schema, "")


def _described(schema: dict[str, Any], path: str) -> dict[str, Any]:
    made = dict(schema)
    if "properties" in made and path != "training.booster":
        operation = "op" in made["properties"]
        properties = {}
        for key, inner in made["properties"].items():
            place = f"{path}.{key}".lstrip(".")
            about = (SHARED[key] if operation else TEXTS[place])[0]
            default = None if operation else default_of(place)
            more = {} if default is None else {"default": default}
            below = place.replace("aggregates.NAME.windows", "windows")
            properties[key] = {**_described(inner, below), "description": about, **more}
        made["properties"] = properties
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _described(made["additionalProperties"], f"{path}.NAME")
    if isinstance(made.get("items"), dict):
        made["items"] = _described(made["items"], path)
    for word in ("anyOf", "oneOf"):
        if word in made:
            made[word] = [_described(one, path) for one in made[word]]
    return made


def reference(schema: Mapping[str, Any], catalog: Catalog) -> str:
    """The text of docs/reference.md.

    Args:
      schema: of `configs.json_schema`.
      catalog: its operations get tables of their own.
    """
    rows: dict[str, str] = {}
    for one in settings(schema):
        rows.setdefault(one.path, _row(one))
    lines = [_HEAD, *_table(rows.values())]
    lines += ["", "## XGBoost's parameters (`training.booster`)", ""]
    lines += ["| parameter | values | default | meaning |", "|---|---|---|---|"]
    names = {name: "".join(f", `{a}`" for a, b in ALIASES.items() if b == name) for name in BOOSTER}
    for name, parameter in BOOSTER.items():
        default = "" if parameter.form else f"`{parameter.default}`"
        lines.append(
            f"| `{name}`{names[name]} | {parameter.expected} | {default} | {parameter.about} |"
        )
    lines += ["", "## Derivations (`derive`)", ""]
    lines += ["| `op` | settings | makes | meaning |", "|---|---|---|---|"]
    for name, operation in sorted(catalog.derivations.items()):
        given = _arguments(operation)
        lines.append(f"| `{name}` | {given} | {operation.returns} | {operation.about} |")
    lines += ["", "## Aggregates (`entities.NAME.aggregates`)", ""]
    lines += [
        "| `op` | settings | unit | where there is nothing | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, operation in sorted(catalog.aggregates.items()):
        unit = operation.unit or "the column's"
        more = f"{unit} | {operation.null_rule} | {operation.about}"
        lines.append(f"| `{name}` | {_arguments(operation)} | {more} |")
    lines += ["", "Settings of operations:", "", "| setting | meaning | example |", "|---|---|---|"]
    lines += [f"| `{key}` | {about} | `{case}` |" for key, (about, case) in SHARED.items()]
    lines += ["", _EXPRESSIONS, "| function | meaning | example |", "|---|---|---|"]
    for name, function in FUNCTIONS.items():
        count = (
            ""
            if function.fewest == function.most
            else f", {function.fewest} to {function.most} values"
        )
        lines.append(f"| `{name}` | {function.about}{count} | `{function.example}` |")
    return "\n".join(lines) + "\n"


def experiment_reference(schema: Mapping[str, Any]) -> str:
    """The part of docs/reference.md about files of experiments.

    Args:
      schema: of `configs.experiment_schema`, which has the defaults.
    """
    rows = []
    for one in settings(schema):
        about, example = EXPERIMENT[one.path]
        default = "required" if one.required else _shown(one.schema.get("default"))
        rows.append(f"| `{one.path}` | {_type(one.schema)} | {default} | {about} | `{example}` |")
    return "\n".join(["", _EXPERIMENTS, *_table(rows)]) + "\n"


def _table(rows: Any) -> list[str]:
    return [
        "| setting | type and range | default | meaning | example |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _row(one: Setting) -> str:
    about, example = TEXTS[one.path]
    shown = "required" if one.required else _shown(default_of(one.path))
    return f"| `{one.path}` | {_type(one.schema)} | {shown} | {about} | `{example}` |"


def _shown(default: Any) -> str:
    return "" if default is None else f"`{_yaml(default)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(schema: Mapping[str, Any]) -> str:
    """A type and its range, in words."""
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if schema.get("description") == EXPRESSION:
        return "expression"
    kind = schema.get("type", "any")
    if kind == "array":
        each, count = _type(schema["items"]), schema.get("maxItems")
        return f"list of {count}, each a {each}" if count else f"list of {each}"
    if "(us|ms" in schema.get("pattern", ""):
        return "length of time (us, ms, s, m, h, d)"
    words = {"object": "section", "string": "text", "boolean": "true or false",
             "integer": "whole number", "null": "nothing"}  # fmt: skip
    if isinstance(kind, list):
        return " or ".join(words.get(str(one), str(one)) for one in kind)
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return " ".join([words.get(kind, kind), *bounds])


def _arguments(operation: type[Any]) -> str:
    found = []
    for field in dataclasses.fields(operation):
        least, most = field.metadata.get("least"), field.metadata.get("most")
        limits = "" if least is None else f" ({least} to {most})"
        missing = field.default in (dataclasses.MISSING, ())
        found.append(
            f"`{field.name}`{limits}"
            if missing
            else f"`{field.name}: {default_of_argument(field)}`{limits}"
        )
    return ", ".join(found)


EXPRESSION = "an expression over columns"
"""Marks an expression in the JSON Schema."""

_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
_HEAD = """# Every setting

Made by `python -m pipelines.reference` from the code; a test compares it. `NAME` is a name that the
config chooses. `lockstep validate` says what else must fit.
"""
_EXPERIMENTS = """## Files of experiments

What `lockstep experiment run` reads ([experiments.md](experiments.md)).
"""
_EXPRESSIONS = """## Expressions

`where`, `positive`, `computed` and the derivation `arithmetic` take a small part of Python's
expressions: numbers, `'text'`, `true`, `false`, names of columns, `+ - * /`, comparisons of two
(`== != < <= > >=`), `x in ['a', 'b']`, `x not in [1, 2]`, `and`, `or`, `not`, and functions.

- Types: integers, times (microseconds) and booleans (1 and 0) are whole numbers of 64 bits. They
  stay whole through `+ - *`, `min`, `max`, `abs`, `floor` and `coalesce`; overflow is null. `/`,
  `sqrt` and `log` give floats, and so does arithmetic with a float (the whole number becomes the
  nearest float).
- Comparisons are exact, also of a whole number with a float. Text is compared by `==`, `!=`, `in`
  and `starts_with` only. A literal that no value can be, a `kind` that there is not, and a
  condition that is the same for all values that columns and features may have (by type,
  `minimum`, `maximum`, `max_bytes`, `required`; `n > 5 and n < 2` too) are mistakes.
- Null: arithmetic with a null is null, and so are a division by zero and an overflow. A comparison
  with a null, `in` and `not in` included, is false; `not` of it is true. `is_null` and `coalesce`
  look at nulls.
- The derivation `arithmetic` makes floats: a whole result beyond 2^53 is null there.
"""
