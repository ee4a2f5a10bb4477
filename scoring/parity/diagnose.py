"""Names the fault behind values that no cause of the world explains, by trying faults out.

What enters: some keys whose features differ, their events in fold order, and the values of the side
that went astray. What leaves: sentences. A fault is named only if folding the same events with that
very fault gives the strayed values, bit for bit, on every event that can tell: another tile length,
a window off by one, another rounding, another order of equal times. So a name is a finding, and
where nothing fits, the pattern is told and nothing is claimed.

Faults are tried from an empty state, since a kept one has the right tiles in it; only events whose
value does not depend on the state at the beginning can tell.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import Aggregate, Spec, Window
from scoring.engine import Resident
from scoring.parity.compare import differing_columns
from transforms.derive import derive
from transforms.inputs import numeric_names
from transforms.keys import entities_of, entity_keys
from transforms.numbers import to_floats
from transforms.order import order_events
from transforms.velocity import (
    Plan,
    Rows,
    ShardState,
    concat_rows,
    entity_rows,
    finish,
    fold,
    make_plan,
)

Floats = npt.NDArray[np.float32]

MOST_KEYS = 64
"""So many keys of an entity are looked into; a fault of the code shows in all of them."""

_TILES = (1, 6, 10, 12, 15, 20, 24, 30, 40, 48, 50, 60, 72, 90, 96, 100, 120, 144, 168, 180, 240)
_DECIMALS = range(7)


@dataclasses.dataclass(frozen=True)
class Sided:
    """Events in fold order and the numeric block that one side has for the scored of them.

    Attributes:
      events: decoded `[n]`.
      scored: bool `[n]`.
      numeric: float32 `[s, K]`, of the side whose values are to be named.
    """

    events: pa.RecordBatch
    scored: npt.NDArray[np.bool_]
    numeric: Floats


class Suspects:
    """Keys and features whose difference nothing explains."""

    def __init__(self) -> None:
        self.features: Counter[str] = Counter()
        self.keys: dict[str, set[int]] = {}

    def __bool__(self) -> bool:
        return bool(self.features)

    def add(self, spec: Spec, events: pa.RecordBatch, features: Sequence[Sequence[str]]) -> None:
        """Notes events whose features differ.

        Args:
          spec: the use.
          events: decoded `[m]`.
          features: `[m]`, the differing ones of each.
        """
        of = entities_of(spec)
        self.features.update(name for names in features for name in names)
        concerned = [{entity for name in names for entity in of[name]} for names in features]
        wanted = {
            name
            for name in set().union(*concerned)
            if len(self.keys.setdefault(name, set())) < MOST_KEYS
        }
        if not wanted:
            return
        derived = derive(spec, events)
        for name in wanted:
            keys = entity_keys(spec, name, derived).tolist()
            for key, entities in zip(keys, concerned, strict=True):
                if key and name in entities and len(self.keys[name]) < MOST_KEYS:
                    self.keys[name].add(key)


def diagnose(
    spec: Spec, start: Resident, sides: Iterable[Sided], suspects: Suspects, side: str
) -> list[str]:
    """What the strayed values are, where a fault that was tried gives exactly them.

    Args:
      spec: the use, as it should be.
      start: the state before the first event.
      sides: every event from there on, with the strayed side's values.
      suspects: where to look.
      side: whose values they are, in words.
    """
    if not suspects:
        return []
    parts: dict[str, list[Sided]] = {entity: [] for entity in suspects.keys}
    for one in sides:
        derived = derive(spec, one.events)
        for entity, keys in suspects.keys.items():
            mine = np.isin(entity_keys(spec, entity, derived), np.array(list(keys), np.uint64))
            rows = pa.array(np.flatnonzero(mine))
            kept = Sided(derived.take(rows), one.scored[mine], one.numeric[mine[one.scored]])
            parts[entity].append(kept)
    named: dict[tuple[str, ...], list[str]] = {}
    rest = Counter(suspects.features)
    for entity, some in parts.items():
        for feature, words in _try_all(spec, start, entity, some, suspects).items():
            named.setdefault(words, []).append(feature)
            del rest[feature]
    lines = [
        f"{side} of {', '.join(features)} are exactly those of {' or of '.join(words)}."
        for words, features in named.items()
    ]
    explained = {feature for features in named.values() for feature in features}
    left = [name for name in rest if not _follows(spec, name, explained)]
    if left:
        lines += pattern(Counter({name: rest[name] for name in left}), numeric_names(spec))
    return lines


def pattern(features: Counter[str], names: Sequence[str]) -> list[str]:
    """What a pattern of features points to: a window, an entity.

    >>> pattern(Counter({"a_n_1h": 5, "a_m_1h": 4}), ["a_n_1h", "a_n_1d", "a_m_1h"])
    ['Only features of window 1h differ: look at its length and tiles.']
    """
    windows = {name.rsplit("_", 1)[-1] for name in features}
    others = {name.rsplit("_", 1)[-1] for name in names if name not in features}
    if len(windows) == 1 and not windows <= others:
        return [f"Only features of window {windows.pop()} differ: look at its length and tiles."]
    entities = {name.split("_", 1)[0] for name in features}
    if len(entities) == 1:
        return [f"Only features of entity {entities.pop()} differ: look at its keys and order."]
    return []


def unlike_after_the_fold(inputs: Counter[str], categories: Sequence[str], text: bool) -> list[str]:
    """What differs after equal numeric blocks: scaling, a vocabulary, the text model, the model.

    Args:
      inputs: model input -> events in which it differs; "" where only the score does.
      categories: columns that enter through a vocabulary.
      text: whether there is a text model.

    >>> unlike_after_the_fold(Counter({"client": 3}), ["client"], False)
    ['Equal before the TFT graph, other indices of client after it: another vocabulary.']
    """
    lines = []
    stale = [name for name in inputs if name in categories]
    scaled = [name for name in inputs if name and name not in categories and name != "text_score"]
    if stale:
        lines.append(
            f"Equal before the TFT graph, other indices of {', '.join(stale)} after it: another "
            "vocabulary."
        )
    if scaled:
        lines.append(
            f"Equal before the TFT graph, other values of {', '.join(scaled[:5])} after it: "
            "another scaling."
        )
    if text and "text_score" in inputs:
        lines.append("Another text score of the same text: another text model.")
    if inputs.get("") and not lines:
        lines.append("Equal model inputs, other scores: another model, calibration or policy.")
    return lines


def _follows(spec: Spec, name: str, explained: set[str]) -> bool:
    """Whether a computed input differs because a feature does that was named already."""
    expression = spec.inputs.computed.get(name)
    return expression is not None and bool(set(expression.columns) & explained)


Made = tuple[Plan, Rows]
Fault = Callable[[pa.RecordBatch], Made]


def _try_all(
    spec: Spec, start: Resident, entity: str, kept: Sequence[Sided], suspects: Suspects
) -> dict[str, tuple[str, ...]]:
    """Feature -> the faults that give exactly its strayed values."""
    table = pa.Table.from_batches([one.events for one in kept]).combine_chunks()
    if not table.num_rows:
        return {}
    derived = table.to_batches()[0]
    scored = np.flatnonzero(np.concatenate([one.scored for one in kept]))
    place = np.full(derived.num_rows, -1, np.int64)
    place[scored] = np.arange(len(scored))
    strayed = np.concatenate([one.numeric for one in kept if len(one.numeric)])
    plan, names = make_plan(spec, entity), numeric_names(spec)
    features = [name for name in plan.features if name in suspects.features and name in names]
    if not features or len(strayed) != len(scored):
        return {}
    columns = [plan.features.index(name) for name in features]
    target = strayed[:, [names.index(name) for name in features]]

    def values(made: Made, state: ShardState) -> Floats:
        its_plan, rows = made
        block = np.full((len(scored), len(columns)), np.nan, np.float32)
        at = place[rows.row[rows.query]]
        block[at] = finish(its_plan, fold(its_plan, state, rows).outputs)[:, columns]
        return block

    right = (plan, entity_rows(plan, derived))
    expected = values(right, start.states[entity])
    telling = ~differing_columns(values(right, ShardState.empty(plan)), expected)
    differ = telling & differing_columns(expected, target)
    found: dict[str, tuple[str, ...]] = {}
    for words, fault in _faults(spec, entity, features):
        made = fault(derived)
        wrong = telling & differing_columns(values(made, ShardState.empty(made[0])), target)
        for index, name in enumerate(features):
            if differ[:, index].any() and not wrong[:, index].any():
                found[name] = (*found.get(name, ()), words)
    return found


def _faults(spec: Spec, entity: str, features: Sequence[str]) -> Iterable[tuple[str, Fault]]:
    """Every fault that is tried, in words, and how an entity's rows are made with it."""
    recipes = [one for one in make_plan(spec, entity).recipes if one.name in features]
    for window in dict.fromkeys(one.window for one in recipes if one.window is not None):
        for other, words in _other_windows(window):
            yield words, _of_spec(_with_window(spec, entity, window, other), entity)
    plan = make_plan(spec, entity)
    rounded = [one for one in spec.entities[entity].aggregates if "decimals" in one.arguments]
    for aggregate in rounded:
        known = aggregate.arguments["decimals"]
        for decimals in _DECIMALS:
            if decimals != known:
                words = f"{aggregate.name} rounded to {decimals} decimals instead of {known}"
                yield words, _of_spec(_with_decimals(spec, entity, aggregate, decimals), entity)
    if rounded:
        yield "values rounded down", lambda batch: _rounded(plan, batch, np.floor)
        yield "values cut off", lambda batch: _rounded(plan, batch, np.trunc)
        yield (
            "values rounded half up",
            lambda batch: _rounded(plan, batch, lambda x: np.floor(x + 0.5)),
        )
    yield "windows that hold the event itself (off by one)", lambda batch: _inclusive(plan, batch)
    yield (
        "another order of events of equal time (the tie rule)",
        lambda batch: _ties_reversed(spec, plan, batch),
    )


def _other_windows(window: Window) -> Iterable[tuple[Window, str]]:
    """The window off by one tile, and cut into other tiles."""
    if window.is_lifetime:
        return
    for tiles in (window.tiles + 1, window.tiles - 1):
        if tiles >= 1:
            words = f"a window {window.name} off by one tile ({tiles} tiles, not {window.tiles})"
            yield Window(window.name, window.tile_us * tiles, tiles), words
    for tiles in _TILES:
        if tiles != window.tiles and window.length_us % tiles == 0:
            words = (
                f"a window {window.name} with another tile length ({tiles} tiles, not "
                f"{window.tiles})"
            )
            yield Window(window.name, window.length_us, tiles), words


def _with_window(spec: Spec, entity: str, old: Window, new: Window) -> Spec:
    def change(aggregate: Aggregate) -> Aggregate:
        windows = tuple(new if one == old else one for one in aggregate.windows)
        return dataclasses.replace(aggregate, windows=windows)

    return _with_aggregates(spec, entity, change)


def _with_decimals(spec: Spec, entity: str, which: Aggregate, decimals: int) -> Spec:
    def change(aggregate: Aggregate) -> Aggregate:
        if aggregate is not which:
            return aggregate
        return dataclasses.replace(aggregate, arguments={**which.arguments, "decimals": decimals})

    return _with_aggregates(spec, entity, change)


def _with_aggregates(spec: Spec, entity: str, change: Callable[[Aggregate], Aggregate]) -> Spec:
    old = spec.entities[entity]
    new = dataclasses.replace(old, aggregates=tuple(map(change, old.aggregates)))
    return dataclasses.replace(spec, entities={**spec.entities, entity: new})


def _of_spec(spec: Spec, entity: str) -> Fault:
    plan = make_plan(spec, entity)
    return lambda batch: (plan, entity_rows(plan, batch))


def _rounded(
    plan: Plan,
    batch: pa.RecordBatch,
    rounding: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Made:
    rows = entity_rows(plan, batch)
    values = rows.values.copy()
    for index, slot in enumerate(plan.values):
        if slot.column is not None:
            numbers = to_floats(batch.column(slot.column))[rows.row] * 10.0**slot.decimals
            values[index] = rounding(np.nan_to_num(numbers)).astype(np.int64)
    return plan, dataclasses.replace(rows, values=values)


def _inclusive(plan: Plan, batch: pa.RecordBatch) -> Made:
    """Each row counted first and asked after: the question itself counts for nothing."""
    rows = entity_rows(plan, batch)
    counted = dataclasses.replace(rows, query=np.zeros(len(rows), np.bool_))
    asked = dataclasses.replace(rows, mask=np.zeros(len(rows), np.uint64))
    both = np.arange(2 * len(rows)).reshape(2, -1).T.ravel()
    return plan, concat_rows([counted, asked]).take(both)


def _ties_reversed(spec: Spec, plan: Plan, batch: pa.RecordBatch) -> Made:
    rows = entity_rows(plan, batch)
    rank = np.empty(batch.num_rows, np.int64)
    rank[order_events(spec, batch)] = np.arange(batch.num_rows)
    return plan, rows.take(np.lexsort((-rank[rows.row], rows.time)))
