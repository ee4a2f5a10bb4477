"""`lockstep workers`: processes that an engine beside them gives work to."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def workers(
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 50000,
    host: Annotated[
        str, typer.Option(help="Whoever reaches it may have workers started.")
    ] = "127.0.0.1",
) -> None:
    """Start workers for an engine beside them (Flink's task manager), until SIGTERM."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # processes are the parallelism

    from pipelines.engine_workers import Forker, WorkersLostError, listen

    forker = Forker()
    try:
        server, bound = listen(forker, host, port)
        typer.echo(f"workers on {host}:{bound}")
        try:
            forker.wait()
        finally:
            server.stop(0)
        raise WorkersLostError
    finally:
        forker.close()
