"""Where a pipeline runs: embedded unless a runner is named; every other flag is Beam's.

Without `--runner` it is Beam's `FnApiRunner`, in memory, in this process or in several. Beam's own
default is refused by name: it fetches another engine and falls back to a third, so a laptop and CI
would run different code (DESIGN section 5). So are threads as workers, which lose elements.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.transforms.environments import Environment, python_sdk_capabilities

from configs.errors import InputError, LockstepError
from pipelines import balance
from pipelines.beam_metrics import RunMetrics, read_metrics
from pipelines.beam_worker import (
    WorkerPool,
    core_count,
    import_steps,
    keep_memory,
    worker_pool,
)
from pipelines.engine_jobs import ENDED, submitted
from pipelines.failures import reported_failure
from pipelines.loopback import listen_on_loopback
from pipelines.runner_flags import (
    refuse_engine_flags,
    require_runner,
    runner_of,
    with_absolute_setup_file,
)
from pipelines.signals import raise_if_stopped

WHOLE_BUNDLES = "--experiments=prism_disable_sdf_split"
"""For Prism 2.77.0, which else splits a slow bundle of any step, also of one with state: a key with
elements on both sides is in two bundles at once, and what one of them writes is lost. Other runners
pass over it."""

# Flink's, which an engine that has no use for them passes over. Acks and decisions wait for a
# checkpoint; a bundle that is not ended by time holds events and timers for 10 s; what one gives
# out while a checkpoint is made would come after the watermark (`transforms.steps.timers`). Where
# steps are chained, the first one has another id at parallelism 1 than at 2, and a savepoint of one
# does not fit the other; the flag alone says that they are not.
_STREAMING = {
    "checkpointing_interval": 1000,
    "max_bundle_time_mills": 100,
    "max_bundle_size": 1000,
    "finish_bundle_before_checkpointing": None,
    "operator_chaining": None,
}
_STREAMING_DATAFLOW = {"experiments": "enable_streaming_engine"}
_WITHOUT_WORKER = (
    "where memory runs out, the kernel ends a process like that. What was published before stays, "
    "and nothing else was; start again, with --workers 1 if memory is short"
)


@dataclasses.dataclass(frozen=True)
class Running:
    """How a pipeline is run.

    Attributes:
      workers: processes of the embedded runner.
      flags: of Beam: `--runner=FlinkRunner`, `--flink_master=…`. Without `--runner`: embedded.
    """

    workers: int = 1
    flags: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether it runs on this machine, in Beam's in-memory runner."""
        return not runner_of(self.flags)

    def options(self) -> PipelineOptions:
        """For Beam."""
        flags = self._flags()
        if self.embedded and self.workers > 1:
            flags += [f"--direct_num_workers={self.workers}"]
        return _Options(flags)

    @property
    def native_pubsub(self) -> bool:
        """Whether the engine reads Pub/Sub itself, each message once."""
        return "dataflow" in runner_of(self.flags).lower()

    @property
    def goes_back(self) -> bool:
        """Whether the engine may go back to a checkpoint, as all but Prism do."""
        return "prism" not in runner_of(self.flags).lower()

    @property
    def continues(self) -> bool:
        """Whether it goes on with a job's state: a savepoint of Flink, an update on Dataflow."""
        names = {flag.split("=")[0] for flag in self.flags}
        return bool(names & {"--savepoint_path", "--update"})

    def streaming_options(self) -> PipelineOptions:
        """For a job that never ends: what engines need for it, where the flags do not say."""
        named = {flag.split("=")[0].lstrip("-") for flag in self.flags}
        wanted = _STREAMING_DATAFLOW if self.native_pubsub else _STREAMING
        more = [
            f"--{name}" if value is None else f"--{name}={value}"
            for name, value in wanted.items()
            if name not in named
        ]
        return PipelineOptions([*self._flags(), *more, "--streaming"])

    def _flags(self) -> list[str]:
        whole = any(name in runner_of(self.flags).lower() for name in ("prism", "portable"))
        return [*self.flags, *([WHOLE_BUNDLES] if whole else [])]


def check_flags(flags: Sequence[str], options: Sequence[str] = ()) -> tuple[str, ...]:
    """Flags that may go to Beam.

    Args:
      flags: what Lockstep does not know.
      options: what it knows, such as `--workers`, for whoever misspelt one of them.

    Raises:
      InputError: a runner or a mode that loses or changes results; a runner that is not there, or
        lacks an option; where no runner is named, a flag of an engine, or one that neither Lockstep
        nor Beam has; or a setup file that is not there.

    >>> check_flags(["--runner=FlinkRunner", "--flink_master=localhost:8081"])
    ('--runner=FlinkRunner', '--flink_master=localhost:8081')
    """
    runner = runner_of(flags)
    if "direct" in runner.lower():
        raise InputError(
            f"--runner={runner} would run another engine here than elsewhere; leave --runner out "
            "for the embedded runner, or name PrismRunner, FlinkRunner or DataflowRunner"
        )
    parser = _parser()
    known, unknown = parser.parse_known_args(list(flags))
    if unknown and not runner:
        wrong = unknown[0].split("=")[0]
        near = difflib.get_close_matches(wrong, options, 1)
        raise InputError(
            f"there is no option {wrong}; look at --help. Options of a runner go with --runner"
            + (f". Did you mean {near[0]}?" if near else "")
        )
    mode = str(getattr(known, "direct_running_mode", None) or "")
    if mode.endswith("threading"):
        raise InputError(
            f"--direct_running_mode={mode} loses elements; use --workers for several processes"
        )
    flags = with_absolute_setup_file(flags)
    if runner:
        require_runner(runner, flags)
    else:
        refuse_engine_flags(flags)
    return flags


def run_pipeline(
    build: Callable[[beam.Pipeline], Any], running: Running, attempt: str
) -> RunMetrics:
    """Builds a pipeline, runs it to its end, and gives its metrics.

    Args:
      build: applies the steps.
      running: where.
      attempt: the attempt's folder, where steps write down why they fail.

    Raises:
      LockstepError: what a step wrote down; or a worker process has died.
      SystemExit: a signal came meanwhile.
    """
    listen_on_loopback()
    with contextlib.ExitStack() as stack:
        runner, workers = None, None
        if running.embedded:
            logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what is raised says it
            workers = stack.enter_context(workers_of(running))
            runner = FnApiRunner(workers)
        pipeline = beam.Pipeline(runner=runner, options=running.options())
        build(pipeline)
        return _run(pipeline, running, attempt, workers)


@contextlib.contextmanager
def workers_of(running: Running) -> Iterator[_Pooled | None]:
    """Holds the embedded runner's processes for the pipelines that are run within; None: no others.

    They start at once, and import what they need while their first pipeline is built.
    """
    if running.workers == 1 or not running.embedded:
        if running.embedded:
            keep_memory()
        yield None
        return
    with worker_pool(running.workers) as pool:
        yield _Pooled(pool, capabilities=python_sdk_capabilities())


@contextlib.contextmanager
def forked_workers(workers: int | None, flags: Sequence[str] = ()) -> Iterator[None]:
    """Keeps embedded workers at hand; the pipelines within take as many of them as they want.

    Of a command, after its imports and before anything makes a thread: a copy of the process has
    no other thread, and would wait for ever for what one of them held.

    Args:
      workers: how many; None: one for each core.
      flags: of Beam.
    """
    count = workers or core_count()
    if not Running(count, tuple(flags)).embedded:
        yield
        return
    import_steps()
    if count == 1 or sys.platform != "linux":
        yield
        return
    with worker_pool(count, fork=True):
        yield


def _run(
    pipeline: beam.Pipeline, running: Running, attempt: str, workers: _Pooled | None
) -> RunMetrics:
    try:
        with _started(pipeline, running) as result:
            result.wait_until_finish()
    except BaseException as error:  # Beam adds words to whatever is raised, SystemExit included
        raise_if_stopped()
        failure = reported_failure(attempt)
        if failure is not None and isinstance(error, Exception):
            raise failure from error
        if workers is not None and (loss := workers.pool.loss) is not None:
            raise LockstepError(f"{loss}; {_WITHOUT_WORKER}") from error
        raise
    raise_if_stopped()
    failure = reported_failure(attempt) if str(result.state) != "DONE" else None
    if failure is not None:
        raise failure
    return read_metrics(result)


@contextlib.contextmanager
def _started(pipeline: beam.Pipeline, running: Running) -> Iterator[Any]:
    if running.embedded:
        yield pipeline.run()
        return
    with submitted(pipeline, runner_of(running.flags)) as result:
        yield result


def run_stream(
    build: Callable[[beam.Pipeline], Any], running: Running, detach: bool = False
) -> None:
    """Builds a streaming job and runs it until it is cancelled.

    Args:
      build: applies the steps.
      running: where; not embedded.
      detach: leave it running once it has been handed over. Otherwise a signal, or any failure
        here, cancels it.

    Raises:
      LockstepError: the job ended by itself.
      SystemExit: a signal came.
    """
    pipeline = beam.Pipeline(options=running.streaming_options())
    build(pipeline)
    try:
        with submitted(pipeline, runner_of(running.flags), detach) as result:
            if detach:
                return
            result.wait_until_finish()
    except BaseException:
        raise_if_stopped()
        raise
    raise_if_stopped()
    if str(result.state) not in ENDED:
        raise LockstepError(
            f"the job ended as {result.state}; the engine's log says why. What it did not decide "
            "is not acknowledged, and comes again: start the job again"
        )


def _parser() -> argparse.ArgumentParser:
    """Of all options that Beam declares."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, conflict_handler="resolve", exit_on_error=False
    )
    waiting = list(PipelineOptions.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if hasattr(kind, "_add_argparse_args"):
            kind._add_argparse_args(parser)
    return parser


class _Options(PipelineOptions):
    """Beam's, each view made once: Beam asks for some at every step, and parses flags for each."""

    def view_as(self, cls: type[Any]) -> Any:
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


class _Pooled(Environment):
    """Beam's word for where the workers are: in a pool of ours."""

    def __init__(self, pool: WorkerPool, **rest: Any) -> None:
        super().__init__(**rest)
        self.pool = pool

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        _pools[id(self.pool)] = self.pool
        return _POOLED, str(id(self.pool)).encode()

    @staticmethod
    def from_runner_api_parameter(payload: bytes, *rest: Any) -> _Pooled:
        return _Pooled(_pools[int(payload)])


class _PooledHandler(worker_handlers.GrpcWorkerHandler):
    """One worker of a pool for one pipeline."""

    def __init__(self, payload: bytes, *rest: Any) -> None:
        super().__init__(*rest)
        self._pool = _pools[int(payload)]
        self._streams = self.data_conn.output_stream
        self.data_conn.output_stream = self._output_stream
        control, data = self.control_conn, self.data_conn
        control._read_thread = threading.Thread(target=_quiet(control._read), daemon=True)
        data._read_inputs = _quiet(data._read_inputs)

    def _output_stream(self, instruction: str, transform: str) -> _Sent:
        return _Sent(self._streams(instruction, transform))

    def start_worker(self) -> None:
        control = f'url: "{self.control_address}"'
        worker = self._pool.begin(
            {"CONTROL_API_SERVICE_DESCRIPTOR": control, "WORKER_ID": self.worker_id}
        )
        self._stopped = threading.Event()
        self._waiting = threading.Thread(target=self._wait, args=[worker], daemon=True)
        self._waiting.start()

    def stop_worker(self) -> None:
        self._stopped.set()
        self._waiting.join()

    def _wait(self, worker: int) -> None:
        self._pool.wait(worker)
        # Beam ends only what was asked before: who asks of a worker that has gone would wait on.
        while not self._stopped.wait(_TELL_S):
            with contextlib.suppress(RuntimeError):  # one more was asked meanwhile
                self.control_conn.abort(RuntimeError("a worker process has died"))


def _quiet(read: Callable[..., None]) -> Callable[..., None]:
    """Of a worker that has died `_wait` tells, not the traceback of a thread that reads of it."""

    def reads(*arguments: Any) -> None:
        with contextlib.suppress(grpc.RpcError):
            read(*arguments)

    return reads


class _Sent:
    """A stream to a worker that is sent in pieces of whole elements, by who writes it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.close = stream.close

    def write(self, elements: bytes) -> None:
        self._stream.write(elements)
        self._stream.maybe_flush()


# Beam 2.77 sends what was written every second from a thread of its own, and forgets what is
# written while that thread waits (`TimeBasedBufferingClosableOutputStream.flush`): on a busy
# machine a piece of 10 MB was lost. Without a time limit there is no such thread.
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0

balance.install()

_POOLED = "lockstep:env:pool:v1"
_TELL_S = 0.2
_pools: weakref.WeakValueDictionary[int, WorkerPool] = weakref.WeakValueDictionary()
Environment.register_urn(_POOLED, None)(_Pooled)
worker_handlers.WorkerHandler.register_environment(_POOLED, bytes)(_PooledHandler)
