"""`lockstep stream`: what its options ask for."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from configs.errors import InputError
from pipelines.commands import add_verb
from pipelines.commands.stream import stream
from pipelines.streaming import run
from pipelines.streaming.counts import Counts


@pytest.mark.parametrize(("lease_s", "remember_s"), [(30, 90), (600, 1200)])
def test_ids_are_remembered_for_longer_than_a_lease(monkeypatch, lease_s, remember_s):
    asked = []
    answer = SimpleNamespace(counts=Counts())
    monkeypatch.setattr(run, "stream", lambda request, progress: asked.append(request) or answer)
    stream(
        SimpleNamespace(args=[], command=SimpleNamespace(params=[])),
        Path("bundles"),
        "projects/p/subscriptions/events",
        "projects/p/topics/decisions",
        Path("state"),
        lease_seconds=lease_s,
        quiet=True,
    )
    assert asked[0].settings.remember_s == remember_s


@pytest.mark.parametrize("option", ["--idle-exit", "--metrics-port"])
def test_options_of_the_embedded_scorer_do_not_go_with_a_runner(option):
    app = typer.Typer()
    add_verb(app, "stream")
    given = ["--bundles", "b", "--subscription", "s", "--decisions", "t", "--state", "state"]
    result = CliRunner().invoke(app, [*given, "--runner=FlinkRunner", option, "1"])
    assert result.exit_code == 2
    assert f"{option} does not go with --runner" in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("subscription", "dead", "named"),
    [
        ("projects/p/subs/events", "projects/p/topics/dead", "no subscription name"),
        ("projects/p/subscriptions/events", "dead", "no topic name"),
    ],
)
def test_a_malformed_name_is_named_before_anything_is_read(subscription, dead, named):
    app = typer.Typer()
    add_verb(app, "stream")
    given = ["--bundles", "b", "--subscription", subscription, "--state", "state"]
    given += ["--decisions", "projects/p/topics/decisions", "--dead-letters", dead]
    result = CliRunner().invoke(app, given)
    assert isinstance(result.exception, InputError) and named in str(result.exception)
