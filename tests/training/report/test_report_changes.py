"""What changed between two reports: only what differs, and nothing of what is not known."""

import dataclasses

from training.report import NightlyReport, RunChange, Setup
from training.report.changes import changes_between

SETUP = Setup({"labels.maturity": "3d", "old": "1"}, {"a": "1", "b": "2"}, {"xgboost": "3.2.0"})
EMPTY = NightlyReport("chat", "", 0, "failed", "no events", spec_fingerprint="11")


def otherwise(before, now):
    return changes_between(
        dataclasses.replace(EMPTY, setup=before), dataclasses.replace(EMPTY, setup=now)
    )


def test_equal_setups_have_no_changes():
    assert otherwise(SETUP, SETUP) == ()


def test_settings_inputs_and_software_that_differ_are_named():
    now = Setup({"labels.maturity": "2d", "new": "x"}, {"b": "3", "c": "4"}, {"xgboost": "3.3.0"})
    assert otherwise(SETUP, now) == (
        RunChange("setting", "labels.maturity", "3d", "2d"),
        RunChange("setting", "old", "1", ""),
        RunChange("setting", "new", "", "x"),
        RunChange("input", "a", "read", ""),
        RunChange("input", "b", "one meaning", "another"),
        RunChange("input", "c", "", "read"),
        RunChange("software", "xgboost", "3.2.0", "3.3.0"),
    )


def test_of_a_report_without_a_setup_the_fingerprint_alone_is_compared():
    assert otherwise(None, SETUP) == ()
    other = dataclasses.replace(EMPTY, spec_fingerprint="22", setup=SETUP)
    assert changes_between(EMPTY, other) == (RunChange("setting", "(all)", "11", "22"),)


def test_thresholds_and_figures_are_there_even_where_they_are_the_same(sample_report):
    other = dataclasses.replace(
        sample_report,
        bundle_fingerprint="another",
        thresholds=sample_report.thresholds[:1],
        metrics=dataclasses.replace(sample_report.metrics, auc=None),
    )
    found = {
        (one.of, one.name): (one.before, one.now) for one in changes_between(sample_report, other)
    }
    assert found["model", "new model"] == (sample_report.bundle_fingerprint, "another")
    assert ("model", "serving model") not in found
    assert found["threshold", "block"] == ("off", "off")
    assert found["threshold", "shadow_hide"] == ("off", "") != found["threshold", "review"]
    assert found["figure", "AUC"] == (f"{sample_report.metrics.auc:.3f}", "")
    assert found["figure", "recall at review"][0] == found["figure", "recall at review"][1]
    failed = dataclasses.replace(other, metrics=None)
    assert changes_between(sample_report, failed) == ()
