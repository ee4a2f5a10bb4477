"""Beam's own gRPC servers, on loopback only.

With several processes the embedded runner serves them work, state and logs; for workers in this
process (`--environment_type=LOOPBACK`) an engine is served on a port. Beam binds these servers to
every interface, without authentication and without an option: whoever reaches such a port can take
a worker's place, and a worker gets code. All that is meant to connect is on this machine.
"""

from __future__ import annotations

import re
from typing import Any

import grpc
from apache_beam.runners.portability import abstract_job_service, local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import worker_pool_main

_MODULES = (abstract_job_service, local_job_service, worker_handlers, worker_pool_main)
_EVERYWHERE = re.compile(r"^(\[::\]|0\.0\.0\.0):")


def listen_on_loopback() -> None:
    """From now on Beam's servers that would listen everywhere listen on 127.0.0.1."""
    for module in _MODULES:
        module.grpc = _OnLoopback()


def loopback_address(address: str) -> str:
    """An address to bind to, without any other interface.

    >>> loopback_address("[::]:0"), loopback_address("10.0.0.1:8099")
    ('127.0.0.1:0', '10.0.0.1:8099')
    """
    return _EVERYWHERE.sub("127.0.0.1:", address)


class _OnLoopback:
    """The module `grpc` as Beam's modules see it."""

    def server(self, *arguments: Any, **named: Any) -> Any:
        server = grpc.server(*arguments, **named)
        bind = server.add_insecure_port
        server.add_insecure_port = lambda address: bind(loopback_address(address))
        return server

    def __getattr__(self, name: str) -> Any:
        return getattr(grpc, name)
