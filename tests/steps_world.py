"""Runs steps in this process and hands over what they give."""

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

GIVEN: list = []
FOUND: dict[str, list] = {}


class Give(beam.DoFn):
    """Batches by their number; `beam.Create` would pickle them."""

    def process(self, number):
        yield GIVEN[number]


class Keep(beam.DoFn):
    """Elements, into `FOUND`."""

    def __init__(self, name):
        self.name = name

    def process(self, element):
        FOUND[self.name].append(element)


def states_of(made):
    """All states that `Features` gives."""
    return (made.entity_states, made.id_states) | "AllStates" >> beam.Flatten()


def run_steps(batches, apply):
    """What `apply(events)` gives: name -> elements, in this process; and the pipeline."""
    GIVEN[:] = batches
    FOUND.clear()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        events = (
            pipeline
            | beam.Create(list(range(len(batches))), reshuffle=False)
            | beam.ParDo(Give()).with_output_types(pa.RecordBatch)
        )
        for name, collection in apply(events).items():
            if collection is None:
                continue
            FOUND[name] = []
            _ = collection | f"Keep{name}" >> beam.ParDo(Keep(name)).with_output_types(int)
    return dict(FOUND), pipeline
