"""Launches the streaming scorer on Dataflow and does not wait: the entry of its flex template.

Not run: no job was ever submitted (docs/deploy-dataflow.md). It builds the same text as
`lockstep stream --runner …` (`pipelines.streaming.build`), from a cold start.
"""

import argparse
import sys

import apache_beam as beam

from pipelines.pubsub.session import ReaderSettings
from pipelines.runners import Running, check_flags
from pipelines.streaming.build import build
from pipelines.streaming.job import JobRequest, make_job, serving_bundle


def launch(arguments, run=beam.Pipeline.run):
    """Builds and starts the job.

    Raises:
      LockstepError: the bundle or an option is wrong.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("bundles", "subscription", "decisions", "state"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--dead_letters")
    request, flags = parser.parse_known_args(arguments)
    running = Running(flags=check_flags(flags))
    job = make_job(
        JobRequest(
            bundles=request.bundles,
            reader=ReaderSettings(request.subscription),
            decisions=request.decisions,
            state=request.state,
            running=running,
            dead_letters=request.dead_letters,
        ),
        serving_bundle(request.bundles).spec,
    )
    pipeline = beam.Pipeline(options=running.streaming_options())
    build(pipeline, job)
    return run(pipeline)


if __name__ == "__main__":
    launch(sys.argv[1:])
    print("launched; the job runs until it is cancelled or drained")
