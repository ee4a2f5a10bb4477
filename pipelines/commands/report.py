"""`lockstep report`: the page of a night or of several, from what nightly runs have left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[str, typer.Argument(help="Output folder of nightly.")],
    as_of: Annotated[
        str | None, typer.Option(help="The night, 2026-03-11; default: the newest.")
    ] = None,
    nights: Annotated[
        str | None, typer.Option(help="2026-03-01..2026-03-11: the last one, beside all others.")
    ] = None,
    html: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("report.html"),
    as_json: Annotated[bool, typer.Option("--json", help="The facts as JSON, too.")] = False,
) -> None:
    """Write the page of a night, or of a range of nights, as one file without network."""
    from configs.errors import InputError
    from pipelines.layout import Days, parse_day
    from pipelines.report import night_of, report_nights, write_page

    if as_of is not None and nights is not None:
        raise typer.BadParameter("expected --as-of or --nights, not both")
    if nights is not None:
        days = Days.parse(nights)
        made = report_nights(out, days.first, days.last)
    else:
        made = report_nights(out, last=parse_day(as_of) if as_of else None)
        if as_of is not None and night_of(made) != parse_day(as_of):
            raise InputError(
                f"{out} has no report as of {as_of}; the newest before it is of {night_of(made)}"
            )
    write_page(made, html, out)
    if as_json:
        print(made.to_json().decode(), end="")
        return
    print(f"{made.name} as of {night_of(made)}: {made.outcome}. {made.summary}")
    for note in made.notes:
        print(f"  {note}")
    print(f"  page    {html}")
