"""The streaming benchmark runs, and prints every table; its figures are not judged here."""

import re

import pytest

from benchmarks import streaming

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_it_measures_every_part(capsys):
    streaming.main(["--events", "8000", "--seconds", "8", "--rate", "300", "--keys", "5000"])
    printed = capsys.readouterr().out
    for heading in ("Scoring path alone", "End to end", "Latency at 300", "floods", "Start-up"):
        assert heading in printed
    assert re.search(r"\| pull, decode.*\| 8,000 \| [0-9.]+ \| [0-9,]+ \|", printed)
    assert len(re.findall(r"RunInference", printed)) == 2
    assert re.search(r"\|( -?\d+ ms \|){5}", printed)
