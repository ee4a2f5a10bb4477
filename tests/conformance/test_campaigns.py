"""A snapshot of campaigns has the same bytes on another runner; so has what names events by it."""

import dataclasses
import json

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from campaign_world import AS_OF, DAY, HOUR, PUBLISHED, RARITY, make_events, make_rare_events, spec
from live_world import expected_rows, in_fold_order
from named_world import make_named, text_of

from benchmarks.scripted import SCRIPTS, read_script, run_until
from pipelines.campaign_snapshots import campaigns_known
from pipelines.campaigns import make_campaign_snapshot
from pipelines.shard_files import SnapshotRequest
from pipelines.streaming.decide import Decide
from pipelines.streaming.decisions import encode_decisions
from scoring.bundle import load_bundle
from scoring.columns import CAMPAIGN, CAMPAIGN_SNAPSHOT, NEVER_US
from scoring.controls import NONE
from scoring.engine import DECISION
from scoring.scorer import Scorer
from transforms.decode import decode_json
from transforms.steps import Features
from transforms.ticks import TickSettings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runner", "rarity"), [("prism", ""), ("prism", RARITY), ("flink", ""), ("flink", RARITY)]
)
def test_another_runner_gives_the_same_snapshot(runner, rarity, request, tmp_path):
    flags = request.getfixturevalue(runner)
    events = make_rare_events() if rarity else make_events(500)
    (tmp_path / "in").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(events[part::2])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    config = spec(more=rarity)
    here = SnapshotRequest(config, str(tmp_path / "in"), tmp_path / "here", AS_OF, PUBLISHED)
    there = dataclasses.replace(here, out=tmp_path / "there", flags=tuple(flags))
    made = make_campaign_snapshot(here)
    assert made.campaigns > 3
    assert make_campaign_snapshot(there) == made


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["prism", "flink"])
def test_a_job_names_the_campaigns_that_the_embedded_scorer_names(runner, request, tmp_path):
    made = make_named(tmp_path, text_of())
    records = [json.dumps(one).encode() for one in made.events]
    script = []
    for first in range(0, len(records), 40):
        batch = decode_json(made.spec, records[first : first + 40], "", 0).batch
        script.append((batch.column("event_time")[0].as_py() // 1000 * 1000, batch))
    ticks = TickSettings(tick_us=3 * HOUR, homes=2)
    scorer = Scorer(load_bundle(made.store.path("serving"))).under(NONE)
    known = campaigns_known(made.spec, made.store.root, NEVER_US)
    outcome = expected_rows(made.spec, script, ticks.tick_us, scorer=scorer, campaigns=known)
    SCRIPTS["campaigns"] = [
        *script,
        (made.events[-1]["event_time"] // 1000 * 1000 + 90 * DAY, None),
    ]

    def build(pipeline):
        folded = read_script(pipeline, "campaigns") | Features(made.spec, ticks=ticks)
        decided = folded.rows | Decide(made.spec, str(made.store.root))
        log = decided | "Log" >> beam.Map(lambda one: one[1]).with_output_types(pa.RecordBatch)
        return {"rows": log}

    wanted = encode_decisions(made.spec, outcome, scorer)
    enough = lambda found: sum(map(len, found.get("rows", []))) >= len(wanted)  # noqa: E731
    rows = in_fold_order(
        run_until(build, request.getfixturevalue(runner), ("rows",), enough)["rows"]
    )
    assert rows[DECISION].to_pylist() == wanted
    named = outcome.looked.campaigns
    assert rows[CAMPAIGN].to_pylist() == named.campaigns.to_pylist()
    assert rows[CAMPAIGN_SNAPSHOT].to_pylist() == named.snapshots.to_pylist()
    assert min(len(named.campaigns.unique()), len(named.snapshots.unique())) > 3
