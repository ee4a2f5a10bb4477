"""Workers as processes for an engine that is beside them, such as a task manager of Flink.

An engine with `--environment_type=EXTERNAL --environment_config=HOST:PORT` asks for workers here
(`BeamFnExternalWorkerPool` of Beam's Fn API). All are forked from one process that has imported
Beam and the steps and has no thread: a worker is there at once, also after one was killed.

Beam's own pool (`apache_beam.runners.worker.worker_pool_main`) starts each anew, listens on every
interface, and passes a pipeline's options on in a container only.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing import get_context
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance
from google.protobuf import json_format, text_format  # type: ignore[import-untyped]

from configs.errors import InputError, LockstepError
from pipelines.beam_worker import end_with, import_steps, keep_memory

Endpoints = Mapping[str, str]
"""Where a worker finds its engine: of `control`, `logging` and `provision`, each a URL or ""."""


class WorkersLostError(LockstepError):
    """The process that workers are forked from has died, and the workers with it."""

    def __init__(self) -> None:
        super().__init__(
            "the process that workers are forked from has died, and they with it; "
            "was memory short? Start `lockstep workers` again"
        )


class Forker:
    """A process that becomes workers by forking itself; made before this one has threads."""

    def __init__(self) -> None:
        import pipelines.streaming.build  # what jobs need that backfills do not  # noqa: F401

        import_steps()
        ours, theirs = socket.socketpair()
        launcher = os.getpid()

        def become() -> None:
            ours.close()
            end_with(launcher)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _fork_workers(theirs)

        self._process = get_context("fork").Process(target=become, daemon=True)
        self._process.start()
        theirs.close()
        self._orders = ours.makefile("rw", encoding="utf-8")
        ours.close()
        self._lock = threading.Lock()

    def start(self, worker: str, endpoints: Endpoints) -> None:
        """Forks a worker.

        Raises:
          WorkersLostError: see there.
        """
        self._order({"worker": worker, "endpoints": dict(endpoints)})

    def stop(self, worker: str) -> None:
        """Ends a worker; one that is not there is passed over.

        Raises:
          WorkersLostError: see there.
        """
        self._order({"worker": worker})

    def wait(self) -> None:
        """Returns when the process has died, which it does not by itself."""
        self._process.join()

    def close(self) -> None:
        """Ends it, and all workers."""
        with contextlib.suppress(OSError):
            self._orders.close()
        self._process.join(5)
        self._process.kill()

    def _order(self, order: Mapping[str, object]) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._orders.write(json.dumps(order) + "\n")
            self._orders.flush()
            if self._orders.readline():
                return
        raise WorkersLostError


class WorkerService(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops workers as an engine asks."""

    def __init__(self, forker: Forker) -> None:
        self._forker = forker

    def StartWorker(self, request: Any, context: Any) -> Any:
        """Answers once the worker is there; it reports to the engine by itself."""
        endpoints = {
            "control": request.control_endpoint.url,
            "logging": request.logging_endpoint.url,
            "provision": request.provision_endpoint.url,
        }
        try:
            self._forker.start(request.worker_id, endpoints)
        except WorkersLostError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:
        """Answers once the worker is told to end."""
        try:
            self._forker.stop(request.worker_id)
        except WorkersLostError as error:
            return beam_fn_api_pb2.StopWorkerResponse(error=str(error))
        return beam_fn_api_pb2.StopWorkerResponse()


def listen(forker: Forker, host: str, port: int) -> tuple[grpc.Server, int]:
    """A server that has begun, and its port.

    Args:
      forker: makes the workers.
      host: whoever reaches it may have workers started, and these connect to where they are told.
      port: 0 for a free one.

    Raises:
      InputError: nobody can listen there.
    """
    # Else two pools share a port, and each gets some of what the engine asks.
    server = grpc.server(shared_unbounded_instance(), options=[("grpc.so_reuseport", 0)])
    service = WorkerService(forker)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(service, server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise InputError(
            f"nobody can listen on {address}: is the port taken? Give another --port, or 0"
        ) from error
    server.start()
    return server, bound


def _fork_workers(connection: socket.socket) -> None:
    """Carries out orders until there are no more; then ends the workers."""
    orders = connection.makefile("rw", encoding="utf-8")
    gc.collect()
    gc.freeze()  # the pages stay shared
    me = os.getpid()
    workers: dict[str, int] = {}  # id -> process
    for line in orders:
        order = json.loads(line)
        worker = order["worker"]
        for name, process in list(workers.items()):
            if os.waitpid(process, os.WNOHANG)[0]:  # it has ended by itself
                del workers[name]
        if worker in workers:
            process = workers.pop(worker)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        if "endpoints" in order:
            process = os.fork()
            if process == 0:
                _become_worker(worker, order["endpoints"], me, connection)
            workers[worker] = process
        orders.write("done\n")
        orders.flush()
    for process in workers.values():
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _become_worker(worker: str, endpoints: Endpoints, forker: int, orders: socket.socket) -> None:
    """Works for an engine until it hangs up; does not return."""
    code = 1
    try:
        end_with(forker)
        os.close(orders.fileno())
        keep_memory()
        _work(worker, endpoints)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _work(worker: str, endpoints: Endpoints) -> None:
    from apache_beam.runners.worker.sdk_worker_main import create_harness
    from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor

    WorkerIdInterceptor._worker_id = worker  # Beam's takes it from the environment when imported
    environment = {"WORKER_ID": worker, "CONTROL_API_SERVICE_DESCRIPTOR": _at(endpoints["control"])}
    if endpoints["logging"]:
        environment["LOGGING_API_SERVICE_DESCRIPTOR"] = _at(endpoints["logging"])
    if endpoints["provision"]:
        with grpc.insecure_channel(endpoints["provision"]) as channel:
            stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
            asked = beam_provision_api_pb2.GetProvisionInfoRequest()
            info = stub.GetProvisionInfo(asked, metadata=[("worker_id", worker)], timeout=60).info
        environment["PIPELINE_OPTIONS"] = json_format.MessageToJson(info.pipeline_options)
        environment["RUNNER_CAPABILITIES"] = " ".join(info.runner_capabilities)
    log_handler, harness, _ = create_harness(environment)
    try:
        harness.run()
    finally:
        if log_handler is not None:
            log_handler.close()


def _at(url: str) -> str:
    return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url)))
