"""Reads what a backfill has published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa

from configs.errors import InputError
from pipelines.files import open_published
from pipelines.layout import FEATURES, VERDICTS, Layout
from pipelines.read_days import missing_column


def read_features(layout: Layout, days: Sequence[dt.date], columns: list[str]) -> pa.Table:
    """Columns of published days' scored events, in total order.

    Raises:
      InputError: a day is not there, or holds no such column.
    """
    tables = []
    for day in days:
        for part in layout.files(day, FEATURES):
            file = open_published(part)
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise missing_column(part, sorted(missing)[0])
            tables.append(file.read(columns))
    if not tables:
        raise InputError(f"{layout.root}: no days given; name at least one")
    return pa.concat_tables(tables)


def read_verdicts(layout: Layout, last: dt.date) -> pa.Table:
    """All verdicts that became known on the published days up to `last`, included."""
    tables = [
        open_published(part).read()
        for day in layout.published()
        if day <= last
        for part in layout.files(day, VERDICTS)
    ]
    if not tables:
        raise InputError(
            f"{layout.root} holds no day up to {last}; run `lockstep backfill` for earlier days"
        )
    # Days that were made before `labels.source` was set lack the column.
    return pa.concat_tables(
        [table.replace_schema_metadata(None) for table in tables], promote_options="default"
    )
