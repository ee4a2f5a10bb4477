"""The sample report, for the page's tests."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest


def _sample_module():
    where = pathlib.Path(__file__).with_name("sample_report.py")
    spec = importlib.util.spec_from_file_location("lockstep_sample_report", where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample_report():
    """A nightly report with every section filled."""
    return _sample_module().sample_report()
