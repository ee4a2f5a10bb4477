"""A desk at each server; the servers themselves are the pipelines' (`../conftest.py`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pubsub_world import Desk


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Iterator[Desk]:
    found = Desk(monkeypatch, endpoint)
    yield found
    found.close()
