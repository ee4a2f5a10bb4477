"""`lockstep leakcheck`: verdicts move as asked, and the ladder rises by the inputs of them."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from backfill_world import CONFIG, START
from typer.testing import CliRunner

from configs.errors import ConfigError, EvidenceError, InputError
from configs.loader import load, loads, shipped
from pipelines.commands import add_verb
from pipelines.layout import Days
from pipelines.leakcheck import LeakcheckRequest, _moved, leakcheck
from transforms.catalog import CATALOG

HOUR = 3_600_000_000
# Verdicts are about people, who stay what they are for a day: a verdict tells of the next posts.
RISKY = CONFIG.replace(
    "    key: {post: [who]}\n    windows: [1h, 1d]\n    aggregates:\n",
    "    key: {post: [who], verdict: [who]}\n    windows: [1h, 1d]\n    aggregates:\n"
    "      risk: {op: mean, of: verdict, column: bad, windows: [1d]}\n",
).replace("model: ", "")
SPLIT = {
    "train": Days.parse("2026-03-01..2026-03-02"),
    "test": Days.parse("2026-03-03..2026-03-04"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four days of posts; who is bad changes daily, and nothing but verdicts shows it."""
    rng = random.Random(3)
    start, rows = int(START.timestamp() * 1e6), []
    for number in range(1600):
        at = start + rng.randrange(4 * 24 * HOUR)
        person = rng.randrange(20)
        bad = random.Random(f"{person} {at // (24 * HOUR)}").random() < 0.4
        post = {"id": f"p{number}", "at": at, "kind": "post", "who": f"w{person}", "amount": 1.0}
        post["text"] = rng.choice(["see you", "at noon"])
        known = at + rng.randrange(4 * HOUR, 20 * HOUR)
        verdict = {"id": f"v{number}", "at": known, "kind": "verdict", "who": f"w{person}"}
        rows += [post, verdict | {"subject": f"p{number}", "bad": bad}]
    folder = tmp_path_factory.mktemp("leak") / "input"
    folder.mkdir()
    names = ("id", "at", "kind", "who", "amount", "text", "subject", "bad")
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    pq.write_table(table.slice(0, 1600), folder / "a.parquet")
    pq.write_table(table.slice(1600), folder / "b.parquet")
    return folder


@pytest.fixture(scope="module")
def spec():
    return loads(RISKY, "risky.yaml", CATALOG)


def test_verdicts_move_to_a_share_of_their_delay_and_nothing_else_does(source, spec, tmp_path):
    moved, folder = _moved(spec, str(source), 0.25, tmp_path)
    assert moved == spec
    before, after = (
        pa.concat_tables([pq.read_table(one / name) for name in names])
        for one, names in (
            (source, ("a.parquet", "b.parquet")),
            (tmp_path / "input", ("0.parquet", "1.parquet")),
        )
    )
    assert folder == str(tmp_path / "input")
    assert before.drop_columns("at").equals(after.drop_columns("at"))
    times = dict(zip(before["id"].to_pylist(), before["at"].to_pylist(), strict=True))
    for row in after.to_pylist():
        was = times[row["id"]]
        post = times.get(row["subject"], was)
        assert row["at"] == post + round((was - post) * 0.25)


def test_of_a_row_that_makes_both_the_rule_moves(tmp_path):
    card = load(shipped("card_fraud"), CATALOG)
    moved, folder = _moved(card, "same.parquet", 0.5, tmp_path)
    assert folder == "same.parquet"
    assert [rule.delay_us for rule in moved.ingest] == [0, 84 * HOUR]
    comments = load(shipped("video_comments"), CATALOG)
    with pytest.raises(ConfigError, match="there is no ladder to climb"):
        _moved(comments, "same.csv", 0.5, tmp_path)


def test_the_ladder_rises_by_the_input_that_is_made_of_verdicts(source, spec, tmp_path):
    (tmp_path / "risky.yaml").write_text(RISKY)
    app = typer.Typer()
    app.command("other")(lambda: None)
    add_verb(app, "leakcheck")
    days = ["--train", str(SPLIT["train"]), "--test", str(SPLIT["test"]), "--shares", "1,0"]
    asked = ["leakcheck", str(tmp_path / "risky.yaml"), "--input", str(source), *days]
    ended = CliRunner().invoke(app, [*asked, "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    real, at_once = found["rungs"]
    assert (real["share"], at_once["share"]) == (1.0, 0.0)
    assert real["labelled"] == at_once["labelled"] > 700
    assert at_once["average_precision"] > real["average_precision"] + 0.1
    moved = {one["name"] for one in found["inputs"] if one["moved"]}
    assert moved == {"who_risk_1d"} and found["leaks"] == []
    wrong = CliRunner().invoke(app, [*asked[:4], "--train", "2026-03-03..2026-03-04", *days[2:]])
    assert wrong.exit_code == 2 and "begins before" in wrong.output


def test_days_without_both_classes_and_other_files_are_refused(source, spec, tmp_path):
    with pytest.raises(EvidenceError, match=r"--test 2026-05-01.* has 0 labelled events"):
        test = Days.parse("2026-05-01..2026-05-02")
        leakcheck(LeakcheckRequest(spec, str(source), SPLIT["train"], test))
    (tmp_path / "a.jsonl").write_text('{"id": "1", "at": 1, "kind": "post", "who": "w"}\n')
    with pytest.raises(InputError, match="write the input as Parquet"):
        _moved(spec, str(tmp_path / "a.jsonl"), 0.5, tmp_path)


def test_times_that_cannot_be_moved_are_named_with_their_file(spec, tmp_path):
    row = {"id": ["1"], "at": ["2026-03-01T00:00:00Z"], "kind": ["post"], "subject": [None]}
    pq.write_table(pa.table(row), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: 'at' is of type string; .* timestamps"):
        _moved(spec, str(tmp_path), 0.5, tmp_path)
