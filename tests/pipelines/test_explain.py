"""Why an event was decided as it was: of published days, of a scorer's log, and in lines."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from configs.errors import InputError
from pipelines.commands import add_verb
from pipelines.commands.explain import describe
from pipelines.explain import ExplainRequest, explain
from pipelines.files import open_parquet
from pipelines.layout import FEATURES, VERDICTS, Layout, day_us
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.journal import Journal
from scoring.bundle import load_bundle
from scoring.engine import Engine, Resident, log_batch
from scoring.limits import LIMITED
from scoring.scorer import Scorer
from scoring.store import ChangeNote, Store
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.inputs import numeric_names


@pytest.fixture(scope="module")
def out(night_house):
    return night_house[1]


@pytest.fixture(scope="module")
def judged(out):
    """Id, day and times of an event that a verdict is about."""
    layout = Layout(out)
    days = layout.published()
    rows = [row for day in days for part in layout.files(day, VERDICTS)
            for row in open_parquet(part).read().to_pylist()]  # fmt: skip
    scored = {event: day for day in days for part in layout.files(day, FEATURES)
              for event in open_parquet(part).read(["event_id"]).column(0).to_pylist()}  # fmt: skip
    row = next(row for row in rows if row["subject"] in scored and row["positive"])
    return row, scored[row["subject"]]


@pytest.fixture(scope="module")
def found(out, judged):
    return explain(ExplainRequest(judged[0]["subject"], out))


def test_the_parts_add_up_to_the_log_odds_and_the_score_is_what_is_served(out, judged, found):
    total = sum(part.added for part in found.parts) + found.rest
    assert total == pytest.approx(found.raw, abs=1e-4)
    day = Layout(out).files(judged[1], FEATURES)
    table = pa.concat_tables([open_parquet(part).read() for part in day])
    bundle = load_bundle(Store(Layout(out).bundles).path("serving"), CATALOG)
    at = table.column("event_id").to_pylist().index(found.event)
    served = bundle.score(table).slice(at, 1)
    assert served.column("score")[0].as_py() == found.score
    assert served.column("action")[0].as_py() == found.action
    sizes = [abs(part.added) for part in found.parts]
    assert sizes == sorted(sizes, reverse=True)


def test_values_are_compared_with_the_events_of_its_day(out, judged, found):
    day = Layout(out).files(judged[1], FEATURES)
    table = pa.concat_tables([open_parquet(part).read() for part in day])
    at = table.column("event_id").to_pylist().index(found.event)
    parts = {part.name: part for part in found.parts}
    compared = 0
    for name in numeric_names(
        load_bundle(Store(Layout(out).bundles).path("serving"), CATALOG).spec
    ):
        values = table.column(name).to_numpy().astype(np.float32)
        known = values[~np.isnan(values)]
        part = parts[name]
        if np.isnan(values[at]):
            assert part.value is None
            assert part.above is None
        else:
            assert part.value == values[at]
            assert part.above == np.mean(known < values[at])
            assert part.usual == np.median(known)
            compared += 1
    assert compared > 5
    assert f"{table.num_rows:,} scored events of {judged[1]}" == found.compared


def test_it_tells_what_became_known(judged, found):
    row = judged[0]
    assert (row["event_time"], True) in [(one.time_us, one.positive) for one in found.verdicts]
    times = [one.time_us for one in found.verdicts]
    assert times == sorted(times)
    assert found.label in (0, 1)


def test_private_values_are_not_told(found):
    private = {"who", "text", "clean"}
    assert not private & {part.name for part in found.parts if part.value is not None}


def test_an_unknown_id_is_an_error_that_does_not_repeat_it(out, tmp_path):
    for state in (None, tmp_path):
        with pytest.raises(InputError, match="no scored event") as failure:
            explain(ExplainRequest("nobody-77", out, state=state))
        assert "nobody-77" not in str(failure.value)


@pytest.fixture(scope="module")
def logged(out, tmp_path_factory):
    """A scorer's folder whose log has one step, and the outcome of that step."""
    state = tmp_path_factory.mktemp("state")
    bundle = load_bundle(Store(Layout(out).bundles).path("serving"), CATALOG)
    spec = bundle.spec
    empty = dict.fromkeys(event_schema(spec).names)
    noon = day_us(Layout(out).published()[-1]) + 43_200_000_000
    rows = [
        empty | {"event_id": f"live-{i}", "event_time": noon + i, "kind": "post", "who": "u",
                 "where": "x", "amount": 1.5 * i, "text": "buy it"}
        for i in range(4)
    ]  # fmt: skip
    batch = pa.RecordBatch.from_pylist(rows, event_schema(spec))
    engine = Engine(spec, Resident.empty(spec), Scorer(bundle))
    outcome = engine.step(batch, np.zeros(4, np.bool_))
    journal = Journal(state)
    messages = encode_decisions(spec, outcome, engine.scorer)
    journal.append(0, log_batch(outcome, 0, messages), Layout(out).published()[-1])
    journal.close()
    return state, outcome, messages


def test_a_scorers_decision_is_explained_from_its_log(out, logged):
    state, outcome, messages = logged
    for row, message in enumerate(map(json.loads, messages)):
        found = explain(ExplainRequest(message["event_id"], out, state=state))
        assert found.same is True
        assert found.score == message["score"]
        assert found.action == message["action"]
        assert found.bundle == message["bundle"]
        assert found.given == message["action"]
        assert found.decided_by == message["bundle"]
        assert (found.withheld, found.overruled) == ("", "")
        assert found.verdicts == ()
        assert found.label is None, "too young for a label"
        told = {part.name: part.value for part in found.parts}
        assert told["amount"] == outcome.numeric[row, 0]
        said = [reason["input"] for reason in message["reasons"]]
        raised = [part.name for part in found.parts if part.added > 0]
        assert raised[: len(said)] == said


def test_a_log_that_the_installation_does_not_give_again_is_told(out, logged, tmp_path):
    state, _, _ = logged
    [segment] = (state / "log").rglob("*.arrows")
    with pa.OSFile(str(segment)) as source:
        batch = pa.ipc.open_stream(source).read_next_batch()
    at = batch.schema.get_field_index("inputs")
    other = [[value + 1 for value in row] for row in batch.column(at).to_pylist()]
    batch = batch.set_column(
        at, batch.schema.field(at), pa.array(other, batch.schema.field(at).type)
    )
    journal = Journal(tmp_path)
    journal.append(0, batch, Layout(out).published()[-1])
    journal.close()
    found = explain(ExplainRequest("live-1", out, state=tmp_path))
    assert found.same is False
    assert any("OTHER INPUTS" in line for line in describe(found, 5))


def test_what_was_given_comes_first_and_what_was_due_and_held_back_after(out, logged):
    state, _, messages = logged
    found = explain(ExplainRequest(json.loads(messages[0])["event_id"], out, state=state))
    held = dataclasses.replace(found, action="block", given="review", withheld=LIMITED)
    lines = describe(held, 5)
    assert lines[0].startswith(f"{found.event}: review, score ")
    assert "  block was not done: its limit was used up (limit)" in lines
    lines = describe(dataclasses.replace(held, decided_by="another"), 5)
    assert lines[0].startswith(f"{found.event}: block, score "), "what this bundle would do"
    assert "  decided by bundle another: review" in lines


def test_a_bundle_that_serves_against_its_gate_is_told_with_who_and_why(out, logged, tmp_path):
    state, _, messages = logged
    there = shutil.copytree(out, tmp_path / "out")
    store = Store(there / "bundles")
    name = store.serving()
    store.set_refused(name, "AUC 0.4 < 0.5")
    (there / "bundles" / "serving.json").unlink()
    store.promote(name, ChangeNote("", "promoted by hand", "ann", "a raid"))
    found = explain(ExplainRequest(json.loads(messages[0])["event_id"], there, state=state))
    assert found.overruled == "ann: a raid"
    assert f"of bundle {name}, promoted against its gate by ann: a raid" in describe(found, 5)[2]


def test_the_command_prints_it(out, found):
    import typer

    app = typer.Typer()
    app.command("other")(lambda: None)
    add_verb(app, "explain")
    told = CliRunner().invoke(app, ["explain", found.event, "--out", str(out), "--top", "3"])
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0] == f"{found.event}: {found.action}, score {found.score:.4f}"
    assert sum(part.name in told.stdout for part in found.parts[:3]) == 3
    assert "the other inputs" in told.stdout
    added = [float(line.rsplit(maxsplit=1)[1]) for line in lines
             if line.startswith(("the other inputs", "where every event", "log odds"))]  # fmt: skip
    top = sum(part.added for part in found.parts[:3])
    assert top + added[0] + added[1] == pytest.approx(added[2], abs=2e-3)
    told = CliRunner().invoke(app, ["explain", found.event, "--out", str(out), "--json"])
    plain = json.loads(told.stdout)
    assert len(plain["parts"]) == len(found.parts)
    assert plain["nearest"] == (list(found.nearest) if found.nearest else None)
