"""Launches a backfill on Dataflow and does not wait: the entry of the flex template.

Not run: no job was ever submitted (docs/deploy-dataflow.md).
It builds the same text as `lockstep backfill` (`pipelines.backfill.build`) for all the days at
once, from a cold start. What the job makes is in `OUT/attempt-…/`, where `manifest.jsonl`, written
last, names every file; see docs/deploy-dataflow.md for what is not done here.
"""

import argparse
import sys
import uuid

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.backfill.build import Chunk, build
from pipelines.backfill.publish import make_attempt
from pipelines.commands._shared import load_config
from pipelines.layout import Days, Layout
from pipelines.runners import check_flags
from pipelines.sources import open_source
from scoring.files import join


def launch(arguments):
    """Builds and starts the job.

    Returns:
      (result, attempt): Beam's result, of a job that may still run, and the folder that it fills.

    Raises:
      LockstepError: the config, the days, the input or an option is wrong.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("config", "input", "out", "days"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--bundle")
    request, flags = parser.parse_known_args(arguments)
    spec, days = load_config(request.config), tuple(Days.parse(request.days))
    attempt = join(request.out, f"attempt-{uuid.uuid4().hex}")
    chunk = Chunk(
        spec=spec,
        days=days,
        splits=tuple(enumerate(open_source(request.input, spec))),
        computed=tuple(spec.entities),
        before=None,
        kept=days,
        attempt=attempt,
        out=attempt,
        bundle=request.bundle,
    )
    make_attempt(Layout(attempt), attempt, days)
    pipeline = beam.Pipeline(options=PipelineOptions(list(check_flags(flags))))
    build(pipeline, chunk)
    return pipeline.run(), attempt


if __name__ == "__main__":
    print(f"launched; the job fills {launch(sys.argv[1:])[1]}")
