"""Parity as a rule of the promotion gate: the scorer's newest log must be clean.

What enters: how much of the log is asked for, the scorer's folder, the store, and the archive that
the nightly trains from. What leaves: the rule with its answer, for the nightly's page, and the
findings as a page and as JSON. It looks at the log anew each time: a verdict that lies in
a file may be of another run, or of another installation than the one that is about to promote.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from configs.errors import InputError
from configs.units import format_duration
from pipelines.layout import Layout, day_us, parse_day
from pipelines.parity.log import TimeSpan, newest_decision
from pipelines.parity.offline_check import check_ideal
from pipelines.parity.page import render
from pipelines.parity.replay_check import check_served
from scoring.files import files_below, join, read_file, replace_file
from scoring.store import Store
from training.gate import GateRule
from training.report.facts import ParityFinding

NAME = "parity"
_FACTS = "parity.json"


def check_parity(
    newest_us: int, state: Path | None, bundles: str, archive: str | None, report: str
) -> GateRule:
    """Checks the newest stretch of a scorer's log in both modes.

    Where no bundle serves yet there can be no log, and the rule is passed.

    Args:
      newest_us: how much of it, in event time.
      state: the scorer's folder; it may be running. None: it is not known.
      bundles: the store.
      archive: of all events, so that missing ones are told from faults; None: there is none.
      report: folder for parity.html and parity.json.

    Raises:
      BundleError: a bundle that the log names is gone or damaged.
      StateError: the log lacks a step.
    """
    if Store(bundles).serving() is None:
        return GateRule(NAME, True, "nothing serves yet, so there is no log to look at.")
    if state is None:
        return GateRule(
            NAME, False, "the scorer's log is not known: give --scorer its --state folder."
        )
    newest = newest_decision(state)
    if newest is None:
        return GateRule(NAME, False, f"{state} holds no decision of a scorer: nothing shows it.")
    span = TimeSpan(newest + 1 - newest_us, None)
    try:
        found = (
            check_served(state, bundles, span),
            check_ideal(state, bundles, archive, span),
        )
    except InputError as error:
        return GateRule(NAME, False, f"parity cannot be shown: {error}.")
    replace_file(join(report, "parity.html"), render(found, str(state)).encode())
    text = json.dumps([one.to_builtins() for one in found], indent=1, sort_keys=True)
    replace_file(join(report, _FACTS), (text + "\n").encode())
    passed = all(one.clean for one in found)
    words = " ".join(one.words() for one in found)
    return GateRule(
        NAME, passed, f"the newest {format_duration(newest_us)} of the scorer's log, {words}"
    )


def last_parity(layout: Layout, as_of: dt.date) -> tuple[ParityFinding, ...]:
    """The findings of the newest check that a nightly run has left, up to a night; none: ()."""
    nights = [path.partition("/") for path in files_below(layout.reports)]
    checked = sorted(night for night, _, name in nights if name == _FACTS)
    for night in reversed([one for one in checked if parse_day(one) <= as_of]):
        try:
            found = json.loads(read_file(join(layout.reports, night, _FACTS)))
            return tuple(
                ParityFinding(
                    day_us(parse_day(night)),
                    one["mode"],
                    one["events"],
                    one["differing"],
                    one["clean"],
                    one["by_cause"],
                )
                for one in found
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of another release, or being removed
    return ()
