"""The graph against a brute-force oracle, and the same bits in any order and any shards."""

import itertools
import math
import os
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.social import GRAPH_FEATURES
from transforms.social import (
    EDGES,
    Standing,
    feature_names,
    graph_of,
    latest,
    live,
    make_rows,
    merge,
    neighbour_means,
    neighbour_sums,
    neighbours,
    node_features,
    structure,
    sybil_rank,
    sybil_scar,
    transpose,
    triangles,
)
from transforms.social.rows import parts_of

NAMES = ["a", "b", "B", "é", "f", "g", "a1"]
NAME = st.sampled_from(NAMES)
EDGE = st.tuples(NAME, NAME, st.sampled_from(["ask", "accept", "reply"]), st.integers(0, 9))
LISTS = st.lists(EDGE, max_size=30)
EXPIRY = {"ask": 4, "accept": 100, "reply": 2}
AS_OF = 8
ANSWERS = {"accept": "ask"}


def table(edges):
    rows = [
        {"from": a, "to": b, "relation": r, "since": t, "time": t, "until": t + EXPIRY[r]}
        for a, b, r, t in edges
    ]
    return pa.Table.from_pylist(rows, EDGES)


def graph(edges):
    return graph_of(latest(live(table(edges), AS_OF)), ANSWERS)


def made(edges):
    """Features of each account by name, and the graph."""
    one = graph(edges)
    honest, abusive = one.numbers(pa.array(["a", "zz"])), one.numbers(pa.array(["é", "B"]))
    return one, node_features(one, Standing(honest, abusive), AS_OF)


@given(LISTS)
def test_features_are_those_of_the_definition(edges):
    one, found = made(edges)
    there = [(a, b, r, t) for a, b, r, t in edges if a != b and t < AS_OF < t + EXPIRY[r]]
    ids = sorted({end for edge in there for end in edge[:2]}, key=str.encode)
    assert one.ids.to_pylist() == ids
    pairs = {edge[:2] for edge in there}
    near = {u: sorted({v for v in ids if {(u, v), (v, u)} & pairs}, key=ids.index) for u in ids}

    def share(true, of):
        return sum(true) / len(of) if of else math.nan

    def base(u):
        outs = [v for v in ids if (u, v) in pairs]
        asked = {b for a, b, r, _ in there if (a, r) == (u, "ask")}
        got = {a for a, b, r, _ in there if (b, r) == (u, "accept")}
        two = list(itertools.combinations(near[u], 2))
        return {
            "in_degree": sum((v, u) in pairs for v in ids),
            "out_degree": len(outs),
            "reciprocity": share([(v, u) in pairs for v in outs], outs),
            "acceptance": share([v in got for v in asked], asked),
            "clustering": share([w in near[v] for v, w in two], two),
            "age": (AS_OF - min(t for a, b, _, t in there if u in (a, b))) / 1e6,
        }

    of = dict(zip(ids, map(base, ids), strict=True))
    names = feature_names(list(GRAPH_FEATURES))
    columns = {name: found[:, at] for at, name in enumerate(names)}
    for name in ("in_degree", "out_degree", "reciprocity", "acceptance", "clustering", "age"):
        np.testing.assert_array_equal(columns[name], [of[u][name] for u in ids])
    for name in GRAPH_FEATURES:
        for hop, before in ((1, name), (2, f"{name}_mean_1")):
            value = dict(zip(ids, columns[before].tolist(), strict=True))
            for at, u in enumerate(ids):
                known = [value[v] for v in near[u] if not math.isnan(value[v])]
                expected = sum(known) / len(known) if known else math.nan
                np.testing.assert_equal(columns[f"{name}_mean_{hop}"][at], expected)


@given(LISTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_no_order_repetition_or_partial_reduction_changes_a_bit(edges, random, parts):
    one, found = made(edges)
    other = edges + random.sample(edges, len(edges) // 2)
    random.shuffle(other)
    again, features = made(other)
    assert again.ids.equals(one.ids)
    assert features.tobytes() == found.tobytes()
    reduced = [latest(live(table(other[part::parts]), AS_OF)) for part in range(parts)]
    whole = graph_of(latest(pa.concat_tables(reduced)), ANSWERS)
    assert whole.since.tolist() == one.since.tolist()
    for name in ("out", "into", "both"):
        assert getattr(whole, name).to.tobytes() == getattr(one, name).to.tobytes()
        assert getattr(whole, name).starts.tobytes() == getattr(one, name).starts.tobytes()


@given(LISTS, st.integers(1, 5))
def test_shards_of_the_rows_give_the_bits_of_the_whole(edges, count):
    both = graph(edges).both
    cuts = np.linspace(0, len(both), count + 1).astype(int).tolist()
    shards = [both.shard(begin, end) for begin, end in itertools.pairwise(cuts)]
    whole = np.arange(len(both)) * 7 + 3
    values = np.column_stack([np.where(whole % 2, whole, np.nan) / 3, np.sqrt(whole)])
    sums = np.concatenate([neighbour_sums(shard, whole) for shard in shards])
    means = np.concatenate([neighbour_means(shard, values) for shard in shards])
    assert sums.tobytes() == neighbour_sums(both, whole).tobytes()
    assert means.tobytes() == neighbour_means(both, values).tobytes()
    assert triangles(both, itertools.pairwise(cuts)).tolist() == triangles(both).tolist()
    assert [shard.first for shard in shards] == cuts[:-1]


def test_as_many_parts_as_cores_give_the_bits_of_one(monkeypatch):
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 500, (2, 5000), np.int32)
    out = make_rows(source, target, 500)
    both = merge(out, transpose(out))
    values = np.where(rng.random((500, 2)) < 0.2, np.nan, rng.random((500, 2)))
    whole = rng.integers(-99, 99, 500)

    def all_of_it():
        made = neighbour_sums(both, whole), neighbour_means(both, values), triangles(both)
        return [one.tobytes() for one in made]

    alone = all_of_it()
    parts = parts_of(both, 1) if len(os.sched_getaffinity(0)) > 1 else [(0, 100), (100, 500)]
    assert len(parts) > 1
    assert (parts[0][0], parts[-1][1]) == (0, 500)
    for module in (neighbours, structure):
        monkeypatch.setattr(module, "parts_of", lambda rows: parts)
    assert all_of_it() == alone


@given(LISTS.filter(lambda edges: any(a != b for a, b, _, _ in edges)), st.data())
def test_trust_is_that_of_exact_arithmetic(edges, data):
    both = graph([(a, b, "accept", 0) for a, b, _, _ in edges]).both
    count = len(both)
    seeds = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    near = [both.to[a:b].tolist() for a, b in itertools.pairwise(both.starts.tolist())]
    trust = [Fraction(int(u in seeds), len(seeds)) for u in range(count)]
    for _ in range(math.ceil(math.log2(count))):
        trust = [sum((trust[v] / len(near[v]) for v in near[u]), Fraction()) for u in range(count)]
    expected = [float(trust[u] * len(both.to) / len(near[u])) for u in range(count)]
    np.testing.assert_allclose(sybil_rank(both, np.array(seeds)), expected, atol=1e-8)


@given(LISTS.filter(lambda edges: any(a != b for a, b, _, _ in edges)), st.data())
def test_standing_is_that_of_exact_arithmetic(edges, data):
    both = graph([(a, b, "accept", 0) for a, b, _, _ in edges]).both
    marks = data.draw(
        st.lists(st.sampled_from([-1, 0, 1]), min_size=len(both), max_size=len(both)).filter(any)
    )
    near = [both.to[a:b].tolist() for a, b in itertools.pairwise(both.starts.tolist())]
    labels = [Fraction(2, 5) * mark for mark in marks]
    standing = labels
    coupling, half = Fraction(1, 3), Fraction(1, 2)
    for _ in range(6):
        standing = [
            max(-half, min(half, labels[u] + coupling * sum(standing[v] for v in near[u])))
            for u in range(len(both))
        ]
    honest, abusive = (np.flatnonzero(np.array(marks) == mark) for mark in (1, -1))
    found = sybil_scar(both, honest, abusive, coupling=1 / 3)
    np.testing.assert_allclose(found, [float(one) for one in standing], atol=1e-7)


def test_without_edges_or_judged_accounts_nothing_is_said():
    empty, features = made([])
    assert len(empty.ids) == 0
    assert features.shape == (0, 3 * len(GRAPH_FEATURES))
    one = graph([("a", "b", "accept", 1)])
    none = np.empty(0, np.int64)
    assert np.isnan(sybil_rank(one.both, none)).all()
    assert np.isnan(sybil_scar(one.both, none, none)).all()


@pytest.mark.parametrize(("as_of", "there"), [(5, False), (6, True), (8, True), (9, False)])
def test_an_edge_is_there_after_its_event_and_until_it_expires(as_of, there):
    assert bool(live(table([("a", "b", "ask", 5)]), as_of).num_rows) is there


def test_an_event_after_the_moment_hides_no_earlier_one():
    edges = live(table([("a", "b", "accept", 5), ("a", "b", "accept", 9)]), AS_OF)
    assert latest(edges)["time"].to_pylist() == [5]
