"""A JSON Schema of the YAML of experiments, for editors; what `change` may hold is the config's."""

from __future__ import annotations

import json
from typing import Any

from configs.experiment import UNITS, VERSION
from configs.metrics import METRICS
from configs.texts import EXPERIMENT

_TEXT: dict[str, Any] = {"type": "string"}
_DAYS: dict[str, Any] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_METRIC: dict[str, Any] = {
    "anyOf": [{"enum": list(METRICS)}, {"type": "string", "pattern": r"^tpr_at_fpr\(0?\.\d+\)$"}]
}


def experiment_schema() -> dict[str, Any]:
    """The schema (draft 2020-12), with texts and defaults."""
    contender = {
        "type": "object",
        "properties": {
            "about": _about("challengers.NAME.about", _TEXT),
            "change": _about("challengers.NAME.change", {"type": "object"}),
        },
        "required": ["change"],
        "additionalProperties": False,
    }
    challengers = {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$"},
        "additionalProperties": contender,
        "minProperties": 1,
    }
    duration = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h|d)\s*$"}
    metrics = {"type": "array", "items": _METRIC, "minItems": 1}
    sections: dict[str, dict[str, Any]] = {
        "experiment": {"const": VERSION},
        "name": _TEXT | {"default": "unnamed"},
        "about": _TEXT,
        "config": _TEXT,
        "as_of": _DAYS,
        "test": duration | {"default": "1d"},
        "over": {"enum": list(UNITS)},
        "metrics": metrics | {"default": ["average_precision", "auc"]},
        "challengers": challengers,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lockstep experiment",
        "type": "object",
        "properties": {name: _about(name, one) for name, one in sections.items()},
        "required": ["experiment", "config", "as_of", "challengers"],
        "additionalProperties": False,
    }


def _about(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"description": EXPERIMENT[path][0]}


def dumps_experiment() -> str:
    """The schema as the text of configs/experiment_schema.json."""
    return json.dumps(experiment_schema(), indent=1, sort_keys=True) + "\n"
