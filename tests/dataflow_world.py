"""Coders of a pipeline's proto, by name."""

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
