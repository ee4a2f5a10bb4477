"""From a YAML file to a `Spec`, or to a list of everything that is wrong with it.

What enters: a path (or text) and the catalog of operations. What leaves: a frozen `Spec` in which
every name resolves, every type fits, and derived columns stand in the order of their dependencies.
The parts: `_yaml` reads values with their places, `_events`, `input_names`, `_behaviour`, `_model`
and `_training` build the sections, `_arguments` what operations are given; this file puts them
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs._behaviour import feature_names, feature_values, read_entities
from configs._campaigns import read_campaigns
from configs._evaluation import check_evaluation, read_evaluation
from configs._events import (
    event_times,
    read_columns,
    read_derived,
    read_events,
    read_ingest,
    read_kinds,
    with_ids,
)
from configs._model import (
    read_gate,
    read_inputs,
    read_labels,
    read_policy,
)
from configs._social import read_account_features, read_graph
from configs._training import check_training, read_training
from configs._yaml import Mistakes, read_yaml
from configs.catalog import Catalog, with_plain_defaults
from configs.expression_ranges import columns_of
from configs.files import read_text, shipped_yaml
from configs.input_names import check_aliases, check_header, check_made, check_names_beside_ingest
from configs.labels import check_labels
from configs.schema import EVENT_TIME, Column, ColumnType, Derived, Spec

VERSION = 1


def load(path: str | Path, catalog: Catalog) -> Spec:
    """The spec of a YAML file.

    Raises:
      ConfigError: the file's mistakes, all of them, each with its line.
      InputError: the file cannot be read.
    """
    return loads(read_text(path, "config"), str(path), catalog)


def loads(text: str, name: str, catalog: Catalog, as_written: bool = False) -> Spec:
    """The spec of YAML text; `name` stands for the file in messages.

    Args:
      as_written: whether defaults of derivations that are written out are other arguments than
        none, as they were in earlier releases, for fingerprints of then.

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
    ingest = read_ingest(root, kinds, columns)
    events = with_ids(read_events(root, columns), ingest, kinds, columns)
    given = {**columns, EVENT_TIME: event_times(events, ingest)}
    derived = read_derived(root, columns, kinds, given, catalog)
    types = column_types(columns, derived)
    known = known_values(given, derived, catalog)
    entities = read_entities(root, kinds, types, known, catalog)
    features = feature_names(entities, catalog)
    if events.kind is None and not ingest:
        root.note("events", "events: without ingest, a kind column is needed (kind: NAME)")
    labels = read_labels(root, kinds, types, columns, known)
    graph = read_graph(root, kinds, types, known, labels, ingest)
    of_graph = read_account_features(root, graph, types, features)
    features |= of_graph
    known_features = feature_values(entities, known, catalog) | columns_of(
        (name, ColumnType.NUMBER, None) for name in of_graph
    )
    campaigns = read_campaigns(root, kinds, types, known, labels)
    spec = Spec(
        name=root.text("name", "unnamed"),
        about=root.text("about", ""),
        events=events,
        columns=columns,
        kinds=kinds,
        derived=derived,
        entities=entities,
        inputs=read_inputs(root, kinds, types, features, known | known_features),
        labels=labels,
        training=read_training(root),
        policy=read_policy(root, columns),
        gate=read_gate(root),
        evaluation=read_evaluation(root, types, campaigns.account if campaigns else None),
        ingest=ingest,
        shards=root.integer("shards", 16, least=1),
        hash_seed=root.integer("hash_seed", 0),
        graph=graph,
        campaigns=campaigns,
    )
    if not spec.scored_kinds:
        root.note("kinds", "kinds: no kind is scored", "add scored: true to one of them")
    check_training(root, spec, features)
    check_evaluation(root, spec)
    check_names_beside_ingest(root, ingest)
    check_made(root, spec)
    check_header(root, events, ingest)
    check_aliases(root, events, spec.input_names)
    check_labels(root, spec, catalog)
    root.done()
    mistakes.raise_if_any()
    return spec if as_written else with_plain_defaults(spec, catalog)


def shipped(name: str) -> Path:
    """Where a shipped config is: "chat", "card_fraud", "video_comments".

    Raises:
      InputError: there is none of that name.
    """
    return shipped_yaml(name, "config")


def column_types(
    columns: Mapping[str, Column], derived: Mapping[str, Any]
) -> dict[str, ColumnType]:
    """Types of every column that an expression or an operation may name."""
    types = {name: one.type for name, one in derived.items()}
    types |= {name: column.type for name, column in columns.items()}
    types |= {"event_id": ColumnType.STRING, "kind": ColumnType.STRING}
    return types | {"event_time": ColumnType.TIMESTAMP}


def known_values(
    columns: Mapping[str, Column], derived: Mapping[str, Derived], catalog: Catalog
) -> dict[str, Column]:
    """Columns of events, and derived ones with what their operations can make."""
    made = columns_of(
        (one.name, one.type, catalog.derivations.get(one.op)) for one in derived.values()
    )
    return {**made, **columns}


__all__ = ["load", "loads", "shipped"]
