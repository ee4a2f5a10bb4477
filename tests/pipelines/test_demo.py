"""The demo as a new user starts it: every step runs, and parity is clean."""

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_runs_all_of_the_main_job(tmp_path):
    made = subprocess.run(
        [
            *(sys.executable, "-c", "from pipelines.commands import main; main()", "demo"),
            *("--out", str(tmp_path / "demo"), "--workers", "1"),
        ],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert made.returncode == 0, made.stderr
    said = made.stdout
    assert re.search(r"graph      12 snapshots, .*; the scorer saw [2-9]", said)
    assert re.search(r"bundles    ([0-9a-f]{16}), then ([0-9a-f]{16}), which serves", said)
    assert re.search(r"streamed .* [1-9][0-9,]* duplicates dropped, swapped to", said)
    assert re.search(r"as served: [0-9,]+ decisions compared bit for bit, 0 differ$", said, re.M)
    (ideal,) = re.findall(r"ideal: .* differ \((.*)\)$", said, re.M)
    assert re.fullmatch(r"bundle or graph version [0-9,]+", ideal), "and nothing else differs"
    (page,) = re.findall(r"^page +(.*)$", said, re.M)
    assert os.path.exists(page)
    assert "Traceback" not in made.stderr
