"""The backfill as a Dataflow job: built and translated here, not submitted.

`DataflowRunner --dry_run` looks for credentials and a bucket, so the parts that translate are
called: the pipeline's proto in a Docker environment, then the job and its worker pool.
"""

import json
import re
from pathlib import Path
from runpy import run_path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, WorkerOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.environments import DockerEnvironment
from conformance_world import bundle_of, days_of, spec_of
from dataflow_world import LAUNCHED, coder_names
from engines import ROOT
from serving_world import make_store

from configs.errors import InputError
from pipelines.backfill.build import Chunk, build
from pipelines.backfill.publish import read_attempt
from pipelines.runners import check_flags
from pipelines.sources.splits import Split

apiclient = pytest.importorskip(
    "apache_beam.runners.dataflow.internal.apiclient", reason="needs apache-beam[gcp]"
)
IMAGE = "europe-docker.pkg.dev/project/lockstep/worker:1"
KNOWN = {
    "RecordBatchCoder", "ShardKeyCoder", "beam:coder:bytes:v1", "beam:coder:iterable:v1",
    "beam:coder:kv:v1", "beam:coder:string_utf8:v1", "beam:coder:varint:v1",
}  # fmt: skip
FLAGS = check_flags([
    "--runner=DataflowRunner", "--project=project", "--region=europe-west1",
    "--temp_location=gs://bucket/temp", "--staging_location=gs://bucket/staging",
    "--job_name=lockstep-backfill", f"--setup_file={ROOT / 'setup.py'}",
    f"--sdk_container_image={IMAGE}", "--sdk_location=container", "--max_num_workers=8",
    "--machine_type=n2-standard-4",
])  # fmt: skip


@pytest.fixture(scope="module")
def translated():
    """Proto and Dataflow job of a backfill."""
    days = tuple(days_of("chat"))
    spec = spec_of("chat")
    chunk = Chunk(
        spec=spec, days=days, splits=((0, Split("gs://bucket/in/a.parquet", 10)),),
        computed=tuple(spec.entities), before={"author-000.arrow": "gs://bucket/a"}, kept=days[-1:],
        attempt="gs://bucket/out/.work/attempt", out="gs://bucket/out",
        bundle="gs://bucket/bundles/one",
    )  # fmt: skip
    options = PipelineOptions(list(FLAGS))
    pipeline = beam.Pipeline(runner="FnApiRunner", options=options)
    build(pipeline, chunk)
    environment = DockerEnvironment.from_container_image(IMAGE, artifacts=())
    proto = pipeline.to_runner_api(default_environment=environment)
    return proto, apiclient.Job(options, proto), options


def test_the_job_is_a_batch_job_with_our_flags(translated):
    job = translated[1].proto
    assert job.name == "lockstep-backfill"
    assert job.type_.name == "JOB_TYPE_BATCH"


def test_every_step_of_the_text_is_in_the_graph(translated):
    proto = translated[0]
    root = proto.components.transforms[proto.root_transform_ids[0]]
    steps = [proto.components.transforms[child].unique_name for child in root.subtransforms]
    assert steps == [
        "ReadEvents", "ReadStates", "Features", "Score", "DeadLetters", "WriteDays",
        "WriteVerdicts", "WriteEntityStates", "WriteIdStates", "WriteDeadLetters", "Written",
        "WriteManifest",
    ]  # fmt: skip


def test_no_collection_has_a_coder_that_pickles(translated):
    """Every element travels under Beam's model coders or ours, whose classes travel by name."""
    components = translated[0].components
    coders = {
        f"{transform.unique_name}.{tag}": coder_names(
            components, components.pcollections[made].coder_id
        )
        for transform in components.transforms.values()
        for tag, made in transform.outputs.items()
    }
    assert {step: names - KNOWN for step, names in coders.items() if names - KNOWN} == {}
    grouped = [
        transform.unique_name
        for transform in components.transforms.values()
        if transform.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn
    ]
    assert len(grouped) >= 4
    assert all({"ShardKeyCoder"} & coders[f"{step}.None"] for step in grouped)


def test_every_step_runs_in_our_container(translated):
    proto = translated[0]
    payloads = [
        beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
        for environment in proto.components.environments.values()
        if environment.urn == common_urns.environments.DOCKER.urn
    ]
    assert set(payloads) == {IMAGE}
    transforms = proto.components.transforms.values()
    steps = [step for step in transforms if step.spec.urn == common_urns.primitives.PAR_DO.urn]
    assert steps and all(step.environment_id in proto.components.environments for step in steps)


def test_the_worker_pool_is_what_the_flags_say(translated):
    proto, _, options = translated
    environment = apiclient.Environment([], options, "2", "gs://bucket/pipeline", proto).proto
    pool = environment.worker_pools[0]
    assert [one.container_image for one in pool.sdk_harness_container_images] == [IMAGE]
    assert (pool.machine_type, pool.autoscaling_settings.max_num_workers) == ("n2-standard-4", 8)
    assert environment.temp_storage_prefix.startswith("storage.googleapis.com/bucket/temp/")


def test_the_setup_file_ships_our_packages_and_no_tests(translated):
    setup_file = translated[2].view_as(SetupOptions).setup_file
    assert setup_file == str(ROOT / "setup.py") and setup_file.startswith("/")


TEMPLATES = {
    "metadata.json": ("launch.py", {
        "config": "chat", "input": "gs://b/events", "out": "gs://b/lockstep",
        "days": "2026-03-01..2026-03-07", "bundle": "gs://b/bundles/0123",
    }),
    "stream-metadata.json": ("stream.py", {
        "bundles": "gs://b/bundles", "subscription": "projects/project/subscriptions/events",
        "decisions": "projects/project/topics/decisions", "state": "gs://b/state",
        "dead_letters": "projects/project/topics/dead-letters",
    }),
}  # fmt: skip
"""Metadata -> its launcher, and a value of each parameter."""


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_template_is_as_google_documents_it(name):
    """TemplateMetadata and ParameterMetadata of Dataflow's REST API (v1b3)."""
    metadata = json.loads((ROOT / "deploy" / "dataflow" / name).read_text())
    assert {"name"} <= metadata.keys() <= {
        "name", "description", "parameters", "streaming", "supportsAtLeastOnce",
        "supportsExactlyOnce", "defaultStreamingMode",
    }  # fmt: skip
    example = TEMPLATES[name][1] | {"sdk_container_image": IMAGE}
    assert [one["name"] for one in metadata["parameters"]] == list(example)
    for one in metadata["parameters"]:
        assert {"name", "label", "helpText"} <= one.keys()
        assert one.keys() <= {"name", "label", "helpText", "isOptional", "regexes", "paramType"}
        assert isinstance(one.get("isOptional", False), bool)
        for pattern in one.get("regexes", []):
            assert re.fullmatch(pattern, example[one["name"]]), one["name"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_launcher_takes_the_templates_parameters_and_does_not_wait(
    name, tmp_path, inputs, monkeypatch, capsys
):
    """As its image runs it, with the parameters that it needs, on a runner that only notes."""
    launcher, given = TEMPLATES[name]
    metadata = json.loads((ROOT / "deploy" / "dataflow" / name).read_text())
    needed = {one["name"] for one in metadata["parameters"] if not one.get("isOptional")}
    make_store(tmp_path / "bundles")
    given = given | {
        "input": inputs("chat"), "out": tmp_path / "out", "bundles": tmp_path / "bundles",
        "state": tmp_path / "state", "sdk_container_image": IMAGE,
    }  # fmt: skip
    flags = [f"--{one}={given[one]}" for one in sorted(needed)]
    monkeypatch.setattr("sys.argv", [launcher, *flags, "--runner=dataflow_world.Launched"])
    LAUNCHED.clear()
    run_path(str(ROOT / "deploy" / "dataflow" / launcher), run_name="__main__")
    assert capsys.readouterr().out.startswith("launched")
    [options] = LAUNCHED
    assert options.view_as(WorkerOptions).sdk_container_image == IMAGE


def test_the_launcher_starts_the_same_text(tmp_path, inputs, embedded):
    """On the embedded runner: the files that it makes hold what `lockstep backfill` publishes."""
    launcher = run_path(str(ROOT / "deploy" / "dataflow" / "launch.py"))
    out = tmp_path / "out"
    with pytest.raises(InputError, match="embedded runner"):
        launcher["launch"](arguments("chat", inputs("chat"), out, "DirectRunner"))
    result, attempt = launcher["launch"](arguments("chat", inputs("chat"), out, "FnApiRunner"))
    result.wait_until_finish()
    made = read_attempt(attempt)
    parts = [one["path"] for day in days_of("chat") for one in made.parts[day]]
    expected = sorted(Path(embedded("chat")).glob("features/*/*.parquet"))
    assert [Path(attempt, one).read_bytes() for one in parts] == [
        one.read_bytes() for one in expected
    ]


def arguments(name, source, out, runner):
    return [f"--config={name}", f"--input={source}", f"--out={out}", f"--days={days_of(name)}",
            f"--bundle={bundle_of(name)}", f"--runner={runner}"]  # fmt: skip
