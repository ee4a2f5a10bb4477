"""The streaming job for Dataflow: built by its launcher and translated, not submitted."""

from runpy import run_path

import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.environments import DockerEnvironment
from bundle_world import spec_and_graph
from dataflow_world import FALLBACK, coder_names
from engines import ROOT
from serving_world import make_store

from pipelines.pubsub.session import ReaderSettings
from pipelines.runners import Running
from pipelines.streaming.job import JobRequest, make_job

apiclient = pytest.importorskip(
    "apache_beam.runners.dataflow.internal.apiclient", reason="needs apache-beam[gcp]"
)
IMAGE = "europe-docker.pkg.dev/project/lockstep/worker:1"
FLAGS = (
    "--runner=DataflowRunner", "--project=project", "--region=europe-west1",
    "--temp_location=gs://bucket/temp", "--job_name=lockstep-stream",
    f"--sdk_container_image={IMAGE}", "--sdk_location=container",
)  # fmt: skip


@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    """Proto and Dataflow job, as the launcher would start them."""
    bundles = tmp_path_factory.mktemp("store") / "bundles"
    make_store(bundles)
    launcher = run_path(str(ROOT / "deploy" / "dataflow" / "stream.py"))
    pipeline = launcher["launch"](
        [
            f"--bundles={bundles}", "--subscription=projects/project/subscriptions/events",
            "--decisions=projects/project/topics/decisions", "--state=gs://bucket/state", *FLAGS,
        ],
        run=lambda made: made,
    )  # fmt: skip
    environment = DockerEnvironment.from_container_image(IMAGE, artifacts=())
    proto = pipeline.to_runner_api(default_environment=environment)
    return proto, apiclient.Job(pipeline.options, proto)


def named(proto):
    return {one.unique_name: one for one in proto.components.transforms.values()}


def test_it_is_a_streaming_job(translated):
    assert translated[1].proto.type_.name == "JOB_TYPE_STREAMING"


def test_the_engine_reads_the_subscription_itself(translated):
    names = named(translated[0])
    assert any("ReadFromPubSub" in name for name in names)
    assert not any("PullSubscription" in name for name in names)


def test_the_steps_are_those_of_the_text(translated):
    proto = translated[0]
    root = proto.components.transforms[proto.root_transform_ids[0]]
    steps = [proto.components.transforms[child].unique_name for child in root.subtransforms]
    assert steps == [
        "ReadSubscription", "Features", "Decide", "Decided", "Pass", "Passed", "WriteDecisions",
        "Rows", "WriteLog", "WriteDeadLetters",
    ]  # fmt: skip


def test_what_acts_on_the_world_asks_for_stable_input(translated):
    acting = []
    for name, one in named(translated[0]).items():
        if one.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(one.spec.payload)
            if payload.requires_stable_input:
                acting.append(name.split("/")[0])
    assert sorted(acting) == ["WriteDeadLetters", "WriteDecisions", "WriteLog"]


def test_state_and_elements_have_coders_of_their_own(translated):
    """Nothing that is kept in state or keyed is pickled."""
    components = translated[0].components
    for name, one in named(translated[0]).items():
        if one.spec.urn != common_urns.primitives.PAR_DO.urn:
            continue
        payload = beam_runner_api_pb2.ParDoPayload.FromString(one.spec.payload)
        for spec in payload.state_specs.values():
            coder = spec.bag_spec.element_coder_id or spec.read_modify_write_spec.coder_id
            assert not coder_names(components, coder) & FALLBACK, name


def test_publish_times_are_ahead_by_the_disorder_bound():
    requests = {
        runner: JobRequest(
            "unused", ReaderSettings("projects/project/subscriptions/events"),
            "projects/project/topics/decisions",
            "gs://bucket/state", Running(flags=(f"--runner={runner}",)),
        )
        for runner in ("DataflowRunner", "FlinkRunner", "PrismRunner")
    }  # fmt: skip
    spec, _ = spec_and_graph()
    jobs = {runner: make_job(request, spec) for runner, request in requests.items()}
    behind = {runner: job.ticks.behind_us for runner, job in jobs.items()}
    bound = spec.events.disorder_us
    assert behind == {"DataflowRunner": bound, "FlinkRunner": 0, "PrismRunner": 0}
    assert [jobs[runner].stable for runner in requests] == [True, True, False]
