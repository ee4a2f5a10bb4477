"""`lockstep evaluate --protocol`: what tests teaches nothing, and a split by time is a night's."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from nightly_world import copy_of
from typer.testing import CliRunner

from configs.errors import ConfigError, EvidenceError, InputError
from configs.protocol import loads_protocol
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days
from pipelines.protocol import ProtocolRequest, ScoredRows, run_protocol, score_fold
from pipelines.protocol.read import listed_ids, read_rows
from training.protocol import Fold, ProtocolRows, rule_votes, split_rows
from transforms.inputs import numeric_names


def protocol(folder: Path, split: str, rest: str = "metrics: [auc, average_precision]"):
    (folder / "tiny.yaml").write_text(CONFIG)
    text = f"protocol: 1\nname: mine\nconfig: tiny.yaml\nsplit: {split}\n{rest}\n"
    (folder / "mine.yaml").write_text(text)
    return loads_protocol(text, "mine.yaml", folder)


@pytest.fixture(scope="module")
def by_time(night_house, tmp_path_factory):
    """The night's own days said as a protocol, in a copy of its folder."""
    folder = tmp_path_factory.mktemp("protocol")
    source, out = copy_of(night_house, folder)
    split = "{by: time, train: 2026-03-04..2026-03-08, test: 2026-03-09..2026-03-10}"
    return run_protocol(ProtocolRequest(protocol(folder, split), source, out)), out


def test_a_split_by_time_is_the_nightly_run_and_its_evaluation(night_house, by_time):
    result, out = by_time
    bundle = night_house[2].bundle
    found = evaluate_bundle(EvaluateRequest(out, bundle, Days.parse("2026-03-09..2026-03-10")))
    (row,) = result.rows
    assert row.name == "all"
    assert row.figures["auc"].value == pytest.approx(found.metrics.auc, abs=1e-12)
    assert row.events == found.metrics.labelled and row.positives == found.metrics.positives
    assert "events to 2026-03-07, labels as known before 2026-03-09" in result.notes[0]
    assert result.train > 500


def test_training_days_shorter_than_the_labels_delay_are_refused(tmp_path):
    split = "{by: time, train: 2026-03-08..2026-03-08, test: 2026-03-09..2026-03-10}"
    with pytest.raises(ConfigError, match=r"training.delay is 1d, longer than the days that train"):
        run_protocol(ProtocolRequest(protocol(tmp_path, split), "none", tmp_path / "out"))


@pytest.fixture(scope="module")
def read(tiny_spec):
    """Forty events of two people, whose text tells the label."""
    labels = np.array([0, 1] * 20, np.int8)
    ids = pa.array([f"p{at:02d}" for at in range(40)])
    times = np.arange(40) * 1_000_000
    events = pa.table(
        {
            "event_id": ids,
            "event_time": times,
            "where": pa.array(["a", "b"] * 20),
            "clean": pa.array([f"{'win' if one else 'see'} {at}" for at, one in enumerate(labels)]),
        }
    )
    rows = ProtocolRows(np.zeros(40, np.int64), ["f"], np.arange(40), ids, labels)
    width = len(numeric_names(tiny_spec))
    numeric = np.repeat(np.arange(40, dtype=np.float32)[:, None], width, 1)
    return ScoredRows(numeric, events, times, rows, None)


@pytest.mark.parametrize("inputs", ["text", "all"])
def test_labels_of_rows_that_test_teach_nothing(read, tiny_spec, inputs):
    train = np.arange(40) < 30
    fold = Fold(train, ~train)
    turned = np.where(train, read.rows.labels, 1 - read.rows.labels).astype(np.int8)
    other = dataclasses.replace(read, rows=dataclasses.replace(read.rows, labels=turned))
    made, again = (score_fold(tiny_spec, inputs, one, fold) for one in (read, other))
    assert np.array_equal(made, again)
    assert np.array_equal(made > 0, read.rows.labels[~train] == 1)


def test_folds_of_accounts_with_all_inputs_from_the_command_line(night_house, tmp_path):
    import typer

    from pipelines.commands import add_verb

    source = night_house[0]
    protocol(tmp_path, "{by: account, folds: 2, column: who}", "each: fold\nmetrics: [auc, mcc]")
    app = typer.Typer()
    add_verb(app, "evaluate")
    app.command("other")(lambda: None)
    asked = ["evaluate", "--protocol", str(tmp_path / "mine.yaml"), "--input", source]
    ended = CliRunner().invoke(app, [*asked, "--json", "--out", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.output)
    names = [row["name"] for row in found["rows"]]
    assert names == ["fold 1", "fold 2", "mean", "all"]
    events = [row["events"] for row in found["rows"]]
    assert events[0] + events[1] == events[2] == events[3] > 1000
    assert found["rows"][3]["figures"]["auc"]["value"] > 0.9
    wrong = CliRunner().invoke(app, [*asked, "--days", "2026-03-01..2026-03-02"])
    assert wrong.exit_code == 2 and "leave out --days" in wrong.output
    wrong = CliRunner().invoke(app, asked[:3])
    assert wrong.exit_code == 2 and "--protocol needs --input" in wrong.output


RULES = """
rules:
  column: clean
  abuse: {wins: '\\bwin\\b', money: 'MONEY'}
  fine: {noon: 'noon', seldom: 'never said'}
inputs: text
metrics: [accuracy]
"""


def test_rules_label_what_trains_and_labels_of_it_are_not_looked_at(tmp_path):
    source = tmp_path / "input"
    source.mkdir()
    events = make_events(400, days=2)
    for number, name in enumerate("ab"):
        part = [one for one in events if int(one["id"][1:]) % 2 == number]
        kept = [one for one in part if name == "b" or one["kind"] == "post"]
        (source / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in kept))
    made = protocol(tmp_path, "{by: file, train: a.jsonl, test: b.jsonl}", RULES)
    found = run_protocol(ProtocolRequest(made, str(source)))
    names = [row.name for row in found.rows]
    assert names == ["majority of rules", "label model", "classifier"]
    # The rules see each text for what it is; abuse that nobody judged counts as none by its age.
    posts = {one["id"]: "win" in one["text"] for one in kept if one["kind"] == "post"}
    judged = {one["subject"] for one in kept if one["kind"] == "verdict" and one["bad"]}
    right = np.mean([said == (post in judged) for post, said in posts.items()])
    assert [row.figures["accuracy"].value for row in found.rows] == [pytest.approx(right)] * 3
    assert 0.9 < right < 1.0
    qualities = {one.name: (one, right) for one, right in found.sources}
    assert qualities["wins"][0].accuracy > 0.95 and qualities["wins"][1] < 1.0
    assert qualities["seldom"] == (qualities["seldom"][0], None)
    assert qualities["seldom"][0].votes == 0
    assert found.train > 100 and "no label of the" in found.notes[0]


def test_only_rows_of_which_the_rules_are_sure_enough_teach(tmp_path):
    events = [one for one in make_events(400, days=2) if one["kind"] == "post"]
    for name, part in (("a", events[:300]), ("b", make_events(100, days=1))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in part))
    made = protocol(tmp_path, "{by: file, train: a.jsonl, test: b.jsonl}", RULES)
    taught = {}
    for sure in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.999):
        asked = ProtocolRequest(dataclasses.replace(made, sure=sure), str(tmp_path / "*.jsonl"))
        try:
            taught[sure] = run_protocol(asked).train
        except EvidenceError as error:
            assert f"{sure} sure of" in str(error)
            taught[sure] = 0
    assert list(taught.values()) == sorted(taught.values(), reverse=True)
    assert taught[0.5] > 100 and taught[0.999] == 0


def test_a_rule_that_is_no_expression_is_named():
    column = pa.chunked_array([["a"]])
    made = loads_protocol(
        "protocol: 1\nconfig: c\nsplit: {by: file, train: a, test: b}\nmetrics: [auc]\n"
        "rules: {column: text, abuse: {odd: '(?=a)'}, fine: {good: 'b'}}\n",
        "p",
        Path("."),
    )
    with pytest.raises(ConfigError, match=r"the rule 'odd' is no regular expression of RE2"):
        rule_votes(made, column)


def test_lists_of_ids_that_are_not_there_are_named(night_house, tmp_path):
    made = protocol(tmp_path, "{by: id, train: a.txt, test: b.txt}", "metrics: [auc]\ninputs: text")
    with pytest.raises(InputError, match=r"cannot read the ids in .*a\.txt"):
        run_protocol(ProtocolRequest(made, night_house[0]))


def test_ids_of_no_event_are_counted_and_refused_where_there_are_no_others(tmp_path):
    made = protocol(tmp_path, "{by: id, train: a.txt, test: b.txt}", "metrics: [auc]\ninputs: text")
    (tmp_path / "a.txt").write_bytes("\N{BYTE ORDER MARK}e1\r\ne2 \r\n\r\n".encode())
    (tmp_path / "b.txt").write_text("e3\ne99\ne98")
    found = listed_ids(made, pa.array(["e1", "e2", "e3"]))
    assert found.ids == ({"e1", "e2"}, {"e3", "e99", "e98"})
    assert found.notes == ("b.txt: 2 of 3 ids are of no scored event",)
    with pytest.raises(InputError, match=r"none of the 3 ids in .*b\.txt is that of a scored"):
        listed_ids(made, pa.array(["e1", "e2"]))


def test_files_of_one_name_are_told_apart_and_copies_of_an_event_count_once(tiny_spec, tmp_path):
    posts = [one for one in make_events(40, days=1) if one["kind"] == "post"]
    halves = {"x": posts[:20], "y": [*posts[20:], posts[0]]}  # a copy in another file
    for folder, events in halves.items():
        (tmp_path / folder).mkdir()
        text = "".join(json.dumps(one) + "\n" for one in events)
        (tmp_path / folder / "a.jsonl").write_text(text)
    found = read_rows(str(tmp_path), tiny_spec)
    assert found.rows.names == ["x/a.jsonl", "y/a.jsonl"]
    ids = found.rows.ids.to_pylist()
    assert sorted(ids) == sorted(one["id"] for one in posts)
    of = dict(zip(ids, found.rows.files.tolist(), strict=True))
    assert all(of[one["id"]] == 0 for one in posts[1:20])
    assert all(of[one["id"]] == 1 for one in posts[20:])
    split = protocol(tmp_path, "{by: file, train: ['x/*'], test: ['y/a.jsonl']}").split
    every = dataclasses.replace(found.rows, labels=np.arange(len(ids), dtype=np.int8) % 2)
    (fold,) = split_rows(split, every, (set(), set()))
    assert fold.test.tolist() == [of[one] == 1 for one in ids]
