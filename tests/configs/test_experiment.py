"""Files of experiments: challengers are read as changes, and every mistake is named at its line."""

import datetime as dt
from pathlib import Path

import jsonschema
import pytest
from backfill_world import CONFIG
from ruamel.yaml import YAML

from configs.errors import ConfigError, InputError
from configs.experiment import load_experiment, loads_experiment
from configs.experiment_schema import experiment_schema
from configs.reference import settings
from configs.texts import EXPERIMENT
from transforms.catalog import CATALOG

FILE = """experiment: 1
name: mine
config: tiny.yaml
as_of: [2026-03-08, 2026-03-09]
test: 12h
over: events
metrics: [auc, tpr_at_fpr(0.02)]
challengers:
  longer: {about: more days, change: {training: {span: 5d}}}
  plain:
    change:
      inputs: {text: null}
      entities: {who: {aggregates: {often: {op: count, of: post, windows: [6h]}}}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return tmp_path


def loaded(folder: Path, text: str):
    return loads_experiment(text, "e.yaml", folder, CATALOG)


def test_challengers_are_the_champion_but_for_what_they_change(folder):
    made = loaded(folder, FILE)
    champion, longer, plain = made.contenders
    assert champion.text == CONFIG
    assert made.as_of == (dt.date(2026, 3, 8), dt.date(2026, 3, 9))
    assert made.test_us == 43_200_000_000
    assert [str(one) for one in made.metrics] == ["auc", "tpr_at_fpr(0.02)"]
    assert longer.spec.training.span_us == 5 * 86_400_000_000
    assert longer.spec.entities == champion.spec.entities
    assert plain.spec.inputs.text is None
    assert [one.name for one in plain.spec.entities["who"].aggregates][-1] == "often"
    assert longer.differences == ("training.span: 5d",)
    assert plain.differences == (
        "inputs.text: left out",
        "entities.who.aggregates.often: {op: count, of: post, windows: [6h]}",
    )


def test_what_a_change_gets_wrong_is_told_where_it_says_so(folder):
    text = FILE.replace("span: 5d", "spann: 5d").replace("of: post, windows", "of: pst, windows")
    with pytest.raises(ConfigError) as raised:
        loaded(folder, text)
    said = str(raised.value)
    assert "e.yaml:9:50: training: there is no setting 'spann' here" in said
    assert "did you mean 'span'?" in said
    place = text.splitlines()[12].index("pst") + 1
    assert f"e.yaml:13:{place}: " in said and "did you mean 'post'?" in said
    assert [one["line"] for one in raised.value.mistakes] == [9, 13]


def test_what_a_change_breaks_elsewhere_is_told_with_the_line_of_the_changed_config(folder):
    text = FILE.replace("{text: null}", "{categorical: null}\n      columns: {text: null}")
    with pytest.raises(ConfigError) as raised:
        loaded(folder, text)
    line = text.splitlines().index("    change:") + 1
    said = str(raised.value)
    assert f"e.yaml:{line}:5: the config tiny with this change, line " in said
    assert "clean: {op: normalize_text, of: text}" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("experiment: 1", "experiment: 3", "e.yaml:1:13: experiment: this release reads version 1"),
        ("name: mine", "name: ../mine", "e.yaml:2:7: name: '../mine' names a folder"),
        ("[2026-03-08, 2026-03-09]", "[2026-03-09, 2026-03-08]", "expected days in their order"),
        ("[2026-03-08, 2026-03-09]", "2026-03-09..2026-03-01", "expected 1 to 366 days"),
        ("[2026-03-08, 2026-03-09]", "[2026-03-08, soon]", "e.yaml:4:21: as_of: 'soon' is no day"),
        ("[2026-03-08, 2026-03-09]", "[]", "expected at least one day"),
        ("as_of: [2026-03-08, 2026-03-09]\n", "", "as_of is missing"),
        ("test: 12h", "test: 2d", "e.yaml:5:7: test: events after one day of as_of reach beyond"),
        ("test: 12h", "test: 0s", "expected more than 0s"),
        ("over: events", "over: acounts", "e.yaml:6:7: over: 'acounts' is not known"),
        ("over: events", "over: accounts", "does not say what an account is"),
        ("over: events", "over: campaigns", "'tiny' has no section campaigns"),
        ("auc", "auk", "e.yaml:7:11: metrics: 'auk' is not known"),
        ("{training: {span: 5d}}", "{training: {span: 4d}}", "it is the same as 'champion'"),
        ("{training: {span: 5d}}", "4", "change: expected a section"),
        (", change: {training: {span: 5d}}", "", "longer: 'change' is missing"),
        ("  longer:", "  champion:", "'champion' is no name for one"),
        ("about: more days", "abut: more days", "there is no setting 'abut' here"),
        ("over: events", "colour: red", "the file: there is no setting 'colour' here"),
    ],
)
def test_mistakes(folder, old, new, said):
    with pytest.raises(ConfigError) as raised:
        loaded(folder, FILE.replace(old, new))
    assert said in str(raised.value)


def test_a_file_without_config_or_challengers(folder):
    with pytest.raises(ConfigError, match="'config' is missing"):
        loaded(folder, FILE.replace("config: tiny.yaml\n", ""))
    with pytest.raises(ConfigError, match="challengers: expected at least one"):
        loaded(folder, FILE[: FILE.index("challengers:")])
    with pytest.raises(InputError, match=r"there is no shipped config 'tiny\.yml'"):
        loaded(folder, FILE.replace("tiny.yaml", "tiny.yml"))
    with pytest.raises(InputError, match="cannot read the experiment"):
        load_experiment(folder / "none.yaml", CATALOG)


def test_two_challengers_that_are_the_same_are_a_mistake(folder):
    with pytest.raises(ConfigError, match="it is the same as 'longer'"):
        loaded(folder, FILE + "  again: {change: {training: {span: 120h}}}\n")


def test_accounts_are_drawn_where_the_config_names_them(folder):
    (folder / "tiny.yaml").write_text(CONFIG + "evaluation: {group: who}\n")
    assert loaded(folder, FILE.replace("over: events\n", "")).over == "accounts"
    (folder / "tiny.yaml").write_text(CONFIG)
    assert loaded(folder, FILE.replace("over: events\n", "")).over == "events"


def test_the_schema_takes_what_is_read_and_has_a_text_for_each_setting():
    schema = experiment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    given = YAML(typ="safe").load(
        FILE.replace("[2026-03-08, 2026-03-09]", "2026-03-08..2026-03-09")
    )
    jsonschema.validate(given, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**given, "colour": "red"}, schema)
    assert {one.path for one in settings(schema)} == set(EXPERIMENT)
