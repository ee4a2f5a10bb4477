"""Weights and even chances: what is estimated with them is what is there, whatever was hidden."""

import numpy as np
import pyarrow as pa
import pytest

from training.labels import UNLABELLED
from training.propensity import (
    Seen,
    even_chances,
    inverse_propensities,
    summarise_weights,
)


def world(count=200_000, share=0.05, seed=1):
    """Events of which the worst are blocked, a share of these let through; what truly is abuse."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.4, 3, count)
    abuse = (rng.random(count) < scores).astype(np.int8)
    due = scores > 0.3
    through = due & (rng.random(count) < share)
    acted = due & ~through
    labels = np.where(acted, 0, abuse).astype(np.int8)  # nobody reports what nobody sees
    ids = pa.array([f"m-{at}" for at in range(count)])
    return scores, abuse, labels, Seen(acted, through, np.where(through, share, 1.0)), ids


def test_weighted_labels_are_like_the_truth_where_plain_ones_are_not():
    _, abuse, labels, seen, _ = world()
    made, weights = inverse_propensities(labels, seen)
    known = made != UNLABELLED
    weighted = np.average(made[known], weights=weights[known])
    assert abs(weighted - abuse.mean()) < 0.01
    assert abs(labels.mean() - abuse.mean()) > 0.03
    assert abs(made[known].mean() - abuse.mean()) > 0.03


def test_a_part_with_even_chances_is_like_all_traffic():
    scores, abuse, labels, seen, ids = world()
    made, weights = inverse_propensities(labels, seen)
    even = even_chances(made, weights, ids)
    kept = even != UNLABELLED
    assert (even[kept] == made[kept]).all() and not (kept & seen.acted).any()
    assert kept[seen.through].all()
    assert abs(even[kept].mean() - abuse.mean()) < 0.02
    flagged = scores > 0.5
    assert abs(even[kept & flagged].mean() - abuse[flagged].mean()) < 0.03
    assert even_chances(even, np.ones(len(even)), ids).tolist() == even.tolist()


def test_which_events_are_kept_hangs_on_their_ids_alone():
    _, _, labels, seen, ids = world(2_000)
    made, weights = inverse_propensities(labels, seen)
    every = even_chances(made, weights, ids)
    order = np.random.default_rng(2).permutation(len(ids))
    again = even_chances(made[order], weights[order], ids.take(pa.array(order)))
    assert again.tolist() == every[order].tolist()


def test_weights_are_clipped_and_what_that_takes_is_counted():
    _, _, labels, seen, _ = world(50_000, share=0.01)
    made, weights = inverse_propensities(labels, seen, most_weight=20.0)
    assert weights.max() == 20.0
    found = summarise_weights(labels, made, weights, seen)
    known = made != UNLABELLED
    through = int((known & seen.through).sum())
    full = through * 100 + int((known & ~seen.through).sum())
    assert found.clipped == pytest.approx(through * 80 / full)
    assert (found.labelled, found.through) == (int(known.sum()), through)
    assert found.acted == int(seen.acted.sum())
    assert 1 < found.effective < found.labelled
