"""`Features` on unbounded input as a Beam graph; what it computes is in tests/conformance."""

import os
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from backfill_world import CONFIG

from benchmarks.scripted import SCRIPTS, read_script
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.steps import Features
from transforms.steps.shards import Keyed
from transforms.ticks import TickSettings

LABELS = Path(__file__).parent / "golden" / "live_labels.txt"


@pytest.fixture
def graph():
    """The job's proto; nothing is run."""
    SCRIPTS["events"] = []
    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    pipeline = beam.Pipeline()
    state = pipeline | "Night" >> beam.Create([]).with_output_types(Keyed)
    made = read_script(pipeline, "events") | Features(spec, state)
    assert made.entity_states is made.id_states is None
    kept = (made.rows, made.others, made.verdicts, made.dead_letters)
    for number, collection in enumerate(kept):
        _ = collection | f"Keep{number}" >> beam.Map(len).with_output_types(int)
    return pipeline.to_runner_api()


def test_unbounded_input_is_folded_by_ticks_under_stable_labels(graph):
    """They are what a running job is upgraded by; `GOLDEN=write` writes them anew."""
    names = {one.unique_name for one in graph.components.transforms.values()}
    own = sorted(name for name in names if name.startswith("Features") and name.count("/") <= 2)
    if os.environ.get("GOLDEN") == "write":
        LABELS.write_text("\n".join(own) + "\n")
    assert "\n".join(own) + "\n" == LABELS.read_text()


def test_state_and_what_is_grouped_have_explicit_coders(graph):
    """Blocks are bytes and keys are ours; nothing that a step keeps or shuffles is pickled."""
    components = graph.components
    live = [one for one in components.transforms.values() if "/Live/" in one.unique_name]
    outputs = [pcollection for one in live for pcollection in one.outputs.values()]
    used = {components.pcollections[name].coder_id for name in outputs}
    pickled = {
        name for name in components.coders if "FastPrimitives" in name or "PickleCoder" in name
    }
    assert not used & pickled
    parts = {part for name in used for part in components.coders[name].component_coder_ids}
    assert not parts & pickled
    specs = [
        spec
        for one in live
        if one.spec.urn == "beam:transform:pardo:v1"
        for spec in beam.portability.api.beam_runner_api_pb2.ParDoPayload.FromString(
            one.spec.payload
        ).state_specs.values()
    ]
    assert len(specs) == 3 * 7, "of ids, of entities' keys, and of the join"
    elements = {s.bag_spec.element_coder_id or s.read_modify_write_spec.coder_id for s in specs}
    urns = {components.coders[name].spec.urn for name in elements}
    assert urns == {"beam:coder:bytes:v1"}


@pytest.mark.parametrize(
    "wrong", [{"tick_us": 1500}, {"tick_us": 20_500}, {"homes": 0}, {"snapshot_ticks": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        TickSettings(**wrong)


def test_bounded_input_is_folded_by_days_unless_ticks_are_given():
    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    pipeline = beam.Pipeline()
    events = pipeline | beam.Create([]).with_output_types(pa.RecordBatch)
    assert (events | "Days" >> Features(spec)).others is None
    assert (events | "Ticks" >> Features(spec, ticks=TickSettings())).others is not None
