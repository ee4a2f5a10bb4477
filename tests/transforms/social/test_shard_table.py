"""Columns of a shard's file: the fewest bytes, and every bit comes back."""

import numpy as np
import pyarrow as pa
import pytest

from transforms.social.shard_table import Shard, account_hashes, lookup, shard_table

N = 70_000
WEIRD = np.frombuffer(b"\x01\x00\xc0\x7f\x00\x00\x00\x80\x00\x00\xc0\xff", np.float32)  # NaNs, -0
RNG = np.random.default_rng(1)
BITS = RNG.integers(0, 2**32, N, dtype=np.uint32)
COLUMNS = {
    "few": (RNG.choice(np.float32([0, 1, 2.5, *WEIRD]), N), 1, 0),
    "many": (RNG.integers(0, 6_000, N).astype(np.float32), 2, 0),
    "low byte": (((BITS % 500) << 16 | BITS >> 24).view(np.float32), 2, 1),
    "near one": ((1 + RNG.random(N)).astype(np.float32), 1, 2),
    "any": (BITS.view(np.float32), 4, 0),
}
"""Values, and bytes an account: of codes or values, and of low bits."""


@pytest.fixture(scope="module")
def accounts():
    return pa.array([f"user-{number}" for number in range(N)])


@pytest.fixture(scope="module")
def table(accounts):
    return shard_table(accounts, np.column_stack([one for one, _, _ in COLUMNS.values()]))


def test_each_column_takes_the_fewest_bytes(table):
    for number, (_, code, low) in enumerate(COLUMNS.values()):
        kind = table.schema.field(str(number)).type
        assert (kind.index_type if pa.types.is_dictionary(kind) else kind).bit_width == 8 * code
        name = f"{number}.low"
        assert (table.schema.field(name).type.bit_width if low else 0) == 8 * low
        assert (name in table.column_names) == bool(low)


@pytest.mark.parametrize("count", [5, 500])
def test_every_bit_comes_back_from_the_columns_that_are_asked_for(table, accounts, count):
    asked = RNG.integers(0, N, count)
    names = list(COLUMNS)
    there, some = {"x": Shard(table)}, accounts.take(pa.array(asked))
    for wanted in (range(len(names)), [4, 0, 2], []):
        made = lookup(["x"], there.__getitem__, some, wanted)
        for place, number in enumerate(wanted):
            expected = COLUMNS[names[number]][0][asked]
            assert np.ascontiguousarray(made[:, place]).tobytes() == expected.tobytes()


def test_files_of_earlier_builds_are_read(accounts):
    """Whole rows, and hashes of 64 bits."""
    few, hashes = accounts.slice(0, 50), account_hashes(accounts.slice(0, 50))
    values, order = np.arange(100, dtype=np.float32).reshape(50, 2), np.argsort(hashes)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values[order].ravel()), 2)
    named = {"hash": hashes[order], "account": few.take(pa.array(order)), "features": rows}
    there = pa.table(named)
    for times in (1, 3):  # one by one, and together
        some = pa.concat_arrays([few] * times)
        made = lookup(["x"], {"x": Shard(there)}.__getitem__, some, [1, 0])
        np.testing.assert_array_equal(made, np.concatenate([values[:, ::-1]] * times))
    part = Shard(there.slice(3, 4)).values(slice(None), [0, 1])
    np.testing.assert_array_equal(part, values[order][3:7])


def test_accounts_of_one_hash_are_told_apart_by_their_ids(table):
    """As if 32 bits of a hash were those of its neighbours' too."""
    first = 1_000
    hashes = table["hash"].to_numpy().copy()
    hashes[first : first + 3] = hashes[first]
    same = Shard(table.set_column(0, "hash", pa.array(hashes)))
    known = table["account"].combine_chunks().slice(first, 3)
    asked = pa.array([int(hashes[first]) << 32] * 3, pa.uint64()).to_numpy()
    assert same.places(asked, known).tolist() == [first, first + 1, first + 2]
    assert [same.place(*one) for one in zip(asked.tolist(), known.to_pylist(), strict=True)] == (
        [first, first + 1, first + 2]
    )
    assert same.place(int(asked[0]), "nobody") == -1 == same.place(2**64 - 1, "nobody")


def test_accounts_that_are_not_there_have_nothing(table):
    asked = pa.array(["nobody", None, "", "user-7"])
    few = lookup(["x"], lambda _: Shard(table), asked, [1, 4])
    many = lookup(["x"], lambda _: Shard(table), pa.concat_arrays([asked] * 50), [1, 4])
    assert many[:4].tobytes() == few.tobytes()
    assert np.isnan(few[:3]).all() and few[3, 0] == COLUMNS["many"][0][7]


def test_a_shard_of_nobody():
    nobody = shard_table(pa.array([], pa.string()), np.zeros((0, 2), np.float32))
    assert Shard(nobody).values(slice(None), [0, 1]).shape == (0, 2)
