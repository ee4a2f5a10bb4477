"""The streaming job for Dataflow: built by its launcher and translated, not submitted."""

from runpy import run_path

import families_world
import named_world
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


POLICY = "policy: {actions: {block: {min_precision: 0.8}}}"
LIMITED = "policy: {actions: {block: {min_precision: 0.8, limit: {per: who, count: 1, in: 1d}}}}"


SLOW = (pytest.param(name, marks=pytest.mark.slow) for name in ("limited", "named"))


@pytest.fixture(scope="module", params=["plain", *SLOW])
def kind(request):
    """Of bundle: actions of the last two have limits; events of the second see the social graph,
    and decisions of the third name their campaign."""
    return request.param


@pytest.fixture(scope="module")
def translated(kind, tmp_path_factory):
    """Proto and Dataflow job, as the launcher would start them."""
    folder = tmp_path_factory.mktemp("store")
    if kind == "plain":
        bundles = folder / "bundles"
        make_store(bundles)
    elif kind == "named":
        made = named_world.make_named(folder, named_world.text_of(policy=named_world.LIMITED))
        bundles = made.out / "bundles"
    else:
        text = families_world.CONFIG.replace(POLICY, LIMITED)
        bundles = families_world.make_world(folder, 300, text, ["booster"]).house / "bundles"
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


STEPS = ["ReadSubscription", "Features", "Decide", "Decided", "Pass", "Passed"]
LAST = ["WriteDecisions", "Rows", "WriteLog"]
LAST_LIMITED = ["Rows", "LimitActions", "WriteDecisions", "WriteSteps"]


def test_the_steps_are_those_of_the_text(kind, translated):
    proto = translated[0]
    root = proto.components.transforms[proto.root_transform_ids[0]]
    steps = [proto.components.transforms[child].unique_name for child in root.subtransforms]
    last = LAST if kind == "plain" else LAST_LIMITED
    assert steps == [*STEPS, *last, "WriteDeadLetters"]


def par_dos(proto):
    """Payloads by name."""
    return {
        name: beam_runner_api_pb2.ParDoPayload.FromString(one.spec.payload)
        for name, one in named(proto).items()
        if one.spec.urn == common_urns.primitives.PAR_DO.urn
    }


def test_what_acts_on_the_world_asks_for_stable_input(kind, translated):
    steps = par_dos(translated[0]).items()
    acting = [name.split("/")[0] for name, step in steps if step.requires_stable_input]
    log = "WriteLog" if kind == "plain" else "WriteSteps"
    assert sorted(acting) == ["WriteDeadLetters", "WriteDecisions", log]
    assert not [name for name, step in steps if step.requires_stable_input and step.state_specs]


ONE_LOG = {"rows": "bag", "at": "value"}
COUNTS = {"version": "value", "snapshot": "value", "deltas": "bag"}
SHARD = COUNTS | {f"rows_{slot}": "bag" for slot in range(4)}


def test_state_and_elements_have_coders_of_their_own(kind, translated):
    """Nothing that is kept in state or keyed is pickled."""
    components = translated[0].components
    kept = {}
    for name, step in par_dos(translated[0]).items():
        for cell, spec in step.state_specs.items():
            bag = spec.HasField("bag_spec")
            coder = spec.bag_spec.element_coder_id if bag else spec.read_modify_write_spec.coder_id
            assert not coder_names(components, coder) & FALLBACK, name
            kept.setdefault(name.split("/ParDo(")[0], {})[cell] = "bag" if bag else "value"
    shards = {f"Features/Live/{step}": SHARD for step in ("Ids", "Fold", "Join")}
    counts = {"LimitActions/Limit": ONE_LOG | COUNTS}
    assert kept == shards | ({"WriteLog/Order": ONE_LOG} if kind == "plain" else counts)


def test_collections_have_coders_of_their_own(translated):
    components = translated[0].components
    coders = {
        f"{name}.{tag}": coder_names(components, components.pcollections[made].coder_id) & FALLBACK
        for name, one in named(translated[0]).items()
        if "/ReshufflePerKey/" not in name  # which the engine makes of its own
        and not name.startswith("ReadSubscription/ReadFromPubSub")
        for tag, made in one.outputs.items()
    }
    assert {name: coder for name, coder in coders.items() if coder} == {}


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
