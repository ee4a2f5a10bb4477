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
            any(kind == spec.labels.kind for kind in _kinds(spec, name)) if spec.labels else False,
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
    rules = [rule for rule in spec.ingest if rule.kind == spec.labels.kind]
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
    for path, table in zip(splits, tables, strict=True):
        if missing := needed - set(table.column_names):
            raise InputError(
                f"{path} has no column {sorted(missing)[0]!r}; expected it by this name"
            )
    ids = pa.concat_arrays(
        [chunk.cast(pa.string()) for table in tables for chunk in table.column(events.id).chunks]
    )
    times = np.concatenate([_microseconds(table.column(events.time)) for table in tables])
    kinds = pa.concat_arrays(
        [chunk for table in tables for chunk in table.column(events.kind).cast(pa.string()).chunks]
    )
    scored = pc.is_in(kinds, value_set=pa.array(spec.scored_kinds, pa.string()))
    subjects, known = ids.filter(scored), times[scored.to_numpy(zero_copy_only=False)]
    folder.mkdir()
    for number, table in enumerate(tables):
        own = _microseconds(table.column(events.time))
        judges = pc.equal(table.column(events.kind).cast(pa.string()), labels.kind)
        at = pc.index_in(table.column(labels.subject).cast(pa.string()), value_set=subjects)
        of = at.fill_null(-1).to_numpy()
        moves = pc.fill_null(judges, False).to_numpy() & (of >= 0)
        then = known[of]
        moves &= own > then
        made = np.where(moves, then + np.round((own - then) * share).astype(np.int64), own)
        column = pa.array(made).cast(pa.timestamp("us"))
        if pa.types.is_integer(table.column(events.time).type):
            column = pa.array(made)
        elif pa.types.is_timestamp(table.column(events.time).type):
            column = column.cast(pa.timestamp("us", table.column(events.time).type.tz))
        place = table.column_names.index(events.time)
        pq.write_table(table.set_column(place, events.time, column), folder / f"{number}.parquet")
    return str(folder)


def _microseconds(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    elif not pa.types.is_integer(column.type):
        raise InputError(
            f"times are of type {column.type}; expected timestamps, or whole microseconds"
        )
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
