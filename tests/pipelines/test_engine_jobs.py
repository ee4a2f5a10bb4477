"""A job on an engine when the run here is ended before it, and when it takes long."""

import json
import os
import signal
import subprocess
import sys
import time

import apache_beam as beam
import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from backfill_world import CONFIG, make_events
from dataflow_world import running_service
from engines import prism_binary, running_prism, worker_pool
from flink_cluster import running_cluster
from nightly_world import COMMAND, write_events

from pipelines.engine_jobs import cancel_in_flink
from pipelines.runners import Running, run_pipeline

pytestmark = pytest.mark.slow
LONG_S = 120


@pytest.fixture
def prism(tmp_path):
    """Flags for a Prism whose workers are processes of their own, which outlive who submits."""
    with (
        running_prism(tmp_path / "log") as flags,
        worker_pool(tmp_path / "workers.log") as (_, port),
    ):
        others = [flag for flag in flags if not flag.startswith("--environment_type")]
        yield (*others, "--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{port}")


@pytest.fixture(params=["prism", "flink", "dataflow"])
def engine(request, tmp_path):
    """Flags, and what asks the engine itself how its only job is; None: there is none yet."""
    if request.param == "prism":
        flags = request.getfixturevalue("prism")
        yield flags, lambda: _state(flags)
    elif request.param == "flink":
        with running_cluster(tmp_path / "flink") as cluster:
            master = f"--flink_master={cluster.rest}"
            yield (
                (*cluster.flags(1), master),
                lambda: next((job["status"] for job in cluster.ask("/jobs")["jobs"]), None),
            )
    else:
        with running_service() as service:
            yield (*service.flags(tmp_path), "--runner=DataflowRunner"), lambda: service.state


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_the_job_and_leaves_nothing(engine, tmp_path, number):
    flags, state = engine
    run = start_backfill(tmp_path, flags)
    with run:
        _await(lambda: str(state()).endswith("RUNNING"), run)
        run.send_signal(number)
        said, errors = run.communicate(timeout=LONG_S)
    assert run.returncode == 128 + number
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    assert f"lockstep: {word}; nothing half-written was left" in errors
    assert "Traceback" not in errors and "To stop it" not in errors
    assert json.loads(said)["exit_code"] == run.returncode
    assert state() in ("CANCELLED", "CANCELED", "JOB_STATE_CANCELLED")
    out = tmp_path / "out"
    assert [path.name for path in out.rglob("*") if path.is_file()] == [".lock"]


def start_backfill(tmp_path, flags):
    source, out = write_events(tmp_path / "in", make_events(60_000)), tmp_path / "out"
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    words = ["backfill", tmp_path / "tiny.yaml", "--input", source, "--out", out, *flags]
    return subprocess.Popen(
        [*COMMAND, *map(str, words), "--days", "2026-03-01..2026-03-03", "--json"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("refuses", [True, False])
def test_a_job_that_may_go_on_is_named(refuses, tmp_path):
    """The engine does not take the wish, or takes its time and a second signal comes."""
    with running_service(refuses=refuses, cancels=False) as service:
        run = start_backfill(tmp_path, (*service.flags(tmp_path), "--runner=DataflowRunner"))
        with run:
            _await(lambda: service.state == "JOB_STATE_RUNNING", run)
            run.send_signal(signal.SIGTERM)
            if not refuses:
                _await(lambda: service.asked_to_cancel, run)
                run.send_signal(signal.SIGTERM)
            _, errors = run.communicate(timeout=LONG_S)
    assert run.returncode == 143
    [line] = [line for line in errors.splitlines() if "To stop it" in line]
    words = "was not cancelled, and may go on" if refuses else "is being cancelled"
    assert f"lockstep: job {service.JOB} {words}" in line
    assert "gcloud dataflow jobs cancel" in line
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".lock"]


def test_ctrl_c_in_a_terminal_reaches_an_engine_that_beam_started_only_through_its_cancelling(
    tmp_path,
):
    """A terminal signals the whole process group, which the engine is not in."""
    flags = ("--runner=PrismRunner", f"--prism_location={prism_binary()}")
    begun = tmp_path / "begun"
    run = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(begun), str(tmp_path), *flags],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with run:
        deadline = time.monotonic() + LONG_S
        while not begun.exists():
            assert run.poll() is None and time.monotonic() < deadline, run.stderr.read()
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=LONG_S)
    assert run.returncode == 130, errors
    assert "lockstep: interrupted; nothing half-written was left" in errors
    assert "could not be cancelled" not in errors


def test_a_job_in_a_flink_that_nobody_named_may_go_on(tmp_path):
    """Its job server says that it is cancelled; the session goes on with it."""
    with running_cluster(tmp_path / "flink") as cluster:
        flags = [flag for flag in cluster.flags(1) if not flag.startswith("--flink_master")]
        run = start_backfill(tmp_path, flags)
        with run:
            _await(cluster.job, run)
            run.send_signal(signal.SIGTERM)
            _, errors = run.communicate(timeout=LONG_S)
        [line] = [line for line in errors.splitlines() if "To stop it" in line]
        [job] = cluster.ask("/jobs/overview")["jobs"]
        assert run.returncode == 143 and job["state"] != "CANCELED"
        assert f"lockstep: job {job['name']}_" in line
        assert "may go on in Flink's session" in line and "`flink cancel`" in line
        while not cancel_in_flink(f"http://{cluster.rest}", job["name"]):
            time.sleep(0.1)
        assert cluster.job() is None


SLEEPER = """
import pathlib, sys, time
import apache_beam as beam
from pipelines import signals
from pipelines.engine_jobs import cancel_in_flink
from pipelines.runners import Running, run_pipeline

def build(root):
    return root | beam.Create([sys.argv[1]]) | beam.Map(
        lambda path: (pathlib.Path(path).touch(), time.sleep(20)))

signals.install()
run_pipeline(build, Running(flags=tuple(sys.argv[3:])), sys.argv[2])
"""


def test_a_job_may_take_longer_than_the_job_server_may(prism, tmp_path):
    flags = [flag for flag in prism if "timeout" not in flag]
    running = Running(flags=(*flags, "--job_server_timeout=10"))
    run_pipeline(lambda root: root | beam.Create([12]) | beam.Map(time.sleep), running, tmp_path)
    assert _state(prism) == "DONE"


def _await(true, run):
    deadline = time.monotonic() + LONG_S
    while not true():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _state(flags):
    """Of the engine's only job; None before there is one."""
    [endpoint] = [flag.split("=")[1] for flag in flags if flag.startswith("--job_endpoint")]
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        jobs = service.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
    return beam_job_api_pb2.JobState.Enum.Name(jobs[0].state) if jobs else None
