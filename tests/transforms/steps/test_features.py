"""`Features`: what it gives depends on the events alone, and is what earlier builds wrote."""

import hashlib
import json
import os
import random
import re
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.typehints.decorators import TypeCheckError
from backfill_world import CONFIG, make_events
from steps_world import run_steps, states_of

from configs.loader import loads
from scoring.steps import Score
from transforms.batches import ShardKey, one_batch
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.steps import (
    RECENT_IDS,
    AnalyzeGraph,
    ApplyGraph,
    Decode,
    Derive,
    Features,
    SplitByShard,
)
from transforms.steps.join import PART_ROWS, part_starts
from transforms.steps.stamps import stamp, tag_batch, tags_of

DAY = 86_400_000_000
FIRST = 1_772_323_200_000_000  # 2026-03-01
DAYS = [FIRST + DAY * number for number in range(4)]
ENDS = [day + DAY for day in DAYS]
BEAMS_OWN = re.compile(r"/(FlatMap|Map|ParDo|Impulse|MaybeReshuffle)\b")
LABELS = Path(__file__).parent / "golden" / "labels.txt"


@pytest.fixture(scope="module")
def spec():
    return loads(CONFIG, "tiny.yaml", CATALOG)


@pytest.fixture(scope="module")
def events():
    made = make_events(600, days=3)
    made += made[::7]
    return [json.dumps(one).encode() for one in made]


def batches_of(spec, records, size=1000, stamped=True):
    made = []
    for number, at in enumerate(range(0, len(records), size)):
        decoded = decode_json(spec, records[at : at + size], "a.jsonl", at)
        positions = decoded.positions
        made.append(
            stamp(decoded.batch, "a.jsonl", number, positions) if stamped else decoded.batch
        )
    return made


def run(spec, batches, **settings):
    settings = {"days": DAYS, "moments": ENDS, **settings}
    found, _ = run_steps(batches, lambda given: _outputs(given | Features(spec, **settings)))
    return found


def _outputs(made):
    found = {name: getattr(made, name) for name in ("rows", "verdicts", "dead_letters")}
    return found | {"states": states_of(made)}


def content(found):
    """Everything that was found, in a fixed order; without codes of a run."""
    rows = sorted(found["rows"], key=lambda batch: tags_of(batch)["start"])
    verdicts = sorted(found["verdicts"], key=lambda batch: tags_of(batch)["start"])
    states = {(*key, tags_of(batch)["moment"]): batch.to_pydict() for key, batch in found["states"]}
    dead = sum(batch.num_rows for batch in found["dead_letters"])
    return digest(rows), digest(verdicts), states, dead


def digest(batches):
    hashed = hashlib.sha256()
    for batch in batches:
        for name in batch.schema.names:
            hashed.update(name.encode())
            column = batch.column(name)
            if pa.types.is_float32(column.type):  # NaN and all
                hashed.update(column.to_numpy().tobytes())
            else:
                hashed.update(repr(column.to_pylist()).encode())
    return hashed.hexdigest()[:16]


@pytest.fixture(scope="module")
def whole(spec, events):
    return run(spec, batches_of(spec, events))


def test_rows_are_those_of_the_release_before(whole):
    rows, verdicts, states, dead = content(whole)
    assert (rows, verdicts, dead) == ("879e61e403bf66a7", "117ed37b0090089f", 129)
    assert len(states) == 4 * (2 * 4 + 4), "four days; two entities and the ids, four shards each"


@pytest.mark.parametrize("size", [7, 100, 5000])
def test_neither_batches_nor_their_order_matter(spec, events, whole, size):
    batches = batches_of(spec, events, size)
    random.Random(size).shuffle(batches)
    assert content(run(spec, batches)) == content(whole)


def test_batches_without_a_stamp_are_as_good(spec, events, whole):
    assert content(run(spec, batches_of(spec, events, 150, stamped=False))) == content(whole)


def test_a_batch_that_is_given_twice_counts_once(spec, events, whole):
    batches = batches_of(spec, events)
    again = run(spec, [*batches, batches[0]])
    assert content(again)[:3] == content(whole)[:3]
    assert content(again)[3] == content(whole)[3] + batches[0].num_rows


def test_state_carries_over_to_the_next_run(spec, events, whole):
    """Two days, and two more from the state at their end: the same as four at once."""
    batches = batches_of(spec, events)
    cut = [split_at(batch, ENDS[1]) for batch in batches]
    first = run(spec, [one for one, _ in cut], days=DAYS[:2], moments=ENDS[:2])
    states = [pair for pair in first["states"] if tags_of(pair[1])["moment"] == ENDS[1]]
    assert len(states) == 12
    keyed = [tag_batch(batch, group=key.group, shard=key.shard) for key, batch in states]

    def second(given):
        rest = given | "Events" >> beam.Filter(lambda batch: "group" not in tags_of(batch))
        before = (
            given
            | "States" >> beam.Filter(lambda batch: "group" in tags_of(batch))
            | beam.Map(
                lambda batch: (
                    ShardKey(tags_of(batch)["group"], tags_of(batch)["shard"]),
                    batch,
                )
            ).with_output_types(tuple[ShardKey, pa.RecordBatch])
        )
        return _outputs(rest | Features(spec, before, moments=ENDS[2:], days=DAYS[2:]))

    found, _ = run_steps([*[two for _, two in cut], *keyed], second)
    both = {name: [*first[name], *found[name]] for name in first}
    assert content(both) == content(whole)


def split_at(batch, moment):
    early = batch.column("event_time").to_numpy() < moment
    return batch.filter(pa.array(early)), batch.filter(pa.array(~early))


def test_without_days_and_moments_there_is_no_state(spec, events, whole):
    found = run(spec, batches_of(spec, events), days=(), moments=())
    assert found["states"] == []
    some = [batch for batch in whole["rows"] if batch.num_rows]
    assert digest(by_start(found["rows"])) == digest(by_start(some))


def by_start(batches):
    return sorted(batches, key=lambda batch: tags_of(batch)["start"])


def test_a_day_is_cut_at_full_minutes():
    minutes = np.arange(1440)
    starts = part_starts(minutes, np.full(1440, 1000), [0, DAY])
    assert starts[0] == 0 and starts[-1] == DAY and not (starts % 60_000_000).any()
    assert len(starts) == 1 + -(-1440 // (PART_ROWS // 1000))


def test_every_coder_is_explicit(spec, events):
    _, pipeline = run_steps(
        batches_of(spec, events), lambda given: _outputs(given | Features(spec, moments=ENDS))
    )
    coders = pipeline.to_runner_api().components.coders
    assert any("RecordBatchCoder" in name for name in coders)
    assert any("ShardKeyCoder" in name for name in coders)
    assert not [name for name in coders if "FastPrimitives" in name or "Pickle" in name]


def test_labels_are_stable(spec):
    """They are what a running job is upgraded by; `GOLDEN=write` writes them anew."""
    _, pipeline = run_steps([], lambda given: _outputs(given | Features(spec, moments=ENDS)))
    names = [
        one.unique_name
        for one in pipeline.to_runner_api().components.transforms.values()
        if one.unique_name.startswith("Features")
    ]
    own = sorted(name for name in names if not BEAMS_OWN.search(name))
    if os.environ.get("GOLDEN") == "write":
        LABELS.write_text("\n".join(own) + "\n")
    assert "\n".join(own) + "\n" == LABELS.read_text()


def test_two_applications_in_one_pipeline(spec):
    def twice(given):
        made = [given | label >> Features(spec, moments=ENDS) for label in ("One", "Other")]
        return {f"{number}": one.rows for number, one in enumerate(made)} | {
            f"states{number}": one.entity_states for number, one in enumerate(made)
        }

    found, _ = run_steps([], twice)
    assert len(found["states0"]) == len(found["states1"]) == 32


@pytest.mark.parametrize(
    "step", [Decode, Derive, Features, SplitByShard, lambda spec: ApplyGraph(spec, ""),
             lambda spec: AnalyzeGraph(spec, "", ""), lambda _: Score("")]
)  # fmt: skip
def test_elements_of_another_type_are_refused_when_the_pipeline_is_built(spec, step):
    rows = beam.Pipeline(runner=FnApiRunner()) | beam.Create([{"event_id": "a"}])
    with pytest.raises(TypeCheckError, match=r"expected .*RecordBatch.*, got Dict"):
        rows | step(spec)


def test_decode_runs_eagerly(spec, events):
    records = pa.RecordBatch.from_pydict({"record": pa.array([*events[:3], b"{"], pa.binary())})
    found, _ = run_steps([records], lambda given: _decoded(given | Decode(spec)))
    assert one_batch(found["events"]).num_rows == 3
    assert one_batch(found["dead"]).column("reason").to_pylist() == ["not_json"]


def _decoded(made):
    return {"events": made["events"], "dead": made["dead_letters"]}


def test_the_ids_have_a_group_of_their_own(spec):
    assert RECENT_IDS not in spec.entities
