"""Which runner is used, and which flags go to it."""

import functools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane

from configs.errors import InputError, LockstepError, StateError
from pipelines import signals
from pipelines.failures import reported
from pipelines.runners import Running, _Sent, check_flags, run_pipeline, workers_of
from pipelines.writers import _WriteParquet
from transforms.steps.stamps import tag_batch


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "BundleBasedDirectRunner"])
def test_the_runner_that_swaps_engines_is_refused(name):
    with pytest.raises(InputError, match="embedded runner"):
        check_flags([f"--runner={name}"])


@pytest.mark.parametrize("flags", [["--runner", "FlinkRunner"], []])
def test_threads_that_lose_elements_are_refused(flags):
    with pytest.raises(InputError, match="loses elements"):
        check_flags([*flags, "--direct_running_mode=multi_threading"])


def test_a_misspelled_option_is_not_handed_to_beam():
    with pytest.raises(InputError, match="no option --wrkers"):
        check_flags(["--wrkers=2"])
    # A runner may know options that this Beam does not declare.
    assert check_flags(["--runner=FlinkRunner", "--parallelism_of_mine=2"])


def test_the_option_that_is_meant_is_named():
    with pytest.raises(InputError, match=r"no option --wrkers;.*Did you mean --workers\?"):
        check_flags(["--streaming", "--wrkers=2"], ["--days", "--workers"])


@pytest.mark.parametrize(
    ("flags", "named", "runner"),
    [
        (["--flink_master=localhost:8081"], "--flink_master", "FlinkRunner"),
        (["--parallelism", "4"], "--parallelism", "FlinkRunner"),
        (["--region=r", "--project=p"], "--region", "DataflowRunner"),
        (["--temp_location", "gs://bucket/temp"], "--temp_location", "DataflowRunner"),
        (["--num_workers=3"], "--num_workers", "DataflowRunner"),
        (["--job_endpoint=localhost:8099"], "--job_endpoint", "PortableRunner"),
        (["--environment_type=LOOPBACK"], "--environment_type", "PortableRunner"),
        (["--dataflow_job_file=job.json"], "--dataflow_job_file", "DataflowRunner"),
        (["--dry_run=True"], "--dry_run", "DataflowRunner"),
        (["--streaming"], "--streaming", "FlinkRunner with `lockstep stream`"),
        (["--requirements_file=r.txt"], "--requirements_file", "DataflowRunner, FlinkRunner or .*"),
    ],
)
def test_an_option_of_an_engine_without_one_is_refused(flags, named, runner):
    words = f"^{named} is an option of an engine.*add --runner={runner}, or leave {named} out"
    with pytest.raises(InputError, match=words):
        check_flags(flags)


def test_what_files_need_of_a_cloud_goes_without_an_engine():
    flags = (
        "--impersonate_service_account=a@b",
        "--s3_region_name=r",
        "--experiments=x",
        "--pickle_library=dill",
    )
    assert check_flags(flags) == flags


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--runner=Nonsense"], "cannot be used: Unexpected pipeline runner: Nonsense"),
        (["--runner=no_such_module.Runner"], "cannot be used: No module named 'no_such_module'"),
        (["--runner=PrismRunner", "--prism_location=/"], "=/: expected Prism's binary"),
        (["--runner", "DataflowRunner", "--project=p"], "DataflowRunner: .*temp_location.* region"),
    ],
)
def test_a_runner_that_cannot_run_is_refused_before_anything_is_done(flags, words):
    with pytest.raises(InputError, match=words):
        check_flags(flags)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--job_server_timeout=1", "must specify a --job_endpoint"),
        ("--job_endpoint=127.0.0.1:9", ""),
    ],
)
def test_an_engine_that_is_not_there_is_no_bug(tmp_path, flag, words):
    flags = ("--runner=PortableRunner", "--job_server_timeout=1", flag)
    with pytest.raises(LockstepError, match=f"PortableRunner did not take the pipeline: .*{words}"):
        run_pipeline(lambda root: root | beam.Create([1]), Running(flags=flags), str(tmp_path))


def test_options_reach_beam():
    options = Running(2).options().view_as(DirectOptions)
    assert options.direct_num_workers == 2
    flink = Running(1, ("--runner=FlinkRunner", "--parallelism=2"))
    assert not flink.embedded
    assert flink.options().get_all_options()["runner"] == "FlinkRunner"


def test_a_view_of_the_options_is_made_once_and_changes_them():
    options = Running(2).options()
    view = options.view_as(DirectOptions)
    assert options.view_as(DirectOptions) is view
    view.direct_num_workers = 3
    assert options.get_all_options()["direct_num_workers"] == 3
    assert Running(2).options().view_as(DirectOptions).direct_num_workers == 2


def _signal(number):
    os.kill(os.getpid(), number)
    time.sleep(0.2)
    return number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_pipeline_and_the_run(tmp_path, number, monkeypatch):
    monkeypatch.setattr(signals, "_stopped", [])
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    signals.install()
    done = []
    try:
        with pytest.raises(SystemExit) as ended:
            run_pipeline(
                lambda root: (
                    root | beam.Create([int(number)]) | beam.Map(_signal) | beam.Map(done.append)
                ),
                Running(),
                str(tmp_path),
            )
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.code == 128 + number
    assert done == []


LAUNCHER = """
import os, sys, time
from pathlib import Path
import apache_beam as beam
from pipelines.beam_worker import WorkerPool
from pipelines.runners import Running, forked_workers, run_pipeline

folder = Path(sys.argv[1])

def build(root):
    seen = lambda number: (folder / f"{os.getpid()} {number}").touch()
    _ = root | beam.Create(list(range(1000))) | beam.Reshuffle() | beam.Map(seen)

with forked_workers(2):
    run_pipeline(build, Running(2), str(folder))
    pool = WorkerPool(2)
    print(pool._first.pid, flush=True)
    time.sleep(120)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_workers_of_either_kind_end_with_their_launcher(tmp_path):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    first = int(launcher.stdout.readline())
    made = [path.name.split() for path in tmp_path.iterdir()]
    assert sorted(int(number) for _, number in made) == list(range(1000))
    forked = {int(process) for process, _ in made}
    assert launcher.pid not in forked
    assert {_command(one) for one in forked} == {_command(launcher.pid)}
    [second] = _wait(lambda: Path(f"/proc/{first}/task/{first}/children").read_text().split())
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    _wait(lambda: not any(map(_alive, [first, second, *forked])))


@pytest.mark.soak  # twice in a whole run on a busy machine its workers were gone, cause not found
def test_workers_are_started_once_and_lose_no_element(tmp_path):
    numbers = range(20_000)
    processes = []
    with workers_of(Running(2)):
        for attempt in ("one", "two"):
            folder = tmp_path / attempt
            folder.mkdir()
            run_pipeline(functools.partial(_spread, numbers, folder), Running(2), str(folder))
            lines = ",".join(one.read_text() for one in folder.iterdir()).split(",")
            found = [line.split() for line in lines]
            assert sorted(int(number) for _, number in found) == list(numbers)
            processes.append({process for process, _ in found})
    assert processes[0] == processes[1]
    assert len(processes[0]) == 2
    assert str(os.getpid()) not in processes[0]
    assert not any(map(_alive, processes[0]))


@pytest.mark.slow
def test_the_processor_time_of_every_worker_is_counted(tmp_path):
    before = _children_seconds()
    with workers_of(Running(2)):
        run_pipeline(functools.partial(_busy, tmp_path), Running(2), str(tmp_path))
    said = [float(one.read_text()) for one in tmp_path.iterdir()]
    assert len(said) == 2
    assert _children_seconds() - before > sum(said)


def _busy(folder, root):
    def work(_):
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        (folder / str(os.getpid())).write_text(str(time.process_time()))

    _ = root | beam.Create(list(range(20))) | beam.Reshuffle() | beam.Map(work)


def _children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _spread(numbers, folder, root):
    _ = (
        root
        | beam.Create(list(numbers))
        | beam.Reshuffle()
        | beam.Map(lambda number: (number % 7, f"{os.getpid()} {number}"))
        | beam.GroupByKey()
        | beam.MapTuple(lambda key, lines: (folder / str(key)).write_text(",".join(lines)))
    )


def test_what_is_written_to_a_worker_while_a_piece_is_sent_is_not_lost():
    """As Beam does it, a thread sends every second, and what is written meanwhile is forgotten."""
    sent = []

    def send(elements):
        time.sleep(0.3)
        sent.append(elements)

    limit = worker_handlers.DATA_BUFFER_TIME_LIMIT_MS
    stream = _Sent(data_plane.ClosableOutputStream.create(send, send, limit))
    written = [number.to_bytes(8, "big") for number in range(150)]
    for element in written:
        stream.write(element)
        time.sleep(0.01)
    stream.close()
    assert b"".join(sent) == b"".join(written)


@pytest.mark.slow
def test_a_worker_that_dies_fails_its_pipeline(tmp_path):
    with pytest.raises(LockstepError, match=r"a worker process has died.*--workers 1"):
        run_pipeline(
            lambda root: root | beam.Create([9]) | beam.Map(os._exit), Running(2), str(tmp_path)
        )


def _wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"not within {seconds} s")


def _command(process):
    return Path(f"/proc/{process}/cmdline").read_bytes()


def _alive(process):
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_worker_that_outlives_its_attempt_makes_no_folder(tmp_path):
    attempt = tmp_path / "attempt"

    def build(root):
        rows = root | beam.Create([0]) | beam.Map(_a_batch).with_output_types(pa.RecordBatch)
        _ = rows | WriteManifestOf(str(attempt))

    with pytest.raises(Exception, match=r"No such file|failed"):
        run_pipeline(build, Running(), str(attempt))
    assert not attempt.exists()


def _a_batch(start):
    return tag_batch(pa.RecordBatch.from_pydict({"event_id": ["a"]}), start=start)


def WriteManifestOf(attempt):
    return beam.ParDo(_WriteParquet(attempt, attempt, "features", {}))


def _fail(number):
    raise AssertionError("a bug")


class Fail(beam.DoFn):
    def __init__(self, attempt):
        self.attempt = attempt

    def process(self, number):
        with reported(self.attempt):
            raise StateError("the state is of another spec")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_a_step_says_is_what_the_launcher_raises(tmp_path, workers):
    (tmp_path / "failures").mkdir()

    def build(root):
        _ = root | beam.Create([1]) | beam.ParDo(Fail(str(tmp_path)))

    with pytest.raises(StateError, match="of another spec"):
        run_pipeline(build, Running(workers), str(tmp_path))


def test_a_bug_stays_a_bug(tmp_path):
    (tmp_path / "failures").mkdir()
    with pytest.raises(AssertionError, match="a bug"):
        run_pipeline(
            lambda root: root | beam.Create([1]) | beam.Map(_fail), Running(), str(tmp_path)
        )


@pytest.mark.parametrize(
    ("runner", "expected"),
    [("PrismRunner", True), ("PortableRunner", True), ("FlinkRunner", False)],
)
def test_prism_splits_no_bundle(runner, expected):
    options = Running(flags=(f"--runner={runner}", "--experiments=other")).options()
    experiments = options.get_all_options()["experiments"]
    assert "other" in experiments
    assert ("prism_disable_sdf_split" in experiments) is expected
