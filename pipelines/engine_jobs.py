"""A job on an engine: submitted, watched, and cancelled there when the run here ends before it."""

from __future__ import annotations

import contextlib
import functools
import logging
import subprocess
import time
import types
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.runners.portability import job_server, portable_runner
from apache_beam.utils import subprocess_server

from configs.errors import LockstepError
from pipelines.logs import log
from pipelines.signals import held

ENDED = ("DONE", "CANCELLED", "DRAINED", "UPDATED")
_SUBMITTING = "the job is being submitted, then cancelled; a second signal ends this at once"
_CANCEL_S = 60.0
"""How long a job may take to be cancelled; Dataflow takes minutes, and is not waited for."""


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
            _cancel(result)
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


def _cancel(result: Any) -> None:
    """Cancels an engine's job that has not ended, and waits until it has."""
    # Workers in this process would report that the engine hangs up.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        if str(result.state) in (*ENDED, "FAILED"):
            return
        result.cancel()
        deadline = time.monotonic() + _CANCEL_S
        while str(result.state) not in (*ENDED, "FAILED"):
            if time.monotonic() > deadline:
                log("WARNING", "lockstep: the engine is still cancelling the job; look at it there")
                return
            time.sleep(0.2)
    except Exception as error:  # each engine has its own; what ended the run says more
        words = f"could not be cancelled ({type(error).__name__}); look at it there"
        log("WARNING", f"lockstep: the engine's job {words}")
