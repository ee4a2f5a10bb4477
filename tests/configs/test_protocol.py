"""Protocols: shipped ones are read, and every mistake is named at its line."""

import datetime as dt
from pathlib import Path

import pytest

from configs.changed import change_config
from configs.errors import ConfigError, InputError
from configs.loader import loads, shipped
from configs.metrics import Metric
from configs.protocol import load_protocol, loads_protocol
from transforms.catalog import CATALOG

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "protocols").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_ones_are_read_and_change_a_config_that_stays_valid(path):
    made = load_protocol(path.stem)
    assert made.name == path.stem and made.metrics
    text = change_config(shipped(made.config).read_text(), made.change)
    changed = loads(text, path.name, CATALOG)
    assert (changed == loads(shipped(made.config).read_text(), "", CATALOG)) == (not made.change)


def test_days_and_rates_are_typed():
    made = load_protocol("fraud_handbook_september")
    assert made.split.train_days[1] == dt.date(2018, 8, 31)
    assert Metric("tpr_at_fpr", 0.02) in made.metrics


WRONG = """
protocol: 2
name: x
config: chat
split: {by: order, first: 1.5, of_each: [file, lable], folds: 3}
each: fold
metrics: [auk, tpr_at_fpr(0)]
colour: red
"""


def test_all_mistakes_are_told_at_once_with_their_lines():
    with pytest.raises(ConfigError) as raised:
        loads_protocol(WRONG, "p.yaml", Path("."))
    said = str(raised.value)
    for part in (
        "p.yaml:2:11: protocol: this release reads version 1, found 2",
        "first: expected a share between 0 and 1, found 1.5",
        "of_each: 'lable' is not known",
        "did you mean 'label'?",
        "split: there is no setting 'folds' here",
        "each: fold is for a split by account",
        "p.yaml:7:11: metrics: 'auk' is not known",
        "metrics: 'tpr_at_fpr(0)' is not known",
        "there is no setting 'colour' here",
    ):
        assert part in said, part
    assert "8 mistakes" in said


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("{by: time, train: 2018-06-01..2018-08-31, test: 2018-08-31..2018-09-30}", "begins on"),
        (
            "{by: time, train: 2018-06-01..2018-02-31, test: 2018-09-01..2018-09-30}",
            "expected days",
        ),
        ("{by: time, train: 2018-06-09..2018-06-01, test: 2018-09-01..2018-09-30}", "is before"),
        ("{by: file, train: [], test: [b]}", "train is missing"),
        ("{by: id, train: [a, b], test: c}", "expected one file with an id a line"),
        ("{by: account, folds: 1, column: who}", "at least 2"),
        ("{by: luck}", "'luck' is not known"),
        ("3", "expected a section"),
    ],
)
def test_a_split_that_cannot_be(split, said):
    text = f"protocol: 1\nname: x\nconfig: chat\nsplit: {split}\nmetrics: [auc]\n"
    with pytest.raises(ConfigError, match=said):
        loads_protocol(text, "p.yaml", Path("."))


def test_without_a_split_or_with_text_by_time():
    with pytest.raises(ConfigError, match="split: is missing"):
        loads_protocol("protocol: 1\nname: x\nconfig: chat\nmetrics: [auc]\n", "p", Path("."))
    by_time = "{by: time, train: 2018-06-01..2018-06-09, test: 2018-06-10..2018-06-11}"
    text = f"protocol: 1\nconfig: c\nsplit: {by_time}\ninputs: text\nmetrics: [auc]\n"
    with pytest.raises(ConfigError, match="text alone is for splits of rows"):
        loads_protocol(text, "p", Path("."))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("rules: {column: t, abuse: {a: b}, fine: {a: c}}", "'a' says abuse and fine"),
        ("rules: {column: t, prior: 1, abuse: {a: b}}", "prior: expected"),
        ("rules: {column: t, sure: 0.4, abuse: {a: b}}", "sure: expected"),
        ("rules: {column: t}", "expected abuse: and fine:"),
        ("rules: {abuse: {a: b}}", "'column' is missing"),
        ("rules: {column: t, abuse: {a: 3}}", "a: expected text"),
        ("rules: {column: t, abuse: {a: b}, worse: {c: d}}", "no setting 'worse'"),
        ("rules: {column: t, abuse: {a: b}}\neach: file", "without each"),
    ],
)
def test_rules_that_cannot_be(rest, said):
    split = "split: {by: file, train: a, test: b}"
    text = f"protocol: 1\nname: x\nconfig: chat\n{split}\nmetrics: [auc]\n{rest}\n"
    with pytest.raises(ConfigError, match=said):
        loads_protocol(text, "p.yaml", Path("."))


def test_a_protocol_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="did you mean 'youtube_spam'"):
        load_protocol("youtube_spaml")
    with pytest.raises(InputError, match="there is no protocol"):
        load_protocol(str(tmp_path / "none.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"bytes\.yaml:1:1: this line is not UTF-8"):
        load_protocol(str(tmp_path / "bytes.yaml"))


def test_a_change_replaces_adds_and_takes_out():
    changed = change_config(
        "a: {b: 1, c: [1, 2]}\nd: 3\n", {"a": {"c": [5]}, "d": None, "e": {"f": 1}}
    )
    assert changed == "a: {b: 1, c: [5]}\ne:\n  f: 1\n"
