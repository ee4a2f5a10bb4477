"""`Score` and the handlers: the scores of the bundle itself, whichever serves, batch by batch."""

import json
import logging

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from apache_beam.ml.inference.base import ModelMetadata, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from serving_world import make_batch, make_store, scores_of
from steps_world import run_steps

from configs.errors import BundleError, InputError
from scoring.handlers import BatchHandler, ExampleHandler
from scoring.serving import Serving
from scoring.steps import ACTION, BUNDLE, MODEL_INPUTS, SCORE, Score, score_batch
from transforms import batches as coders


@pytest.fixture(scope="module")
def store_and_names(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def store(store_and_names):
    store, names = store_and_names
    store.promote(names[0])
    return store


@pytest.fixture
def names(store_and_names):
    return store_and_names[1]


def plain(batch):
    """A batch's columns to compare; NaN is null."""
    frame = {name: batch.column(name) for name in batch.schema.names}
    inputs = frame.pop(MODEL_INPUTS).flatten()
    columns = {name: pc.if_else(pc.is_nan(one), None, one)
               if pa.types.is_floating(one.type) else one
               for name, one in (frame | {"inputs": inputs}).items()}  # fmt: skip
    return {name: one.to_pylist() for name, one in columns.items()}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_score_gives_what_the_bundle_gives(store, names):
    batch = make_batch()
    expected, scorer = scores_of(store, names[0], batch)
    for place in (store.root, store.path(names[0])):
        found, _ = run_steps([batch, batch.slice(3, 5)], lambda rows, p=place: {
            "made": rows | Score(str(p))
        })  # fmt: skip
        first, second = sorted(found["made"], key=lambda one: one.num_rows, reverse=True)
        assert first.schema.names == [*batch.schema.names, SCORE, ACTION, MODEL_INPUTS]
        assert first.column(SCORE).equals(expected.column("score").combine_chunks())
        assert first.column(ACTION).equals(expected.column("action").combine_chunks())
        assert plain(second) == plain(score_batch(scorer, batch).slice(3, 5))
        assert first.schema.metadata[BUNDLE] == names[0].encode()


def test_scored_batches_pass_the_coder(store, names):
    _, scorer = scores_of(store, names[0], make_batch())
    made, coder = score_batch(scorer, make_batch()), coders.RecordBatchCoder()
    again = coder.decode(coder.encode(made))
    assert plain(again) == plain(made)
    assert again.schema.metadata == made.schema.metadata


def test_a_batch_without_an_input_is_refused_by_name(store, names):
    batch = make_batch()
    _, scorer = scores_of(store, names[0], batch)
    lost = batch.schema.names[-1]
    with pytest.raises(InputError, match=lost):
        score_batch(scorer, batch.drop_columns([lost]))


def test_the_pointer_is_followed_between_batches_when_it_is_due(store, names):
    clock = Clock()
    serving = Serving(str(store.root), poll_seconds=10, clock=clock)
    assert serving.current().bundle.fingerprint == names[0]
    store.promote(names[1])
    clock.now = 9.9
    assert serving.current().bundle.fingerprint == names[0]
    clock.now = 10.1
    assert serving.current().bundle.fingerprint == names[1]
    store.rollback()
    clock.now = 30
    assert serving.current().bundle.fingerprint == names[0]
    assert serving.swaps == 2


def test_a_batch_is_scored_by_one_bundle_though_the_pointer_moves_meanwhile(store, names):
    """The swap comes while the first of two batches that are scored together is under way."""
    clock = Clock()
    handler = BatchHandler(str(store.root))
    serving = Serving(str(store.root), poll_seconds=1, clock=clock)

    class Moving(list):
        def __iter__(self):
            for one in super().__iter__():
                yield one
                store.promote(names[1])
                clock.now += 2

    both = handler.run_inference(Moving([make_batch(), make_batch(seed=8)]), serving)
    assert [one.schema.metadata[BUNDLE].decode() for one in both] == [names[0]] * 2
    after = handler.run_inference([make_batch()], serving)
    assert [one.schema.metadata[BUNDLE].decode() for one in after] == [names[1]]
    assert after[0].column(SCORE).to_pylist() != both[0].column(SCORE).to_pylist()


def test_a_fixed_bundle_is_never_swapped(store, names):
    clock = Clock()
    serving = Serving(str(store.path(names[0])), poll_seconds=1, clock=clock)
    store.promote(names[1])
    clock.now = 100
    assert serving.current().bundle.fingerprint == names[0]


@pytest.mark.parametrize("harm", ["damaged", "other features", "no pointer"])
def test_what_cannot_be_swapped_to_changes_nothing_and_is_logged_once(tmp_path, caplog, harm):
    store, (first, second) = make_store(tmp_path / "store")
    clock = Clock()
    serving = Serving(str(store.root), poll_seconds=1, clock=clock)
    store.promote(second)
    if harm == "damaged":
        (store.path(second) / "linear.npz").write_bytes(b"")
    elif harm == "no pointer":
        (store.root / "serving.json").unlink()
    else:
        serving._inputs = {**serving._inputs, "amount": "made otherwise"}
    with caplog.at_level(logging.ERROR):
        for now in (2, 4, 6):
            clock.now = now
            assert serving.current().bundle.fingerprint == first
    assert serving.refusals == 1
    assert sum("goes on serving" in record.message for record in caplog.records) == 1


def test_no_bundle_at_all_is_refused_in_words(tmp_path):
    with pytest.raises(BundleError, match="bundle promote"):
        Serving(str(tmp_path))


def run_inference(elements, handler, given):
    """What `RunInference` gives, in this process."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        made = pipeline | beam.Create(elements, reshuffle=False) | RunInference(handler)
        given(made)


def test_run_inference_takes_arrow_batches(store, names):
    batch = make_batch()
    _, scorer = scores_of(store, names[0], batch)
    found, _ = run_steps([batch, batch.slice(10, 7)], lambda rows: {
        "made": rows | RunInference(BatchHandler(str(store.root)))
    })  # fmt: skip
    sizes = sorted(found["made"], key=lambda one: one.num_rows)
    assert plain(sizes[1]) == plain(score_batch(scorer, batch))
    assert plain(sizes[0]) == plain(score_batch(scorer, batch.slice(10, 7)))


def test_run_inference_takes_examples_one_by_one(store, names):
    batch = make_batch(30)
    expected, _ = scores_of(store, names[0], batch)
    examples = [dict(one, number=n) for n, one in enumerate(batch.to_pylist())]
    scores = expected.column("score").to_pylist()
    actions = expected.column("action").to_pylist()

    def check(found):
        assert len(found) == 30
        for one in found:
            number = one.example["number"]
            assert one.inference["score"] == scores[number]
            assert one.inference["action"] == actions[number]
            assert one.model_id == names[0]

    def assert_made(made):
        assert_that(made, check)

    run_inference(examples, ExampleHandler(str(store.root)), assert_made)


def test_the_bundle_that_beams_model_metadata_names_is_taken(store, names):
    """As by handlers of Beam's own, whatever the store's pointer says."""
    examples = make_batch(3).to_pylist()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        named = ModelMetadata(str(store.path(names[1])), "second")
        metadata = pipeline | "Metadata" >> beam.Create([named])
        made = (
            pipeline
            | beam.Create(examples)
            | RunInference(ExampleHandler(str(store.root)), model_metadata_pcoll=metadata)
            | beam.Map(lambda one: one.model_id)
        )
        assert_that(made, equal_to([names[1]] * 3))


def test_what_follows_run_inference_has_our_coder_where_the_type_is_declared(store):
    """Beam does not ask a handler for its type; docs/beam.md shows how it is said."""
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
    inference = RunInference(BatchHandler(str(store.root))).with_output_types(pa.RecordBatch)
    made = pipeline | beam.Create([make_batch(3)]) | inference
    assert coders.coders.registry.get_coder(made.element_type) == coders.RecordBatchCoder()


def test_an_example_without_an_input_is_refused_by_name(store):
    handler = ExampleHandler(str(store.root))
    example = {name: value for name, value in make_batch(1).to_pylist()[0].items()}
    lost = example.popitem()[0]
    with pytest.raises(InputError, match=lost):
        handler.run_inference([example], handler.load_model())


def test_a_bundle_of_another_filesystem_is_copied_and_followed(store, names):
    """Beam's in-memory stand-in for an object store."""
    from memory_files import memory_files

    MemoryFiles = memory_files()

    MemoryFiles.put_folder(store.root, "lockstep-memory://bucket/bundles")
    clock = Clock()
    serving = Serving("lockstep-memory://bucket/bundles", poll_seconds=1, clock=clock)
    assert serving.current().bundle.fingerprint == names[0]
    pointer = json.loads((store.root / "serving.json").read_text()) | {"serving": names[1]}
    MemoryFiles.put("lockstep-memory://bucket/bundles/serving.json", json.dumps(pointer).encode())
    clock.now = 2
    scorer = serving.current()
    assert scorer.bundle.fingerprint == names[1]
    expected, _ = scores_of(store, names[1], make_batch())
    made = score_batch(scorer, make_batch())
    assert np.array_equal(made.column(SCORE), expected.column("score"))
