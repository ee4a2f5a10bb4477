"""Runners for the conformance suite, and what the embedded one makes: all others must, too."""

import shutil
from pathlib import Path

import pytest
from conformance_world import bundle_of, days_of, rows_of, spec_of, write_lines
from engines import HANG_UP, running_flink, running_prism, worker_pool

from pipelines.backfill import BackfillRequest, backfill


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(HANG_UP))


@pytest.fixture(scope="session")
def prism(tmp_path_factory):
    """Flags of a Prism that runs as long as the session."""
    with running_prism(tmp_path_factory.mktemp("prism") / "prism.log") as flags:
        yield flags


@pytest.fixture(scope="session")
def flink(tmp_path_factory):
    """Flags of a Flink that runs as long as the session."""
    with running_flink(tmp_path_factory.mktemp("flink")) as flags:
        yield flags


@pytest.fixture
def flink_with_processes(flink, tmp_path):
    """The same, with workers as processes of a pool: nothing is shared with this process."""
    with worker_pool(tmp_path / "workers.log") as (_, port):
        others = [flag for flag in flink if not flag.startswith("--environment_type")]
        yield (*others, "--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{port}")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A function from a config to a folder of its events."""
    folder, made = tmp_path_factory.mktemp("inputs"), {}

    def source(name):
        if name not in made:
            made[name] = write_lines(folder / name, rows_of(name))
        return made[name]

    return source


@pytest.fixture(scope="session")
def reports():
    """Of `embedded`, by config; it fills them in."""
    return {}


@pytest.fixture(scope="session")
def embedded(tmp_path_factory, inputs, reports):
    """A function from a config to what the embedded runner makes of its input, with scores."""
    folder, made = tmp_path_factory.mktemp("embedded"), {}

    def out(name):
        if name not in made:
            made[name] = folder / name
            reports[name] = backfill(
                BackfillRequest(
                    spec_of(name), str(inputs(name)), made[name], days_of(name),
                    bundle=bundle_of(name),
                )
            )  # fmt: skip
        return made[name]

    yield out
    shutil.rmtree(folder, ignore_errors=True)
