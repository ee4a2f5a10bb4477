"""The leak ladder: what a model would score if verdicts became known earlier than they do.

Each rung moves every verdict to a share of its real delay (1: as it is; 0: at once), makes features
anew, trains on the same events with the same final labels, and tests on the same later events. Only
inputs that are made of verdicts can move. Such a model gets better the earlier verdicts come; the
first rung is the path that serves, and must be the lowest. What the ladder cannot move is looked at
one by one: an input that by itself ranks abuse nearly without an error has most likely been filled
in after the fact (today's block list, reports until now), whatever its name.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import ConfigError, EvidenceError, InputError
from configs.schema import Spec
from pipelines.layout import Days
from pipelines.progress import Progress, Quiet
from pipelines.protocol.fit import score_fold
from pipelines.protocol.read import ScoredRows, read_rows, with_features
from pipelines.sources import open_source
from training.curve import area_under_roc, make_curve
from training.evaluate import Metrics, evaluate
from training.known_labels import last_until
from training.labels import UNLABELLED
from training.leakcheck import InputLeak, name_leaks
from training.protocol import Fold
from transforms.inputs import numeric_names

SHARES = (1.0, 0.5, 0.0)


@dataclasses.dataclass(frozen=True)
class LeakcheckRequest:
    """What is asked.

    Attributes:
      source: events; where verdicts are events of their own, Parquet files.
      train, test: days of the scored events.
      shares: of the real delay, a rung each; 1 is among them.
    """

    spec: Spec
    source: str
    train: Days
    test: Days
    shares: tuple[float, ...] = SHARES
    workers: int = 1
    threads: int = 2


@dataclasses.dataclass(frozen=True)
class LeakReport:
    """The ladder: (share of the delay, metrics), the longest first; the leaks, in words; inputs."""

    rungs: tuple[tuple[float, Metrics], ...]
    leaks: tuple[str, ...]
    inputs: tuple[InputLeak, ...]


def leakcheck(request: LeakcheckRequest, progress: Progress | None = None) -> LeakReport:
    """Climbs the ladder.

    Raises:
      ConfigError: the config has no labels, or its verdicts cannot be moved.
      InputError: the source cannot be read, or verdicts of their own are in no Parquet file.
      EvidenceError: the days that train or test have not both classes.
    """
    found, spec = progress or Quiet(), request.spec
    read = read_rows(request.source, spec)
    fold = _fold(request, read)
    names = numeric_names(spec)
    rungs: list[tuple[float, Metrics]] = []
    blocks: list[npt.NDArray[np.float32]] = []
    for share in sorted({1.0, *request.shares}, reverse=True):
        found.say(f"verdicts after {share:.0%} of their delay …")
        with tempfile.TemporaryDirectory(prefix="lockstep-leakcheck-") as scratch:
            moved, source = _moved(spec, request.source, share, Path(scratch))
            out = Path(scratch) / "out"
            made = with_features(source, moved, read, out, request.workers, found)
        fold = _fold(request, made)
        raw = score_fold(spec, "all", made, fold, request.threads)
        rungs.append((share, _metrics(made, fold, raw)))
        blocks.append(made.numeric[fold.test])
        labels = made.rows.labels[fold.test]
    inputs = [
        InputLeak(
            name,
            float(np.mean(_differ(blocks[0][:, at], blocks[-1][:, at]))),
            (_alone(blocks[0][:, at], labels), _alone(blocks[-1][:, at], labels)),
            any(k in spec.labels.kinds for k in _kinds(spec, name)) if spec.labels else False,
        )
        for at, name in enumerate(names)
    ]
    return LeakReport(tuple(rungs), name_leaks(inputs), tuple(inputs))


def _fold(request: LeakcheckRequest, read: ScoredRows) -> Fold:
    known = read.rows.labels != UNLABELLED
    masks = []
    for name, days in (("train", request.train), ("test", request.test)):
        mask = (read.times >= days.start_us) & (read.times < days.end_us) & known
        if len(np.unique(read.rows.labels[mask])) < 2:
            raise EvidenceError(
                f"--{name} {days} has {int(mask.sum()):,} labelled events, not of both classes; "
                "name days with abuse and without"
            )
        masks.append(mask)
    return Fold(masks[0], masks[1])


def _metrics(read: ScoredRows, fold: Fold, raw: npt.NDArray[np.float64]) -> Metrics:
    return evaluate(
        1.0 / (1.0 + np.exp(-np.clip(raw, -500.0, 500.0))),
        read.rows.labels[fold.test],
        read.times[fold.test],
        ranks=raw,
        replicates=0,
    )


def _moved(spec: Spec, source: str, share: float, scratch: Path) -> tuple[Spec, str]:
    """The config and the input in which verdicts come after a share of their delay."""
    if spec.labels is None or spec.training is None:
        raise ConfigError(f"the config {spec.name!r} has no labels or no training; add both")
    if share == 1.0:
        return spec, source
    rules = [rule for rule in spec.ingest if rule.kind in spec.labels.kinds]
    if rules:
        if not all(rule.delay_us for rule in rules):
            raise ConfigError(
                f"the verdicts of {spec.name!r} come with their row, without a delay, so nothing "
                "can become known earlier: there is no ladder to climb"
            )
        made = tuple(
            dataclasses.replace(rule, delay_us=round(rule.delay_us * share))
            if rule in rules
            else rule
            for rule in spec.ingest
        )
        return dataclasses.replace(spec, ingest=made), source
    return spec, _retimed(spec, source, share, scratch / "input")


def _retimed(spec: Spec, source: str, share: float, folder: Path) -> str:
    """A copy of Parquet files in which verdicts come earlier."""
    labels, events = spec.labels, spec.events
    splits = list(dict.fromkeys(split.path for split in open_source(source, spec)))
    if labels is None or any(not path.endswith(".parquet") for path in splits):
        raise InputError(
            f"{source}: verdicts are events of their own here, and only those in Parquet files can "
            "be moved; write the input as Parquet"
        )
    tables = [pq.read_table(path, partitioning=None) for path in splits]
    needed = {events.id, events.time, events.kind or "", labels.subject}
    needed |= {name for one in labels.subjects for name in (one.of, one.column)}
    for path, table in zip(splits, tables, strict=True):
        if missing := needed - set(table.column_names):
            raise InputError(
                f"{path} has no column {sorted(missing)[0]!r}; expected it by this name"
            )
        kind = table.column(events.time).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
            raise InputError(
                f"{path}: {events.time!r} is of type {kind}; verdicts can be moved where times are "
                "timestamps or whole numbers, so write it as one of these"
            )
    times = np.concatenate([_microseconds(table.column(events.time)) for table in tables])
    judged = _judged_times(spec, tables, times)
    moves = judged >= 0
    made = times.copy()
    made[moves] = judged[moves] + np.round((times - judged)[moves] * share).astype(np.int64)
    folder.mkdir()
    begin = 0
    for number, table in enumerate(tables):
        own = made[begin : begin + table.num_rows]
        begin += table.num_rows
        column = pa.array(own).cast(pa.timestamp("us"))
        if pa.types.is_integer(table.column(events.time).type):
            column = pa.array(own)
        elif pa.types.is_timestamp(table.column(events.time).type):
            column = column.cast(pa.timestamp("us", table.column(events.time).type.tz))
        place = table.column_names.index(events.time)
        pq.write_table(table.set_column(place, events.time, column), folder / f"{number}.parquet")
    return str(folder)


def _judged_times(
    spec: Spec, tables: Sequence[pa.Table], times: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The time of what each row judges, -1 where it judges nothing or is no later: int64 `[n]`.

    A verdict about a subject judges what came before it; nobody can have judged it so sooner than a
    microsecond after its last event before, and that is the time of what it judges.
    """
    labels, events = spec.labels, spec.events
    made = np.full(len(times), -1, np.int64)
    if labels is None:
        return made
    kinds = _texts(tables, str(events.kind))
    scored = pc.is_in(kinds, value_set=pa.array(spec.scored_kinds, pa.string()))
    known = times[scored.to_numpy(zero_copy_only=False)]
    named = _texts(tables, labels.subject)
    at = pc.index_in(named, value_set=_texts(tables, events.id).filter(scored))
    of = at.fill_null(-1).to_numpy()
    judges = _is(kinds, labels.kind)
    about_event = judges & named.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(judges & (of >= 0))
    made[rows] = known[of[rows]]
    for one in labels.subjects:
        values = _texts(tables, one.column)
        told = _is(kinds, one.kind or labels.kind) & ~about_event & (made < 0)
        rows = np.flatnonzero(told & values.is_valid().to_numpy(zero_copy_only=False))
        whose = _texts(tables, one.of).filter(scored)
        encoded = whose.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
        order = np.lexsort((known, codes))
        asked = pc.index_in(values.take(pa.array(rows)), value_set=encoded.dictionary)
        asked = asked.fill_null(-2).to_numpy().astype(np.int64)
        last = last_until(codes[order], known[order], asked, times[rows] - 1)
        made[rows[last >= 0]] = known[order][last[last >= 0]] + 1
    made[made >= times] = -1
    return made


def _texts(tables: Sequence[pa.Table], name: str) -> pa.StringArray:
    """A column of all tables, as text."""
    return pa.concat_arrays(
        [chunk.cast(pa.string()) for table in tables for chunk in table.column(name).chunks]
    )


def _is(kinds: pa.StringArray, kind: str) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.equal(kinds, kind), False).to_numpy(zero_copy_only=False))


def _microseconds(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    return np.asarray(column.to_numpy(), np.int64)


def _differ(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return np.asarray(~((one == other) | (np.isnan(one) & np.isnan(other))))


def _alone(values: npt.NDArray[np.float32], labels: npt.NDArray[np.int8]) -> float:
    """AUC of an input by itself, whichever way it points; nulls rank lowest."""
    ranks = np.where(np.isnan(values), -np.inf, values.astype(np.float64))
    area = area_under_roc(make_curve(np.nan_to_num(ranks, neginf=-1e300), labels))
    return max(area, 1.0 - area) if area is not None else 0.5


def _kinds(spec: Spec, name: str) -> tuple[str, ...]:
    """The kinds that a velocity feature counts; none for another input."""
    return tuple(
        kind
        for entity, one in spec.entities.items()
        for aggregate in one.aggregates
        if name == (stem := f"{entity}_{aggregate.name}") or name.startswith(f"{stem}_")
        for kind in aggregate.kinds
    )
