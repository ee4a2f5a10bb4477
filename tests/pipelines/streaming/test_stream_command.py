"""`lockstep stream`: what its options ask for."""

from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from configs.errors import InputError
from pipelines.commands import add_verb
from pipelines.streaming import run
from pipelines.streaming.counts import Counts


def invoke(*given):
    """The command with what it cannot be without, and more."""
    app = typer.Typer()
    add_verb(app, "stream")
    names = ["--subscription", "projects/p/subscriptions/subs"]
    names += ["--decisions", "projects/p/topics/done"]
    return CliRunner().invoke(app, ["--bundles", "b", "--state", "state", *names, *given])


def said(result):
    """What was printed, whatever the width of the terminal."""
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(("lease_s", "remember_s"), [(30, 90), (600, 1200)])
def test_ids_are_remembered_for_longer_than_a_lease(monkeypatch, lease_s, remember_s):
    asked = []
    answer = SimpleNamespace(counts=Counts())
    monkeypatch.setattr(run, "stream", lambda request, progress: asked.append(request) or answer)
    assert invoke("--lease-seconds", str(lease_s), "--quiet").exit_code == 0
    assert asked[0].settings.remember_s == remember_s


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--idle-exit", "1"), ("--metrics-port", "1"), ("--metrics-host", "::1"),
        ("--ack", "arrived"), ("--ack", "decided"), ("--decide", "at_arrival"), ("--shadow", "b"),
        ("--shadow-share", "0.5"), ("--keep-log-days", "2"), ("--keep-dead-letters", "2"),
    ],
)  # fmt: skip
def test_options_of_the_embedded_scorer_do_not_go_with_a_runner(option, value):
    result = invoke("--runner=FlinkRunner", option, value)
    assert result.exit_code == 2
    assert f"{option} does not go with --runner" in said(result)


@pytest.mark.parametrize(
    "given",
    [("--readers", "3"), ("--tick-ms", "500"), ("--detach",), ("--graph-store", "bigtable:p/i/t")],
)
def test_options_of_a_job_need_a_runner(given):
    result = invoke(*given)
    assert result.exit_code == 2
    assert f"{given[0]} goes with --runner" in said(result)


@pytest.mark.parametrize(
    ("given", "other"),
    [
        (("--seek",), "--from-night"), (("--seek", "--runner=PrismRunner"), "--from-night"),
        (("--shadow-share", "0.5"), "--shadow"), (("--metrics-host", "::1"), "--metrics-port"),
    ],
)  # fmt: skip
def test_an_option_that_says_more_of_another_is_not_passed_over_without_it(given, other):
    result = invoke(*given)
    assert result.exit_code == 2
    assert f"{given[0]} goes with {other}" in said(result)


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
