"""Coders of a pipeline's proto, by name; a runner that notes what was launched."""

from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from google.protobuf.wrappers_pb2 import BytesValue

FALLBACK = {
    "FastPrimitivesCoder", "DeterministicFastPrimitivesCoderV2", "PickleCoder", "DillCoder"
}  # fmt: skip


def coder_names(components, name):
    """URNs of a coder and of its parts; of a Python coder, the class's name."""
    coder = components.coders[name]
    found = {coder.spec.urn}
    if coder.spec.urn == "beam:coder:pickled_python:v1":
        found = {BytesValue.FromString(coder.spec.payload).value.split(b"$")[0].decode()}
    for part in coder.component_coder_ids:
        found |= coder_names(components, part)
    return found


LAUNCHED: list = []
"""Options of the pipelines that `Launched` was given."""


class Launched(PipelineRunner):
    """Stands for an engine elsewhere, whose job goes on when the launcher has ended."""

    def run_pipeline(self, pipeline, options):
        LAUNCHED.append(options)
        return _Running(PipelineState.RUNNING)


class _Running(PipelineResult):
    def wait_until_finish(self, duration=None):
        raise AssertionError("the launcher waits for its job")
