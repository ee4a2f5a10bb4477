"""Edges and judgements of a batch of events, as the config's `graph` section says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from configs.social import EdgeRule, SocialGraph
from transforms.columns import without_empty
from transforms.expression import evaluate_mask
from transforms.hashing import valid_mask
from transforms.order import PLACE, PLACE_TYPE, places
from transforms.selection import SUBJECT_COLUMN, SUBJECT_VALUE, verdict_mask, verdict_rows
from transforms.social.edges import EDGES

ACCOUNT, ABUSIVE = "account", "abusive"

JUDGEMENTS = pa.schema(
    [
        (ACCOUNT, pa.string()),
        (EVENT_TIME, pa.int64()),
        (PLACE, PLACE_TYPE),
        (EVENT_ID, pa.string()),
        (ABUSIVE, pa.bool_()),
    ]
)
"""Who was judged, when that became known, by which verdict and where it stands, and how."""


def edges_of(graph: SocialGraph, batch: pa.RecordBatch) -> pa.Table:
    """The edges that events make: a row per event and rule, of `EDGES`.

    Args:
      batch: decoded events with their derived columns.
    """
    return _made([rule for rule in graph.edges.values() if rule.group is None], batch)


def memberships_of(graph: SocialGraph, batch: pa.RecordBatch) -> pa.Table:
    """Which account was in which group: of `EDGES`, whose `to` is a value of the group's column.

    Args:
      batch: decoded events with their derived columns.
    """
    return _made([rule for rule in graph.edges.values() if rule.group is not None], batch)


def _made(rules: Sequence[EdgeRule], batch: pa.RecordBatch) -> pa.Table:
    made = [_edges(rule, batch) for rule in rules]
    return pa.Table.from_batches([one for one in made if one.num_rows], EDGES)


def judgements_of(
    spec: Spec, batch: pa.RecordBatch, judged: str | None, accounts: Sequence[str]
) -> pa.Table:
    """What verdicts say of accounts: a row per verdict that names one, of `JUDGEMENTS`.

    A verdict whose `judged` is empty names one if it is about one (`labels.subjects`).

    Args:
      batch: decoded events with their derived columns.
      judged: the column with the account; None: verdicts name none.
      accounts: columns of accounts: a subject that one of them names is an account.
    """
    if judged is None or spec.labels is None:
        return JUDGEMENTS.empty_table()
    verdicts = batch.filter(pa.array(verdict_mask(spec, batch)))
    account = without_empty(verdicts.column(judged))
    if spec.labels.subjects:
        about = verdict_rows(spec, verdicts)
        is_account = pc.is_in(
            about.column(SUBJECT_COLUMN), value_set=pa.array(accounts, pa.string())
        )
        subject = pc.if_else(is_account, about.column(SUBJECT_VALUE), pa.scalar(None, pa.string()))
        account = pc.coalesce(account, subject)
    time, event = verdicts.column(EVENT_TIME), verdicts.column(EVENT_ID)
    abusive = pa.array(evaluate_mask(spec.labels.positive, verdicts), pa.bool_())
    columns = [account, time, places(spec, verdicts), event, abusive]
    return pa.Table.from_arrays(columns, schema=JUDGEMENTS).filter(pa.array(_there(account)))


def latest_judgements(judgements: pa.Table) -> pa.Table:
    """The last judgement of each account in the total order, whatever theirs here.

    Of several copies of a verdict the first in that order counts, as everywhere.

    Args:
      judgements: of `JUDGEMENTS`; all of an account together.
    """
    order = [(name, "ascending") for name in (ACCOUNT, EVENT_TIME, PLACE)]
    ordered = judgements.sort_by(order).combine_chunks()
    if not len(ordered):
        return ordered
    account, event = (
        pc.dictionary_encode(ordered[name].chunk(0)).indices.to_numpy().astype(np.int64)
        for name in (ACCOUNT, EVENT_ID)
    )
    _, first = np.unique(account * len(ordered) + event, return_index=True)
    kept = np.sort(first)
    last = np.append(account[kept][1:] != account[kept][:-1], True)
    return ordered.take(pa.array(kept[last]))


def _edges(rule: EdgeRule, batch: pa.RecordBatch) -> pa.RecordBatch:
    kinds = pc.is_in(batch.column(KIND), value_set=pa.array(rule.kinds, pa.string()))
    mask = kinds.to_numpy(zero_copy_only=False)
    source, target = rule.columns
    mask = mask & _there(batch.column(source)) & _there(batch.column(target))
    if rule.where is not None:
        mask &= evaluate_mask(rule.where, batch)
    events = batch.filter(pa.array(mask))
    time = events.column(EVENT_TIME)
    relation = pa.repeat(pa.scalar(rule.name, pa.string()), len(time))
    columns = [events.column(source), events.column(target), relation]
    times = [time, time, pc.add(time, rule.expires_us)]
    return pa.RecordBatch.from_arrays([*columns, *times], schema=EDGES)


def _there(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Which are there; an empty id is nobody's, so it makes no account that all of them share."""
    return valid_mask(without_empty(column))
