"""What Beam serves for its workers is served on this machine only."""

import threading
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from engines import listening_addresses

from pipelines.loopback import listen_on_loopback
from pipelines.runners import Running, run_pipeline


def are_loopback(addresses):
    return bool(addresses) and all(address.is_loopback for address in addresses)


pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")


@pytest.mark.slow
def test_processes_of_the_embedded_runner_are_served_on_loopback(tmp_path):
    (tmp_path / "failures").mkdir()
    seen, ended = set(), threading.Event()

    def watch():
        while not ended.wait(0.02):
            seen.update(listening_addresses())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        run_pipeline(
            lambda root: root | beam.Create([1, 2]) | beam.Map(str), Running(2), str(tmp_path)
        )
    finally:
        ended.set()
        watching.join()
    assert are_loopback(seen)


def test_workers_in_this_process_are_offered_on_loopback():
    listen_on_loopback()
    address, server = BeamFnExternalWorkerPoolServicer.start()
    try:
        assert address.startswith("localhost:")
        assert are_loopback(listening_addresses())
    finally:
        server.stop(0).wait()
