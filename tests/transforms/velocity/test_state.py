"""State on disk: what is damaged is refused, with the entity and what to do."""

import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fold_world import batch

from configs.errors import StateError
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.velocity import ShardState, entity_rows, finish, fold, make_plan
from transforms.velocity.packing import FORMAT

SPEC = loads(
    """
lockstep: 1
columns: {key: {type: string}, amount: {type: integer}, label: {type: string}}
kinds: {a: {scored: true}}
entities:
  k:
    key: {a: [key]}
    windows: [{length: 1h, tiles: 4}]
    aggregates:
      total: {op: sum, column: amount}
      high: {op: max, column: amount}
      labels: {op: distinct, column: label}
      last: {op: last, column: amount}
      since: {op: seconds_since_first}
""",
    "state.yaml",
    CATALOG,
)
PLAN = make_plan(SPEC, "k")
DIGEST = b"lockstep.state_digest"
MINUTE = 60_000_000
FIXTURES = Path(__file__).parent / "fixtures"


def rows(keys=20, events=200, labels=3, seed=1):
    rng = random.Random(seed)
    return entity_rows(
        PLAN,
        pa.RecordBatch.from_pydict(
            {
                "event_id": [f"{i}" for i in range(events)],
                "event_time": [(i * 45 * MINUTE * 3) // events for i in range(events)],
                "kind": ["a"] * events,
                "key": [f"k{rng.randrange(keys)}" for _ in range(events)],
                "amount": [rng.randrange(-300, 300) for _ in range(events)],
                "label": [f"l{rng.randrange(labels)}" for _ in range(events)],
            },
            schema=event_schema(SPEC),
        ),
    )


def made(**how):
    state = ShardState.empty(PLAN)
    state.update(fold(PLAN, state, rows(**how)).delta)
    return state.to_table()


def with_states(table, states, digest=False):
    """The table with other states; without the digest, as earlier builds wrote it."""
    metadata = dict(table.schema.metadata)
    if not digest:
        del metadata[DIGEST]
    columns = [table.column("key"), pa.array(states, pa.large_binary())]
    return pa.table(columns, schema=table.schema.with_metadata(metadata))


def test_a_changed_bit_is_refused_by_the_digest():
    table = made()
    states = table.column("state").to_pylist()
    rng = random.Random(3)
    for _ in range(50):
        row = rng.randrange(len(states))
        damaged = bytearray(states[row])
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        changed = [*states[:row], bytes(damaged), *states[row + 1 :]]
        with pytest.raises(StateError, match=r"'k' is damaged: its bytes are not those.*backfill"):
            ShardState.from_table(with_states(table, changed, digest=True), PLAN)


def test_keys_that_changed_places_are_refused_by_the_digest():
    table = made()
    keys = table.column("key").to_pylist()
    swapped = table.set_column(0, "key", pa.array([*keys[1:], keys[0]], pa.uint64()))
    with pytest.raises(StateError, match="its bytes are not those that were written"):
        ShardState.from_table(swapped.replace_schema_metadata(table.schema.metadata), PLAN)


def test_the_digest_does_not_depend_on_chunks_or_slices():
    table = made()
    parts = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert parts.column("state").num_chunks == 2
    assert ShardState.from_table(parts, PLAN).to_table().equals(table)
    assert ShardState.from_table(table, PLAN).to_table().schema.metadata == table.schema.metadata


def test_state_without_a_digest_is_read():
    table = made()
    old = with_states(table, table.column("state").to_pylist())
    assert ShardState.from_table(old, PLAN).to_table().equals(table)


def test_bytes_that_end_too_early_are_refused_wherever_they_are_cut():
    table = made(keys=1, events=30)
    [packed] = table.column("state").to_pylist()
    for length in range(len(packed)):
        with pytest.raises(StateError, match=r"key 1 of 1 ends too early"):
            ShardState.from_table(with_states(table, [packed[:length]]), PLAN)
    with pytest.raises(StateError, match="goes on after its end"):
        ShardState.from_table(with_states(table, [packed + b"\0"]), PLAN)


MORE = make_plan(
    loads((FIXTURES / "state_format_1_more.yaml").read_text(), "more.yaml", CATALOG), "k"
)


@pytest.mark.parametrize("events", [30, 500])
def test_other_cells_too_are_refused_or_folded_within_their_bound(events):
    """As below, for sums of squares, bins, hashes and lifetimes; every 7th byte of the long one."""
    made = [("x", i * 7.0, "ab"[i % 2], 1.5 ** (i % 60), "pqrst"[i % 5]) for i in range(events)]
    _, state = folded(MORE, made)
    table = state.to_table()
    [packed], [key] = table.column("state").to_pylist(), table.column("key").to_pylist()
    assert len(packed) < MORE.max_state_bytes
    refused = set()
    for at in range(0, len(packed), 1 if events < 100 else 7):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[at] ^= 1 << bit
            try:
                state = ShardState.from_table(with_states(table, [bytes(damaged)]), MORE)
            except StateError as error:
                refused.add(str(error).split(" 1 of 1 ")[1].split(".")[0])
                continue
            features, after = folded(MORE, [("x", events * 7.0 + 1, "a", 3.0, "p")], state)
            assert len(after.get(key)) <= MORE.max_state_bytes
            assert np.isinf(features).sum() == 0
            assert len(ShardState.from_table(after.to_table(), MORE)) == 1
    assert "has bins that no values make" in refused and len(refused) >= 5


@pytest.mark.parametrize("labels", [3, 4000])
def test_what_is_accepted_can_be_folded(labels):
    """Every byte in turn, every bit: refused, or a state that the fold takes within its bounds."""
    table = made(keys=1, events=1000 if labels > 3 else 30, labels=labels)
    [packed] = table.column("state").to_pylist()
    [key] = table.column("key").to_pylist()
    more = rows(keys=1, events=3)
    more = more.take(np.array([2]))
    refused = 0
    for at in range(len(packed)):
        for bit in range(8):
            damaged = bytearray(packed)
            damaged[at] ^= 1 << bit
            try:
                state = ShardState.from_table(with_states(table, [bytes(damaged)]), PLAN)
            except StateError:
                refused += 1
                continue
            folded = fold(PLAN, state, more)
            assert len(folded.delta[key]) <= PLAN.max_state_bytes
            made_of = with_states(table, [folded.delta[key]])
            assert len(ShardState.from_table(made_of, PLAN)) == 1
    assert refused > len(packed)


# A key with one event: version, clock 1 h, sequence 1; its bytes by hand.
CLOCK = (60 * MINUTE).to_bytes(8, "little")
HEAD = b"\x01" + CLOCK + b"\x01"
SCALARS = b"\x01\x0a" + b"\x01\x00"
TILE = b"\x08" + b"\x0a" + b"\x01\x0a" + b"\x01\x05\x03"
GOOD = HEAD + SCALARS + b"\x01\x00" + TILE
LONG = b"\xff" * 9 + b"\x01"
DAMAGE = {
    "another format": (b"\x02" + GOOD[1:], "another format"),
    "mark of a scalar": (HEAD + b"\x02\x0a\x01\x00\x01\x00" + TILE, "neither 0 nor 1"),
    "mark of an extreme": (GOOD.replace(TILE, b"\x08\x0a\x02\x0a\x01\x05\x03"), "neither 0 nor 1"),
    "a first event after the clock": (HEAD + b"\x01\x0a\x01\xfe" + LONG[:7] + b"\x7e\x01\x00"
                                      + TILE, "beyond its bounds"),
    "a sum beyond the limit": (GOOD.replace(TILE, b"\x08" + LONG + b"\x01\x0a\x01\x05\x03"),
                               "beyond its bounds"),
    "an extreme of none": (GOOD.replace(TILE, b"\x08\x0a\x01" + LONG + b"\x01\x05\x03"),
                           "beyond its bounds"),
    "more tiles than the window": (GOOD.replace(b"\x01\x00" + TILE, b"\x05\x00" + TILE), "tiles"),
    "a tile of the future": (GOOD.replace(TILE, b"\x0a" + TILE[1:]), "tiles"),
    "a tile that has left": (GOOD.replace(TILE, b"\x00" + TILE[1:]), "tiles"),
    "a tile twice": (GOOD.replace(b"\x01\x00" + TILE, b"\x02\x00" + TILE + b"\0" + TILE[1:]),
                     "tiles"),
    "a register beyond 127": (GOOD.replace(b"\x01\x05\x03", b"\x01\x80\x03"), "sketch"),
    "registers out of order": (GOOD.replace(b"\x01\x05\x03", b"\x02\x05\x03\x05\x03"), "sketch"),
    "a rank of 0": (GOOD.replace(b"\x01\x05\x03", b"\x01\x05\x00"), "sketch"),
    "a rank beyond 58": (GOOD.replace(b"\x01\x05\x03", b"\x01\x05\x3b"), "sketch"),
    "a count between": (GOOD.replace(b"\x01\x05\x03", b"\x40" + b"\x05\x03" * 64), "sketch"),
    "a nearly empty dense one": (GOOD.replace(b"\x01\x05\x03", b"\xff" + b"\x01" * 63 + b"\0" * 65),
                                 "sketch"),
    "a varint that never ends": (HEAD[:-1] + b"\xff" * 10 + b"\x01", "too early"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_every_kind_of_damage_is_named(name):
    damaged, words = DAMAGE[name]
    table = made(keys=1, events=1)
    assert len(ShardState.from_table(with_states(table, [GOOD]), PLAN)) == 1
    with pytest.raises(StateError, match=f"state of entity 'k' is damaged: key 1 of 1 .*{words}"):
        ShardState.from_table(with_states(table, [damaged]), PLAN)


def test_split_by_shard_keeps_every_key_where_it_belongs():
    whole = ShardState.from_table(made(keys=40), PLAN)
    parts = whole.split(PLAN, 4)
    again = ShardState.empty(PLAN)
    for part in parts:
        again.merge(part)
    assert sum(map(len, parts)) == len(whole) and min(map(len, parts)) > 0
    assert again.to_table().equals(whole.to_table())


RELEASED = sorted(path.stem for path in FIXTURES.glob("state_format_*.hex"))


def stored_rows(name):
    """What the stored keys were folded of: (key, seconds, kind, amount, label)."""
    if name.endswith("_dense"):  # more values than the pairs of a sketch, or the bins of a tile
        return [("x", i * 0.7, "a", i / 4, f"l{i}") for i in range(500)], 450
    return [("x", i * 0.7, "ab"[i % 2], i / 4, "pqrst"[i % 5]) for i in range(40)], 30


@pytest.mark.parametrize("name", RELEASED)
def test_stored_state_of_every_format_is_read_and_written(name):
    """The bytes of released formats never change: a changed byte needs a new format number."""
    text = (FIXTURES / f"{name.removesuffix('_dense')}.yaml").read_text()
    plan = make_plan(loads(text, f"{name}.yaml", CATALOG), "k")
    every, cut = stored_rows(name)
    first, state = folded(plan, every[:cut])
    table = state.to_table()
    [packed], [key] = table.column("state").to_pylist(), table.column("key").to_pylist()
    if os.environ.get("GOLDEN") == "write" and not (FIXTURES / f"{name}.hex").read_text():
        (FIXTURES / f"{name}.hex").write_text(packed.hex() + "\n")
    stored = bytes.fromhex((FIXTURES / f"{name}.hex").read_text())
    assert packed.hex() == stored.hex()
    second, _ = folded(plan, every[cut:], ShardState(plan, {key: stored}))
    whole, _ = folded(plan, every)
    assert np.concatenate([first, second]).tobytes() == whole.tobytes()


def test_the_current_format_has_fixtures_of_both_forms_of_a_sketch():
    assert {f"state_format_{FORMAT}", f"state_format_{FORMAT}_dense"} <= set(RELEASED)
    dense = bytes.fromhex((FIXTURES / f"state_format_{FORMAT}_dense.hex").read_text())
    assert b"\xff" in dense and len(dense) > 128


def test_a_key_with_two_events_takes_few_bytes():
    text = (FIXTURES / "state_format_1.yaml").read_text()
    plan = make_plan(loads(text, "few.yaml", CATALOG), "k")
    _, state = folded(plan, [("x", 1, "a", 2.0, "p"), ("x", 2, "a", 3.0, "q")])
    assert state.nbytes < 120


def folded(plan, rows, state=None):
    state = ShardState.empty(plan) if state is None else state
    part = fold(plan, state, entity_rows(plan, batch(rows)))
    state.update(part.delta)
    return finish(plan, part.outputs), state
