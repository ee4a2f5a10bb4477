"""The page of a night, or of several, made anew from the reports that nightly runs have left.

A run's page is of what was known then. This one is of the same facts, with the runs and days of
the nights that are asked for; nothing is measured anew, and the output folder stays as it is.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from configs.errors import InputError
from pipelines.failures import explain_os_error
from pipelines.layout import Layout, day_of, day_us, require_folder
from pipelines.nightly.evidence import MOST_PAST, past_reports
from scoring.files import Place, replace_file
from training.report import NightlyReport, render
from training.report.changes import changes_between
from training.report.early import merge_days


def report_nights(
    out: Place, first: dt.date | None = None, last: dt.date | None = None
) -> NightlyReport:
    """The report of the last night of a range, beside the runs of the others.

    What changed is since the first night of the range that measured a model; without a range,
    since the night before.

    Args:
      out: the output folder.
      first: earliest night that is shown; None: as many as a nightly's page shows.
      last: latest night, which is shown whole; None: the newest there is.

    Raises:
      InputError: there is no such folder, or no report of these nights.
    """
    require_folder(out)
    layout = Layout(out)
    end = day_us((last or dt.date.max - dt.timedelta(1)) + dt.timedelta(1))
    found = past_reports(layout, end, first)
    if not found:
        asked = f" of {first or last}" + (f" to {last}" if first and last != first else "")
        raise InputError(
            f"{layout.reports} has no report{asked if first or last else ''} that this release "
            "reads; run `lockstep nightly`, or ask for another night"
        )
    before, night = found[:-1], found[-1]
    shown = before if first is not None else before[-MOST_PAST:]
    whole = dataclasses.replace(
        night,
        past=tuple(one.as_past_run() for one in shown),
        days=merge_days(one.early for one in [*shown, night]),
    )
    measured = [one for one in before if one.metrics is not None]
    if first is None or not measured:
        return whole
    return dataclasses.replace(
        whole,
        changed=changes_between(measured[0], night),
        changed_since=measured[0].as_of_us,
    )


def write_page(report: NightlyReport, path: Path, out: Place) -> None:
    """Writes the page, so that it is seen whole or not at all.

    Raises:
      InputError: it cannot be written, or would lie in the output folder, which nightly runs own.
    """
    if path.resolve().is_relative_to(Path(out).resolve()):
        raise InputError(
            f"--html {path} lies in {out}, where only runs that hold its lock write; give a file "
            "elsewhere"
        )
    try:
        replace_file(path, render(report).encode())
    except OSError as error:
        raise explain_os_error(error) from error


def night_of(report: NightlyReport) -> dt.date:
    """The day that a report is as of."""
    return day_of(report.as_of_us)
