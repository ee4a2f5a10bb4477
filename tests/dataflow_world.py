"""Coders of a pipeline's proto, by name; a runner that notes what was launched; a fake service."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Service(BaseHTTPRequestHandler):
    """What Beam asks of Dataflow's REST interface about its only job, as far as cancelling needs.

    Attributes:
      state: of the job; None: there is none.
      refuses: whether it answers a wish to cancel with an error.
      cancels: whether it carries it out.
    """

    JOB = "2026-11-28_00_00_00-1234567890"
    state, asked_to_cancel, refuses, cancels = None, False, False, True

    @classmethod
    def flags(cls, folder):
        """Of Beam; files are staged in this folder."""
        return (
            "--project=project", "--region=europe-west1", "--temp_location=gs://bucket/temp",
            f"--staging_location={folder}", "--sdk_container_image=worker:1",
            "--sdk_location=container", "--no_auth",
            f"--dataflow_endpoint=http://localhost:{cls.port}",
        )  # fmt: skip

    def do_POST(self):
        self._read()
        type(self).state = "JOB_STATE_RUNNING"
        self._answer({"id": self.JOB, "currentState": "JOB_STATE_PENDING"})

    def do_PUT(self):
        assert self._read()["requestedState"] == 5, "JOB_STATE_CANCELLED"
        type(self).asked_to_cancel = True
        if self.refuses:
            self._answer({"error": {"code": 403, "message": "no"}}, 403)
            return
        type(self).state = "JOB_STATE_CANCELLED" if self.cancels else "JOB_STATE_CANCELLING"
        self._answer({"id": self.JOB, "currentState": self.state})

    def do_GET(self):
        messages = self.path.split("?")[0].endswith("/messages")
        self._answer({} if messages else {"id": self.JOB, "currentState": self.state})

    def log_message(self, *words):
        pass

    def _read(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")

    def _answer(self, body, code=200):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def running_service(**how):
    """A class of `Service` of its own, that answers for as long as the context lives."""
    service = type("Running", (Service,), how)
    with ThreadingHTTPServer(("127.0.0.1", 0), service) as server:
        service.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield service
        server.shutdown()
