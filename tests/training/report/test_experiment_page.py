"""The page of an experiment: what it says, and that a browser shows all of it."""

import dataclasses

import pytest
from browser import measure, needs_browser

from training.experiment import (
    ActedOn,
    ContenderResult,
    ExperimentResult,
    JudgedStretch,
    TrainedNight,
)
from training.paired import Difference
from training.report.experiment import render_experiment

DAY_US = 86_400_000_000
METRICS = ("average_precision", "auc")


def contender(name, value, differences=(), changes=()):
    figures = dict.fromkeys(METRICS, value)
    return ContenderResult(
        name=name,
        about="with <angle> brackets",
        changes=changes,
        features=f"those of {name}",
        nights=tuple(
            TrainedNight(f"2026-03-{day:02d}", f"{day:016x}", figures, ("AUC 0.4 < 0.5",))
            for day in (8, 9)
        ),
        figures=figures,
        differences=differences,
        acted=ActedOn(40, 30, 12, 0.75, 0.6, 0.87, 30 / 42, 0.5, 0.85),
    )


def differences(low, high):
    return tuple(Difference(name, 0.7, 0.7 + (low + high) / 2, low, high) for name in METRICS)


RESULT = ExperimentResult(
    name="links",
    about="Do links tell anything?",
    config="chat",
    over="campaigns",
    units=321,
    labels_as_of="2026-03-14",
    metrics=METRICS,
    confidence=0.95,
    draws=1000,
    tests=tuple(
        JudgedStretch(f"2026-03-{day:02d}", day * DAY_US, (day + 1) * DAY_US, 5000, 120, 4880)
        for day in (8, 9)
    ),
    champion=contender("champion", 0.7),
    challengers=(
        contender("better_one", 0.75, differences(0.02, 0.08), ("training.span: 14d",)),
        contender("a-name-that-is-quite-long-for-a-plot", 0.6, differences(-0.2, -0.01)),
        contender("even", 0.7, differences(-0.01, 0.01), ("inputs.text: left out",)),
        ContenderResult("gone", "", (), "", error="EvidenceError", message="no <label> at all"),
    ),
    notes=("Look at this first.",),
)


def test_the_page_says_what_was_found_and_escapes_what_it_was_given():
    page = render_experiment(RESULT)
    assert (
        "better_one is better;" in page and "even shows no difference;" in page and ">AUC<" in page
    )
    assert "gone failed" in page and "no &lt;label&gt; at all" in page
    assert "with &lt;angle&gt; brackets" in page
    assert "+0.020 to +0.080" in page and "training.span: 14d" in page
    assert "321" in page and "whole campaigns" in page and "Look at this first." in page
    assert "http" not in page and "<script" not in page
    assert page == render_experiment(ExperimentResult.from_json(RESULT.to_json()))


def test_too_little_evidence_concludes_nothing():
    thin = dataclasses.replace(RESULT, thin="3 with abuse and 9 with other events")
    page = render_experiment(thin)
    assert "too little evidence" in page and "better_one is better" not in page
    assert thin.summary.startswith("Too little evidence to conclude from: ")
    assert thin.summary.endswith(f" {thin.over}, 3 with abuse and 9 with other events.")


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out(tmp_path, width):
    told = measure(render_experiment(RESULT), width, tmp_path)
    assert told["cards"] == 6
    assert told["vanished"] == [] and told["unnamed"] == []
    assert told["scroll"] <= told["edge"] <= width
    assert told["out"] == [] and told["cut"] == [] and told["console"] == []
    assert len(told["drawn"]) == 2 and all(height > 150 for height in told["drawn"])
