"""Decisions of an engine's job name the campaign of their event, as the embedded scorer's do."""

import itertools
import json
import random
import shutil

import apache_beam as beam
import pyarrow as pa
import pytest
from campaign_world import AS_OF, DAY
from live_world import World, expected_rows
from named_world import DAYS, LIMITED, POLICY, make_named, promote, text_of
from steps_world import run_steps

from configs.errors import BundleError, InputError, StateError
from pipelines.campaign_snapshots import CampaignsBeside, campaigns_known, require_campaigns
from pipelines.layout import day_us
from pipelines.parity import check_served
from pipelines.streaming.decide import _Decide
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.journal import read_steps
from pipelines.streaming.limited import LimitActions
from pipelines.streaming.sinks import WriteLog, WriteSteps
from scoring.bundle import load_bundle
from scoring.columns import CAMPAIGN, CAMPAIGN_SNAPSHOT, NEVER_US
from scoring.controls import NONE
from scoring.engine import DECISION
from scoring.limits import LIMITED as OVER
from scoring.scorer import Scorer
from transforms.batches import ShardKey
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.steps.shards import Keyed
from transforms.ticks import TickSettings

TICKS = TickSettings(tick_us=3 * 3_600_000_000, snapshot_ticks=5, homes=2)


@pytest.fixture(scope="module", params=[POLICY, LIMITED], ids=["plain", "limited"])
def made(request, tmp_path_factory):
    return make_named(tmp_path_factory.mktemp("named"), text_of(policy=request.param))


def given(made):
    """(watermark, batch), in pieces of time."""
    records = [json.dumps(one).encode() for one in made.events]
    pieces = [records[first : first + 40] for first in range(0, len(records), 40)]
    batches = [decode_json(made.spec, one, "test").batch for one in pieces]
    return [(one.column("event_time")[0].as_py(), one) for one in batches]


def run_job(made, state):
    """From `Features` on; the steps of the log."""
    limits = made.spec.policy.actions[0].limit is not None
    decides = [_Decide(made.spec, str(made.store.root), one, 0.0, limits) for one in (False, True)]
    for one in decides:
        one.setup()
    folded = World(made.spec, TICKS).fold(given(made))
    decided = [rows for scored, one in folded for _, rows in decides[scored].process(one)]
    random.Random(1).shuffle(decided)

    def text(read):
        rows = read | beam.Map(lambda one: (ShardKey("log", 1), one)).with_output_types(Keyed)
        if limits:
            rows | LimitActions(TICKS) | WriteSteps(str(state), stable=False)
        else:
            rows | WriteLog(str(state), TICKS, stable=False)
        return {}

    run_steps(decided, text)
    return [step.batch for step in read_steps(state)]


def values(steps, name):
    return [one for step in steps for one in step.column(name).to_pylist()]


def test_a_job_names_what_the_embedded_scorer_names(made, tmp_path):
    scorer = Scorer(load_bundle(made.store.path("serving"), CATALOG)).under(NONE)
    known = campaigns_known(made.spec, made.store.root, NEVER_US)
    outcome = expected_rows(made.spec, given(made), TICKS.tick_us, scorer=scorer, campaigns=known)
    steps = run_job(made, tmp_path)
    decisions = [one for one in values(steps, DECISION) if one is not None]
    assert decisions == encode_decisions(made.spec, outcome, scorer)
    named = outcome.looked.campaigns
    scored = [one is not None for one in values(steps, DECISION)]
    for name, wanted in ((CAMPAIGN, named.campaigns), (CAMPAIGN_SNAPSHOT, named.snapshots)):
        logged = list(itertools.compress(values(steps, name), scored))
        assert logged == wanted.to_pylist()
        assert len(set(logged)) > 3
    if made.spec.policy.actions[0].limit is not None:
        said = map(json.loads, decisions)
        over = [one for one in said if one.get("withheld", {}).get("by") == OVER]
        assert any("campaign" in one for one in over), "a weaker action is of the same campaign"
    report = check_served(tmp_path, made.store.root)
    assert report.clean and report.events == len(decisions) > 100


def test_a_snapshot_is_seen_once_it_is_published_and_a_damaged_one_holds_up_nothing(
    made, tmp_path, caplog
):
    shutil.copytree(made.out, tmp_path / "out")
    marker = tmp_path / "out" / "campaigns" / f"{AS_OF}.json"
    whole, events = marker.read_text(), given(made)[-1][1]
    late = events.column("event_time").to_numpy() > day_us(AS_OF) + DAY // 2
    events = events.filter(pa.array(late))
    now = [0.0]
    beside = CampaignsBeside(tmp_path / "out" / "bundles", 10.0, lambda: now[0])

    def seen():
        return set(beside.known(made.spec, events).snapshots.to_pylist())

    marker.unlink()
    before = seen()
    assert {one[:10] for one in before} == {str(DAYS[1])}
    marker.write_text(whole)
    assert seen() == before, "not looked at yet"
    now[0] = 10.0
    after = seen()
    assert {one[:10] for one in after} == {str(AS_OF)}
    marker.write_text("{")
    now[0] = 20.0
    assert seen() == after and seen() == after
    marker.write_text(whole)
    values = next((tmp_path / "out").glob(json.loads(whole)["files"][-1]["path"]))
    values.write_bytes(values.read_bytes()[:-9])
    fresh = CampaignsBeside(tmp_path / "out" / "bundles")
    for _ in range(2):
        assert set(fresh.known(made.spec, events).snapshots.to_pylist()) == before
    said = [one.getMessage() for one in caplog.records if "go on with other" in one.getMessage()]
    assert len(said) == 2 and all("is damaged" in one for one in said)


def test_a_job_that_cannot_name_them_is_refused(made, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(made.out, out)
    require_campaigns(made.spec, out / "bundles")  # all is well
    (out / "campaigns" / f"{AS_OF}.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        require_campaigns(made.spec, out / "bundles")
    shutil.rmtree(out / "campaigns")
    with pytest.raises(StateError, match=r"rings name their campaign.*no snapshot.*lockstep campa"):
        require_campaigns(made.spec, out / "bundles")
    plain = promote(out / "bundles", text_of(""))
    require_campaigns(plain, out / "bundles")


def test_a_bundle_that_names_others_than_the_job_reads_is_not_taken(made, tmp_path):
    other = text_of("").replace("within: 12h", "within: 13h")
    spec = promote(tmp_path / "bundles", other)
    root = str(tmp_path / "bundles")
    one = _Decide(spec, root, True, 0.0)
    one.setup()
    first = one._serving.current()
    promote(tmp_path / "bundles", text_of())
    assert one._serving.current() is first and one._serving.refusals == 1
    with pytest.raises(BundleError, match="start the job anew with this bundle"):
        _Decide(spec, root, True, 1.0).setup()
    _Decide(made.spec, root, True, 2.0).setup()
