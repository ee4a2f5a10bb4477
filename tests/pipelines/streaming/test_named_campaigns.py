"""Decisions name the campaign of their event, by the newest snapshot that was known then."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from bundle_world import make_parts
from campaign_world import AS_OF, DAY, HOUR
from named_world import DAYS, make_named, text_of
from serve_world import asked, serving

from configs.errors import StateError
from pipelines.campaigns import read_campaigns
from pipelines.layout import day_us
from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.streaming.at_arrival import FOLDER, AtArrival, read_looks
from pipelines.streaming.journal import Journal, read_steps, save_snapshot
from pipelines.streaming.restore import restore, snapshot_files
from pipelines.streaming.service import Service
from scoring.bundle import load_bundle, write_bundle
from scoring.columns import CAMPAIGN, CAMPAIGN_SNAPSHOT
from scoring.controls import NONE
from scoring.engine import DECISION, SCORE, Engine, Resident
from scoring.parity.compare import CAMPAIGN as ANOTHER
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.campaigns.uses import value_hashes
from transforms.catalog import CATALOG
from transforms.decode import decode_json

DELAY = 2 * HOUR
LATE = day_us(AS_OF) + 8 * HOUR
"""When the last snapshot was published: six hours after it was to be known."""
SIZE = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An output folder with a bundle that serves and the snapshots of three days; its events."""
    return make_named(tmp_path_factory.mktemp("named"), text_of())


class Run:
    """A scorer over a copy of the world, whose last snapshot is published while it runs."""

    def __init__(self, made, root, at_arrival=False):
        self.spec, self.events, self.out, self.state = made.spec, made.events, root, root / "state"
        shutil.copytree(made.out, root)
        self.marker, self.aside = root / "campaigns" / f"{AS_OF}.json", root / "aside"
        self.marker.rename(self.aside)
        self.store, self.published = Store(root / "bundles"), []
        self.fails, self.at_arrival = False, at_arrival
        journal = Journal(self.state)
        save_snapshot(self.state, -1, snapshot_files(self.spec, Resident.empty(self.spec), -1))
        journal.close()
        self.start()

    def publish(self, messages):
        if self.fails:
            raise KeyboardInterrupt  # a kill: nothing after it happens
        self.published += messages

    def start(self):
        journal = Journal(self.state)
        restored = restore(self.spec, journal)
        first = None
        if self.at_arrival:
            first = AtArrival(self.state, self.publish, lambda what, write: write())
            first.republish()
        scorer = Scorer(load_bundle(self.store.path("serving"), CATALOG)).under(NONE)
        self.service = Service(
            Engine(self.spec, restored.resident, scorer), journal, restored.next_step,
            SimpleNamespace(publish=self.publish), store=self.store, first=first,
        )  # fmt: skip
        self.service.republish(restored.unpublished)

    def decide(self, before_us=None):
        """Those that are not folded yet, up to a time."""
        folded = sum(step.batch.num_rows for step in read_steps(self.state))
        events = [one for one in self.events if before_us is None or one["event_time"] < before_us]
        for number, first in enumerate(range(folded, len(events), SIZE)):
            records = [json.dumps(one).encode() for one in events[first : first + SIZE]]
            batch = decode_json(self.spec, records, "test").batch
            none = np.zeros(batch.num_rows, np.int64)
            came = (batch,) if self.at_arrival else ()
            self.service.watch.look()
            self.service.process(
                MicroBatch(number, batch, none.astype(bool), (), none, (), None, arrived=came)
            )

    def rows(self):
        made = [row for step in read_steps(self.state) for row in step.batch.to_pylist()]
        return [row for row in made if row[SCORE] is not None]

    def whole(self):
        self.decide(LATE)
        self.aside.rename(self.marker)
        self.decide()
        self.service.close()
        return self


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    return Run(made, tmp_path_factory.mktemp("run") / "out").whole()


def expected(run, late=LATE):
    """By a loop over events: id -> campaign and snapshot, the last of which is seen from `late`."""
    published, found = {}, {}
    for day in DAYS:
        marker = json.loads((run.out / "campaigns" / f"{day}.json").read_text())
        members, values = (
            read_campaigns(run.out, day, one).to_pylist() for one in ("members", "values")
        )
        known = {row["account"]: row["campaign"] for row in members}
        of = {(row["column"], row["value"]): row["campaign"] for row in reversed(values)}
        published[max(marker["known_from"], late if day == AS_OF else 0)] = (
            marker["name"],
            known,
            of,
        )
    for one in run.events:
        moments = [moment for moment in published if moment <= one["event_time"]]
        if not moments:
            found[one["event_id"]] = None, None
            continue
        name, known, of = published[max(moments)]
        campaign = known.get(one["who"])
        for number, column in enumerate(("one", "two", "site")):
            value = value_hashes(column, pa.array([one[column]], pa.string()))[0]
            used = one[column] is not None and (column != "site" or (one["weight"] or 0) > 0)
            campaign = campaign or (of.get((number, value)) if used else None)
        found[one["event_id"]] = campaign, name
    return found


def test_each_decision_names_its_campaign_by_the_snapshot_that_was_known_and_published(run):
    wanted, rows = expected(run), run.rows()
    near = SIZE  # a micro-batch is taken whole before a snapshot is taken over
    said = {one["event_id"]: one.get("campaign") for one in map(json.loads, run.published)}
    assert len(rows) == len(said) > 100
    others = 0
    for row in rows:
        campaign, snapshot = row[CAMPAIGN], row[CAMPAIGN_SNAPSHOT]
        message = json.loads(row[DECISION]).get("campaign")
        assert message == said[row["event_id"]]
        assert message == (campaign and {"name": campaign, "snapshot": snapshot})
        others += (campaign, snapshot) != wanted[row["event_id"]]
    assert others <= near
    assert len({row[CAMPAIGN_SNAPSHOT] for row in rows}) == 4
    assert len({row[CAMPAIGN] for row in rows}) > 4
    strangers = [row for row in rows if row["who"].startswith("é") and row[CAMPAIGN_SNAPSHOT]]
    assert {row[CAMPAIGN] for row in strangers} >= {None}


def test_an_answer_of_serve_names_the_campaign_as_known_at_the_time_of_its_event(run):
    """Of copies of the log's last day, asked once all is folded and every snapshot published."""
    known, clock = expected(run, 0), max(one["event_time"] for one in run.events)
    posts = [one for one in run.events if one["kind"] == "post"]
    last = [one for one in posts if one["event_time"] > clock - DAY]
    wanted = [known[one["event_id"]] for one in last]
    copies = [one | {"event_id": f"asked-{one['event_id']}"} for one in last]
    with serving(run.state, run.store.root) as (_, _, channel):
        made = asked(channel, *(json.dumps(one).encode() for one in copies))
    said = [json.loads(answer.decisions[0]).get("campaign") for answer in made.answers]
    assert [one and (one["name"], one["snapshot"]) for one in said] == [
        one if one[0] else None for one in wanted
    ]
    assert len({name for name, _ in wanted}) > 3 and len({one for _, one in wanted}) == 2


@pytest.mark.parametrize("at_arrival", [False, True])
def test_parity_is_clean_over_a_snapshot_that_is_published_late_and_a_kill(
    made, tmp_path, at_arrival
):
    run = Run(made, tmp_path / "out", at_arrival)
    run.decide(LATE)
    before, run.fails = len(run.published), True
    with pytest.raises(KeyboardInterrupt):
        run.decide()
    run.aside.rename(run.marker)
    run.fails = False
    run.start()
    # What was logged is published as it was logged, by the snapshot of before.
    [message] = [json.loads(one) for one in run.published[before : before + 1]]
    steps = list(read_looks(run.state)) if at_arrival else list(read_steps(run.state))
    [logged] = [
        row for row in steps[-1].batch.to_pylist() if row["event_id"] == message["event_id"]
    ]
    assert json.loads(logged[DECISION]) == message
    assert logged[CAMPAIGN_SNAPSHOT] != json.loads(run.marker.read_text())["name"]
    run.decide()
    run.service.close()
    assert len({row[CAMPAIGN_SNAPSHOT] for row in run.rows()}) == 4
    ids = [json.loads(one)["event_id"] for one in run.published]
    assert len(ids) == len(set(ids)) == len(run.rows())
    served = check_served(run.state, run.store.root)
    assert served.events == len(ids) * (1 + at_arrival)
    assert served.clean
    assert at_arrival or check_ideal(run.state, run.store.root).clean


def altered(run, root, change, folder=""):
    """A copy of a run whose log is written anew with each step's batch changed."""
    shutil.copytree(run.out, root)
    state = root / "state" / folder
    steps = list(read_steps(state))
    shutil.rmtree(state / "log")
    journal = Journal(state)
    for step in steps:
        journal.append(step.number, change(step.batch), DAYS[0])
    journal.close()
    return root / "state", root / "bundles"


def with_column(name, change):
    """A batch with the values of a column changed, where there is a campaign."""

    def apply(batch):
        if CAMPAIGN not in batch.schema.names:
            return batch
        named = batch.column(CAMPAIGN).to_pylist()
        values = batch.column(name).to_pylist()
        made = [change(one) if of else one for one, of in zip(values, named, strict=True)]
        place = batch.schema.get_field_index(name)
        return batch.set_column(place, name, pa.array(made, batch.schema.field(name).type))

    return apply


@pytest.mark.parametrize(
    ("column", "change"),
    [
        (CAMPAIGN, lambda name: None),
        (CAMPAIGN, lambda name: "2026-03-10-0099"),
        (CAMPAIGN_SNAPSHOT, lambda name: None),
        (DECISION, lambda message: message.replace(b'"name":"2026', b'"name":"2027')),
    ],
)
def test_a_log_that_names_another_campaign_is_dirty(run, tmp_path, column, change):
    state, bundles = altered(run, tmp_path / "out", with_column(column, change))
    report = check_served(state, bundles)
    named = sum(row[CAMPAIGN] is not None for row in run.rows())
    assert not report.clean
    assert report.by_cause == {ANOTHER: named}
    assert f"({ANOTHER} {named})" in report.words()


def test_a_first_decision_that_names_another_campaign_is_dirty(made, tmp_path):
    run = Run(made, tmp_path / "whole", at_arrival=True).whole()
    change = with_column(CAMPAIGN, lambda name: "2026-03-10-0099")
    state, bundles = altered(run, tmp_path / "out", change, FOLDER)
    report = check_served(state, bundles)
    assert report.by_cause == {ANOTHER: sum(row[CAMPAIGN] is not None for row in run.rows())}


def test_a_snapshot_that_the_event_could_not_know_is_not_taken_for_its(run, tmp_path):
    newest = json.loads(run.marker.read_text())["name"]
    change = with_column(CAMPAIGN_SNAPSHOT, lambda name: newest)
    state, bundles = altered(run, tmp_path / "out", change)
    early = [
        row for row in run.rows()
        if row[CAMPAIGN] and row["event_time"] < day_us(AS_OF) + DELAY
    ]  # fmt: skip
    assert 0 < len(early) <= check_served(state, bundles).by_cause[ANOTHER]


def test_a_snapshot_that_is_gone_is_asked_for(run, tmp_path):
    shutil.copytree(run.out, tmp_path / "out")
    (tmp_path / "out" / "campaigns" / f"{DAYS[1]}.json").unlink()
    with pytest.raises(
        StateError, match=r"names the snapshot 2026-03-11-.* of campaigns.*bring it"
    ):
        check_served(tmp_path / "out" / "state", tmp_path / "out" / "bundles")


def test_a_damaged_snapshot_delays_no_decision_and_is_logged_once(made, tmp_path, caplog):
    run = Run(made, tmp_path / "out")
    run.decide(LATE)
    run.marker.write_text("{")
    run.decide()
    run.service.close()
    said = [one.getMessage() for one in caplog.records if "campaigns" in one.getMessage()]
    assert len(said) == 1 and "is damaged" in said[0] and "stay as they are" in said[0]
    assert len(run.rows()) == sum(one["kind"] == "post" for one in run.events)
    assert len({row[CAMPAIGN_SNAPSHOT] for row in run.rows()}) == 3
    run.marker.unlink()
    assert check_served(run.state, run.store.root).clean


def test_a_config_that_names_none_has_no_column_and_no_field(made, tmp_path):
    shutil.copytree(made.out, tmp_path / "out")
    (tmp_path / "plain.yaml").write_text(text_of(""))
    store = Store(tmp_path / "out" / "bundles")
    store.promote(write_bundle(make_parts(path=tmp_path / "plain.yaml"), store.root).name)
    plain = dataclasses.replace(made.spec.campaigns, name_decisions=False)
    spec = dataclasses.replace(made.spec, campaigns=plain)
    run = Run(
        SimpleNamespace(spec=spec, events=made.events[:50], out=tmp_path / "out"), tmp_path / "run"
    ).whole()
    [columns] = {tuple(step.batch.schema.names) for step in read_steps(run.state)}
    assert not {CAMPAIGN, CAMPAIGN_SNAPSHOT} & set(columns)
    assert run.published and not any("campaign" in json.loads(one) for one in run.published)
    assert run.service.engine.campaigns is None


def test_a_swap_to_a_bundle_that_names_campaigns_names_them_from_its_first_step_on(made, tmp_path):
    shutil.copytree(made.out, tmp_path / "out")
    (tmp_path / "plain.yaml").write_text(text_of(""))
    store = Store(tmp_path / "out" / "bundles")
    wanted = store.serving()
    store.promote(write_bundle(make_parts(path=tmp_path / "plain.yaml"), store.root).name)
    run = Run(SimpleNamespace(**vars(made) | {"out": tmp_path / "out"}), tmp_path / "run")
    run.decide(day_us(DAYS[1]))
    run.store.promote(wanted)
    run.whole()
    for row in run.rows():
        assert (row.get(CAMPAIGN_SNAPSHOT) is None) == (row["event_time"] < day_us(DAYS[1]))
    assert check_served(run.state, run.store.root).clean
