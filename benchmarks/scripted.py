"""A source of scripted batches for unbounded pipelines, and the end of such a pipeline.

Batches are in this process, so workers are its threads (`--environment_type=LOOPBACK`); or in a
file (`write_script`), for workers that are processes, which count what comes (`CountRows`). A batch
has the watermark of the script as its timestamp (`transforms.ticks`); the source ends when all of
them have gone out. For benchmarks and for tests.
"""

import functools
import json
import threading
import time
import uuid
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import PickleCoder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from transforms.batches import RecordBatchCoder

SCRIPTS: dict[str, list] = {}
"""By name, in this order: (watermark in microseconds, batch). None for a batch: only the watermark
moves; a function: nothing comes until it says true."""
FOUND: dict[str, list] = {}
_LOCK = threading.Lock()


class Mark(CheckpointMark):
    """How many batches have gone out."""

    def __init__(self, at):
        self.at = at

    def finalize_checkpoint(self):
        pass


class ScriptReader(UnboundedReader):
    """Reads a script from a mark on."""

    def __init__(self, name, pause_s, mark):
        self.script = SCRIPTS[name] if name in SCRIPTS else _script_of(name)
        self.pause_s = pause_s
        self.at = mark.at if mark is not None else 0
        self.current = None

    def start(self):
        return self.advance()

    def advance(self):
        if self.at == len(self.script):
            return False
        following = self.script[self.at]
        if callable(following[1]) and not following[1]():
            time.sleep(0.1)
            return False
        self.current = following
        self.at += 1
        time.sleep(self.pause_s)
        return isinstance(self.current[1], pa.RecordBatch)

    def get_current(self):
        return self.current[1]

    def get_current_timestamp(self):
        return Timestamp(micros=self.current[0])

    def get_watermark(self):
        if self.at == len(self.script) and self.current[1] is None:
            return MAX_TIMESTAMP
        return Timestamp(micros=self.current[0]) if self.current else MIN_TIMESTAMP

    def get_checkpoint_mark(self):
        return Mark(self.at)

    def close(self):
        pass


class ScriptSource(UnboundedSource):
    """Batches of a script."""

    def __init__(self, name, pause_s=0.0):
        self.name, self.pause_s = name, pause_s

    def split(self, desired_num_splits, options=None):
        return [self]

    def create_reader(self, options, checkpoint_mark):
        return ScriptReader(self.name, self.pause_s, checkpoint_mark)

    def get_checkpoint_mark_coder(self):
        return PickleCoder()

    def default_output_coder(self):
        return RecordBatchCoder()


def write_script(path, script):
    """Writes a script that has batches of one schema, and watermarks alone, to a new file."""
    schema = next(batch.schema for _, batch in script if batch is not None)
    empty = pa.RecordBatch.from_pylist([], schema)
    marks = [(at, batch is not None) for at, batch in script]
    with pa.ipc.new_file(path, schema.with_metadata({"marks": json.dumps(marks)})) as writer:
        for _, batch in script:
            writer.write_batch(batch if batch is not None else empty)


@functools.lru_cache(1)
def _script_of(path):
    with pa.memory_map(path) as source, pa.ipc.open_file(source) as file:
        marks = json.loads(file.schema.metadata[b"marks"])
        batches = [file.get_batch(number) for number in range(len(marks))]
    pairs = zip(marks, batches, strict=True)
    return [(at, batch if there else None) for (at, there), batch in pairs]


class CountRows(beam.DoFn):
    """Appends the rows of each element to a file of its own below a folder (`counted_rows`)."""

    def __init__(self, folder):
        self.folder = folder

    def setup(self):
        self.path = Path(self.folder, uuid.uuid4().hex)

    def process(self, element):
        with open(self.path, "a") as file:
            file.write(f"{element.num_rows}\n")


def counted_rows(folder):
    """All rows that `CountRows` has counted below a folder."""
    return sum(int(line) for file in Path(folder).iterdir() for line in file.read_text().split())


class Keep(beam.DoFn):
    """Elements, into `FOUND`."""

    def __init__(self, name):
        self.name = name

    def process(self, element):
        with _LOCK:
            FOUND.setdefault(self.name, []).append(element)


def read_script(pipeline, name, pause_s=0.0):
    """The batches of a script, unbounded."""
    read = ReadFromUnboundedSource(ScriptSource(name, pause_s), max_records_per_bundle=20,
                                   max_read_time_seconds=0.5)  # fmt: skip
    return pipeline | "Script" >> read.with_output_types(pa.RecordBatch)


def run_until(build, flags, names, enough, timeout_s=600, keep=Keep):
    """Runs an unbounded pipeline until it has given enough, or has ended; then ends it.

    Args:
      build: pipeline -> name -> collection.
      flags: of the runner.
      names: of the collections that are kept.
      enough: `FOUND` -> bool.
      keep: name -> the DoFn that takes what comes.
    """
    FOUND.clear()
    # Flink moves the watermark between Beam bundles only (`transforms.steps.timers`).
    options = PipelineOptions(["--max_bundle_time_mills=100", *flags])
    options.view_as(StandardOptions).streaming = True
    pipeline = beam.Pipeline(options=options)
    made = build(pipeline)
    for name in names:
        _ = made[name] | f"Keep{name}" >> beam.ParDo(keep(name)).with_output_types(int)
    result = pipeline.run()
    deadline = time.monotonic() + timeout_s
    try:
        while not enough(FOUND) and time.monotonic() < deadline:
            if str(result.state) in ("DONE", "FAILED", "CANCELLED"):
                break
            time.sleep(0.2)
        time.sleep(1)  # what would come twice has the time to come
    finally:
        if str(result.state) not in ("DONE", "FAILED", "CANCELLED"):
            result.cancel()
    return dict(FOUND)
