"""A runner in miniature for the shards of `transforms.live`: no Beam, every choice is the test's.

It keeps Beam's promises and no others: a bundle (one element or one timer of one key) is committed
whole or not at all; a timer fires once the watermark of its stage has passed it, in no given order
among keys; elements of a stage come in any order; a watermark waits for elements and timers before
it. A worker may die (its resident state is gone), a shard may move to the other worker and find
there what it left long ago, a bundle may fail at its end and be repeated.
"""

import collections
import copy
import itertools

import numpy as np
import pyarrow as pa

from scoring.engine import Engine, Resident
from transforms.batches import ShardKey
from transforms.live.rejoin import Rejoin, part_blocks
from transforms.live.routes import JOIN, Routes, duplicate_dead_letters, seed_pieces
from transforms.live.shard_log import ShardLog, put_arrived
from transforms.order import order_events
from transforms.steps.shards import RECENT_IDS
from transforms.ticks import LATE, SEQUENCES, TICK, fold_ticks

END = 1 << 60
STAGES = (RECENT_IDS, "entities", JOIN)


class MemoryCells:
    """Cells as a runner's state keeps them."""

    def __init__(self):
        self.slots = collections.defaultdict(list)
        self.parts = {}
        self.since = []

    def put(self, slot, block):
        self.slots[slot].append(block)

    def take(self, slot):
        return self.slots.pop(slot, [])

    def version(self):
        return self.parts.get("version")

    def set_version(self, data):
        self.parts["version"] = data

    def snapshot(self):
        return self.parts.get("snapshot")

    def set_snapshot(self, data):
        self.parts["snapshot"], self.since = data, []

    def deltas(self):
        return self.since[::-1]  # a bag has no order

    def add_delta(self, data):
        self.since = [*self.since, data]

    def clear(self):
        self.parts, self.since = {}, []

    @property
    def size(self):
        """Bytes kept, the buffer aside."""
        return sum(map(len, self.parts.values())) + sum(map(len, self.since))


class World:
    """The stages of `Features`, over shards of a spec.

    Args:
      spec: the use.
      settings: of ticks.
      states: of an earlier run, as `Features` gives and takes them.
    """

    def __init__(self, spec, settings, states=()):
        self.spec, self.settings = spec, settings
        self.routes = Routes(spec, settings, part_blocks(spec))
        numbers = itertools.count(1)
        random = lambda: next(numbers).to_bytes(16, "big")  # noqa: E731
        self.logs = {RECENT_IDS: ShardLog(self.routes.ids, settings, random)}
        for entity, machine in self.routes.entities.items():
            self.logs[entity] = ShardLog(machine, settings, random)
        self.join = Rejoin(spec, settings)
        self.cells = collections.defaultdict(MemoryCells)
        self.pending = {stage: [] for stage in STAGES}  # (time, key, block)
        self.timers = {stage: set() for stage in STAGES}  # (time, key, tick)
        self.workers = [{}, {}]  # resident states
        self.place = collections.defaultdict(int)  # key -> its worker
        self.source_us = -END
        self.rows, self.others, self.letters = [], [], []
        self.rebuilt = 0
        for key, batch in states:
            for at, block in seed_pieces(key, batch, settings):
                self.logs[at.group].seed(self.cells[at], block)

    def fold(self, arrivals):
        """(scored, batch) as `Features` gives them, a tick and shard each, in the order of ticks.

        Args:
          arrivals: (the source's watermark, batch).
        """
        for watermark, batch in arrivals:
            self.reach(watermark)
            self.run()
            self.give(batch)
        self.reach(1 << 60)
        self.run()
        made = [(True, one) for one in self.rows] + [(False, one) for one in self.others]
        return sorted(made, key=lambda one: one[1].column(TICK)[0].as_py())

    # What may happen.

    def give(self, batch):
        """The source gives a batch out; its timestamp is the source's watermark."""
        for key, block in self.routes.split_events(batch, self.source_us):
            self.pending[stage_of(key)].append((self.source_us, key, block))

    def reach(self, time_us):
        """The source's watermark."""
        self.source_us = max(self.source_us, time_us)

    def choices(self):
        """Elements and timers that a runner may process now."""
        found = [("element", stage, n) for stage in STAGES for n in range(len(self.pending[stage]))]
        for stage in STAGES:
            reached = self.watermark(stage)
            due = sorted(timer for timer in self.timers[stage] if timer[0] <= reached)
            seen = set()  # timers of one key fire in order
            for timer in due:
                if timer[1] not in seen:
                    seen.add(timer[1])
                    found.append(("timer", stage, timer))
        return found

    def do(self, choice, fails=False):
        """Processes one of `choices` as a bundle; one that fails has done all of its work."""
        kind, stage, which = choice
        if kind == "element":
            _, key, block = self.pending[stage][which]
        else:
            _, key, _ = which
        cells = copy.deepcopy(self.cells[key]) if fails else self.cells[key]
        if kind == "element":
            timers, out = self._arrive(stage, key, block, cells), []
        else:
            timers, out = [], self._fire(key, which[2], cells, keep=not fails)
        if fails:
            return
        if kind == "element":
            del self.pending[stage][which]
        else:
            self.timers[stage].discard(which)
            for to, block in out:
                self.pending[stage_of(to)].append((which[0], to, block))
        self.timers[stage].update(timers)

    def restart(self, worker):
        """A worker dies; a new one takes its place."""
        self.workers[worker].clear()

    def move(self, key):
        """A shard goes to the other worker, or comes back."""
        self.place[key] ^= 1

    def run(self, choose=lambda choices: choices[0]):
        """Until nothing is left to do."""
        while choices := self.choices():
            self.do(choose(choices))

    # How.

    def watermark(self, stage):
        """What a stage may assume: what is before it waits before it."""
        reached = self.source_us
        for before in STAGES[: STAGES.index(stage)]:
            waiting = [time for time, *_ in self.pending[before]]
            waiting += [time for time, *_ in self.timers[before]]
            reached = min([reached, *waiting])
        own = [time for time, *_ in self.pending[stage]]
        return min([reached, *own])

    def _arrive(self, stage, key, block, cells):
        delay = STAGES.index(stage)
        return [
            (self.settings.end_us(tick) + delay, key, tick) for tick in put_arrived(cells, block)
        ]

    def _fire(self, key, tick, cells, keep):
        if key.group == JOIN:
            for joined in self.join.fire(cells, key.shard, tick):
                if keep:
                    self.rows += [joined.rows] if joined.rows is not None else []
                    self.others += [joined.others] if joined.others is not None else []
            return []
        residents = self.workers[self.place[key]]
        fired = self.logs[key.group].fire(cells, tick, residents.pop(key, None))
        if fired.resident is not None:
            residents[key] = fired.resident
        self.rebuilt += fired.rebuilt
        if key.group == RECENT_IDS:
            if keep:
                self.letters += [duplicate_dead_letters(one.dropped) for one in fired.outputs]
            return [out for one in fired.outputs for out in self.routes.of_ruled(key.shard, one)]
        return list(self.routes.of_folded(key.group, fired.outputs))


def stage_of(key):
    return key.group if key.group in (RECENT_IDS, JOIN) else "entities"


def in_fold_order(batches, columns=()):
    """Rows of several shards in the order of the folds, as a table of ours and some columns."""
    if not batches:
        return None
    table = pa.Table.from_batches([one.replace_schema_metadata(None) for one in batches])
    return table.sort_by([(TICK, "ascending"), ("event_time", "ascending"),
                          ("lockstep_place", "ascending")])  # fmt: skip


def expected_rows(spec, given, tick_us, resident=None, scorer=None, campaigns=None):
    """What the ordered step makes of what a source gave: (watermark, batch) in that order.

    Returns:
      outcomes of accepted events, in the order of the folds.
    """
    batches, ticks, late = [], [], []
    for watermark, batch in given:
        numbers, behind = fold_ticks(batch.column("event_time").to_numpy(), watermark, tick_us)
        batches.append(batch)
        ticks.append(numbers)
        late.append(behind)
    batch = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    ticks, late = np.concatenate(ticks), np.concatenate(late)
    order = order_events(spec, batch)
    order = order[np.argsort(ticks[order], kind="stable")]
    engine = Engine(spec, resident or Resident.empty(spec), scorer)
    engine.campaigns = campaigns
    return engine.step(batch.take(pa.array(order)), late[order])


def assert_as_expected(spec, world, outcome, numeric_names):
    """Bits of features, sequence numbers, late marks; events, once each; and what was dropped."""
    rows, others = in_fold_order(world.rows), in_fold_order(world.others)
    scored = outcome.events.column("lockstep_scored").to_numpy(zero_copy_only=False)
    for table, mask in ((rows, scored), (others, ~scored)):
        wanted = outcome.events.filter(pa.array(mask))
        if table is None:
            assert wanted.num_rows == 0
            continue
        assert table.column("event_id").to_pylist() == wanted.column("event_id").to_pylist()
        assert table.column(LATE).to_pylist() == wanted.column(LATE).to_pylist()
        event = table.column("lockstep_event").combine_chunks()
        for at, field in enumerate(event.type):
            assert event.field(at).equals(wanted.column(field.name)), field.name
    if rows is not None:
        for at, name in enumerate(numeric_names):
            found = rows.column(name).to_numpy().view(np.int32)
            assert np.array_equal(found, outcome.numeric[:, at].copy().view(np.int32)), name
        sequences = np.array(rows.column(SEQUENCES).to_pylist(), np.int64)
        assert np.array_equal(sequences, outcome.sequences)
    assert sum(one.num_rows for one in world.letters) == outcome.duplicates


def shard_keys(world):
    """Shards that have been used."""
    return sorted(world.cells)


__all__ = ["MemoryCells", "ShardKey", "World", "assert_as_expected", "expected_rows", "shard_keys"]
