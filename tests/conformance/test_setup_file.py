"""`--setup_file`: what workers install is our five packages, from which they import our coders."""

import os
import subprocess
import sys
import tarfile

import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.stager import Stager
from engines import ROOT

from configs.errors import InputError
from pipelines.runners import check_flags
from transforms.batches import RecordBatchCoder

PACKAGES = {"configs", "pipelines", "scoring", "training", "transforms"}
# What a worker does with a coder of a job: its class is found by the import path.
WORKER = """
import sys
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.pipeline_context import PipelineContext

context = PipelineContext(api.Components.FromString(bytes.fromhex(sys.argv[1])))
coder = context.coders.get_by_id(sys.argv[2])
assert coder.decode(bytes.fromhex(sys.argv[3])).to_pydict() == {"a": [1, None]}
print(type(coder).__name__, sys.modules[type(coder).__module__].__file__)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """What Beam stages for workers, built as it does for a job that is submitted."""
    folder = tmp_path_factory.mktemp("staged")
    flags = check_flags(["--runner=PortableRunner", f"--setup_file={ROOT / 'setup.py'}"])
    options = PipelineOptions([*flags, "--sdk_location=container"])
    resources = Stager.create_job_resources(options, str(folder))
    names = [one.role_payload for one in resources]
    assert any(b"workflow.tar.gz" in name for name in names)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.mark.slow
def test_the_package_has_our_five_packages_and_no_tests(package):
    with tarfile.open(package) as tar:
        paths = [name.split("/", 1)[1] for name in tar.getnames() if "/" in name]
    python = {path.split("/")[0] for path in paths if "/" in path and path.endswith(".py")}
    assert python == PACKAGES
    assert {path.split("/")[0] for path in paths if "/" in path} <= {*PACKAGES, "lockstep.egg-info"}
    assert [path for path in paths if path.endswith(".yaml")], "the shipped configs are data of it"


@pytest.mark.slow
def test_a_worker_imports_our_coders_from_it(package, tmp_path):
    target = tmp_path / "worker"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
               "--no-build-isolation", "--target", str(target), str(package)]  # fmt: skip
    subprocess.run(install, check=True, timeout=300)
    assert {one.name for one in target.iterdir() if one.is_dir()} - {"bin"} == {
        *PACKAGES, *[one.name for one in target.glob("lockstep-*.dist-info")],
    }  # fmt: skip
    context, coder = PipelineContext(), RecordBatchCoder()
    name = context.coders.get_id(coder)
    given = [context.to_runner_api().SerializeToString().hex(), name,
             coder.encode(pa.RecordBatch.from_pydict({"a": [1, None]})).hex()]  # fmt: skip
    made = subprocess.run(
        [sys.executable, "-c", WORKER, *given], cwd=tmp_path, check=True,
        env=os.environ | {"PYTHONPATH": str(target)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert made.stdout.split() == ["RecordBatchCoder", str(target / "transforms" / "batches.py")]


def test_a_relative_setup_file_is_made_absolute(monkeypatch):
    monkeypatch.chdir(ROOT)
    flags = check_flags(["--runner=FlinkRunner", "--setup_file", "setup.py"])
    assert flags == ("--runner=FlinkRunner", f"--setup_file={ROOT / 'setup.py'}")


def test_a_setup_file_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a file setup"):
        check_flags(["--runner=FlinkRunner", "--setup_file=setup.py"])
