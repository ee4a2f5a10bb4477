"""A standalone Flink cluster on this machine, of processes that a test may kill.

A job manager, a task manager, a pool of Python workers and Beam's job server, as they run on
several machines, but all on loopback. Nothing starts a task manager again but
`kill_task_manager`, as a supervisor would: Flink and Beam do the rest.

The job manager fetches counters when it is asked about a job, and answers before it has them.
Where the task manager that it asks is killed meanwhile, it waits for `web.timeout` (10 minutes
unless set), and fetches none from anyone until then. So that is shorter than `WAIT_S`.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from engines import (
    QUICK_JAVA,
    ROOT,
    await_port,
    flink_class_path,
    free_port,
    opened_modules,
    process_group,
    worker_pool,
)

WAIT_S = 300
_MAIN = "org.apache.flink.runtime"
_SETTINGS = """
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 2
taskmanager.cpu.cores: 2.0
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 1024m
taskmanager.memory.task.off-heap.size: 128m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.managed.size: 256m
taskmanager.memory.jvm-metaspace.size: 512m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
heartbeat.interval: 2000
heartbeat.timeout: 20000
web.timeout: 60000
classloader.resolve-order: parent-first
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 1000
restart-strategy.fixed-delay.delay: 1 s
state.checkpoint-storage: filesystem
state.checkpoints.dir: file://{folder}/checkpoints
state.savepoints.dir: file://{folder}/savepoints
io.tmp.dirs: {folder}/tmp
"""


class Cluster:
    """What a test does with it.

    Attributes:
      pool: process of the worker pool, which lives on; its children are the workers.
    """

    def __init__(self, folder, stack):
        self._folder, self._stack = folder, stack
        self._ports = {name: free_port() for name in ("rpc", "rest", "job", "artifact")}
        self._started, self._task_manager = 0, None
        for name in ("conf", "tmp"):
            (folder / name).mkdir(parents=True)
        text = _SETTINGS.format(folder=folder, **self._ports)
        for name in ("flink-conf.yaml", "config.yaml"):
            (folder / "conf" / name).write_text(text)
        self._class_path = _of_jars(flink_class_path(), folder)
        stack.enter_context(
            self._java("job-manager", f"{_MAIN}.entrypoint.StandaloneSessionClusterEntrypoint")
        )
        self.start_task_manager()
        self.start_workers(ROOT)
        ports = self._ports
        server = stack.enter_context(
            self._java(
                "job-server", "org.apache.beam.runners.flink.FlinkJobServerDriver",
                "--flink-master", self.rest, "--job-host", "127.0.0.1",
                "--job-port", ports["job"], "--artifact-port", ports["artifact"],
                "--expansion-port", "-1", "--artifacts-dir", folder / "artifacts",
                "--flink-conf-dir", folder / "conf", configured=False,
            )
        )  # fmt: skip
        await_port(server, ports["job"], folder / "job-server.log")
        self._await(lambda: self.ask("/taskmanagers")["taskmanagers"], "no task manager is there")

    @property
    def rest(self):
        """Where its REST interface answers."""
        return f"127.0.0.1:{self._ports['rest']}"

    def flags(self, parallelism, savepoint=None):
        """Of Beam; `savepoint`: to go on from."""
        return (
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{self._ports['job']}",
            f"--artifact_endpoint=127.0.0.1:{self._ports['artifact']}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{self._pool_port}",
            f"--flink_master={self.rest}",
            f"--parallelism={parallelism}",
            "--job_server_timeout=120",
            *([f"--savepoint_path={savepoint}"] if savepoint else []),
        )

    def start_workers(self, code):
        """A pool of its own for workers that run the packages in this folder."""
        log = self._folder / f"workers-{Path(code).name}.log"
        self.pool, self._pool_port = self._stack.enter_context(worker_pool(log, code))

    def start_task_manager(self):
        """One more."""
        self._started += 1
        name = f"task-manager-{self._started}"
        self._task_manager = self._stack.enter_context(
            self._java(name, f"{_MAIN}.taskexecutor.TaskManagerRunner")
        )

    def kill_task_manager(self):
        """As a machine that fails; another one comes."""
        self._task_manager.kill()
        self._task_manager.wait()
        self.start_task_manager()

    def workers(self):
        """Ids of the Python workers that live."""
        return [worker for forker in children(self.pool.pid) for worker in children(forker)]

    def kill_worker(self, rng=random):
        """As if the kernel took its memory."""
        os.kill(rng.choice(self.workers()), signal.SIGKILL)

    def ask(self, path, **body):
        """Flink's REST interface."""
        url = f"http://{self.rest}{path}"
        data = json.dumps(body).encode() if body else None
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def job(self):
        """The id of the job that is not over; None: there is none."""
        over = ("CANCELED", "FAILED", "FINISHED")
        jobs = self.ask("/jobs")["jobs"]
        return next((job["id"] for job in jobs if job["status"] not in over), None)

    def restarted(self):
        """When the job was started again the last time, by Flink's clock; 0: never."""
        return self.ask(f"/jobs/{self.job()}")["timestamps"]["RESTARTING"]

    def await_restart(self, before):
        """Until the job was started again after that moment."""
        self._await(lambda: self.restarted() > before, "the job was not started again")

    def checkpoints(self):
        """How many are complete; since the last restart of the job manager."""
        return self.ask(f"/jobs/{self.job()}/checkpoints")["counts"]["completed"]

    def await_checkpoints(self, more=2):
        """Until so many more are complete: the job works."""
        before = self.checkpoints()
        self._await(lambda: self.checkpoints() >= before + more, "no checkpoint is complete")

    def await_counted(self, name):
        """Until a counter of the job's has counted something since it was started (again)."""

        def counted():
            plan = self.ask(f"/jobs/{self.job()}")["vertices"]
            for place in (f"/jobs/{self.job()}/vertices/{one['id']}/subtasks" for one in plan):
                names = [one["id"] for one in self.ask(f"{place}/metrics")]
                asked = ",".join(one for one in names if one.endswith(name))
                found = self.ask(f"{place}/metrics?get={asked}") if asked else []
                if any(one["sum"] > 0 for one in found):
                    return True
            return False

        self._await(counted, f"{name} has counted nothing")

    def await_no_job(self):
        """Until there is none that is not over."""
        self._await(lambda: self.job() is None, "the job goes on")

    def stop_with_savepoint(self):
        """By Flink's own command line; where the savepoint is."""
        ends = f"--jobmanager {self.rest}"
        command = [
            *self._command(), "org.apache.flink.client.cli.CliFrontend", "stop",
            "--savepointPath", f"file://{self._folder}/savepoints", *ends.split(), self.job(),
        ]  # fmt: skip
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=WAIT_S,
            env=os.environ | {"FLINK_CONF_DIR": str(self._folder / "conf")},
        )  # fmt: skip
        places = [word for word in done.stdout.split() if word.startswith("file:")]
        assert places, done.stdout + done.stderr
        self.await_no_job()
        return places[-1]

    def _command(self):
        return [
            "java", "-Xmx1200m", *QUICK_JAVA,
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info", *opened_modules(),
            "-cp", self._class_path,
        ]  # fmt: skip

    def _java(self, name, main, *arguments, configured=True):
        more = ["--configDir", self._folder / "conf"] if configured else []
        command = [*self._command(), main, *more, *arguments]
        return process_group(command, self._folder / f"{name}.log")

    def _await(self, done, else_says):
        ends = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if done():
                    return
            assert time.monotonic() < ends, f"{else_says}; see the logs in {self._folder}"
            time.sleep(0.2)


@contextlib.contextmanager
def running_cluster(folder):
    """A cluster that lives as long as the context."""
    flink_class_path()  # or a skip
    with contextlib.ExitStack() as stack:
        yield Cluster(folder, stack)


def _of_jars(class_path, folder):
    """The same, its folders as jars: those of a job that is handed over are sent to the cluster."""
    made = []
    for place in class_path.split(":"):
        if Path(place).is_dir():
            archive = shutil.make_archive(str(folder / Path(place).name), "zip", place)
            place = Path(archive).rename(Path(archive).with_suffix(".jar"))
        made.append(str(place))
    return ":".join(made)


def children(pid):
    """Of a process, those that have ended apart."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == pid and state not in "ZX":
                found.append(int(stat.parent.name))
    return found
