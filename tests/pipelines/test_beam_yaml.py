"""Beam YAML's transforms: rows in, rows out, the same values as batches give."""

import math

import apache_beam as beam
import yaml
from backfill_world import CONFIG, make_events
from serving_world import make_batch, make_store, scores_of
from steps_world import run_steps

import pipelines.beam_yaml as module
from configs.loader import loads
from pipelines.beam_yaml import PROVIDERS, RowsToBatches, YamlFeatures, YamlScore, rows_to_batch
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names
from transforms.steps import Decode, Features


def test_the_provider_file_names_what_there_is():
    (provider,) = yaml.safe_load(PROVIDERS.read_text())
    assert provider["type"] == "python"
    for name in provider["transforms"].values():
        assert issubclass(getattr(module, name.removeprefix("pipelines.beam_yaml.")), object)
    assert len(provider["transforms"]) == 3


def test_rows_of_any_source_become_rows_with_the_features_of_batches(tmp_path):
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    names = numeric_names(spec)
    events = rows_to_batch(make_events(300, days=3))

    def in_rows(given):
        rows = given | beam.FlatMap(lambda batch: [beam.Row(**one) for one in batch.to_pylist()])
        made = rows | YamlFeatures(str(tmp_path / "tiny.yaml"))
        return {name: made[name] for name in ("rows", "verdicts", "dead_letters")}

    found, _ = run_steps([events], lambda given: {
        "made": ((given | Decode(spec))["events"] | Features(spec)).rows
    })  # fmt: skip
    expected = {row["event_id"]: row for batch in found["made"] for row in batch.to_pylist()}
    found, _ = run_steps([events], in_rows)
    assert len(found["rows"]) == len(expected) > 100
    assert found["verdicts"]
    for row in found["rows"]:
        for name in names:
            value = expected[row.event_id][name]
            assert getattr(row, name) == (None if math.isnan(value) else value)


def test_score_adds_score_action_and_bundle_to_rows(tmp_path):
    store, names = make_store(tmp_path / "bundles")
    batch = make_batch(20)
    expected, _ = scores_of(store, names[0], batch)
    kind = module._row_type(batch.schema)

    def apply(given):
        rows = given | module.BatchesToRows(kind)
        return {"made": rows | YamlScore(str(store.root))}

    found, _ = run_steps([batch], apply)
    scores = dict(zip(batch.column("event_id").to_pylist(), expected.to_pylist(), strict=True))
    assert len(found["made"]) == 20
    for row in found["made"]:
        assert row.score == scores[row.event_id]["score"]
        assert row.action == scores[row.event_id]["action"]
        assert row.bundle == names[0]


def test_rows_are_gathered_into_batches():
    found, _ = run_steps([make_batch(5)], lambda given: {
        "made": given | beam.FlatMap(lambda batch: batch.to_pylist()) | RowsToBatches()
    })  # fmt: skip
    assert sum(batch.num_rows for batch in found["made"]) == 5
