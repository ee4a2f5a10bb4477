"""Parity is able to fail: each planted fault is found, and named for what it is."""

import dataclasses
import datetime as dt
import shutil

import numpy as np
import pytest
from backfill_world import CONFIG

from configs.errors import ParityError
from configs.loader import loads
from configs.schema import Window
from pipelines.parity import check_ideal, check_served
from pipelines.parity import offline_check as ideal_module
from pipelines.parity.log import find_base
from pipelines.streaming import service
from pipelines.streaming.journal import save_snapshot
from pipelines.streaming.restore import from_night, snapshot_files
from scoring import engine
from scoring.parity.compare import DUPLICATE, HAND_OFF, LATE, MISSING, UNEXPLAINED, VERSION
from scoring.scorer import Scorer
from transforms import disorder
from transforms.catalog import CATALOG
from transforms.duplicates import RecentIds
from transforms.executor import Executor
from transforms.order import order_events, total_order
from transforms.steps import shards as steps_shards
from transforms.velocity import concat_rows, fold, make_plan, rows


@pytest.fixture
def planted(scored, monkeypatch):
    """The log of a scorer that ran, from no state, with a fault; and both reports on it.

    `plant` gets a function that replaces an attribute for as long as the scorer runs.
    """

    def run(name, plant, live=None, cold=True, **how):
        with monkeypatch.context() as fault:
            plant(fault.setattr)
            state, bundles = scored(name, live, cold=cold, **how)
        return check_served(state, bundles), check_ideal(state, bundles)

    return run


def hints(report):
    return " ".join((*report.hints, *report.faults))


def refused(*reports):
    for report in reports:
        with pytest.raises(ParityError, match="Do not promote"):
            report.require()


def plans_of(change):
    """The scorer's plans, made of a changed spec, under the right one's fingerprint.

    (With its own, the state would be refused.)
    """

    def wrong(spec, entity):
        right = make_plan(spec, entity)
        return dataclasses.replace(make_plan(change(spec), entity), fingerprint=right.fingerprint)

    return lambda setattr: setattr(engine, "make_plan", wrong)


def with_windows(change):
    """A spec whose windows of one day are others."""

    def spec_of(spec):
        entities = {}
        for name, entity in spec.entities.items():
            aggregates = tuple(
                dataclasses.replace(
                    one, windows=tuple(change(w) if w.name == "1d" else w for w in one.windows)
                )
                for one in entity.aggregates
            )
            entities[name] = dataclasses.replace(entity, aggregates=aggregates)
        return dataclasses.replace(spec, entities=entities)

    return spec_of


def test_a_changed_tile_length(planted):
    change = with_windows(lambda w: Window(w.name, w.length_us, 24))
    served, ideal = planted("tiles", plans_of(change))
    for report in (served, ideal):
        assert set(report.by_cause) == {UNEXPLAINED}
        assert set(report.by_feature) == {"who_posts_1d", "who_amounts_1d"}
    assert "a window 1d with another tile length (24 tiles, not 60)" in hints(served)
    refused(served, ideal)


@pytest.mark.parametrize("by", [1, -1])
def test_a_window_off_by_one_tile(planted, by):
    change = with_windows(lambda w: Window(w.name, w.tile_us * (w.tiles + by), w.tiles + by))
    served, ideal = planted(f"off by {by}", plans_of(change))
    assert set(served.by_feature) == {"who_posts_1d", "who_amounts_1d"}
    assert f"a window 1d off by one tile ({60 + by} tiles, not 60)" in hints(served)
    refused(served, ideal)


def test_a_window_that_holds_the_event_itself(planted):
    def inclusive(plan, state, some):
        counted = dataclasses.replace(some, query=np.zeros(len(some), bool))
        asked = dataclasses.replace(some, mask=np.zeros(len(some), np.uint64))
        both = np.stack([np.arange(len(some)), len(some) + np.arange(len(some))], 1).ravel()
        made = fold(plan, state, concat_rows([counted, asked]).take(both))
        return dataclasses.replace(made, sequence=fold(plan, state, some).sequence)

    served, ideal = planted("inclusive", lambda setattr: setattr(engine, "fold", inclusive))
    assert "windows that hold the event itself (off by one)" in hints(served)
    refused(served, ideal)


def test_another_number_of_decimals(planted):
    served, ideal = planted(
        "decimals",
        plans_of(lambda spec: loads(CONFIG.replace("decimals: 2", "decimals: 0"), "x", CATALOG)),
    )
    assert set(served.by_feature) == {"who_amounts_1h", "who_amounts_1d"}
    assert "amounts rounded to 0 decimals instead of 2" in hints(served)
    refused(served, ideal)


def test_another_rounding(planted):
    def cut_off(array, decimals):
        numbers = rows.to_floats(array) * 10.0**decimals
        known = ~np.isnan(numbers)
        return np.trunc(np.where(known, numbers, 0.0)).astype(np.int64), known

    served, ideal = planted("rounding", lambda setattr: setattr(rows, "fixed_point", cut_off))
    assert set(served.by_feature) == {"who_amounts_1h", "who_amounts_1d"}
    assert "values cut off" in hints(served)
    refused(served, ideal)


def folds_of(pick):
    """Folds that keep state of the rows that `pick` chooses; what is asked stays as it is."""

    def folding(plan, state, some):
        made = fold(plan, state, some)
        return dataclasses.replace(made, delta=fold(plan, state, some.take(pick(some))).delta)

    return lambda setattr: setattr(engine, "fold", folding)


def test_an_event_that_is_folded_twice(planted):
    def twice(some):
        return np.sort(
            np.concatenate([np.arange(len(some)), np.flatnonzero(some.key % 5 == 0)[:1]])
        )

    served, ideal = planted("twice", folds_of(twice))
    assert set(served.by_cause) == {DUPLICATE}
    assert set(ideal.by_cause) == {DUPLICATE}
    refused(served)


def test_an_event_that_is_logged_and_not_folded(planted):
    def without(some):
        return np.delete(np.arange(len(some)), np.flatnonzero(some.key % 5 == 0)[:1])

    served, ideal = planted("without", folds_of(without))
    assert set(served.by_cause) == {MISSING}
    assert set(ideal.by_cause) == {MISSING}
    refused(served)


def test_duplicates_that_are_taken_for_new(planted):
    """Each is decided again: as served it is what happened, ideally it is no event."""
    served, ideal = planted(
        "duplicates",
        lambda setattr: setattr(
            RecentIds, "take", lambda self, one, two, time, kind=None: np.ones(len(time), bool)
        ),
        duplicates=0.1,
    )
    assert served.differing == 0
    assert set(ideal.by_cause) == {DUPLICATE}
    assert "folded again within the deduplication horizon" in hints(ideal)
    refused(ideal)


def test_an_event_that_is_dropped_before_the_log(planted, scored, stream_house):
    def losing(setattr):
        process = service.Service.process
        lost = iter(range(1_000_000))

        def drop_some(self, micro):
            batch = micro.batch
            if batch.num_rows > 10 and next(lost) == 2:
                keep = np.arange(batch.num_rows) % 5 != 3
                micro = dataclasses.replace(
                    micro, batch=batch.take(np.flatnonzero(keep)), late=micro.late[keep]
                )
            process(self, micro)

        setattr(service.Service, "process", drop_some)

    planted("dropping", losing, cold=False)
    state, bundles = scored("dropping")
    ideal = check_ideal(state, bundles, str(stream_house[0] / "input"))
    assert set(ideal.by_cause) == {MISSING}
    assert ideal.missing > 0
    assert f"{ideal.missing} events of the archive are not in the log" in ideal.words()


def same_times(live):
    return [{**event, "at": event["at"][:13] + ":00:00+00:00"} for event in live]


def test_a_swapped_tie_rule_of_the_scorer(planted):
    def last_first(spec, batch):
        rank = np.empty(batch.num_rows, np.int64)
        rank[order_events(spec, batch)] = np.arange(batch.num_rows)
        return np.lexsort((-rank, batch.column("event_time").to_numpy()))

    served, ideal = planted(
        "scorers ties", lambda setattr: setattr(disorder, "order_events", last_first), same_times
    )
    assert served.differing == 0, "it is what the scorer folded"
    assert set(ideal.by_cause) == {UNEXPLAINED}
    assert "the scorer's tie rule" in hints(ideal)
    refused(ideal)


def test_a_swapped_tie_rule_of_the_backfill(scored, monkeypatch):
    state, bundles = scored("ties", same_times)
    assert check_ideal(state, bundles).differing == 0

    def last_id_first(time, places):
        rank = np.empty(len(time), np.int64)
        rank[total_order(np.zeros(len(time)), places)] = np.arange(len(time))
        return np.lexsort((-rank, time))

    monkeypatch.setattr(steps_shards, "total_order", last_id_first)
    ideal = check_ideal(state, bundles)
    assert set(ideal.by_cause) == {UNEXPLAINED}
    assert "The backfill's values" in hints(ideal)
    assert "the tie rule" in hints(ideal)
    refused(ideal)


def late_for_every_place(live):
    """An early event of each place comes at the end: it may excuse all that is after it."""
    early = [e for e in live[:60] if e["kind"] == "post"]
    held = list({e["where"]: e for e in early}.values())
    return [e for e in live if e not in held] + held


def test_a_fault_of_the_backfill_is_not_excused_by_late_events(scored, monkeypatch):
    state, bundles = scored("late everywhere", late_for_every_place, cold=True)
    assert set(check_ideal(state, bundles).by_cause) == {LATE}
    wrong = []
    plans_of(with_windows(lambda w: Window(w.name, w.length_us, 24)))(
        lambda module, name, value: wrong.append(value)
    )
    monkeypatch.setattr(steps_shards, "make_plan", wrong[0])
    ideal = check_ideal(state, bundles)
    assert {"who_posts_1d", "who_amounts_1d"} <= set(ideal.features_of[UNEXPLAINED])
    assert "not those of a fold in total order" in hints(ideal)
    refused(ideal)


def test_an_event_that_the_backfill_loses_is_no_duplicate(scored, monkeypatch):
    state, bundles = scored("late everywhere", late_for_every_place, cold=True)
    offline = ideal_module.recompute

    def losing(*given):
        made = offline(*given)
        return dataclasses.replace(made, there=made.there & (np.arange(len(made.there)) != 3))

    monkeypatch.setattr(ideal_module, "recompute", losing)
    ideal = check_ideal(state, bundles)
    assert ideal.by_cause[UNEXPLAINED] == 1
    refused(ideal)


def test_a_stale_vocabulary(planted, stream_house):
    def stale(setattr):
        transform = Executor.transform

        def shifted(self, numeric, batch):
            made = transform(self, numeric, batch)
            return dataclasses.replace(made, categories=(made.categories + 1) % 5)

        setattr(Executor, "transform", shifted)

    served, ideal = planted("vocabulary", stale)
    assert set(served.by_cause) == {VERSION}
    assert "other indices of where after it: another vocabulary" in hints(served)
    refused(served, ideal)


def test_a_model_that_is_not_the_bundles(planted):
    def other(setattr):
        score = Scorer.score

        def higher(self, numeric, batch):
            made = score(self, numeric, batch)
            return dataclasses.replace(made, score=np.nextafter(made.score, 1.0))

        setattr(Scorer, "score", higher)

    served, ideal = planted("model", other)
    assert set(served.by_cause) == {VERSION}
    assert served.by_feature == {}
    assert "another model, calibration or policy" in hints(served)
    assert 0 < served.largest_effect[VERSION] < 1e-15
    refused(served, ideal)


def test_a_state_that_was_handed_over_wrongly(scored, tiny_spec, stream_house, tmp_path):
    """The scorer began with another night's state than the one that it says."""
    folder = stream_house[0]
    state, bundles = scored("orderly", duplicates=0.1)
    copy = tmp_path / "state"
    shutil.copytree(state, copy)
    other = from_night(tiny_spec, folder / "house", dt.date(2026, 3, 5))
    files = snapshot_files(tiny_spec, other, -1)
    save_snapshot(copy, -1, files)
    for name, data in files.items():
        (copy / "start" / name).write_bytes(data)
    assert find_base(copy).step == -1
    served, ideal = check_served(copy, bundles), check_ideal(copy, bundles)
    assert set(served.by_cause) == {HAND_OFF}
    assert set(ideal.by_cause) == {HAND_OFF}
    refused(served)
