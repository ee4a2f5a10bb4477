"""`lockstep stream`: what its options ask for."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.commands.stream import stream
from pipelines.streaming import run
from pipelines.streaming.counts import Counts


@pytest.mark.parametrize(("lease_s", "remember_s"), [(30, 90), (600, 1200)])
def test_ids_are_remembered_for_longer_than_a_lease(monkeypatch, lease_s, remember_s):
    asked = []
    answer = SimpleNamespace(counts=Counts())
    monkeypatch.setattr(run, "stream", lambda request, progress: asked.append(request) or answer)
    stream(
        Path("bundles"),
        "projects/p/subscriptions/s",
        "projects/p/topics/t",
        Path("state"),
        lease_seconds=lease_s,
        quiet=True,
    )
    assert asked[0].settings.remember_s == remember_s
