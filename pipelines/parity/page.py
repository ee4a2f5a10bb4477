"""Parity's findings as one HTML page that needs no network.

What enters: the reports of the modes that were asked, and where the log is. What leaves: the
page's text, in the style of the nightly page: style and plots inline, no script, no address.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import markupsafe

from pipelines.parity.plots import differences_svg
from scoring.parity.compare import (
    CAMPAIGN,
    CAUSES,
    COPY,
    DUPLICATE,
    HAND_OFF,
    LATE,
    MISSING,
    SNAPSHOT,
    UNEXPLAINED,
    VERSION,
    ParityReport,
)
from training.report.page import environment, packaged

_MEANINGS = {
    LATE: "came after the disorder bound, or after such an event of the same key",
    DUPLICATE: "an id was folded twice, here or earlier for the same key",
    COPY: "the other record of the id is the event, here or earlier for the same key",
    MISSING: "an event of the same key never arrived, or was not folded",
    SNAPSHOT: "a newer snapshot of the social graph was published after the event was decided",
    VERSION: "decided by another bundle, or by another graph or model than the bundle's",
    HAND_OFF: "the key's history at the scorer's start was not what it should have been",
    CAMPAIGN: "names another campaign than the snapshot that the log names has for the event",
    UNEXPLAINED: "none of these: a fault of the software",
}
_ABOUT = {
    "as served": "The log was folded again in the order in which the scorer folded it, in large "
    "batches, through derive, fold, graph and model of this installation. Not one bit may differ.",
    "ideal": "The same events went through the backfill, in total order, with the bundle that "
    "serves now. What arrived late, twice or never may differ; anything else may not.",
}
_FEATURES = 6


@dataclasses.dataclass(frozen=True)
class Cause:
    """A row of the table of causes."""

    name: str
    meaning: str
    events: int
    share: float
    effect: float | None
    allowed: bool
    features: tuple[tuple[str, int], ...]
    more: int


@dataclasses.dataclass(frozen=True)
class PageSection:
    """One mode on the page."""

    report: ParityReport
    about: str
    causes: tuple[Cause, ...]
    plot: markupsafe.Markup


def render(reports: Sequence[ParityReport], log: str) -> str:
    """The page. Equal reports give equal pages.

    Args:
      reports: one per mode.
      log: the scorer's folder, in words.

    >>> page = render([ParityReport("as served", 3, {}, {}, {}, {"b": 3})], "<state>")
    >>> "&lt;state&gt;" in page, "http" in page, "Clean" in page
    (True, False, True)
    """
    return (
        environment("pipelines.parity")
        .get_template("page.html.jinja")
        .render(
            parts=[_part(one) for one in reports],
            clean=all(one.clean for one in reports),
            log=log,
            css=markupsafe.Markup(packaged("training.report", "page.css")),
        )
    )


def _part(report: ParityReport) -> PageSection:
    causes = tuple(_cause(report, name) for name in CAUSES if name in report.by_cause)
    plot = markupsafe.Markup(differences_svg(report) if report.differing else "")
    return PageSection(report, _ABOUT[report.mode], causes, plot)


def _cause(report: ParityReport, name: str) -> Cause:
    features = tuple(report.features_of.get(name, {}).items())
    return Cause(
        name,
        _MEANINGS[name],
        report.by_cause[name],
        report.share(name),
        report.largest_effect.get(name),
        report.mode == "ideal" and name != UNEXPLAINED,
        features[:_FEATURES],
        max(0, len(features) - _FEATURES),
    )
