"""Prism and Flink for tests: started once, on free ports, and ended however the tests end.

`make prism` and `make flink` put the engines into `.engines/`; where they are not there, or Java is
not, tests on them are skipped with the reason.
"""

import contextlib
import ctypes
import ipaddress
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.runners import WHOLE_BUNDLES

HANG_UP = "ignore:Exception in thread (run_worker|read_grpc_client_inputs)"
"""For `filterwarnings`: Beam's worker threads report it as a failure when Flink hangs up at a job's
end."""
ROOT = Path(__file__).parents[1]
ENGINES = Path(os.environ.get("LOCKSTEP_ENGINES", ROOT / ".engines"))
PRISM_VERSION = "v2.77.0"
BIGTABLE_VERSION = "v1.33.0"
START_TIMEOUT_S = 120
# Flink in one process. It takes the slots of a job from here.
FLINK_CONFIG = """
rest.bind-address: 127.0.0.1
rest.address: 127.0.0.1
rest.port: 0
jobmanager.bind-host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 2
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.managed.size: 1024m
"""

QUICK_JAVA = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
"""For runs of a minute: compiling well takes half of Java's CPU time there, and gains nothing."""


def prism_binary():
    """Prism, or a skip that says how to get it."""
    binary = ENGINES / "prism" / PRISM_VERSION / "prism"
    if not binary.with_name("on-loopback").exists():
        missing = "" if shutil.which("go") else "; there is no Go here, which that needs"
        pytest.skip(f"no Prism in {binary}: run `make prism`{missing}")
    return binary


@contextlib.contextmanager
def running_bigtable(log):
    """The address of Google's emulator of Bigtable; a skip says how to get it."""
    binary = ENGINES / "bigtable" / BIGTABLE_VERSION / "emulator"
    if not binary.exists():
        missing = "" if shutil.which("go") else "; there is no Go here, which that needs"
        pytest.skip(f"no emulator of Bigtable in {binary}: run `make bigtable`{missing}")
    port = free_port()
    with process_group([binary, "-host", "127.0.0.1", "-port", port], log) as process:
        await_port(process, port, log)
        yield f"127.0.0.1:{port}"


def flink_class_path():
    """The class path of the Flink job server, or a skip that says how to get it."""
    if shutil.which("java") is None:
        pytest.skip("there is no java here, so nothing was run on Flink")
    jars = ENGINES / "flink"
    if not (jars / "on-loopback").exists():
        missing = "" if shutil.which("mvn") else "; there is no Maven here, which that needs"
        pytest.skip(f"no Flink job server in {jars}: run `make flink`{missing}")
    return f"{jars}/on-loopback:{jars}/*"


@contextlib.contextmanager
def running_prism(log):
    """Flags for a pipeline on a Prism that runs as long as the context; workers: this process."""
    port = free_port()
    command = [prism_binary(), f"-job_port={port}", "-serve_http=false", "-log_kind=text"]
    with process_group(command, log) as process:
        await_port(process, port, log)
        yield (
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{port}",
            "--environment_type=LOOPBACK",
            "--job_server_timeout=120",
            WHOLE_BUNDLES,
        )


@contextlib.contextmanager
def running_flink(folder, parallelism=2, more=""):
    """Flags for a pipeline on a Flink in one Java process; workers are threads of this process.

    `more` is added to Flink's settings.
    """
    class_path = flink_class_path()
    (folder / "conf").mkdir(parents=True)
    for name in ("flink-conf.yaml", "config.yaml"):
        (folder / "conf" / name).write_text(FLINK_CONFIG + more)
    port, artifacts = free_port(), free_port()
    command = [
        "java", "-Xmx2g", *QUICK_JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        *opened_modules(), "-cp", class_path, "org.apache.beam.runners.flink.FlinkJobServerDriver",
        "--flink-master", "[local]", "--job-host", "127.0.0.1", "--job-port", str(port),
        "--artifact-port", str(artifacts), "--expansion-port", "-1",
        "--artifacts-dir", str(folder / "artifacts"), "--flink-conf-dir", str(folder / "conf"),
    ]  # fmt: skip
    log = folder / "flink.log"
    with process_group(command, log) as process:
        await_port(process, port, log)
        yield (
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{port}",
            f"--artifact_endpoint=127.0.0.1:{artifacts}",
            "--environment_type=LOOPBACK",
            f"--parallelism={parallelism}",
            "--job_server_timeout=120",
        )


def at_parallelism(flags, parallelism):
    """Flags for the same Flink and another parallelism."""
    others = [flag for flag in flags if not flag.startswith("--parallelism")]
    return (*others, f"--parallelism={parallelism}")


@contextlib.contextmanager
def worker_pool(log, code=ROOT):
    """`lockstep workers`, with the packages in the folder `code`: its process and its port."""
    paths = os.pathsep.join([str(code), str(Path(__file__).parent)])
    run = "from pipelines.commands import main; main()"
    command = [sys.executable, "-c", run, "workers", "--port", "0"]
    with process_group(command, log, os.environ | {"PYTHONPATH": paths}, code) as process:
        yield process, int(await_text(process, log, r"^workers on 127\.0\.0\.1:(\d+)$"))


@contextlib.contextmanager
def process_group(command, log, env=None, cwd=None):
    """A process in a group of its own; whatever it started ends with the context."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=output,
            stderr=subprocess.STDOUT, env=env, cwd=cwd, start_new_session=True,
            preexec_fn=_end_with_tests,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def _end_with_tests():
    """The kernel kills the process when the tests are killed and clean nothing up."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    timer = threading.Timer(10, lambda: _kill(process.pid))
    timer.start()
    process.wait()
    timer.cancel()
    process.stdin.close()
    _kill(process.pid)  # its children, if it left any


def _kill(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def await_port(process, port, log):
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        _still_starting(process, log, deadline)


def await_text(process, log, pattern):
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        found = re.search(pattern, Path(log).read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1]
        _still_starting(process, log, deadline)


def _still_starting(process, log, deadline):
    if process.poll() is not None or time.monotonic() > deadline:
        said = Path(log).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{process.args[0]} did not start in {START_TIMEOUT_S} s; log: {said}")
    time.sleep(0.1)


def listening_addresses(process="self", port=None):
    """IP addresses on which a process listens, by its id, or anyone on a port; Linux only."""
    ours = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            ours.add(str(path.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, number = fields[1].split(":")
            chosen = f"socket:[{fields[9]}]" in ours if port is None else int(number, 16) == port
            if fields[3] == "0A" and chosen:  # TCP_LISTEN
                found.add(_ip(address))
    return found


def _ip(text):
    """Of words in the machine's byte order, as the kernel writes them."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return getattr(address, "ipv4_mapped", None) or address


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def opened_modules():
    """What Flink reaches into on Java 17."""
    packages = ("lang", "lang.invoke", "net", "nio", "time", "util")
    return [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in packages]
