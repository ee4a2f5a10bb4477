"""A world lives from day to day: the same bytes, a truth apart, and enforcement that acts."""

import dataclasses
import datetime as dt
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from configs.errors import InputError
from configs.loader import load, shipped
from configs.world import ABUSE, Abuse, Enforcement, LetThrough, load_world, loads_world
from pipelines.commands import add_verb
from pipelines.layout import day_us
from pipelines.simulate import WorldRequest, read_truth, simulate_world
from pipelines.simulate.campaigns import NONE, change, go_on
from pipelines.simulate.days import simulate_days
from pipelines.simulate.town import first_accounts, make_communities, town_of
from pipelines.simulate.world import DAY_US, make_rng
from transforms.catalog import CATALOG
from transforms.decode import decode_columns

START = dt.date(2026, 3, 1)
DAYS = 12


@pytest.fixture(scope="module")
def world():
    return load_world("chat")


def live(world, days=DAYS, seed=7, policy=None):
    return list(itertools.islice(simulate_days(world, START, seed, policy), days))


@pytest.fixture(scope="module")
def lived(world):
    return live(world)


@pytest.fixture(scope="module")
def events(lived):
    return pa.concat_tables([day.events for day in lived])


@pytest.fixture(scope="module")
def truth(lived):
    return pa.concat_tables([day.truth for day in lived])


def of_kind(table, kind):
    return table.filter(pc.equal(table["kind"], kind))


def column(table, name):
    return np.array(table[name].to_pylist())


def joined(rows, truth, name):
    """A column of the truth for each row's subject."""
    place = pc.index_in(rows["subject_id"], value_set=truth["event_id"].combine_chunks())
    return np.array(truth[name].take(place).to_pylist())


def files(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_more_days_change_none_of_those_before(tmp_path, world):
    for name, days, seed in (("two", 2, 7), ("four", 4, 7), ("other", 2, 8)):
        simulate_world(WorldRequest(world, tmp_path / name, days=days, seed=seed))
    two, four, other = (files(tmp_path / name) for name in ("two", "four", "other"))
    assert len(two) == 2 and len(four) == 4
    assert all(four[name] == data for name, data in two.items())
    assert all(other[name] != data for name, data in two.items())
    apart = [files(tmp_path / f"{name}.truth") for name in ("two", "four")]
    assert all(apart[1][name] == data for name, data in apart[0].items())


def test_every_event_is_a_valid_event_of_chat(events):
    spec = load(shipped("chat"), CATALOG)
    decoded = decode_columns(spec, events, "world")
    assert decoded.dead == ()
    assert pc.count_distinct(events["event_id"]).as_py() == events.num_rows


def test_days_hold_what_became_known_on_them_in_total_order(lived):
    for day in lived:
        time = day.events["sent_at"].cast(pa.int64()).to_numpy()
        assert day_us(day.date) <= time.min() and time.max() < day_us(day.date) + DAY_US
        keys = list(zip(time.tolist(), day.events["event_id"].to_pylist(), strict=True))
        assert keys == sorted(keys)
        assert sum(day.counts.values()) == day.events.num_rows


def test_the_truth_is_of_all_messages_and_no_column_of_events_has_it(events, truth):
    messages = of_kind(events, "message")
    assert messages["event_id"].to_pylist() == truth["event_id"].to_pylist()
    assert messages["author_id"].to_pylist() == truth["author_id"].to_pylist()
    assert messages["is_abuse"].null_count == messages["source"].null_count == messages.num_rows
    assert not {"campaign", "abuse", "wanted", "blocked"} & set(events.column_names)


def test_the_truth_is_not_where_a_run_reads_events(tmp_path, world):
    simulate_world(WorldRequest(world, tmp_path / "events", days=1))
    assert len(files(tmp_path / "events")) == 1
    assert read_truth(tmp_path / "events.truth").num_rows > 10_000
    for truth in (tmp_path / "x" / "truth", tmp_path / "x", tmp_path):
        with pytest.raises(InputError, match="lie in each other"):
            simulate_world(WorldRequest(world, tmp_path / "x", truth, days=1))


def test_each_kind_of_abuse_has_about_its_share_before_anything_is_done():
    free = dataclasses.replace(
        load_world("chat"), enforcement=Enforcement(policy="none", bans=10**6)
    )
    truth = pa.concat_tables([day.truth for day in live(free, 40)])
    found = {row["values"]: row["counts"] for row in truth["abuse"].value_counts().to_pylist()}
    for kind, rule in free.abuse.items():
        assert 0.6 * rule.share < found[kind] / truth.num_rows < 1.6 * rule.share, kind


def test_activity_is_heavy_tailed_and_weekends_are_lively(lived, truth):
    honest = truth.filter(pc.invert(truth["is_abuse"]))
    each = np.sort([row["counts"] for row in honest["author_id"].value_counts().to_pylist()])
    assert each[-len(each) // 10 :].sum() > 0.4 * each.sum()
    by_weekday = {}
    for day in lived:
        by_weekday.setdefault(day.date.weekday() > 4, []).append(day.counts["message"])
    assert np.mean(by_weekday[True]) > 1.1 * np.mean(by_weekday[False])
    hours = np.bincount(pc.hour(honest["sent_at"]).to_numpy(), minlength=24)
    assert hours[20] > 3 * hours[3]


def test_newcomers_write_and_nobody_does_before_their_account_is_made(events):
    age = of_kind(events, "message")["account_age"].to_numpy()
    assert (age <= 0).mean() < 0.002
    assert 0.005 < (age < 7 * 86_400).mean() < 0.2


def test_blocked_messages_yield_no_reports_and_no_verdicts_but_appeals(events, truth):
    reports, verdicts = of_kind(events, "report"), of_kind(events, "verdict")
    assert column(truth, "blocked").sum() > 1_000
    assert not joined(reports, truth, "blocked").any()
    of_blocked = column(verdicts, "source")[joined(verdicts, truth, "blocked")]
    assert len(of_blocked) > 20 and set(of_blocked) == {"appeal"}


def test_what_the_hold_out_lets_through_is_seen_and_judged(events, truth):
    through = truth.filter(pc.and_not(truth["wanted"], truth["blocked"]))
    share = through.num_rows / pc.sum(truth["wanted"]).as_py()
    assert 0.03 < share < 0.08
    settled = through.filter(
        pc.less(through["sent_at"], pa.scalar(dt.datetime(2026, 3, 9, tzinfo=dt.UTC)))
    )
    judged = set(of_kind(events, "verdict")["subject_id"].to_pylist())
    assert all(one in judged for one in settled["event_id"].to_pylist())
    assert set(column(truth, "propensity").tolist()) == {0.05, 1.0}


def test_campaigns_change_after_they_were_blocked(truth):
    bad = truth.filter(truth["is_abuse"]).to_pandas()
    spam = bad[bad["abuse"].isin(["link_spam", "scam"])]
    variants = spam.groupby("campaign")["variant"].nunique()
    hit = spam.groupby("campaign")["blocked"].any()
    assert (variants[hit] > 1).mean() > (variants[~hit] > 1).mean() + 0.2


@pytest.mark.parametrize(("blocked", "changes"), [(0, 0.0), (3, 0.6)])
def test_who_is_blocked_changes_with_the_chance_that_is_set(world, blocked, changes):
    spam = dataclasses.replace(world.abuse["link_spam"], share=0.4, messages=20, rotates=0, quits=0)
    rule = dataclasses.replace(world, abuse={"link_spam": spam})
    communities = make_communities(rule.people, make_rng(1, 0))
    people = first_accounts(rule.people, communities, make_rng(1, 1), 0)
    town = town_of(people, communities, 0)
    campaigns, wanted = go_on(rule, NONE, 0, people, town, make_rng(1, 2), 0, 0)
    written = np.full(len(campaigns), 20)
    after = change(rule, campaigns, written, np.full(len(campaigns), blocked), make_rng(1, 3), 0, 5)
    assert len(campaigns) > 300
    assert abs((after.variant > 0).mean() - changes) < 0.08
    assert set(after.changed_us[after.variant > 0].tolist()) <= {5}
    assert 8 < len(wanted.age_us) / len(campaigns) < 12
    assert (campaigns.members >= len(people)).all()


def test_who_was_shut_out_is_replaced_or_gone(world):
    rule = dataclasses.replace(
        world, enforcement=dataclasses.replace(world.enforcement, begins=0, bans=2, catches=1.0)
    )
    lived = live(rule, 8)
    first = {}
    for number, day in enumerate(lived):
        bad = day.truth.filter(day.truth["is_abuse"]).to_pandas()
        for author, group in bad.groupby("author_id"):
            first.setdefault(author, number)
            if (group["abuse"] == "link_spam").all() and number - first[author] > 0:
                # One ban lasts seven days, so nobody with two blocks yesterday writes today.
                before = lived[number - 1].truth.to_pandas()
                theirs = before[before["author_id"] == author]
                assert theirs["blocked"].sum() < 2


def test_moderators_judge_no_more_than_they_can(world):
    few = dataclasses.replace(
        world,
        moderators=dataclasses.replace(world.moderators, capacity=20, delay=1),
        enforcement=Enforcement(policy="none"),
    )
    for day in live(few, 5):
        sources = column(of_kind(day.events, "verdict"), "source")
        assert 0 < (sources == "moderator").sum() <= 20


def test_moderators_err_as_often_as_is_set_and_auditors_never(events, truth):
    verdicts = of_kind(events, "verdict")
    said, source = column(verdicts, "is_abuse"), column(verdicts, "source")
    right = joined(verdicts, truth, "is_abuse")
    person = source == "moderator"
    assert abs((~said[person & right]).mean() - 0.06) < 0.03
    assert abs(said[person & ~right].mean() - 0.1) < 0.06
    assert (said == right)[source == "audit"].all()
    appeal = source == "appeal"
    assert (~said[appeal]).mean() > 0.3


def test_reports_are_biased_and_some_are_malicious(events, truth, world):
    reports = of_kind(events, "report")
    right = joined(reports, truth, "is_abuse")
    assert 0.4 < right.mean() < 0.95
    calm = dataclasses.replace(
        world, reports=dataclasses.replace(world.reports, brigades=0, honest=0)
    )
    clean = live(calm, 4)
    table = pa.concat_tables([day.events for day in clean])
    known = pa.concat_tables([day.truth for day in clean])
    assert joined(of_kind(table, "report"), known, "is_abuse").all()
    angry = dataclasses.replace(calm, reports=dataclasses.replace(calm.reports, brigades=20))
    table = pa.concat_tables([day.events for day in live(angry, 4)])
    assert (
        of_kind(table, "report").num_rows
        > 2 * of_kind(pa.concat_tables([day.events for day in clean]), "report").num_rows
    )


def test_a_policy_of_the_callers_own_is_asked_day_by_day(world):
    asked = []

    def links(date, messages):
        asked.append((date, messages.num_rows))
        return pc.match_substring(messages["text"], "http").to_numpy(zero_copy_only=False)

    lived = live(world, 3, policy=links)
    assert [one for one, _ in asked] == [day.date for day in lived]
    for (_, count), day in zip(asked, lived, strict=True):
        assert count == day.truth.num_rows
        text = of_kind(day.events, "message")["text"].to_pylist()
        assert day.truth["wanted"].to_pylist() == ["http" in one for one in text]
    with pytest.raises(ValueError, match="a policy gave"):
        live(world, 1, policy=lambda date, messages: np.zeros(3, bool))


def test_a_fraction_is_blocked_whatever_it_is(world):
    rule = dataclasses.replace(
        world, enforcement=Enforcement("fraction", share=0.2, bans=10**6), hold_out=LetThrough()
    )
    truth = pa.concat_tables([day.truth for day in live(rule, 3)])
    for bad in (True, False):
        some = truth.filter(pc.equal(truth["is_abuse"], bad))
        assert abs(np.mean(column(some, "blocked")) - 0.2) < 0.05


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**63 - 1),
    messages=st.integers(1, 400),
    kinds=st.sets(st.sampled_from(ABUSE)),
    policy=st.sampled_from(["none", "fraction", "oracle"]),
    bans=st.integers(1, 5),
    capacity=st.integers(0, 30),
)
def test_any_world_lives(seed, messages, kinds, policy, bans, capacity):
    small = loads_world("world: 1\npeople: {accounts: 50, communities: 2}")
    rule = dataclasses.replace(
        small,
        people=dataclasses.replace(small.people, messages=messages),
        abuse={kind: Abuse(share=0.1) for kind in ABUSE if kind in kinds},
        enforcement=Enforcement(policy, share=0.3, bans=bans, catches=0.9, false_alarms=0.1),
        moderators=dataclasses.replace(small.moderators, capacity=capacity),
    )
    spec = load(shipped("chat"), CATALOG)
    for day in live(rule, 4, seed):
        assert decode_columns(spec, day.events, "world").dead == ()
        assert day.counts["message"] == day.truth.num_rows


def run_command(*words):
    app = typer.Typer()
    add_verb(app, "simulate")
    return CliRunner().invoke(app, list(map(str, words)))


def test_the_command_writes_a_world_of_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "world: 1\npeople: {messages: 500, accounts: 100, communities: 4}"
    )
    done = run_command(
        "--world", tmp_path / "mine.yaml", "--out", tmp_path / "a", "--days", 2, "--quiet"
    )
    assert done.exit_code == 0, done.output
    assert "messages" in done.output
    (path, *_) = sorted((tmp_path / "a").glob("*/*.parquet"))
    assert pq.read_table(path, partitioning=None).num_rows > 300
    assert (tmp_path / "a.truth").is_dir()


@pytest.mark.parametrize(
    "words",
    [("--world", "chat", "--events", "5k"), ("--truth", "t"), ("--world", "chat", "--accounts", 3)],
)
def test_the_command_refuses_what_does_not_go_together(tmp_path, words):
    done = run_command("--out", tmp_path / "a", *words)
    assert done.exit_code == 2
    assert "does not go with" in done.output


@pytest.mark.parametrize(
    ("more", "said"),
    [({"days": 0}, "0 days"), ({"seed": -1}, "seed -1"), ({"format": "csv"}, "parquet or jsonl"),
     ({"start": dt.date(9999, 12, 31), "days": 3}, "end after the year 9999")],
)  # fmt: skip
def test_what_makes_no_stream_makes_no_world(tmp_path, world, more, said):
    with pytest.raises(InputError, match=said):
        simulate_world(WorldRequest(world, tmp_path / "x", **more))
    assert list(tmp_path.iterdir()) == []
