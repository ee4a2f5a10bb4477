"""Reads what a protocol splits: scored events, their labels in the end, their files and order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs._yaml import did_you_mean
from configs.changed import change_config
from configs.errors import ConfigError, EvidenceError, InputError
from configs.files import find_beside, read_text
from configs.loader import loads
from configs.protocol import Protocol
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.dataset import load_dataset
from pipelines.layout import DAY_US, Days, Layout, day_of
from pipelines.progress import Progress
from pipelines.sources import open_source, read_split
from scoring.files import Place
from training.groups import encode_groups
from training.known_labels import label_events
from training.protocol import ProtocolRows
from transforms.catalog import CATALOG
from transforms.derive import derive
from transforms.selection import input_columns, scored_mask, verdict_mask, verdict_rows


def read_config(protocol: Protocol, change: dict[str, object] | None = None) -> tuple[Spec, str]:
    """The protocol's config as changed, and its text.

    Raises:
      ConfigError: the config's mistakes, or a setting that cannot be changed.
      InputError: there is no such config.
    """
    path = find_beside(protocol.config, protocol.folder)
    text = read_text(path, "config")
    loads(text, path.name, CATALOG)  # its own mistakes first, by its own lines
    text = change_config(change_config(text, protocol.change), change or {})
    return loads(text, f"{path.name}, changed by {protocol.name}", CATALOG), text


@dataclasses.dataclass(frozen=True)
class ScoredRows:
    """Scored events in total order, with what splits them: all of `[n]`."""

    numeric: npt.NDArray[np.float32]
    events: pa.Table
    times: npt.NDArray[np.int64]
    rows: ProtocolRows
    groups: npt.NDArray[np.int64] | None


def read_rows(source: str, spec: Spec, account: str = "", extra: str = "") -> ScoredRows:
    """The input's scored events, with the labels that their verdicts came to in the end.

    Args:
      source: events, a path or pattern.
      spec: the use, with labels.
      account: the column that deals accounts out; "": none.
      extra: one more column that is kept; "": none.

    Raises:
      ConfigError: the config has no labels, or no such column.
      InputError: the input holds no scored event.
    """
    if spec.labels is None:
        raise ConfigError(f"the config {spec.name!r} has no labels section; add one")
    paths: list[str] = []
    events, verdicts, files = [], [], []
    for split in open_source(source, spec):
        if split.path not in paths:
            paths.append(split.path)
        for one in read_split(split, spec):
            batch = derive(spec, one.batch)
            scored = batch.filter(pa.array(scored_mask(spec, batch)))
            events.append(scored)
            files.append(np.full(scored.num_rows, paths.index(split.path)))
            verdicts.append(verdict_rows(spec, batch.filter(pa.array(verdict_mask(spec, batch)))))
    every = pa.Table.from_batches(events) if events else pa.table({})
    if not every.num_rows:
        raise InputError(f"{source} holds no scored event; is it the right input?")
    for name in filter(None, (account, extra)):
        if name not in every.column_names:
            hint = str(did_you_mean(name, every.column_names)) or "the config lists them"
            raise ConfigError(f"the protocol names {name!r}, no column of {spec.name!r}; {hint}")
    times = every.column(EVENT_TIME).to_numpy()
    order = np.argsort(times, kind="stable")
    order = order[_first_of_each_id(every.column(EVENT_ID).take(pa.array(order)))]
    kept = dict.fromkeys(
        [EVENT_ID, EVENT_TIME, *input_columns(spec), *filter(None, [account, extra])]
    )
    table = every.select(list(kept)).take(pa.array(order)).combine_chunks()
    ids, times = table.column(EVENT_ID).combine_chunks(), times[order]
    said = pa.Table.from_batches(verdicts)
    end = int(max(times.max(), pc.max(said.column(EVENT_TIME)).as_py() or 0)) + DAY_US
    end += spec.labels.maturity_us or 0  # when who was not judged has turned out to be none
    group = spec.evaluation.group
    named = {one.of: table.column(one.of) for one in spec.labels.subjects}
    return ScoredRows(
        numeric=np.zeros((len(times), 1), np.float32),
        events=table,
        times=times,
        rows=ProtocolRows(
            np.concatenate(files)[order],
            file_names(paths),
            order,
            ids,
            label_events(spec.labels, ids, times, named, said, end).labels,
            table.column(account).combine_chunks() if account else None,
        ),
        groups=encode_groups(table.column(group)) if group else None,
    )


def file_names(paths: Sequence[str]) -> list[str]:
    """What files are called: their own names, or paths from a common folder if two have one name.

    >>> file_names(["in/a.csv", "in/b.csv"]), file_names(["in/x/a.csv", "in/y/a.csv"])
    (['a.csv', 'b.csv'], ['x/a.csv', 'y/a.csv'])
    """
    own = [one.rpartition("/")[2] for one in paths]
    if len(set(own)) == len(own):
        return own
    parts = [one.split("/") for one in paths]
    levels = [len(set(level)) == 1 for level in zip(*(one[:-1] for one in parts), strict=False)]
    shared = [*levels, False].index(False)
    return ["/".join(one[shared:]) for one in parts]


def _first_of_each_id(ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Places of events that are no copies of an earlier one."""
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    return np.sort(np.unique(codes, return_index=True)[1])


def with_features(
    source: str,
    spec: Spec,
    read: ScoredRows,
    out: Place,
    workers: int,
    progress: Progress,
) -> ScoredRows:
    """The same events with their features, of a backfill of all days; copies are dropped."""
    days = Days(day_of(int(read.times[0])), day_of(int(read.times[-1])))
    backfill(
        BackfillRequest(spec, source, out, days, workers, allow_empty_days=True),
        progress,
    )
    data = load_dataset(spec, Layout(out), days.start_us, days.end_us, days.end_us)
    at = pc.index_in(data.events.column(EVENT_ID), value_set=read.rows.ids)
    if at.null_count:
        raise EvidenceError("the input has changed while it was read; start again")
    place = at.to_numpy()
    rows = read.rows
    events = data.events
    for name in read.events.column_names:
        if name not in events.column_names:
            events = events.append_column(name, read.events.column(name).take(pa.array(place)))
    return ScoredRows(
        data.numeric,
        events,
        data.times,
        ProtocolRows(
            rows.files[place],
            rows.names,
            rows.order[place],
            rows.ids.take(pa.array(place)),
            rows.labels[place],
            None if rows.accounts is None else rows.accounts.take(pa.array(place)),
        ),
        None if read.groups is None else read.groups[place],
    )


@dataclasses.dataclass(frozen=True)
class ListedIds:
    """Ids that a protocol's files name: of rows that train, and that test; notes on them."""

    ids: tuple[set[str], set[str]] = (set(), set())
    notes: tuple[str, ...] = ()


def listed_ids(protocol: Protocol, events: pa.Array) -> ListedIds:
    """The ids that a split by id names in its files; nothing of another split.

    Args:
      events: ids of the input's scored events.

    Raises:
      InputError: a file cannot be read, or names no event at all.
    """
    if protocol.split.by != "id":
        return ListedIds()
    there, made, notes = set(events.to_pylist()), [], []
    for name in (protocol.split.train[0], protocol.split.test[0]):
        path = protocol.folder / name
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read the ids in {path}; give a text file with an id a line, beside the "
                "protocol"
            ) from error
        made.append({line.strip() for line in lines} - {""})
        unknown = len(made[-1] - there)
        if unknown == len(made[-1]):
            raise InputError(
                f"none of the {unknown:,} ids in {path} is that of a scored event; ids are as in "
                "the events, or as `ingest` makes them (`comment:17`)"
            )
        if unknown:
            notes.append(f"{name}: {unknown:,} of {len(made[-1]):,} ids are of no scored event")
    return ListedIds((made[0], made[1]), tuple(notes))
