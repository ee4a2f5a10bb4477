"""Near copies of random texts, edited by letters and words, meet as often as is stated."""

import itertools

import numpy as np

from benchmarks.near_copies import BANDS, EDGES, ROWS, make_pairs, measure, similarity


def test_pairs_meet_as_often_as_is_stated():
    pairs = make_pairs(6000, seed=3)
    rows = measure(pairs)
    assert [(row.low, row.high) for row in rows] == list(itertools.pairwise(EDGES))
    alike = np.array([similarity(*pair) for pair in pairs])
    for row in rows:
        inside = alike[(alike > row.low) & (alike <= row.high)]
        assert len(inside) == row.pairs > 100
        one = inside**ROWS
        for found, chance in ((row.one, one), (row.any, 1 - (1 - one) ** BANDS)):
            sigma = np.sqrt((chance * (1 - chance)).sum()) / row.pairs
            assert abs(found - chance.mean()) <= 4 * sigma
