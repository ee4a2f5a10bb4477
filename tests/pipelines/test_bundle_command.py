"""`lockstep bundle`: what it prints for people and for machines, and what it refuses."""

import datetime as dt
import json

import pyarrow as pa
import pytest
import typer
from bundle_world import CONFIG, copy_bundle, make_parts
from typer.testing import CliRunner

from configs.errors import BundleError, BusyError, InputError
from configs.loader import loads
from pipelines.commands import bundle, control
from pipelines.streaming.journal import Journal
from scoring.bundle import write_bundle
from scoring.engine import BUNDLE, STEP
from scoring.locks import exclusive
from scoring.store import Store
from transforms.catalog import CATALOG


@pytest.fixture
def house(tmp_path):
    """An output folder with a booster that serves, and a linear rule beside it."""
    (tmp_path / "bundles").mkdir()
    names = [copy_bundle(tmp_path / "bundles", model).name for model in ("booster", "linear")]
    Store(tmp_path / "bundles").promote(names[0])
    return tmp_path, *names


def run(*words, verb="bundle"):
    """What the command prints; an error of ours comes through."""
    app = typer.Typer()
    bundle.register(app)
    control.register(app)
    done = CliRunner().invoke(app, [verb, *map(str, words)], env={"COLUMNS": "120"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_list(house):
    out, one, two = house
    table = run("list", "--out", out)
    assert one in table and two in table and "*" in table
    infos = json.loads(run("list", "--out", out, "--json"))["bundles"]
    assert {info["fingerprint"]: info["serving"] for info in infos} == {one: True, two: False}
    (out / "bundles" / two / "metrics.json").write_text("")
    assert "damaged" in run("list", "--out", out)


def test_rollback_loads_the_bundle_that_would_serve(house, monkeypatch):
    """Its files are whole, but it does not load in this release: what serves stays."""
    out, one, two = house
    store = Store(out / "bundles")
    store.promote(two)

    def refuse(folder, catalog):
        raise BundleError(f"{folder.name}: spec.yaml does not load in this release")

    with monkeypatch.context() as patch:
        patch.setattr("scoring.bundle.load_bundle", refuse)
        with pytest.raises(BundleError, match=f"{one}: spec.yaml does not load"):
            run("rollback", "--out", out)
    assert store.serving() == two
    assert one in run("rollback", "--out", out)
    assert store.serving() == one


def test_list_of_nothing(tmp_path):
    assert json.loads(run("list", "--out", tmp_path, "--json")) == {"bundles": [], "changes": []}


def test_show(house):
    out, one, _ = house
    text = run("show", "serving", "--out", out)
    assert one in text and "block" in text and "tensorflow 2." in text
    assert "  versions: python 3.11\n" in text
    facts = json.loads(run("show", one[:8], "--out", out, "--json"))
    assert facts["manifest"]["fingerprint"] == one
    (out / "bundles" / one / "policy.json").write_text("{")
    with pytest.raises(BundleError, match=r"policy.json .*cut short"):
        run("show", "serving", "--out", out)


def test_show_tells_hold_outs_of_other_salts_apart_and_no_salt(house):
    """Another salt is another bundle, which lets other events through."""
    out, one, _ = house
    shown = {}
    for salt in ("s-2026", "s-2027"):
        text = CONFIG.replace("policy: {", f"policy: {{hold_out: {{share: 0.02, salt: {salt}}}, ")
        parts = make_parts(config=text, spec=loads(text, "tiny.yaml", CATALOG))
        made = write_bundle(parts, out / "bundles").name
        said = run("show", made, "--out", out)
        assert "hold-out   2.00% of events" in said and salt not in said.split("hold-out")[1]
        shown[made] = json.loads(run("show", made, "--out", out, "--json"))["hold_out"]["salt"]
    assert len(set(shown.values())) == len(shown) == 2
    assert "hold-out" not in run("show", one, "--out", out)


def test_verify(house):
    out, one, two = house
    assert "every file is as the manifest says" in run("verify", one, "--out", out)
    found = json.loads(run("verify", one, "--out", out, "--json"))
    assert found == {"fingerprint": one, "ok": True, "versions": []}
    (out / "bundles" / two / "text.npz").write_bytes(b"")
    with pytest.raises(BundleError, match=rf"{two}: text.npz"):
        run("verify", two, "--out", out)


def test_promote_and_rollback(house):
    out, one, two = house
    assert run("promote", two, "--out", out) == f"{two} serves\n"
    assert json.loads(run("rollback", "--out", out, "--json")) == {"serving": one}
    assert json.loads(run("promote", two, "--out", out, "--json")) == {"serving": two}
    again = run("promote", two, "--out", out, "--because", "to be sure")
    assert again == f"{two} serves already: nothing is changed, and no reason kept\n"
    assert "to be sure" not in run("history", "--out", out)
    (out / "bundles" / one / "spec.yaml").unlink()
    for words in (("promote", one), ("rollback",)):
        with pytest.raises(BundleError, match=r"spec.yaml is missing"):
            run(*words, "--out", out)
    assert Store(out / "bundles").serving() == two


def test_control_switches_actions_and_keeps_a_list_without_printing_it(house):
    out, _, _ = house
    more = ("--out", out, "--why", "a wave of false alarms")
    assert run("off", "block", *more, verb="control") == "off: block\nallowed: nobody\n"
    listed = out / "people"
    listed.write_text("u-1\n\nu-2\n")
    column = "who"
    said = run("allow", column, "u-3", "--file", listed, *more, verb="control")
    assert said == f"off: block\nallowed: 3 of {column}\n"
    run("off", "*", *more, verb="control")
    with pytest.raises(InputError, match="all actions are off: switch on"):
        run("on", "block", *more, verb="control")
    run("on", "*", *more, verb="control")
    run("disallow", column, "u-2", *more, verb="control")
    shown = run("show", "--out", out, verb="control")
    assert "off: nothing" in shown and f"disallow 1 of {column} (a wave" in shown
    assert "u-1" not in shown
    facts = json.loads(run("show", "--out", out, "--json", verb="control"))
    assert facts["allow"] == {column: ["u-1", "u-3"]} and len(facts["history"]) == 5
    with pytest.raises(InputError, match="no action 'blok'"):
        run("off", "blok", *more, verb="control")
    with pytest.raises(InputError, match="no text column 'nobody'"):
        run("allow", "nobody", "u-1", *more, verb="control")
    assert "nothing is changed" in run("disallow", column, "u-2", *more, verb="control")
    with pytest.raises(AssertionError, match="--why is blank"):
        run("off", "block", "--out", out, "--why", " ", verb="control")
    facts = json.loads(run("show", "--out", out, "--json", verb="control"))
    assert facts["off"] == [] and len(facts["history"]) == 5


def test_an_override_is_recorded_with_who_and_why_and_shown(house):
    out, _, two = house
    said = "a raid that the gate has not seen"
    run("promote", two, "--out", out, "--because", f"{said}\n", "--by", "ana")
    run("rollback", "--out", out, "--because", "over")
    changes = json.loads(run("history", "--out", out, "--json"))["changes"]
    assert [(one["how"], one["because"]) for one in changes[1:]] == [
        ("promoted by hand", said),
        ("rolled back", "over"),
    ]
    assert changes[1]["by"] == "ana" and changes[1]["at"].endswith("+00:00")
    assert changes[2]["by"], "the user of the machine"
    lines = run("history", "--out", out).splitlines()
    assert lines[1].endswith(f" {two}, promoted by hand by ana: {said}")
    assert lines[2] in run("list", "--out", out)
    assert json.loads(run("list", "--out", out, "--json"))["changes"] == changes
    shown = run("show", two, "--out", out)
    assert f"served     {lines[1]}" in shown and f"served     {lines[2]}" in shown
    assert json.loads(run("show", two, "--out", out, "--json"))["changes"] == changes[1:]


def test_without_a_history_it_says_so(tmp_path):
    (tmp_path / "bundles").mkdir()
    assert "nothing has been made to serve" in run("history", "--out", tmp_path)


def add_bundle(out, name, made="2026-01-01", judged=""):
    """A bundle of another name and day, which `list` takes for a whole one."""
    folder = copy_bundle(out / "aside").rename(out / "bundles" / name)
    facts = {"as_of": made, "judged_bundle": judged}
    (folder / "provenance.json").write_text(json.dumps(facts))
    return name


def make_log(state, *bundles):
    """A scorer's log with a step of each bundle."""
    journal = Journal(state)
    for step, name in enumerate(bundles):
        rows = pa.RecordBatch.from_pydict({BUNDLE: [f"{name}+c0ffee"], STEP: [step]})
        journal.append(step, rows, dt.date(2026, 3, 1))
    journal.close()
    return state


def test_clean_removes_what_nothing_refers_to_and_only_when_told(house):
    out, one, two = house
    Store(out / "bundles").promote(two)
    judged, logged, shadowed = (add_bundle(out, f"{number:016x}") for number in range(3))
    fresh = add_bundle(out, f"{3:016x}", "2026-03-01", judged)
    unused = [add_bundle(out, f"{number:016x}") for number in (4, 5)]
    broken = add_bundle(out, f"{6:016x}")
    (out / "bundles" / broken / "provenance.json").write_text("{")
    state = make_log(out / "live", two, logged)
    (state / "shadow" / "date=2026-03-01").mkdir(parents=True)
    (state / "shadow" / "date=2026-03-01" / f"17-{shadowed}.parquet").touch()
    before = sorted(path.name for path in (out / "bundles").iterdir())
    words = ("clean", "--out", out, "--scorer", state)

    facts = json.loads(run(*words, "--json"))
    assert (sorted(facts["unused"]), facts["removed"]) == (unused, [])
    assert set(facts["kept"]) == {one, two, judged, logged, shadowed, fresh, broken}
    assert f"{judged} stays: {fresh} is compared by it" in run(*words)
    assert "nothing is removed yet" in run(*words)
    assert sorted(path.name for path in (out / "bundles").iterdir()) == before

    facts = json.loads(run(*words, "--yes", "--json"))
    assert sorted(facts["removed"]) == unused and facts["bytes"] > 1000
    left = {path.name for path in (out / "bundles").iterdir()}
    assert set(before) - left == set(unused)
    assert f"{logged} removed" in run("clean", "--out", out, "--yes")
    with pytest.raises(InputError, match="holds no log of a scorer"):
        run("clean", "--out", out, "--scorer", out, "--yes")


def test_clean_keeps_what_served_of_late_and_nothing_is_removed_during_another_run(house):
    out, one, two = house
    names = [add_bundle(out, f"{number:016x}") for number in range(3)]
    now = dt.datetime.now(dt.UTC)
    changes = [
        {"serving": name, "at": (now - dt.timedelta(days=days)).isoformat()}
        for name, days in zip((*names, one), (90, 60, 40, 1), strict=True)
    ]
    pointer = {"serving": one, "history": [*names, two], "changes": changes}
    (out / "bundles" / "serving.json").write_text(json.dumps(pointer))
    with exclusive(out), pytest.raises(BusyError, match="in use by another run"):
        run("clean", "--out", out, "--yes")
    facts = json.loads(run("clean", "--out", out, "--yes", "--json"))
    assert facts["removed"] == names[:2], "the third served until yesterday"
    assert Store(out / "bundles").previous() == two
    Store(out / "bundles").rollback()
    assert Store(out / "bundles").previous() == names[2], "what is gone is no way back"
