"""Runs a protocol: `lockstep evaluate --protocol FILE --input DATA`.

A split by time goes the product's way: a nightly run as of the day after training ends (so with
the labels that were known then), a backfill of the days after it, and `evaluate_bundle`. The others
split rows of the input: features come from a backfill of all of it (or, of text alone, from the
input's texts), and a model is fitted on some rows and asked about the rest. There is no gate, no
calibration and no threshold then: raw log odds rank, and 0 decides.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError, EvidenceError
from configs.protocol import Protocol
from configs.schema import Spec
from configs.units import format_duration
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import DAY_US, Days, day_of, day_us
from pipelines.nightly import NightlyRequest, nightly
from pipelines.progress import Progress, Quiet
from pipelines.protocol.fit import score_fold
from pipelines.protocol.read import (
    ScoredRows,
    listed_ids,
    read_config,
    read_rows,
    with_features,
)
from scoring.files import Place
from training.groups import encode_groups
from training.label_model import SourceQuality, fit_label_model, majority
from training.labels import UNLABELLED
from training.protocol import Figure, Fold, by_part, mean_figures, measure, rule_votes, split_rows
from training.protocol_fit import Raw


@dataclasses.dataclass(frozen=True)
class ProtocolRequest:
    """What is asked.

    Attributes:
      source: events, a path or pattern.
      out: an output folder that is kept; None: a scratch folder.
      workers: processes of the embedded runner.
      threads: of XGBoost.
    """

    protocol: Protocol
    source: str
    out: Place | None = None
    workers: int = 1
    threads: int = 2


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """Figures of some test events: a file's, a fold's, the mean of these, or all."""

    name: str
    events: int
    positives: int
    figures: dict[str, Figure]


@dataclasses.dataclass(frozen=True)
class ProtocolResult:
    """What a protocol found.

    Attributes:
      train, train_positives: labelled events that trained (of the largest fold).
      rows: parts first, then their mean, all test events last.
      notes: what a reader must know of how it came about.
      sources: of labels by rules: each source, and the share of its votes on test rows that are
        right (None: it said nothing there).
    """

    name: str
    train: int
    train_positives: int
    rows: tuple[ResultRow, ...]
    notes: tuple[str, ...]
    sources: tuple[tuple[SourceQuality, float | None], ...] = ()


def run_protocol(request: ProtocolRequest, progress: Progress | None = None) -> ProtocolResult:
    """Trains and tests as a protocol says.

    Raises:
      LockstepError: a mistake of the config as changed, an input that is missing, too few labels.
    """
    found = progress or Quiet()
    with tempfile.TemporaryDirectory(prefix="lockstep-protocol-") as scratch:
        out = Path(scratch) / "out" if request.out is None else request.out
        if request.protocol.split.by == "time":
            return _by_time(request, out, found)
        return _by_rows(request, out, found)


def _by_time(request: ProtocolRequest, out: Place, progress: Progress) -> ProtocolResult:
    protocol, split = request.protocol, request.protocol.split
    if split.train_days is None or split.test_days is None:
        raise ConfigError(
            f"{protocol.name}: a split by time names days that train and days to test"
        )
    spec, _ = read_config(protocol)
    if spec.training is None:
        raise ConfigError(f"the config {spec.name!r} has no training section; add one")
    as_of = split.train_days[1] + dt.timedelta(days=1)
    delay = spec.training.delay_us
    span = day_us(as_of) - delay - day_us(split.train_days[0])
    if span <= 0:
        raise ConfigError(
            f"{protocol.name}: training.delay is {format_duration(delay)}, longer than the days "
            f"that train, {Days(*split.train_days)}; let training begin earlier"
        )
    spec, text = read_config(protocol, {"training": {"span": format_duration(span)}})
    made = nightly(
        NightlyRequest(
            spec, text, request.source, out, as_of, request.workers, request.threads, promote=False
        ),
        progress,
    )
    # Verdicts about the last day that is tested come so much later.
    judged = split.test_days[1] + dt.timedelta(days=-(-delay // DAY_US))
    days = Days(as_of, judged)
    backfill(
        BackfillRequest(spec, request.source, out, days, request.workers, allow_empty_days=True),
        progress,
    )
    test = Days(*split.test_days)
    asked = EvaluateRequest(out, made.bundle, test, judged + dt.timedelta(days=1), request.workers)
    scores = evaluate_bundle(asked, progress).scores
    labels = scores.column("label").fill_null(UNLABELLED).to_numpy().astype(np.int8)
    groups = encode_groups(scores.column("group")) if "group" in scores.column_names else None
    raw = scores.column("raw").to_numpy().astype(np.float64)
    trained = next(one for one in made.report.slices if one.name == "span")
    return ProtocolResult(
        protocol.name,
        trained.positives + trained.negatives,
        trained.positives,
        (_row("all", protocol, raw, labels, groups),),
        (
            f"trained as of {as_of}: events to "
            f"{day_of(day_us(as_of) - delay - 1)}, labels as known before {as_of}; "
            f"tested on {test}, labels as known before {judged + dt.timedelta(days=1)}",
        ),
    )


def _by_rows(request: ProtocolRequest, out: Place, progress: Progress) -> ProtocolResult:
    protocol = request.protocol
    spec, _ = read_config(protocol)
    read = read_rows(request.source, spec, protocol.split.column, protocol.rules_of)
    if protocol.inputs == "all":
        read = with_features(request.source, spec, read, out, request.workers, progress)
    if protocol.rules:
        return _by_rules(request, spec, read)
    listed = listed_ids(protocol, read.rows.ids)
    folds = split_rows(protocol.split, read.rows, listed.ids)
    labels, raw = read.rows.labels, np.full(len(read.rows.labels), np.nan)
    fold_of = np.full(len(labels), -1)
    for number, fold in enumerate(folds):
        progress.say(f"fold {number + 1} of {len(folds)} …")
        raw[fold.test] = score_fold(spec, protocol.inputs, read, fold, request.threads)
        fold_of[fold.test] = number
    rows = _rows(protocol, read, raw, fold_of)
    largest = max(folds, key=lambda one: int(one.train.sum())).train
    return ProtocolResult(
        protocol.name,
        int(largest.sum()),
        int((labels[largest] == 1).sum()),
        tuple(rows),
        (
            "rows are split, not time: a model may learn from later rows than it is tested on",
            *(("text alone: no behaviour, no other input",) if protocol.inputs == "text" else ()),
            *listed.notes,
        ),
    )


def _by_rules(request: ProtocolRequest, spec: Spec, read: ScoredRows) -> ProtocolResult:
    """The rows that train are labelled by rules; three answers for the rows that test."""
    protocol = request.protocol
    votes = rule_votes(protocol, read.events.column(protocol.rules_of))
    listed = listed_ids(protocol, read.rows.ids)
    (fold,) = split_rows(protocol.split, read.rows, listed.ids, labelled=False)
    model = fit_label_model(votes[fold.train], [one.name for one in protocol.rules], protocol.prior)
    odds, covered = model.odds(votes), (votes != UNLABELLED).any(1)
    made = np.where(fold.train, odds > 0, read.rows.labels).astype(np.int8)
    sure = 1 / (1 + np.exp(-np.abs(odds))) >= protocol.sure
    taught = Fold(fold.train & covered & sure, fold.test)
    if len(np.unique(made[taught.train])) < 2:
        raise EvidenceError(
            "the rules label the rows that train alike; expected both classes"
            + (f" among those that they are {protocol.sure} sure of" if protocol.sure > 0.5 else "")
        )
    weak = dataclasses.replace(read, rows=dataclasses.replace(read.rows, labels=made))
    classifier = score_fold(spec, protocol.inputs, weak, taught, request.threads)
    test, labels = fold.test, read.rows.labels[fold.test]
    answers = {
        "majority of rules": majority(votes[test]),
        "label model": odds[test],
        "classifier": classifier,
    }
    # Log odds 0 is "abuse"; where as much speaks for it as against, nobody says so.
    answers = {name: np.where(raw == 0, -1e-9, raw) for name, raw in answers.items()}
    right = (votes[test] == labels[:, None]).sum(0) / np.maximum((votes[test] >= 0).sum(0), 1)
    spoke = (votes[test] >= 0).sum(0) > 0
    return ProtocolResult(
        protocol.name,
        int(taught.train.sum()),
        int(made[taught.train].sum()),
        tuple(_row(name, protocol, raw, labels, _of(read, test)) for name, raw in answers.items()),
        (
            f"no label of the {int(fold.train.sum()):,} rows that train was used; the rules say "
            f"something of {int((fold.train & covered).sum()):,}, and {int(taught.train.sum()):,} "
            "taught the classifier",
            *listed.notes,
        ),
        tuple(
            (one, float(right[at]) if spoke[at] else None) for at, one in enumerate(model.qualities)
        ),
    )


def _rows(
    protocol: Protocol, read: ScoredRows, raw: Raw, fold_of: npt.NDArray[np.int64]
) -> Iterator[ResultRow]:
    tested = fold_of >= 0
    where, names = (read.rows.files, read.rows.names)
    if protocol.each == "fold":
        where, names = fold_of, [f"fold {one + 1}" for one in range(int(fold_of.max()) + 1)]
    parts = []
    if protocol.each:
        for name, mask in by_part(np.where(tested, where, -1), names):
            parts.append(_row(name, protocol, raw[mask], read.rows.labels[mask], _of(read, mask)))
    yield from parts
    if len(parts) > 1:
        events, positives = (
            sum(getattr(one, key) for one in parts) for key in ("events", "positives")
        )
        yield ResultRow("mean", events, positives, mean_figures([one.figures for one in parts]))
    yield _row("all", protocol, raw[tested], read.rows.labels[tested], _of(read, tested))


def _row(
    name: str,
    protocol: Protocol,
    raw: Raw,
    labels: npt.NDArray[np.int8],
    clusters: npt.NDArray[np.int64] | None,
) -> ResultRow:
    known = labels != UNLABELLED
    figures = measure(protocol.metrics, raw, labels, clusters)
    return ResultRow(name, int(known.sum()), int((labels == 1).sum()), figures)


def _of(read: ScoredRows, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
    return None if read.groups is None else read.groups[mask]
