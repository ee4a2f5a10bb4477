"""Writes the simulated stream, a stretch of a day at a time.

Each stretch ("unit") is drawn from (seed, unit) alone, and the abuse of the whole stream from the
seed; what begins in one unit and ends later is carried over. How many files a day has changes
nothing but the places where it is cut.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np

from configs.errors import InputError
from pipelines.layout import day_us
from pipelines.progress import Progress, Quiet, Step
from pipelines.simulate.aside import aside
from pipelines.simulate.attacks import SHARES, Stretch, plan_attacks
from pipelines.simulate.chatter import chat
from pipelines.simulate.reactions import react
from pipelines.simulate.rows import Kind, Rows, concat, make_ids, make_rows
from pipelines.simulate.table import Part, to_table
from pipelines.simulate.texts import write_texts
from pipelines.simulate.world import DAY_US, World, make_rng, make_world

_UNIT_EVENTS = 50_000
_FILE_EVENTS = 250_000
_MESSAGE_SHARE = 0.955  # the rest are reports and verdicts
_ABUSE = sum(SHARES.values())
_ATTACKS, _WORDS = 2**62, 2**61  # streams of randomness beside those of the units


@dataclasses.dataclass(frozen=True)
class SimulateSettings:
    """What is simulated.

    Attributes:
      out: the folder to make.
      events: about how many in all, of all kinds.
      days: how many, from `start`, UTC.
      seed: same seed, same bytes; 0 to 2**63 - 1.
      accounts: None: one per 40 events, at least 200.
      format: "parquet" or "jsonl".
      files_per_day: None: as many as keep a file at about 250,000 events.
    """

    out: Path
    events: int = 200_000
    days: int = 10
    start: dt.date = dt.date(2026, 3, 1)
    seed: int = 7
    accounts: int | None = None
    format: str = "parquet"
    files_per_day: int | None = None


def simulate(settings: SimulateSettings, progress: Progress | None = None) -> dict[str, int]:
    """Writes the stream to ``out/date=D/part-NNNN.parquet``, all of it or nothing.

    Returns:
      Events by kind.

    Raises:
      InputError: the folder is there and not empty, cannot be written, or the settings make no
        stream.
      BusyError: another run writes there.
    """
    _check(settings)
    counts = {kind.name.lower(): 0 for kind in Kind}
    shown = (progress or Quiet()).step("simulate", settings.events, "events")
    with aside(settings.out) as folder, shown as step:
        _write(settings, folder, counts, step)
    return counts


def require_stream(format_: str, seed: int, start: dt.date, days: int) -> None:
    """Does nothing if such days can be written.

    Raises:
      InputError: one of these is beyond what it may be.
    """
    if format_ not in ("parquet", "jsonl"):
        raise InputError(f"--format {format_}: expected parquet or jsonl")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed {seed}: expected 0 to 2**63 - 1")
    if not 1 <= days <= 10_000:
        raise InputError(f"{days} days: expected 1 to 10000")
    if dt.date.max - start < dt.timedelta(days=days):
        raise InputError(f"{days} days from {start} end after the year 9999; start earlier")


def _check(settings: SimulateSettings) -> None:
    require_stream(settings.format, settings.seed, settings.start, settings.days)
    for name, value, most in (
        ("events", settings.events, 2**40),
        ("accounts", settings.accounts, 10**8),
        ("files per day", settings.files_per_day, 1440),
    ):
        if value is not None and not 1 <= value <= most:
            raise InputError(f"{value} {name}: expected 1 to {most}")


def _write(settings: SimulateSettings, folder: Path, counts: dict[str, int], step: Step) -> None:
    start_us = day_us(settings.start)
    accounts = settings.accounts or max(200, settings.events // 40)
    world = make_world(accounts, settings.days, start_us, settings.seed)
    attacks, created = plan_attacks(
        world,
        make_rng(settings.seed, _ATTACKS),
        Stretch(start_us, settings.days * DAY_US),
        round(settings.events * _MESSAGE_SHARE),
    )
    world = dataclasses.replace(world, created_us=created)
    per_day = settings.events // settings.days
    units = max(1, -(-per_day // _UNIT_EVENTS))
    files = settings.files_per_day or max(1, -(-per_day // _FILE_EVENTS))
    cuts = [DAY_US * i // files for i in range(1, files + 1)]
    waiting = make_rows(np.zeros(0, np.int64))
    for day in range(settings.days):
        date = settings.start + dt.timedelta(days=day)
        parts = folder / f"date={date}"
        parts.mkdir()
        midnight = start_us + day * DAY_US
        with contextlib.ExitStack() as open_part:
            number, part = 0, open_part.enter_context(Part(parts / "part-0000", settings.format))
            for unit in range(units):
                low, high = DAY_US * unit // units, DAY_US * (unit + 1) // units
                drawn = day * units + unit
                within = np.searchsorted(attacks.time, [midnight + low, midnight + high])
                honest = chat(
                    world,
                    make_rng(settings.seed, drawn),
                    midnight,
                    (low / DAY_US, high / DAY_US),
                    _honest_messages(settings, date),
                )
                rows = concat([waiting, honest, attacks.take(np.arange(*within))])
                rows, waiting = _react(world, settings.seed, drawn, rows, midnight + high)
                texts = write_texts(
                    world,
                    make_rng(settings.seed, _WORDS + drawn),
                    rows.take(rows.kind == Kind.MESSAGE),
                )
                table = to_table(rows, texts, world)
                for kind in Kind:
                    counts[kind.name.lower()] += int((rows.kind == kind).sum())
                done = 0
                while cuts[number] < high:
                    cut = int(np.searchsorted(rows.time, midnight + cuts[number]))
                    part.write(table.slice(done, cut - done))
                    open_part.close()
                    done, number = cut, number + 1
                    part = open_part.enter_context(
                        Part(parts / f"part-{number:04d}", settings.format)
                    )
                part.write(table.slice(done))
                step.advance(len(rows))


def _honest_messages(settings: SimulateSettings, date: dt.date) -> int:
    """Of a day: more at the weekend."""
    weekly = 1.15 if date.weekday() > 4 else 0.94
    return round(settings.events / settings.days * _MESSAGE_SHARE * (1 - _ABUSE) * weekly)


def _react(world: World, seed: int, unit: int, rows: Rows, end_us: int) -> tuple[Rows, Rows]:
    """The unit's rows in total order, with what they led to; and what comes later.

    Messages get their ids here, when they are written.
    """
    now, later = rows.split(end_us)
    now = now.take(np.argsort(now.time, kind="stable"))
    new = np.flatnonzero(now.kind == Kind.MESSAGE)
    ids = now.id.copy()
    ids[new] = make_ids(seed, Kind.MESSAGE, unit, len(new))
    now = dataclasses.replace(now, id=ids)
    led_to = react(world, make_rng(seed, 2**60 + unit), now.take(new), seed, unit)
    soon, late = led_to.split(end_us)
    every = concat([now, soon])
    return every.take(np.lexsort((every.id, every.time))), concat([later, late])
