"""A model that is worse, or cannot be compared with the one that serves, does not serve."""

import datetime as dt
import shutil
from pathlib import Path

import pytest
from backfill_world import CONFIG, tree_bytes
from nightly_world import LATER, NIGHT, copy_of, request

from configs.errors import BundleError, GateError, InputError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import DAY_US, Days
from pipelines.nightly import nightly
from scoring.store import ChangeNote, Store
from training.report import NightlyReport
from transforms.catalog import CATALOG


def test_a_worse_model_does_not_serve(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    strict = CONFIG.replace("min_average_precision: 0.0", "min_average_precision: 1.0")
    refused(source, out, strict, "average precision", NIGHT)
    page = (out / "reports" / str(NIGHT) / "report.html").read_text()
    assert "refused" in page


def test_an_analyst_may_let_a_refused_model_serve_with_a_reason(night_house, tmp_path):
    """It is kept and marked; history and page show what the override overrides."""
    source, out = copy_of(night_house, tmp_path)
    report = refused(source, out, WORSE, "more than the 0.0000 allowed")
    store, name = Store(out / "bundles"), report.bundle_fingerprint
    (why,) = [rule.words for rule in report.gate.rules if not rule.passed]
    assert any(f"bundle promote {name}" in one.value for one in report.commands)
    (listed,) = [one for one in store.list() if one.refused]
    assert (listed.fingerprint, listed.refused, listed.serving) == (name, why, False)
    with pytest.raises(BundleError, match=f"the gate refused {name}.*--because"):
        store.promote(name)
    assert store.serving() == report.serving_fingerprint
    store.promote(name, ChangeNote("2026-03-10T09:00:00+00:00", "promoted by hand", "ana", "raid"))
    change = store.changes()[-1]
    assert (store.serving(), change.overrides) == (name, why)
    assert f"promoted by hand against the gate ({why}) by ana: raid" in str(change)
    after = nightly(request(source, out, CONFIG, LATER + dt.timedelta(days=1), promote=False))
    assert after.report.changes[-1].overrides == why
    assert "against the gate" in Path(after.page).read_text()


def test_a_refused_model_that_passes_later_is_refused_no_longer(night_house, tmp_path):
    """The night of the serving model again: nothing is new to both, so only a person can judge."""
    source, out = copy_of(night_house, tmp_path)
    other = CONFIG.replace("rounds: 20", "rounds: 7")
    name = refused(source, out, other, "nothing later", NIGHT).bundle_fingerprint
    kept = nightly(request(source, out, other, promote=False))
    assert kept.bundle == name
    assert Store(out / "bundles").refused() == {}


def refused(source, out, config, words, night=LATER, **changes):
    """A night that the gate refuses; what serves is the same, bit for bit."""
    before = tree_bytes(out / "bundles")
    with pytest.raises(GateError, match=words) as refusal:
        nightly(request(source, out, config, night, **changes))
    assert refusal.value.exit_code == 8
    report = NightlyReport.from_json((out / f"reports/{night}/report.json").read_bytes())
    assert report.outcome == "refused"
    name, after = report.bundle_fingerprint, tree_bytes(out / "bundles")
    assert {path: after[path] for path in before} == before
    assert {path.split("/")[0] for path in after.keys() - before.keys()} == {name, "refused.json"}
    assert Store(out / "bundles").refused().keys() == {name}
    return report


WORSE = CONFIG.replace("rounds: 20, early_stopping: 5", "rounds: 1").replace(
    "max_drop: 1.0", "max_drop: 0.0"
)


def test_a_worse_model_than_the_one_that_serves_does_not_take_over(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    report = refused(source, out, WORSE, "a drop of 0.[0-9]*, more than the 0.0000 allowed")
    assert report.serving.average_precision > report.metrics.average_precision
    assert report.serving.labelled == report.metrics.labelled
    assert report.beside is None


def test_on_a_long_gate_slice_both_are_judged_on_what_is_new_to_both(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    long = WORSE.replace("gate: 1d", "gate: 2d")
    report = refused(source, out, long, "a drop of 0.[0-9]*, more than the 0.0000 allowed")
    assert report.serving is None, "no figure of other events under the same heading"
    assert report.beside.where.end_us - report.beside.where.start_us == DAY_US
    assert report.beside.candidate.labelled == report.beside.serving.labelled
    assert report.beside.serving.labelled < report.metrics.labelled
    page = (out / f"reports/{LATER}/report.html").read_text()
    assert "The serving model was trained on some of these" in page


def test_the_same_night_with_another_config_is_not_let_past_the_serving_model(
    night_house, tmp_path
):
    source, out = copy_of(night_house, tmp_path)
    other = CONFIG.replace("rounds: 20", "rounds: 7")
    report = refused(source, out, other, "nothing later than what the serving bundle", NIGHT)
    assert "All on the same held-out events" in (out / f"reports/{NIGHT}/report.html").read_text()
    assert report.serving is None
    assert report.notes[0].startswith("This page replaces that of tiny (")
    assert night_house[2].bundle in report.notes[0]
    kept = nightly(request(source, out, other, promote=False))
    assert kept.report.outcome == "kept"
    assert not any("replaces" in one for one in (*kept.report.notes, *kept.warnings))
    again = nightly(request(source, out, CONFIG, promote=False))
    assert "This page replaces that of tiny" in again.warnings[0]


def test_too_few_positives_that_are_new_to_both_are_no_comparison(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    asking = CONFIG.replace("gate: 1d", "gate: 2d").replace("min_positives: 1", "min_positives: 25")
    report = refused(source, out, asking, "positives among the events later than")
    assert report.metrics.positives >= 25 > report.beside.serving.positives


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("posts: {op: count, of: post}\n      amounts", "amounts", "who_posts_1h', which is not"),
        (
            "amounts: {op: sum, of: post, column: amount, decimals: 2}",
            'amounts: {op: sum, of: post, column: amount, decimals: 2, where: "amount > 5"}',
            "who_amounts_1h', which is made in another way",
        ),
        (
            "normalize_text, of: text",
            "normalize_text, of: where",
            "clean', which is made in another",
        ),
    ],
)
def test_inputs_that_mean_something_else_are_no_comparison(night_house, tmp_path, old, new, words):
    """Under the same name: the serving model would be given numbers that it does not know."""
    source, old_out = copy_of(night_house, tmp_path)
    assert old in CONFIG
    changed = CONFIG.replace(old, new)
    out = tmp_path / "new"
    spec = loads(changed, "tiny.yaml", CATALOG)
    days = Days.parse("2026-03-01..2026-03-09")
    backfill(BackfillRequest(spec, source, out, days))
    shutil.copytree(old_out / "bundles", out / "bundles")
    report = refused(source, out, changed, words)
    assert report.serving_fingerprint == night_house[2].bundle
    assert not any("nothing serves yet" in rule.words for rule in report.gate.rules)
    with pytest.raises(InputError, match=words):
        evaluate_bundle(EvaluateRequest(out, "serving", Days.parse("2026-03-08")))


def test_an_input_more_is_no_reason_not_to_compare(night_house, tmp_path):
    source, old_out = copy_of(night_house, tmp_path)
    more = CONFIG.replace(
        "people:", "most: {op: max, of: post, column: amount, decimals: 1}\n      people:"
    )
    out = tmp_path / "new"
    shutil.copytree(old_out / "bundles", out / "bundles")
    made = nightly(request(source, out, more, LATER))
    assert made.report.serving.labelled == made.report.metrics.labelled
    found = evaluate_bundle(EvaluateRequest(out, night_house[2].bundle, Days.parse("2026-03-08")))
    assert found.metrics.labelled > 0


def test_the_same_night_again_makes_the_bundle_that_serves(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    again = nightly(request(source, out))
    assert again.report.gate.rules[-1].words == "it is the bundle that serves"
    assert Store(out / "bundles").serving() == night_house[2].bundle == again.bundle
