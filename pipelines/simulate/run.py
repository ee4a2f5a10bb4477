"""Writes the simulated stream, day by day, a block of time at a time.

Every block is drawn from (seed, day, block), so the same settings give the same bytes whatever is
generated before or beside it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import InputError
from pipelines.layout import day_us
from pipelines.progress import Progress, Quiet
from pipelines.simulate.texts import write_texts
from pipelines.simulate.world import CLIENTS, DAY_US, Role, World, make_world

BLOCK = 250_000
_MESSAGE_SHARE = 0.945  # the rest are reports and verdicts
# Messages by hour of the day, UTC: a night, a morning, an evening.
_HOURS = np.array(
    [5, 3, 2, 2, 2, 3, 4, 6, 7, 7, 7, 7, 8, 8, 7, 7, 8, 9, 11, 12, 12, 11, 9, 7], float
)

SCHEMA = pa.schema(
    {
        "event_id": pa.string(),
        "sent_at": pa.timestamp("us", "UTC"),
        "kind": pa.string(),
        "author_id": pa.string(),
        "target_id": pa.string(),
        "channel_id": pa.string(),
        "subject_id": pa.string(),
        "text": pa.string(),
        "client": pa.string(),
        "recipients": pa.int64(),
        "account_age": pa.float64(),
        "is_abuse": pa.bool_(),
        "source": pa.string(),
    }
)


@dataclasses.dataclass(frozen=True)
class SimulateSettings:
    """What is simulated.

    Attributes:
      events: about how many in all, of all kinds.
      days: how many, from `start`, UTC.
      accounts: None: one per 40 events, at least 200.
      format: "parquet" or "jsonl".
    """

    out: Path
    events: int = 200_000
    days: int = 10
    start: dt.date = dt.date(2026, 3, 1)
    seed: int = 7
    accounts: int | None = None
    format: str = "parquet"


def simulate(settings: SimulateSettings, progress: Progress | None = None) -> dict[str, int]:
    """Writes the stream to ``out/date=D/part-NNNN.parquet``, all of it or nothing.

    Returns:
      Events by kind.

    Raises:
      InputError: the folder is there and not empty, or the settings make no stream.
    """
    _check(settings)
    out = settings.out
    aside = out.with_name(f".{out.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    counts = {"message": 0, "report": 0, "verdict": 0}
    accounts = settings.accounts or max(200, settings.events // 40)
    start_us = day_us(settings.start)
    world = make_world(accounts, settings.days, start_us, settings.seed)
    pending: list[pa.Table] = []
    try:
        with (progress or Quiet()).step("simulate", settings.events, "events") as step:
            for day in range(settings.days):
                folder = aside / f"date={settings.start + dt.timedelta(days=day)}"
                folder.mkdir(parents=True)
                blocks = _blocks(settings, day)
                for number, (count, low, high) in enumerate(blocks):
                    rng = np.random.Generator(
                        np.random.Philox(key=[settings.seed, (day << 20) + number])
                    )
                    messages, later = _block(world, rng, settings, day, number, count, (low, high))
                    pending.append(later)
                    due = pa.concat_tables(pending)
                    end = start_us + day * DAY_US + high
                    known = pc.less(due.column("sent_at").cast(pa.int64()), end)
                    pending = [due.filter(pc.invert(known))]
                    table = pa.concat_tables([messages, due.filter(known)])
                    table = table.sort_by([("sent_at", "ascending"), ("event_id", "ascending")])
                    _write(table, folder / f"part-{number:04d}", settings.format)
                    for kind in counts:
                        counts[kind] += pc.sum(pc.equal(table.column("kind"), kind)).as_py() or 0
                    step.advance(table.num_rows)
        if out.exists():
            out.rmdir()
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return counts


def _check(settings: SimulateSettings) -> None:
    if settings.out.exists() and any(settings.out.iterdir()):
        raise InputError(f"{settings.out} is not empty; give another --out, or remove it first")
    if settings.events < 1 or settings.days < 1:
        raise InputError(
            f"{settings.events} events on {settings.days} days; give at least one each"
        )
    if settings.format not in ("parquet", "jsonl"):
        raise InputError(f"--format {settings.format}: expected parquet or jsonl")
    settings.out.parent.mkdir(parents=True, exist_ok=True)


def _blocks(settings: SimulateSettings, day: int) -> list[tuple[int, int, int]]:
    """The day's blocks: messages, and the microseconds of the day that they fill."""
    weekday = (settings.start + dt.timedelta(days=day)).weekday()
    total = round(
        settings.events / settings.days * _MESSAGE_SHARE * (1.15 if weekday > 4 else 0.94)
    )
    blocks = max(1, -(-total // BLOCK))
    edges = np.round(np.linspace(0, DAY_US, blocks + 1)).astype(np.int64)
    shares = np.diff(_cumulative(edges / DAY_US))
    return [
        (round(total * share), int(low), int(high))
        for share, low, high in zip(shares, edges[:-1], edges[1:], strict=True)
    ]


def _cumulative(part: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    steps = np.concatenate([[0], np.cumsum(_HOURS)]) / _HOURS.sum()
    made: npt.NDArray[np.float64] = np.interp(part, np.arange(25) / 24, steps)
    return made


def _block(
    world: World,
    rng: np.random.Generator,
    settings: SimulateSettings,
    day: int,
    number: int,
    count: int,
    within: tuple[int, int],
) -> tuple[pa.Table, pa.Table]:
    """Messages of a stretch of time, and the reports and verdicts that they will lead to."""
    low, high = _cumulative(np.array(within) / DAY_US)
    steps = np.concatenate([[0], np.cumsum(_HOURS)]) / _HOURS.sum()
    part = np.interp(low + (high - low) * np.sort(rng.random(count)), steps, np.arange(25) / 24)
    offset = np.clip((part * DAY_US).astype(np.int64), within[0], within[1] - 1)
    time = day_us(settings.start) + day * DAY_US + offset
    author = np.searchsorted(world.activity, rng.random(count))
    author = np.minimum(author, len(world.role) - 1)
    role = world.role[author].copy()
    role[(role == Role.TAKEN_OVER) & (world.turned_day[author] > day)] = Role.HONEST
    calm = rng.random(count)
    role[(role == Role.SCAM) & (calm < 0.6)] = Role.HONEST
    role[(role == Role.HARASS) & (calm < 0.7)] = Role.HONEST
    role[(role == Role.CAMPAIGN) & (calm < 0.15)] = Role.HONEST
    roams = rng.random(count) < 0.5
    popular = np.searchsorted(world.channel_popularity, rng.random(count))
    channel = np.where(roams, np.minimum(popular, len(world.members) - 1), world.home[author])
    channel[role == Role.FLOOD] = world.home[author][role == Role.FLOOD]
    ids = _ids("m", day, number, np.arange(count))
    abuse = role != Role.HONEST
    messages = pa.table(
        {
            "event_id": ids,
            "sent_at": pa.array(time, pa.timestamp("us", "UTC")),
            "kind": pa.repeat(pa.scalar("message"), count),
            "author_id": _names("u", author),
            "target_id": pa.nulls(count, pa.string()),
            "channel_id": _names("c", channel),
            "subject_id": pa.nulls(count, pa.string()),
            "text": write_texts(rng, role, world.campaign[author], day),
            "client": pa.array(CLIENTS).take(pa.array(world.client[author])),
            "recipients": pa.array(world.members[channel]),
            "account_age": pa.array(np.maximum(time - world.created_us[author], 0) / 1e6),
            "is_abuse": pa.nulls(count, pa.bool_()),
            "source": pa.nulls(count, pa.string()),
        },
        schema=SCHEMA,
    )
    later = _reactions(world, rng, (day, number), ids, time, author, abuse)
    return messages, later


def _reactions(
    world: World,
    rng: np.random.Generator,
    block: tuple[int, int],
    ids: pa.Array,
    time: npt.NDArray[np.int64],
    author: npt.NDArray[np.int64],
    abuse: npt.NDArray[np.bool_],
) -> pa.Table:
    """Reports after minutes, verdicts after hours, appeals after days; some of each are wrong."""
    count = len(time)
    reported = rng.random(count) < np.where(abuse, 0.30, 0.002)
    judged = rng.random(count) < np.where(abuse, 0.75, 0.008)
    wrong = rng.random(count) < np.where(abuse, 0.02, 0.03)
    said = abuse ^ wrong
    known = time + (np.minimum(rng.lognormal(1.6, 1.2, count), 70) * 3600e6).astype(np.int64)
    appealed = judged & said & (rng.random(count) < np.where(abuse, 0.02, 0.6))
    heard = known + (np.minimum(rng.lognormal(2.5, 0.8, count), 90) * 3600e6).astype(np.int64)
    minutes = (np.minimum(rng.lognormal(1.5, 1.5, count), 2000) * 60e6).astype(np.int64)
    reporter = rng.integers(0, len(world.role), count)
    parts = []
    for prefix, kind, where, when, verdict, source in (
        ("r", "report", reported, time + minutes, None, None),
        ("v", "verdict", judged, known, said, "moderator"),
        ("a", "verdict", appealed, heard, abuse, "appeal"),
    ):
        rows = np.flatnonzero(where)
        none = pa.nulls(len(rows), pa.string())
        parts.append(
            pa.table(
                {
                    "event_id": _ids(prefix, *block, rows),
                    "sent_at": pa.array(when[rows], pa.timestamp("us", "UTC")),
                    "kind": pa.repeat(pa.scalar(kind), len(rows)),
                    "author_id": _names("u", reporter[rows]) if kind == "report" else none,
                    "target_id": _names("u", author[rows]),
                    "channel_id": none,
                    "subject_id": ids.take(pa.array(rows)),
                    "text": none,
                    "client": none,
                    "recipients": pa.nulls(len(rows), pa.int64()),
                    "account_age": pa.nulls(len(rows), pa.float64()),
                    "is_abuse": pa.nulls(len(rows), pa.bool_())
                    if verdict is None
                    else pa.array(verdict[rows]),
                    "source": none if source is None else pa.repeat(pa.scalar(source), len(rows)),
                },
                schema=SCHEMA,
            )
        )
    return pa.concat_tables(parts)


def _ids(prefix: str, day: int, number: int, rows: npt.NDArray[np.int64]) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(rows).cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise(
        pa.scalar(f"{prefix}{day:03d}{number:03d}"), digits, pa.scalar("")
    )


def _names(prefix: str, index: npt.NDArray[np.int64]) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(index).cast(pa.string()), 8, "0")
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, pa.scalar(""))


def _write(table: pa.Table, path: Path, format_: str) -> None:
    if format_ == "parquet":
        pq.write_table(table, f"{path}.parquet", compression="zstd", compression_level=1)
        return
    import msgspec

    times = pc.strftime(table.column("sent_at"), "%Y-%m-%dT%H:%M:%SZ")
    rows = table.set_column(1, "sent_at", times).to_pylist()
    with open(f"{path}.jsonl", "wb") as file:
        for row in rows:
            file.write(msgspec.json.encode({k: v for k, v in row.items() if v is not None}) + b"\n")
