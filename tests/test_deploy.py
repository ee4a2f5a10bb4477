"""The files of deploy/ by their structure: they cannot be run here, and their heads say so."""

import json
import os
import re
import shlex
from pathlib import Path

import jsonschema
import pytest
import typer
from ruamel.yaml import YAML
from typer.main import get_command

from pipelines.commands import add_verb
from pipelines.logs import SETTING
from pipelines.serve.server import SERVICE
from pipelines.snapshots import beside

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents(path):
    return [one for one in YAML(typ="safe").load_all(path.read_text()) if one]


def containers(document):
    """Every container of a manifest, wherever it is."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == "containers":
                yield from value
            yield from containers(value)
    elif isinstance(document, list):
        for one in document:
            yield from containers(one)


@pytest.mark.parametrize(
    "path",
    [
        *MANIFESTS, DEPLOY / "flink" / "compose.yaml", *(DEPLOY / "systemd").glob("*"),
        *DEPLOY.rglob("Dockerfile"), *(DEPLOY / "dataflow").glob("*.py"),
    ],
    ids=lambda path: path.relative_to(DEPLOY).as_posix(),
)  # fmt: skip
def test_the_first_lines_say_what_was_not_run(path):
    head = "\n".join(path.read_text().splitlines()[:8])
    assert ("Not built here" if path.name == "Dockerfile" else "Not run") in head


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_pod_of_ours_has_limits_and_no_secret(path):
    found = [one for document in documents(path) for one in containers(document)]
    ours = [one for one in found if one["name"] != "flink-main-container"]
    assert ours
    for one in ours:
        assert {"cpu", "memory"} <= one["resources"]["limits"].keys()
        assert all("value" not in entry for entry in one.get("env", []))
    for document in documents(path):
        assert {"apiVersion", "kind", "metadata"} <= document.keys()
        assert document["kind"] != "Secret"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_logs_of_our_commands_are_json_where_the_config_map_says_so(path):
    found = [one for document in documents(path) for one in containers(document)]
    ours = [one for one in found if one.get("command", [""])[0] == "lockstep"]
    assert ours
    for one in ours:
        [entry] = one["env"]
        assert entry["name"] == SETTING and "configMapKeyRef" in entry["valueFrom"]


def test_long_running_pods_have_probes_and_checkpoints_are_on_the_shared_volume():
    session = {one["kind"]: one for one in documents(DEPLOY / "kubernetes" / "flink-session.yaml")}
    workers = [one for one in containers(session) if one["name"] in ("workers", "jobserver")]
    assert len(workers) == 2
    assert all({"readinessProbe", "livenessProbe"} <= one.keys() for one in workers)
    scorer, served = containers(documents(DEPLOY / "kubernetes" / "scorer.yaml"))
    for one, ready in ((scorer, "readinessProbe"), (served, "startupProbe")):
        asked = {"/livez": one["livenessProbe"]["httpGet"], "/readyz": one[ready]["httpGet"]}
        assert all(probe["path"] == path for path, probe in asked.items())
        assert {f"--metrics-port={probe['port']}" for probe in asked.values()} <= set(one["args"])
    asked = served["readinessProbe"]["grpc"]
    assert asked["service"] == SERVICE and f"--port={asked['port']}" in served["args"]
    assert [mount["readOnly"] for mount in served["volumeMounts"]] == [True, True]
    settings = session["FlinkDeployment"]["spec"]["flinkConfiguration"]
    assert settings["state.checkpoint-storage"] == "filesystem"
    assert settings["state.checkpoints.dir"].startswith("file:///data/")
    assert session["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_compose_session_has_workers_in_the_task_managers_network():
    services = documents(DEPLOY / "flink" / "compose.yaml")[0]["services"]
    assert set(services) == {"jobmanager", "taskmanager", "workers", "jobserver"}
    assert services["workers"]["network_mode"] == "service:taskmanager"
    for one in services.values():
        assert {"cpus", "memory"} <= one["deploy"]["resources"]["limits"].keys()
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    properties = services["jobmanager"]["environment"]["FLINK_PROPERTIES"]
    assert "state.checkpoints.dir: file:///data/checkpoints" in properties


def options(verb):
    """Every option that a verb of `lockstep` declares."""
    app = typer.Typer()
    add_verb(app, verb)
    command = get_command(app)
    return {name for parameter in command.params for name in parameter.opts}


def test_the_flink_deployment_is_one_by_the_operators_schema():
    """The file is that of the operator's release; a field that it does not name is refused here."""
    path = os.environ.get("LOCKSTEP_FLINK_CRD")
    if not path:
        pytest.skip("LOCKSTEP_FLINK_CRD names no flinkdeployments.flink.apache.org-v1.yml")
    [definition] = documents(Path(path))
    [version] = definition["spec"]["versions"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    session = documents(DEPLOY / "kubernetes" / "flink-session.yaml")
    [deployment] = [one for one in session if one["kind"] == "FlinkDeployment"]
    assert deployment["apiVersion"].endswith(f"/{version['name']}")
    jsonschema.validate(deployment, schema)
    with pytest.raises(jsonschema.ValidationError, match="taskManagers"):
        spec = {**deployment["spec"], "taskManagers": {}}
        jsonschema.validate({**deployment, "spec": spec}, schema)


def closed(schema):
    """A schema of Kubernetes as JSON schema, without fields that it does not name."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = dict(schema)
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made["properties"] = {name: closed(one) for name, one in made["properties"].items()}
        made.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = closed(made[name])
    return made


BEAMS = {
    "--runner", "--job_endpoint", "--artifact_endpoint", "--environment_type",
    "--environment_config", "--parallelism", "--checkpointing_interval",
}  # fmt: skip


def test_command_lines_are_those_that_the_command_takes():
    for verb in ("stream", "serve", "workers"):
        unit = (DEPLOY / "systemd" / f"lockstep-{verb}.service").read_text()
        [line] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        words = shlex.split(line)
        assert words[1] == verb
        assert {word for word in words if word.startswith("--")} <= options(verb)
    for path in ("stream-job.yaml", "scorer.yaml"):
        for container in containers(documents(DEPLOY / "kubernetes" / path)):
            program, verb, *more = container["command"]
            assert program == "lockstep"
            given = {one.split("=")[0] for one in [*more, *container["args"]]}
            assert given <= options(verb) | (BEAMS if path == "stream-job.yaml" else set())
    [pool] = [
        one
        for one in containers(documents(DEPLOY / "kubernetes" / "flink-session.yaml"))
        if one["name"] == "workers"
    ]
    beside = documents(DEPLOY / "flink" / "compose.yaml")[0]["services"]["workers"]["entrypoint"]
    for words in ([*pool["command"], *pool["args"]], beside):
        assert words[:2] == ["lockstep", "workers"]
        assert {one.split("=")[0] for one in words[2:]} <= options("workers")
    known = options("stream")
    template = json.loads((DEPLOY / "dataflow" / "stream-metadata.json").read_text())
    named = {"--" + one["name"].replace("_", "-") for one in template["parameters"]}
    assert named - {"--sdk-container-image"} <= known


def test_what_is_beside_a_store_of_bundles_is_mounted_with_it():
    """Snapshots of the social graph and of campaigns."""
    found = [
        (one["name"], word.removeprefix("--bundles="), one["volumeMounts"])
        for path in MANIFESTS
        for one in containers(documents(path))
        for word in one.get("args", [])
        if word.startswith("--bundles=")
    ]
    assert len(found) == 3
    for name, bundles, mounts in found:
        mounted = [Path(mount["mountPath"]) for mount in mounts]
        assert any(Path(beside(bundles)).is_relative_to(one) for one in mounted), name


def test_what_serves_follows_the_folder_of_the_scorer_beside_it():
    def given(line):
        words = shlex.split(line)
        return dict(zip(words[3::2], words[4::2], strict=True))

    units = [
        given(re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE)[0])
        for path in (
            DEPLOY / "systemd" / f"lockstep-{verb}.service" for verb in ("serve", "stream")
        )
    ]
    served, scorer = units
    assert served["--state"] == scorer["--state"] and served["--bundles"] == scorer["--bundles"]
    assert served["--metrics-port"] != scorer["--metrics-port"]


def test_images_and_ports_are_those_of_the_files_beside_them():
    """An image has one tag, the job server is the one that tests run, a port leads somewhere."""
    manifests = [one for path in MANIFESTS for one in documents(path)]
    compose = documents(DEPLOY / "flink" / "compose.yaml")[0]
    used = [one["image"] for one in containers(manifests) if "image" in one]
    used += [one["image"] for one in compose["services"].values()]
    [session] = [one for one in manifests if one["kind"] == "FlinkDeployment"]
    used.append(session["spec"]["image"])
    names = {one.rsplit(":", 1)[0] for one in used}
    assert names == {"lockstep/worker", "flink", "apache/beam_flink1.19_job_server"}
    assert len(set(used)) == len(names), "an image has one tag"
    assert (
        "lockstep/worker:1"
        in (DEPLOY / "Dockerfile").read_text() + (DEPLOY / "flink" / "compose.yaml").read_text()
    )
    [beam] = {one.rsplit(":", 1)[1] for one in used if "job_server" in one}
    assert f"beam-runners-flink-1.19-{beam}.jar" in (DEPLOY / "flink" / "jars.sha256").read_text()
    open_ports = {
        one["metadata"]["name"]: {
            port["containerPort"] for each in containers(one) for port in each.get("ports", [])
        }
        for one in manifests
        if one["kind"] in ("Deployment", "StatefulSet")
    }
    for one in manifests:
        if one["kind"] == "Service":
            owner = one["spec"]["selector"]["app"]
            assert {port["port"] for port in one["spec"]["ports"]} <= open_ports[owner]
        if one["kind"] == "NetworkPolicy":
            owner = one["spec"]["podSelector"]["matchLabels"]["app"]
            named = {port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]}
            assert named == open_ports[owner]
    [job] = [one for one in containers(manifests) if "--detach" in one.get("command", [])]
    named = {one.split(":")[-1] for one in job["args"] if "localhost" in one or "jobserver" in one}
    [pool] = [one for one in containers(manifests) if one["name"] == "workers"]
    assert named == {"8099", "8098", pool["args"][0].split("=")[1]}
