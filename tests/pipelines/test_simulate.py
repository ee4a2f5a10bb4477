"""The simulated stream: the same bytes, whole files, and a world that behaves."""

import datetime as dt
import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from configs.errors import BusyError, InputError
from configs.loader import load, shipped
from pipelines.layout import day_us
from pipelines.progress import Quiet
from pipelines.simulate import SimulateSettings, simulate
from pipelines.simulate.attacks import SHARES, Stretch, plan_attacks
from pipelines.simulate.rows import FIRST_ABUSE, Act, Kind, concat, make_ids, make_rows
from pipelines.simulate.table import Part, to_table
from pipelines.simulate.texts import write_texts
from pipelines.simulate.world import DAY_US, make_rng, make_world
from transforms.catalog import CATALOG
from transforms.decode import decode_columns, decode_json

START = dt.date(2026, 3, 1)


@pytest.fixture(scope="module")
def spec():
    return load(shipped("chat"), CATALOG)


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    out = tmp_path_factory.mktemp("stream") / "events"
    counts = simulate(SimulateSettings(out, events=120_000, days=8))
    return out, counts


@pytest.fixture(scope="module")
def table(stream):
    return read(stream[0])


def read(out):
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*/*.parquet"))])


def files(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def of_kind(table, kind):
    return table.filter(pc.equal(table.column("kind"), kind))


def micros(column):
    return column.cast(pa.int64()).to_numpy()


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_same_seed_same_bytes(tmp_path, form):
    made = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        simulate(SimulateSettings(tmp_path / name, events=3_000, days=2, seed=seed, format=form))
        made.append(files(tmp_path / name))
    assert made[0] == made[1]
    assert made[0].keys() == made[2].keys()
    assert all(made[0][name] != made[2][name] for name in made[0])


def test_files_per_day_only_change_where_the_stream_is_cut(tmp_path):
    for name, number in (("one", 1), ("seven", 7)):
        simulate(SimulateSettings(tmp_path / name, events=130_000, days=2, files_per_day=number))
    assert len(list((tmp_path / "seven").glob("*/*.parquet"))) == 14
    assert read(tmp_path / "one").equals(read(tmp_path / "seven"))


def test_longer_days_do_not_change_what_a_unit_draws():
    ids = [make_ids(7, kind, unit, 500) for kind in range(4) for unit in range(4)]
    assert len(np.unique(np.concatenate(ids))) == 8_000


def test_about_as_many_events_as_asked_for(stream):
    _, counts = stream
    assert abs(sum(counts.values()) - 120_000) < 0.05 * 120_000
    assert counts["verdict"] > counts["report"] > 500


def test_counts_are_those_of_the_files(stream, table):
    _, counts = stream
    kinds = {row["values"]: row["counts"] for row in table["kind"].value_counts().to_pylist()}
    assert kinds == counts


def test_a_day_holds_what_became_known_on_it_in_total_order(stream):
    for folder in sorted(stream[0].iterdir()):
        day = day_us(dt.date.fromisoformat(folder.name.removeprefix("date=")))
        rows = pa.concat_tables([pq.read_table(path) for path in sorted(folder.iterdir())])
        time = micros(rows["sent_at"])
        assert day <= time.min() and time.max() < day + DAY_US
        keys = list(zip(time.tolist(), rows["event_id"].to_pylist(), strict=True))
        assert keys == sorted(keys)


def test_every_event_is_a_valid_event_of_chat(spec, table):
    decoded = decode_columns(spec, table, "simulated")
    assert decoded.dead == ()
    assert decoded.batch.num_rows == table.num_rows
    assert pc.count_distinct(table["event_id"]).as_py() == table.num_rows


def test_json_lines_say_the_same_as_parquet(tmp_path, spec):
    for form in ("parquet", "jsonl"):
        simulate(SimulateSettings(tmp_path / form, events=2_000, days=1, format=form))
    lines = b"".join(files(tmp_path / "jsonl").values()).splitlines()
    columns = decode_columns(spec, read(tmp_path / "parquet"), "simulated")
    assert decode_json(spec, lines, "simulated").batch.equals(columns.batch)


def test_reactions_come_after_what_they_are_about(table):
    messages = of_kind(table, "message")
    sent = dict(
        zip(messages["event_id"].to_pylist(), micros(messages["sent_at"]).tolist(), strict=True)
    )
    author = dict(
        zip(messages["event_id"].to_pylist(), messages["author_id"].to_pylist(), strict=True)
    )
    for kind in ("report", "verdict"):
        rows = of_kind(table, kind)
        subjects = rows["subject_id"].to_pylist()
        delay = micros(rows["sent_at"]) - np.array([sent[subject] for subject in subjects])
        assert delay.min() >= 1_000_000
        assert delay.max() < 25 * DAY_US
        assert [author[subject] for subject in subjects] == rows["target_id"].to_pylist()
    hours = delay / 3600e6
    assert 0.2 < np.median(hours) < 12
    assert np.quantile(hours, 0.99) > 24


def test_a_few_percent_of_messages_are_abuse_and_most_of_them_are_judged(table):
    messages, verdicts = of_kind(table, "message"), of_kind(table, "verdict")
    bad = pc.sum(verdicts["is_abuse"]).as_py()
    assert 0.012 < bad / messages.num_rows < 0.04
    audits = verdicts.num_rows - bad
    assert 0.003 < audits / messages.num_rows < 0.02


def test_appeals_reverse_verdicts(table):
    verdicts = of_kind(table, "verdict")
    appeals = verdicts.filter(pc.equal(verdicts["source"], "appeal"))
    before = dict(
        zip(verdicts["subject_id"].to_pylist(), verdicts["is_abuse"].to_pylist(), strict=True)
    )
    assert all(subject in before for subject in appeals["subject_id"].to_pylist())
    reversed_share = 1 - pc.mean(appeals["is_abuse"].cast(pa.float64())).as_py()
    assert 0.05 < reversed_share < 0.6


def test_few_write_most_and_nights_are_quiet(table):
    messages = of_kind(table, "message")
    each = np.sort([row["counts"] for row in messages["author_id"].value_counts().to_pylist()])
    assert each[-len(each) // 10 :].sum() > 0.35 * each.sum()
    hours = np.bincount(pc.hour(messages["sent_at"]).to_numpy(), minlength=24)
    assert hours[20] > 3 * hours[3]
    days = np.bincount(pc.day_of_week(messages["sent_at"]).to_numpy(), minlength=7)
    assert min(days[5], days[6] / 2) > 1.05 * days[2]  # eight days hold two Sundays


def test_nobody_writes_before_their_account_is_made(table):
    age = of_kind(table, "message")["account_age"].to_numpy()
    assert (age <= 0).mean() < 0.002
    assert (age < 86_400).mean() > 0.002


def test_all_kinds_of_abuse_are_planned_and_adapt():
    world = make_world(2_000, 10, 0, 7)
    attacks, created = plan_attacks(world, make_rng(7, 0), Stretch(0, 10 * DAY_US), 100_000)
    found = {act: int((attacks.act == act).sum()) for act in SHARES}
    for act, share in SHARES.items():
        assert 0.4 * share * 100_000 < found[act] < 2 * share * 100_000, act
    assert (np.diff(attacks.time) >= 0).all()
    assert attacks.time.min() >= 0 and attacks.time.max() < 10 * DAY_US
    assert (created[attacks.author] <= attacks.time).all()
    campaign = attacks.take(attacks.act == Act.CAMPAIGN)
    several = [
        set(campaign.theme[campaign.theme // 256 == one] % 256)
        for one in np.unique(campaign.theme // 256)
    ]
    assert max(len(seasons) for seasons in several) > 1


def test_seasons_of_a_campaign_share_no_words_but_its_waves_do():
    world = make_world(50, 1, 0, 7)
    theme = np.repeat([256 * 3, 256 * 3 + 1], 200)
    rows = make_rows(np.arange(400), act=Act.CAMPAIGN, author=0, theme=theme)
    texts = write_texts(world, make_rng(7, 1), rows).to_pylist()
    digits = str.maketrans("", "", "0123456789")
    first, second = ({t.translate(digits) for t in part} for part in (texts[:200], texts[200:]))
    assert len(first) < 80
    assert len(first & second) < 25  # those that only chat


def test_texts_are_of_several_languages_with_links_of_honest_people(table):
    text = of_kind(table, "message")["text"]
    assert pc.count_distinct(text).as_py() > 20_000
    for piece in ("сервер", "サーバー", "الخادم", "सर्वर", "😂", "https://youtube.com"):
        assert pc.sum(pc.match_substring(text, piece)).as_py() > 20, piece


def test_one_account_and_one_event_make_a_stream(tmp_path):
    counts = simulate(SimulateSettings(tmp_path / "a", events=1, days=1, accounts=1))
    assert sum(counts.values()) == read(tmp_path / "a").num_rows


@settings(max_examples=12)
@given(
    events=st.integers(1, 3_000),
    days=st.integers(1, 3),
    seed=st.integers(0, 2**63 - 1),
    accounts=st.one_of(st.none(), st.integers(1, 300)),
    files_per_day=st.one_of(st.none(), st.integers(1, 5)),
)
def test_any_settings_make_valid_events(
    tmp_path_factory, spec, events, days, seed, accounts, files_per_day
):
    out = tmp_path_factory.mktemp("any") / "events"
    given_settings = SimulateSettings(
        out, events, days, START, seed, accounts, files_per_day=files_per_day
    )
    counts = simulate(given_settings)
    table = ds.dataset(out, format="parquet").to_table()
    assert table.num_rows == sum(counts.values())
    assert len(list(out.iterdir())) == days
    assert decode_columns(spec, table, "simulated").dead == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"events": 0}, "0 events: expected 1 to"),
        ({"days": 0}, "0 days"),
        ({"seed": -1}, "seed -1: expected 0 to"),
        ({"accounts": 0}, "0 accounts"),
        ({"files_per_day": 0}, "0 files per day"),
        ({"format": "csv"}, "expected parquet or jsonl"),
        ({"start": dt.date(9999, 12, 31), "days": 3}, "end after the year 9999"),
    ],
)
def test_settings_that_make_no_stream_are_refused(tmp_path, more, said):
    with pytest.raises(InputError, match=said):
        simulate(SimulateSettings(tmp_path / "events", **more))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    out = tmp_path / "events"
    out.mkdir()
    (out / "mine").write_text("kept")
    with pytest.raises(InputError, match="is not an empty folder"):
        simulate(SimulateSettings(out, events=10, days=1))
    assert files(out) == {"mine": b"kept"}
    with pytest.raises(InputError, match="is not an empty folder"):
        simulate(SimulateSettings(out / "mine", events=10, days=1))


def test_an_empty_folder_is_filled(tmp_path):
    simulate(SimulateSettings(tmp_path, events=100, days=1))
    assert len(files(tmp_path)) == 1


class Interrupting(Quiet):
    def __init__(self, error, after):
        self.error, self.left = error, after

    def advance(self, amount):
        self.left -= 1
        if self.left == 0:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_a_run_that_is_stopped_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)):
        simulate(SimulateSettings(tmp_path / "events", 3_000, 5), Interrupting(error, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def write(self, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Part, "write", write)
    with pytest.raises(InputError, match="full"):
        simulate(SimulateSettings(tmp_path / "events", 3_000, 5))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared(tmp_path):
    left = tmp_path / ".events.writing" / "date=1999-01-01"
    left.mkdir(parents=True)
    (left / "part-0000.parquet").write_text("half")
    simulate(SimulateSettings(tmp_path / "events", 500, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["events"]
    assert len(files(tmp_path / "events")) == 1


def test_two_runs_at_once_on_the_same_output(tmp_path):
    aside = tmp_path / ".events.writing"
    aside.mkdir()
    handle = os.open(aside, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(BusyError, match="another run writes"):
            simulate(SimulateSettings(tmp_path / "events", 500, 1))
    finally:
        os.close(handle)
    assert [path.name for path in tmp_path.iterdir()] == [".events.writing"]


def test_rows_of_all_kinds_become_one_table():
    world = make_world(50, 1, 0, 7)
    message = make_rows(np.array([5]), id=1, author=2, channel=3)
    report = make_rows(np.array([9]), id=2, kind=Kind.REPORT, author=4, target=2, subject=1)
    made = to_table(concat([message, report]), pa.array(["hi"]), world).to_pylist()
    assert [row["kind"] for row in made] == ["message", "report"]
    assert made[0]["author_id"] == "u00000002" and made[0]["text"] == "hi"
    assert made[1]["subject_id"] == made[0]["event_id"] == "0000000000000001"
    assert made[1]["recipients"] is None and made[1]["is_abuse"] is None
    assert FIRST_ABUSE not in (Act.CHAT, Act.PROMO, Act.BOT)


def run_command(*arguments):
    import typer

    from pipelines.commands import add_verb

    app = typer.Typer()
    add_verb(app, "simulate")
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_counts_for_people_and_for_machines(tmp_path):
    done = run_command("--out", tmp_path / "a", "--events", "1k", "--days", 2, "--quiet")
    assert done.exit_code == 0, done.output
    assert "messages" in done.output
    done = run_command("--out", tmp_path / "b", "--events", "1K", "--days", 2, "--json")
    assert sum(json.loads(done.output).values()) == read(tmp_path / "b").num_rows
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("events", ["many", "-5", "1.5m", ""])
def test_the_command_refuses_what_is_no_number(tmp_path, events):
    done = run_command("--out", tmp_path / "a", "--events", events)
    assert done.exit_code == 2
    assert "200k" in done.output


def test_the_folder_that_one_is_in_may_be_written(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    simulate(SimulateSettings(Path("."), events=200, days=1))
    assert [path.parent.name for path in (tmp_path / "here").rglob("*.parquet")]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
