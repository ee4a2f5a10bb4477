"""The files of deploy/ by their structure: they cannot be run here, and their heads say so."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML
from typer.main import get_command

from pipelines.commands.stream import register

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
    [*MANIFESTS, DEPLOY / "flink" / "compose.yaml", *(DEPLOY / "systemd").glob("*")],
    ids=lambda path: path.name,
)
def test_the_first_lines_say_what_was_not_run(path):
    head = "\n".join(path.read_text().splitlines()[:8])
    assert "Not run here" in head


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


def test_long_running_pods_have_probes_and_checkpoints_are_on_the_shared_volume():
    session = {one["kind"]: one for one in documents(DEPLOY / "kubernetes" / "flink-session.yaml")}
    workers = [one for one in containers(session) if one["name"] in ("workers", "jobserver")]
    assert len(workers) == 2
    assert all({"readinessProbe", "livenessProbe"} <= one.keys() for one in workers)
    [scorer] = containers(documents(DEPLOY / "kubernetes" / "scorer.yaml"))
    asked = {kind: scorer[kind]["httpGet"] for kind in ("livenessProbe", "readinessProbe")}
    assert asked["livenessProbe"]["path"] == "/livez"
    assert asked["readinessProbe"]["path"] == "/readyz"
    assert {f"--metrics-port={one['port']}" for one in asked.values()} <= set(scorer["args"])
    settings = session["FlinkDeployment"]["spec"]["flinkConfiguration"]
    assert settings["execution.checkpointing.storage"] == "filesystem"
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


def stream_options():
    """Every option that `lockstep stream` declares."""
    app = typer.Typer()
    register(app)
    command = get_command(app)
    return {name for parameter in command.params for name in parameter.opts}


BEAMS = {
    "--runner", "--job_endpoint", "--artifact_endpoint", "--environment_type",
    "--environment_config", "--parallelism", "--checkpointing_interval",
}  # fmt: skip


def test_command_lines_are_those_that_the_command_takes():
    known = stream_options()
    unit = (DEPLOY / "systemd" / "lockstep-stream.service").read_text()
    [line] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    words = shlex.split(line)
    assert words[1] == "stream"
    assert {word for word in words if word.startswith("--")} <= known
    for path in ("stream-job.yaml", "scorer.yaml"):
        job = documents(DEPLOY / "kubernetes" / path)[0]
        [container] = job["spec"]["template"]["spec"]["containers"]
        given = {one.split("=")[0] for one in [*container["command"][2:], *container["args"]]}
        assert given <= known | BEAMS
    template = json.loads((DEPLOY / "dataflow" / "stream-metadata.json").read_text())
    named = {"--" + one["name"].replace("_", "-") for one in template["parameters"]}
    assert named - {"--sdk-container-image"} <= known
