"""A JSON Schema of the config's YAML, for editors: completion and red lines while typing.

What enters: the catalog of operations. What leaves: a schema (draft 2020-12) generated from the
dataclasses of `configs.schema` and of the operations. It checks shapes; that names resolve and
types fit is `loader`'s part.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

from configs._behaviour import MOST_TILES, shared_settings
from configs._campaigns import LEAST_CHANCE, MOST_ACCOUNTS, MOST_COLUMNS
from configs._campaigns import MOST_WEIGHT as MOST_LINK_WEIGHT
from configs._events import SETTINGS
from configs._model import LEAST_COST, MOST_COST, MOST_OF_LIMIT, MOST_PLACES, WEIGHTINGS
from configs._social import MOST_ACCOUNTS_OF_GROUP
from configs._training import LEAST_WEIGHT, MOST_SEED, MOST_WEIGHT
from configs.booster import ALIASES, BOOSTER, Parameter
from configs.catalog import Catalog, default_of
from configs.reference import EXPRESSION, described
from configs.schema import LIFETIME, ColumnType, Expression
from configs.social import GRAPH_FEATURES
from configs.training import DELAYED_FEEDBACK

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}
_INTEGER: dict[str, Any] = {"type": "integer"}
_SEED: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": MOST_SEED}
_BOOLEAN: dict[str, Any] = {"type": "boolean"}
_NAMES: dict[str, Any] = {"type": "array", "items": _TEXT}
_ONE_OR_MORE: dict[str, Any] = {"anyOf": [_TEXT, _NAMES]}
_DURATION: dict[str, Any] = {
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h|d)\s*$",
}
_LENGTH: dict[str, Any] = {"type": "string", "pattern": r"^\s*[0-9]+\s*(us|ms|s|m|h|d)\s*$"}
_EXPRESSION: dict[str, Any] = {
    "type": ["string", "boolean", "number"],
    "description": EXPRESSION,
}
_WHERE: dict[str, Any] = _EXPRESSION | {"type": "string"}  # a constant is no condition
_SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_PLACES: dict[str, Any] = _COUNT | {"maximum": MOST_PLACES}
_DATE: dict[str, Any] = {"type": "string"}


def json_schema(catalog: Catalog) -> dict[str, Any]:
    """The schema.

    Args:
      catalog: its operations and their arguments become alternatives.
    """
    window = {
        "anyOf": [
            _LENGTH,
            {"const": LIFETIME.name},
            _object({"length": _LENGTH, "tiles": _COUNT | {"maximum": MOST_TILES}}, ["length"]),
        ]
    }
    windows = {"type": "array", "items": window}
    aggregate = {"of": _ONE_OR_MORE, "where": _WHERE, "windows": windows}
    entity = {
        "about": _TEXT,
        "key": _map(_ONE_OR_MORE),
        "windows": windows,
        "retention": _DURATION,
        "aggregates": _map(_operations(catalog.aggregates, aggregate)),
    }
    ends = {"oneOf": [{"required": ["to"]}, {"required": ["group"]}]}
    edge = _object(_EDGE, ["of", "from"]) | ends
    column = {
        "type": {"enum": [str(one) for one in ColumnType]},
        "private": _BOOLEAN,
        "max_bytes": _COUNT,
        "minimum": _NUMBER,
        "maximum": _NUMBER,
        "allow_nonfinite": _BOOLEAN,
        "unit": _TEXT,
        "about": _TEXT,
    }
    sections = {
        "lockstep": {"const": 1},
        "name": _TEXT,
        "about": _TEXT,
        "shards": _COUNT,
        "hash_seed": _INTEGER,
        "events": _object(_EVENTS),
        "columns": _map(_object(column, ["type"]) | {"allOf": _for_types()}, empty=False),
        "kinds": _map(_object({"required": _ONE_OR_MORE, "scored": _BOOLEAN, "about": _TEXT})),
        "derive": _map(_operations(catalog.derivations, {})),
        "entities": _map(_object(entity, ["key"]), empty=False),
        "ingest": {"type": "array", "items": _object(_INGEST, ["kind", "time"])},
        "inputs": _object(_INPUTS),
        "labels": _object(
            _LABELS | {"subjects": _map(_object(_SUBJECT))}, ["kind", "subject", "positive"]
        ),
        "training": _object(_TRAINING, ["span", "delay"]),
        "policy": _object(
            {
                "actions": _map(_object(_ACTION)),
                "default": _TEXT,
                "hold_out": _object({"share": _SHARE, "salt": _TEXT}, ["share", "salt"]),
            }
        ),
        "gate": _object(_GATE),
        "evaluation": _object(
            {
                "group": _TEXT,
                "top": _COUNT,
                "drop_known": _BOOLEAN,
                "campaigns": _BOOLEAN,
                "recipients": _TEXT,
            }
        ),
        "graph": _object({"edges": _map(edge, empty=False)} | _GRAPH, ["edges"]),
        "campaigns": _object(
            {
                "links": _map(_object(_LINK, ["columns"]), empty=False),
                **_CAMPAIGNS,
                "rarity": _object(_RARITY),
            },
            ["account", "of", "links"],
        ),
    }
    schema = _object(sections, ["lockstep", "columns", "kinds"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Lockstep"} | schema


def dumps(catalog: Catalog) -> str:
    """The schema as the text of configs/schema.json."""
    return json.dumps(described(json_schema(catalog)), indent=1, sort_keys=True) + "\n"


_EVENTS = {
    "id": _TEXT,
    "time": _TEXT,
    "kind": _TEXT,
    "aliases": {"type": "object", "additionalProperties": _TEXT},
    "earliest": _DATE,
    "latest": _DATE,
    "disorder": _DURATION,
    "dedup": _DURATION,
    "max_dead_share": _SHARE,
    "sequence": _TEXT,
    "time_unit": {"enum": ["s", "ms", "us", "ns"]},
    "time_zone": _TEXT,
    "encoding": _TEXT,
    "header": {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True},
    "separator": {"enum": [",", ";", "|", "\t"]},
}
_INGEST = {
    "kind": _TEXT,
    "id": {"type": ["string", "null"]},
    "time": _TEXT,
    "delay": _DURATION,
    "columns": {"type": "object", "additionalProperties": _TEXT},
    "subject": {"type": "object", "additionalProperties": _TEXT, "maxProperties": 1},
    "where": _WHERE,
}
_RANGE = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": 8},
    "minItems": 2,
    "maxItems": 2,
}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """A booster's parameter: its words, its text, or its range."""
    about = {"description": f"{parameter.about}: {parameter.expected}"}
    if parameter.words:
        return about | {"enum": list(parameter.words)}
    if parameter.form:
        return about | {"type": "string"}
    bounds = {"minimum": parameter.least, "maximum": parameter.most}
    return about | {"type": "integer" if parameter.whole else "number"} | bounds


_INPUTS = {
    "numeric": _NAMES,
    "exclude": _NAMES,
    "computed": {"type": "object", "additionalProperties": _EXPRESSION},
    "categorical": {
        "type": "object",
        "additionalProperties": {
            "type": ["object", "null"],
            "properties": {
                "vocabulary": _PLACES,
                "oov_buckets": _PLACES,
                "min_frequency": _COUNT,
            },
            "additionalProperties": False,
        },
    },
    "text": {
        "type": "object",
        "properties": {
            "column": _TEXT,
            "buckets": {"type": "integer", "minimum": 2, "maximum": MOST_PLACES},
            "word_ngrams": _RANGE,
            "char_ngrams": _RANGE,
            "max_tokens": _PLACES,
            "tokens": {"enum": ["spaces", "words"]},
            "encoder": _TEXT,
            "encoder_tokens": {"type": "integer", "minimum": 8, "maximum": 512},
        },
        "required": ["column"],
        "additionalProperties": False,
    },
    "scaling": {"enum": ["zscore", "quantile", "none"]},
}
_LABELS = {
    "kind": _TEXT,
    "subject": _TEXT,
    "positive": _EXPRESSION,
    "maturity": _DURATION,
    "source": _TEXT,
    "precedence": _ONE_OR_MORE,
    "expires": _DURATION,
    "weighting": {"enum": list(WEIGHTINGS)},
}
_SUBJECT = {"column": _TEXT, "kind": _TEXT, "reach": _DURATION, "most_weight": _COUNT}
_EDGE = {
    "of": _ONE_OR_MORE,
    "from": _TEXT,
    "to": _TEXT,
    "where": _WHERE,
    "expires": _DURATION,
    "group": _TEXT,
    "most_accounts": {"type": "integer", "minimum": 2, "maximum": MOST_ACCOUNTS_OF_GROUP},
    "answers": _TEXT,
}
_GRAPH = {
    "judged": _TEXT,
    "features": {"type": "array", "items": {"enum": list(GRAPH_FEATURES)}},
    "delay": _DURATION,
    "accounts": {"type": "object", "additionalProperties": _TEXT},
}
_LINK = {
    "columns": {
        "anyOf": [_TEXT, _NAMES | {"minItems": 1, "maxItems": MOST_COLUMNS, "uniqueItems": True}]
    },
    "where": _WHERE,
    "within": _DURATION,
    "weight": _COUNT | {"maximum": MOST_LINK_WEIGHT},
    "most_accounts": {"type": "integer", "minimum": 2, "maximum": MOST_ACCOUNTS},
    "bursts": _BOOLEAN,
}
_GROUP = {"type": "integer", "minimum": 2, "maximum": 1_000_000}
_CAMPAIGNS = {
    "account": _TEXT,
    "of": _ONE_OR_MORE,
    "recipients": _TEXT,
    "judged": _TEXT,
    "span": _DURATION,
    "delay": _DURATION,
    "evidence": _COUNT | {"maximum": MOST_LINK_WEIGHT**2},
    "least_accounts": _GROUP,
    "large": _GROUP,
    "joined_share": _SHARE,
    "continued_share": _SHARE,
    "name_decisions": _BOOLEAN,
}
_RARITY = {
    "chance": {"type": "number", "minimum": LEAST_CHANCE, "maximum": 1},
    "similarity": _SHARE,
}
_TRAINING = {
    "span": _DURATION,
    "delay": _DURATION,
    "gate": _DURATION,
    "validation_share": {"type": "number", "minimum": 0, "maximum": 0.9},
    "rounds": _COUNT,
    "early_stopping": {"type": "integer", "minimum": 0},
    "refit": _BOOLEAN,
    "booster": {
        "type": "object",
        "properties": {
            key: _parameter(BOOSTER[ALIASES.get(key, key)]) for key in sorted({*BOOSTER, *ALIASES})
        },
        "additionalProperties": False,
    },
    "text_folds": {"type": "integer", "minimum": 2},
    "text_regularisation": {"type": "number", "minimum": 1e-9, "maximum": 1e9},
    "positive_weight": {
        "anyOf": [
            {"type": "number", "minimum": LEAST_WEIGHT, "maximum": MOST_WEIGHT},
            {"const": "balanced"},
        ]
    },
    "model": {"enum": ["booster", "linear", "text"]},
    "analyse_rows": _COUNT,
    "train_rows": _COUNT,
    "seed": _SEED,
    "delayed_feedback": {"enum": list(DELAYED_FEEDBACK)},
}
_GATE = {
    "min_average_precision": _SHARE,
    "min_auc": _SHARE,
    "max_drop": _SHARE,
    "min_positives": _COUNT,
    "parity": _DURATION,
}
_CONFIDENCE = {"type": "number", "minimum": 0.5, "maximum": 0.9999}
_COST = {"type": "number", "minimum": LEAST_COST, "maximum": MOST_COST}
_ACTION = {
    "min_precision": _SHARE,
    "confidence": _CONFIDENCE,
    "per_day": _COUNT,
    "costs": {
        "type": "object",
        "properties": {"false_alarm": _COST, "missed": _COST},
        "additionalProperties": False,
        "required": ["false_alarm", "missed"],
    },
    "delay": {
        "type": "object",
        "properties": {"most": _DURATION, "least": _DURATION, "salt": _TEXT},
        "additionalProperties": False,
        "required": ["most", "salt"],
    },
    "limit": {
        "type": "object",
        "properties": {
            "per": _TEXT,
            "count": _COUNT | {"maximum": MOST_OF_LIMIT},
            "in": _DURATION,
        },
        "additionalProperties": False,
        "required": ["per", "count", "in"],
    },
}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return made | {"required": required} if required else made


def _map(value: dict[str, Any], empty: bool = True) -> dict[str, Any]:
    """An object with names of one's own, all of one shape; `empty`: `name:` alone is one too."""
    names = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
    values = {"anyOf": [value, {"type": "null"}]} if empty else value
    return {"type": "object", "propertyNames": names, "additionalProperties": values}


def _for_types() -> list[dict[str, Any]]:
    """Settings of a column only with the types for which they mean something."""
    return [
        {
            "if": {"required": [setting]},
            "then": {"properties": {"type": {"enum": [str(one) for one in types]}}},
        }
        for setting, types in SETTINGS.items()
    ]


def _operations(
    operations: typing.Mapping[str, type[Any]], shared: dict[str, Any]
) -> dict[str, Any]:
    """One alternative per operation: its name, its arguments, what all have."""
    alternatives = []
    for name in sorted(operations):
        operation = operations[name]
        hints = typing.get_type_hints(operation)
        arguments = {
            f.name: _argument(hints[f.name], f.metadata) | _default(f)
            for f in dataclasses.fields(operation)
        }
        required = [
            f.name
            for f in dataclasses.fields(operation)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        useful = shared_settings(operation) if shared else ()
        its = {key: one for key, one in shared.items() if key in useful}
        properties = {"op": {"const": name}, "about": _TEXT, **its, **arguments}
        alternatives.append(
            _object(properties, ["op", *required]) | {"description": operation.about}
        )
    return {"oneOf": alternatives}


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    default = default_of(field)
    return {} if default in (dataclasses.MISSING, ()) else {"default": default}


def _argument(hint: Any, limits: typing.Mapping[str, Any]) -> dict[str, Any]:
    if hint is bool:
        return _BOOLEAN
    if hint is int:
        bounds = {"minimum": limits.get("least"), "maximum": limits.get("most")}
        return _INTEGER | {name: one for name, one in bounds.items() if one is not None}
    if hint is float:
        return _NUMBER
    if typing.get_origin(hint) is tuple:
        return _NAMES | {"minItems": 1, "uniqueItems": True}
    if hint is Expression:
        return _EXPRESSION
    return _TEXT
