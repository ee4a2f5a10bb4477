"""A job on an engine: submitted, watched, and cancelled there when the run here ends before it.

Beam's job server for Flink (2.70) says that a job is cancelled once it waits no more for it: in a
session the job goes on, and a batch one is started again whenever it fails for want of who
submitted it. So Flink is asked itself, by REST, where `--flink_master` says where it is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import subprocess
import time
import types
import urllib.request
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import job_server, portable_runner
from apache_beam.utils import subprocess_server

from configs.errors import LockstepError
from pipelines.logs import log
from pipelines.signals import held

ENDED = ("DONE", "CANCELLED", "DRAINED", "UPDATED")
_OVER = (*ENDED, "FAILED")
_OVER_IN_FLINK = ("CANCELED", "FAILED", "FINISHED")
_SUBMITTING = "the job is being submitted, then cancelled; a second signal ends this at once"
_CANCEL_S = 60.0
"""How long a job may take to be cancelled; Dataflow takes minutes, and is not waited for."""
_BY_HAND = {
    "dataflow": "`gcloud dataflow jobs cancel`, or the console",
    "prism": "end its process",
}
_BY_FLINK = "`flink list` and `flink cancel`, or Flink's page"


# What Beam starts for an engine (a job server, Prism) would be ended by the Ctrl-C that is to
# cancel the job through it: by the terminal, which signals the whole process group, or by Beam's
# own handler, which stops it in the middle of a submission. It is stopped when this process ends.
subprocess_server.subprocess = types.SimpleNamespace(
    **{**vars(subprocess), "Popen": functools.partial(subprocess.Popen, start_new_session=True)}
)


def _leave_to_ours(server: Any, number: int, frame: types.FrameType | None) -> None:
    if callable(server._original_sigint_handler):
        server._original_sigint_handler(number, frame)


job_server.StopOnExitJobServer._sigint_handler = _leave_to_ours


# What tells of a job ends after --job_server_timeout, a minute, where an engine knows the job by
# the name that it had when it was prepared (Prism); a job takes as long as it takes. Asked for a
# second time, Flink's job server tells neither asker of the end.
_run = portable_runner.JobServiceHandle.run


def _run_without_deadline(handle: Any, preparation: str) -> Any:
    handle.timeout = None
    return _run(handle, preparation)


portable_runner.JobServiceHandle.run = _run_without_deadline


@contextlib.contextmanager
def submitted(pipeline: beam.Pipeline, runner: str, detach: bool = False) -> Iterator[Any]:
    """Submits a pipeline to its engine; whatever is raised within cancels the job there.

    Args:
      pipeline: built.
      runner: its name, for messages.
      detach: leave the job running.

    Raises:
      LockstepError: the engine cannot be started or reached.
    """
    result, ends = None, contextlib.ExitStack()
    try:
        with held(_SUBMITTING):
            result = _submit(pipeline, runner)
        if not detach and isinstance(result, portable_runner.PipelineResult):
            # Workers in this process (--environment_type=LOOPBACK) end after their job, not before.
            for callback in result._cleanup_callbacks:
                ends.callback(callback)
            result._cleanup_callbacks = ()
        yield result
    except BaseException:
        if result is not None and not detach:
            _cancel(result, runner, pipeline.options.view_as(FlinkRunnerOptions).flink_master)
        raise
    finally:
        ends.close()


def _submit(pipeline: beam.Pipeline, runner: str) -> Any:
    try:
        return pipeline.run()
    except (RuntimeError, OSError, grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise LockstepError(
            f"--runner={runner} did not take the pipeline: "
            f"{str(error) or type(error).__name__}. Nothing was published; see docs/conformance.md "
            "for engines that run here"
        ) from error


def _cancel(result: Any, runner: str, flink_master: str) -> None:
    """Cancels an engine's job that has not ended, and waits until it has; else says which it is."""
    # Workers in this process would report that the engine hangs up.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    portable = isinstance(result, portable_runner.PipelineResult)
    job = result._job_id if portable else result.job_id()
    words = "was not cancelled, and may go on"
    try:
        if str(result.state) in _OVER:
            return
        in_session = _flink_session(result, runner, flink_master) if portable else ""
        result.cancel()
        words = "is being cancelled, and has not ended yet"
        deadline = time.monotonic() + _CANCEL_S
        ended = False
        while not ended and time.monotonic() < deadline:
            ended = str(result.state) in _OVER
            if in_session:
                ended = cancel_in_flink(in_session, job.rpartition("_")[0]) and ended
            time.sleep(0 if ended else 0.2)
        if ended and in_session is not None:
            return
        if in_session is None:
            words = "was cancelled at Beam's job server, and may go on in Flink's session"
        _report_left(job, runner, words)
    except Exception as error:  # each engine has its own; what ended the run says more
        _report_left(job, runner, f"{words} ({type(error).__name__})")
    except BaseException:  # a second signal
        _report_left(job, runner, words)
        raise


def _flink_session(result: Any, runner: str, flink_master: str) -> str | None:
    """Where a Flink that outlives its job server answers; "": it is none; None: nobody knows."""
    if not flink_master.startswith("["):
        return flink_master if "://" in flink_master else f"http://{flink_master}"
    if "portable" not in runner.lower():  # Beam has started one for this job
        return ""
    asked = beam_job_api_pb2.DescribePipelineOptionsRequest()
    try:
        known = result._job_service.DescribePipelineOptions(asked).options
    except grpc.RpcError:  # Prism
        return ""
    return None if any(option.name == "flink_master" for option in known) else ""


def cancel_in_flink(address: str, name: str) -> bool:
    """Cancels the jobs of a name in a Flink, by its REST interface; whether none is left.

    Raises:
      OSError: it does not answer.
    """
    left = False
    with urllib.request.urlopen(f"{address}/jobs/overview", timeout=10) as answer:
        jobs = json.load(answer)["jobs"]
    for job in jobs:
        if job["name"] != name or job["state"] in _OVER_IN_FLINK:
            continue
        left = True
        if job["state"] != "CANCELLING":
            asked = urllib.request.Request(
                f"{address}/jobs/{job['jid']}?mode=cancel", method="PATCH"
            )
            urllib.request.urlopen(asked, timeout=10).close()
    return not left


def _report_left(job: str, runner: str, words: str) -> None:
    named = (how for name, how in _BY_HAND.items() if name in runner.lower())
    log(
        "WARNING",
        f"lockstep: job {job} {words}; nothing of it is published here. To stop it: "
        f"{next(named, _BY_FLINK)}",
    )
