"""`lockstep workers`: an engine's workers, forked from one process and ended with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import ExternalEnvironment
from engines import listening_addresses, worker_pool
from flink_cluster import children

from pipelines.loopback import listen_on_loopback

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc"),
]
COMMAND = [sys.executable, "-c", "from pipelines.commands import main; main()", "workers"]


@pytest.fixture
def pool(tmp_path):
    with worker_pool(tmp_path / "workers.log") as started:
        yield started


def work(port, path):
    """Runs a step on a worker of the pool: its process, that one's parent, and what it knew."""

    def step(element):
        import os
        import sys

        import apache_beam.runners.worker.worker_id_interceptor as interceptor

        name = interceptor.WorkerIdInterceptor._worker_id
        known = "pipelines.backfill.build" in sys.modules
        with open(path, "w") as file:
            print(os.getpid(), os.getppid(), known, os.environ["OMP_NUM_THREADS"], name, file=file)

    listen_on_loopback()
    runner = FnApiRunner(default_environment=ExternalEnvironment(f"127.0.0.1:{port}"))
    with beam.Pipeline(runner=runner, options=PipelineOptions([])) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Map(step)
    process, parent, known, threads, name = path.read_text().split()
    return int(process), int(parent), known == "True", threads, name


def gone(process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_each_pipeline_gets_a_worker_that_is_forked_and_ended_when_it_is_over(pool, tmp_path):
    process, port = pool
    (forker,) = children(process.pid)
    found = [work(port, tmp_path / "said") for _ in range(2)]
    for worker, parent, known, threads, name in found:
        assert worker != os.getpid() and parent == forker
        assert known and threads == "1" and name.startswith("worker_")
        assert gone(worker)
    assert found[0][0] != found[1][0]


def test_it_listens_on_loopback_alone(pool):
    process, port = pool
    (address,) = listening_addresses(process.pid, port)
    assert address.is_loopback


def test_a_worker_of_a_pool_that_is_killed_ends_with_it(pool, tmp_path):
    process, _ = pool
    (forker,) = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert gone(forker)


def test_it_says_that_its_workers_are_lost_and_ends(tmp_path):
    run = subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdout.readline().startswith("workers on 127.0.0.1:")
        (forker,) = children(run.pid)
        os.kill(forker, signal.SIGKILL)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "has died" in errors and "Traceback" not in errors


def test_a_signal_ends_it_and_what_it_started():
    run = subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with run:
        run.stdout.readline()
        (forker,) = children(run.pid)
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 143 and "Traceback" not in errors
    assert gone(forker)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True)
    assert done.returncode == 4
    assert f"127.0.0.1:{port}" in done.stderr and "--port" in done.stderr
