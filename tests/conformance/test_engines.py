"""Engines end with the tests that started them, however these end."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from engines import ROOT, listening_addresses, prism_binary

STARTER = """
    import sys, time
    sys.path[:0] = [{root!r}, {tests!r}]
    from engines import process_group
    with process_group(["sleep", "600"], {log!r}) as process:
        print(process.pid, flush=True)
        {then}
"""


@pytest.mark.parametrize("then", ["pass", "time.sleep(600)"])
def test_a_process_ends_with_who_started_it(then, tmp_path):
    code = STARTER.format(
        root=str(ROOT), tests=str(ROOT / "tests"), log=str(tmp_path / "log"), then=then
    )
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        pid = int(starter.stdout.readline())
        if then != "pass":
            starter.kill()
        starter.wait(60)
    deadline = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < deadline, "it outlived who started it"
        time.sleep(0.1)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_missing_engine_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("engines.ENGINES", tmp_path)
    with pytest.raises(pytest.skip.Exception, match="run `make prism`"):
        prism_binary()


@pytest.mark.parametrize("engine", ["prism", "flink"])
@pytest.mark.slow
def test_job_servers_listen_on_loopback_only(engine, request):
    flags = request.getfixturevalue(engine)
    ports = [int(flag.rsplit(":", 1)[1]) for flag in flags if "_endpoint=" in flag]
    for port in ports:
        addresses = listening_addresses(port=port)
        assert addresses and all(address.is_loopback for address in addresses)
