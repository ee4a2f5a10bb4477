"""Semantic fingerprints of a spec: the same for the same meaning, another for any other.

What enters: a `Spec`. What leaves: 16 hex digits. Comments, `about` texts, units and the order of
columns and kinds do not count; the order of entities and aggregates does, because it is the order
of the model's inputs. Three reach differently far:

- `fingerprint`: everything; it names a bundle.
- `dataset_fingerprint`: what shapes a backfill's output, not how a model is trained on it.
- `state_fingerprint`: what shapes one entity's velocity state, from the row of a file on.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from configs.campaigns import CampaignLink, CampaignRules
from configs.labels import later_columns
from configs.policy import Action, Policy
from configs.schema import Column, Events, Expression, Ingest, Labels, Spec, TextInput
from configs.social import EdgeRule, SocialGraph, graph_inputs
from configs.training import Evaluation, Training

_WORDS = ("about", "unit")
_MADE = ("numbered", "prefixed")  # by the loader, of what counts already
_READING = ("time_unit", "time_zone", "encoding", "header", "separator")
_LATER: dict[type, tuple[str, ...]] = {
    Events: ("sequence", *_READING),
    Labels: ("source", "precedence", "expires_us", "subjects", "weighting"),
    TextInput: ("tokens", "encoder", "encoder_tokens"),
    Action: ("per_day", "costs", "delay", "limit"),
    Policy: ("hold_out",),
    SocialGraph: ("accounts",),
    CampaignRules: ("rarity", "name_decisions"),
    CampaignLink: ("bursts",),
    Evaluation: ("campaigns", "recipients"),
    EdgeRule: ("group", "most_accounts"),
    Spec: ("graph", "campaigns"),
    Training: ("delayed_feedback",),
}
"""Settings that there were not always, by what has them."""
_SNAPSHOTS = 2
"""Of the values and files of snapshots: raised where the same events give others."""
_CAMPAIGNS = 1
"""Of the values and files of campaigns: likewise."""
_BOUNDS = ("minimum", "maximum")
_UNORDERED = ("columns", "kinds", "keys", "arguments", "booster", "aliases")


def fingerprint(spec: Spec) -> str:
    """Of all that a spec says, in 16 hex digits."""
    return _digest(_plain(spec))


def dataset_fingerprint(spec: Spec) -> str:
    """Of what shapes the features, verdicts and state that a backfill writes, in 16 hex digits."""
    inputs = spec.inputs
    parts = {
        "events": _plain(spec.events),
        "columns": _plain(spec, ("columns",)),
        "kinds": _plain(spec, ("kinds",)),
        "derived": _plain(spec, ("derived",)),
        "entities": _plain(spec, ("entities",)),
        "ingest": _plain(spec, ("ingest",)),
        "labels": None
        if spec.labels is None
        else [
            spec.labels.kind,
            spec.labels.subject,
            spec.labels.positive.text,
            *filter(None, [spec.labels.source]),
            *[[one.of, one.column, one.kind] for one in spec.labels.subjects],
        ],
        "inputs": [
            list(inputs.numeric),
            list(inputs.exclude),
            [[name, one.text] for name, one in inputs.computed.items()],
            [one.column for one in inputs.categorical],
            inputs.text.column if inputs.text else None,
            spec.evaluation.group,
        ],
        "shards": spec.shards,
        "hash_seed": spec.hash_seed,
    }
    if spec.graph is not None and spec.graph.accounts:
        seen = {name: list(columns) for name, columns in graph_inputs(spec.graph).items()}
        parts["graph"] = [graph_fingerprint(spec), _plain(spec.graph.accounts), seen]
    return _digest(parts)


def state_fingerprint(spec: Spec, entity: str) -> str:
    """Of what shapes the state of one entity's keys, in 16 hex digits.

    That is its keys, aggregates and windows; every derivation and column that they read, at any
    depth, with its type and limits; and which rows become events of its kinds: `ingest` rules, what
    they require, the times that are accepted, the memory for duplicates. A change to another
    entity, to a model, to a text or to a column that is not read does not count.
    """
    one = spec.entities[entity]
    used = {name for names in one.keys.values() for name in names}
    for aggregate in one.aggregates:
        used |= set(_names_in([aggregate.where, *aggregate.arguments.values()]))
    return _digest(
        {
            "entity": _plain(one),
            **_read(spec, one.keys, used),
            "hash_seed": spec.hash_seed,
            "scored": list(spec.scored_kinds),
        }
    )


def order_fingerprints(spec: Spec) -> dict[str, str]:
    """Of what decides between events of one time (`transforms.order`), in 16 hex digits each.

    `rule`: which kinds judge and which are scored, the sequence, how ids are compared;
    `contents`: what the hash of an event's contents is made of, which decides between copies.
    """
    events, labels = spec.events, spec.labels
    return {
        "rule": _digest(
            {
                "verdict": labels.kind if labels else None,
                "scored": sorted(spec.scored_kinds),
                "sequence": events.sequence,
                "ids": [sorted(events.numbered), events.prefixed],
            }
        ),
        "contents": _digest(
            {
                "columns": {name: str(one.type) for name, one in spec.columns.items()},
                "ingest": [[rule.kind, _plain(rule.columns), rule.subject] for rule in spec.ingest],
                "later": sorted(later_columns(spec)) if spec.ingest else [],
            }
        ),
    }


def graph_fingerprint(spec: Spec) -> str:
    """Of what shapes the values in a snapshot of the social graph, and who sees it when.

    That is the rules of edges, who is judged and how, the delay, and how the events of all that are
    read (as in `state_fingerprint`). Which features are chosen does not count: a feature is the
    same beside any other.

    Raises:
      ValueError: the spec has no graph.
    """
    graph, labels = spec.graph, spec.labels
    if graph is None:
        raise ValueError(f"{spec.name} has no section graph")
    kinds = {kind for rule in graph.edges.values() for kind in rule.kinds}
    used = {name for rule in graph.edges.values() for name in rule.columns}
    used |= set(_names_in(rule.where for rule in graph.edges.values()))
    judged = None
    if graph.judged is not None and labels is not None:
        kinds |= {*labels.kinds}
        used |= {graph.judged, labels.subject, *labels.positive.columns}
        used |= {one.column for one in labels.subjects}
        judged = [graph.judged, *_judging(labels)]
        # Only beside subjects do its accounts' names decide who is judged.
        judged += [sorted(graph.account_columns)] if labels.subjects else []
    return _digest(
        {
            "edges": _plain(graph.edges),
            "judged": judged,
            "delay_us": graph.delay_us,
            "format": _SNAPSHOTS,
            **_read(spec, sorted(kinds), used),
        }
    )


def campaigns_fingerprint(spec: Spec) -> str:
    """Of what shapes a snapshot of campaigns: the section, and how its events are read.

    Whether decisions name campaigns does not count: it changes no snapshot.

    Raises:
      ValueError: the spec has no campaigns.
    """
    campaigns, labels = spec.campaigns, spec.labels
    if campaigns is None:
        raise ValueError(f"{spec.name} has no section campaigns")
    kinds, used = set(campaigns.kinds), {campaigns.account, *_linked(campaigns)}
    judged = None
    if campaigns.judged is not None and labels is not None:
        kinds |= {*labels.kinds}
        used |= {campaigns.judged, labels.subject, *labels.positive.columns}
        used |= {one.column for one in labels.subjects}
        judged = _judging(labels)
    return _digest(
        {
            "campaigns": _plain(dataclasses.replace(campaigns, name_decisions=False)),
            "judged": judged,
            "format": _CAMPAIGNS,
            **_read(spec, sorted(kinds), used),
        }
    )


def _judging(labels: Labels) -> list[Any]:
    """Which events judge, what they are about, and how."""
    subjects = [[one.of, one.column, one.kind] for one in labels.subjects]
    return [labels.kind, labels.subject, labels.positive.text, *subjects]


def _linked(campaigns: CampaignRules) -> list[str]:
    """Columns that links, their conditions and the reach look at."""
    names = [name for name, _ in campaigns.columns]
    names += _names_in(link.where for link in campaigns.links.values())
    return names + ([campaigns.recipients] if campaigns.recipients else [])


def _read(spec: Spec, kinds: Iterable[str], used: set[str]) -> dict[str, Any]:
    """How events of some kinds are read, and the columns of them that count, at any depth."""
    rules = [rule for rule in spec.ingest if rule.kind in kinds]
    required = {kind: sorted(spec.kinds[kind].required) for kind in kinds}
    used = used | {name for names in required.values() for name in names}
    for rule in rules:
        used |= set(_names_in([rule.where]))
    derived: dict[str, Any] = {}
    waiting = sorted(used)
    while waiting:
        name = waiting.pop()
        if name in spec.derived and name not in derived:
            derived[name] = _plain(spec.derived[name])
            behind = _names_in(spec.derived[name].arguments.values())
            used |= set(behind)
            waiting += behind
    return {
        "derived": derived,
        "columns": {name: _limits(spec.columns[name]) for name in used if name in spec.columns},
        "ingest": [_rule(rule, used) for rule in rules],
        "required": required,
        "events": {
            name: _plain(getattr(spec.events, name)) for name in (*_ACCEPTANCE, *_set(spec.events))
        },
    }


def reading_fingerprint(spec: Spec, kind: str, column: str | None = None) -> str:
    """Of which rows become events of a kind, or of how one of their columns is read.

    Two readings of one file are comparable where this is the same.
    """
    if column is not None:
        return _digest(_limits(spec.columns[column]))
    return _digest(
        {
            "events": {
                name: _plain(getattr(spec.events, name))
                for name in (*_ACCEPTANCE, *_set(spec.events))
            },
            "ingest": [_plain(rule) for rule in spec.ingest if rule.kind == kind],
            "required": sorted(spec.kinds[kind].required),
        }
    )


_ACCEPTANCE = ("id", "time", "kind", "aliases", "earliest_us", "latest_us", "dedup_us")


def _set(events: Events) -> list[str]:
    """Settings that there were not always, and that this config gives."""
    default = Events()
    return [name for name in _LATER[Events] if getattr(events, name) != getattr(default, name)]


def _limits(column: Column) -> dict[str, Any]:
    """What decides which values of a column are accepted, and as what."""
    return {key: value for key, value in _plain(column).items() if key != "private"}


def _rule(rule: Ingest, used: set[str]) -> dict[str, Any]:
    """An ingest rule, without what it fills columns with that nobody reads."""
    columns = {name: given for name, given in rule.columns.items() if name in used}
    subject = rule.subject if rule.subject and rule.subject[0] in used else None
    plain: dict[str, Any] = _plain(rule)
    return plain | {"columns": columns, "subject": _plain(subject)}


def _names_in(values: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Expression):
            found.extend(value.columns)
        elif isinstance(value, tuple):
            found.extend(one for one in value if isinstance(one, str))
    return found


def _plain(value: Any, fields: tuple[str, ...] | None = None) -> Any:
    """JSON of a config: dataclasses by field name, ordered mappings as lists of pairs."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {}
        for field in dataclasses.fields(value):
            if field.name in (*_WORDS, *_MADE) or (fields and field.name not in fields):
                continue
            inner = getattr(value, field.name)
            if field.name in _BOUNDS and inner is not None and float(inner) == inner:
                inner = float(inner)  # 5 and 5.0 are one bound
            if field.name in _LATER.get(type(value), ()) and inner in (field.default, {}):
                continue  # so that what was made before there was one keeps its fingerprint
            if isinstance(inner, Mapping) and field.name in _UNORDERED:
                found[field.name] = {str(key): _plain(one) for key, one in inner.items()}
            else:
                found[field.name] = _plain(inner)
        return found
    if isinstance(value, Mapping):
        return [[str(key), _plain(one)] for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, enum.Enum):
        return str(value.value)
    return value


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
