"""The reference and the JSON Schema say every setting: its text, type, default and an example."""

import dataclasses

import pytest
from ruamel.yaml import YAML

from configs._yaml import Section
from configs.errors import ConfigError
from configs.json_schema import json_schema
from configs.loader import load, loads, shipped
from configs.reference import default_of, described, settings
from configs.texts import SHARED, TEXTS
from pipelines.reference import made
from transforms.catalog import CATALOG

SCHEMA = json_schema(CATALOG)
PATHS = {one.path for one in settings(SCHEMA)}


def test_every_setting_has_a_text_and_every_text_a_setting():
    assert set(TEXTS) == PATHS
    operations = (*CATALOG.derivations.values(), *CATALOG.aggregates.values())
    arguments = {field.name for one in operations for field in dataclasses.fields(one)}
    assert arguments | {"op", "about", "of", "where", "windows"} == set(SHARED)


@pytest.mark.parametrize("path", made(), ids=lambda path: path.name)
def test_the_files_are_those_that_the_code_makes(path):
    assert path.read_text() == made()[path], "run python -m pipelines.reference"


def test_every_text_and_example_says_something():
    for path, (about, example) in {**TEXTS, **SHARED}.items():
        key = path.rpartition(".")[2]
        assert len(about) > 8 and "|" not in about and f"{key}:" in example, path
        YAML(typ="safe").load(example)


def test_what_the_loader_asks_for_is_in_the_reference(monkeypatch):
    asked = set()
    raw = Section.raw

    def noted(section, key):
        asked.add(key)
        return raw(section, key)

    monkeypatch.setattr(Section, "raw", noted)
    spec = load(shipped("chat"), CATALOG)
    names = {*spec.columns, *spec.kinds, *spec.derived, *spec.entities, *spec.inputs.computed}
    names |= {one.name for entity in spec.entities.values() for one in entity.aggregates}
    names |= {one.name for one in spec.policy.actions}
    names |= {one.column for one in spec.inputs.categorical} | set(spec.training.booster)
    known = {path.rpartition(".")[2] for path in PATHS} | set(SHARED)
    assert asked - names - set(spec.events.aliases) <= known


def test_defaults_are_those_of_the_dataclasses():
    assert default_of("events.dedup") == "1d"
    assert default_of("events.earliest") == "2000-01-01"
    assert default_of("training.rounds") == 400
    assert default_of("training.span") is None
    training = described(SCHEMA)["properties"]["training"]["properties"]
    assert training["rounds"]["default"] == 400
    assert training["span"]["description"] == TEXTS["training.span"][0]


@pytest.mark.parametrize("section", ["training", "inputs.text", "policy.actions.NAME", "gate"])
def test_the_loader_keeps_the_ranges_of_the_reference(section):
    sections = {
        "training": "inputs: {{text: {{column: s}}}}\ntraining: {{span: 9d, delay: 1d, {}}}",
        "inputs.text": "inputs: {{text: {{column: s, {}}}}}",
        "policy.actions.NAME": "policy: {{actions: {{x: {{min_precision: 0.5, {}}}}}}}",
        "gate": "gate: {{{}}}",
    }
    base = "lockstep: 1\ncolumns: {s: {type: string}}\nkinds: {a: {scored: true}}\n"
    for one in settings(SCHEMA):
        owner, _, key = one.path.rpartition(".")
        if owner != section or key == "min_precision":
            continue
        given = sections[section]
        if key == "encoder_tokens":  # means something only beside an encoder
            given = given.replace("column: s", "column: s, encoder: m")
        for bound, step in (("minimum", -1), ("maximum", 1)):
            if bound in one.schema:
                value = one.schema[bound]
                line = given.format(f"{key}: {value + step}")
                with pytest.raises(ConfigError, match=f"{key}: expected at"):
                    loads(f"{base}{line}\n", "r.yaml", CATALOG)
                if value > 1e-6:
                    assert loads(f"{base}{given.format(f'{key}: {value}')}\n", "r.yaml", CATALOG)
