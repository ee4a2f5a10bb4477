"""The ablation: each input is of one family, and differences are of the same draws."""

import numpy as np
import pytest

from benchmarks.ablation import FAMILIES, drawn, family_of, with_families
from configs.loader import load, shipped
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names


@pytest.fixture(scope="module")
def spec():
    return load(shipped("chat_full"), CATALOG)


def test_families_together_are_all_inputs_and_each_adds_its_own(spec):
    every = numeric_names(spec)
    before = []
    for count in range(1, len(FAMILIES) + 1):
        made = with_families(spec, FAMILIES[:count])
        names = numeric_names(made)
        added = [name for name in names if name not in before]
        assert added and {family_of(spec, name) for name in added} == {FAMILIES[count - 1]}
        assert [name for name in every if name in names] == list(names), "the same order"
        assert (made.inputs.text is not None) == ("language" in FAMILIES[:count])
        before = names
    assert tuple(before) == every


def test_behaviour_reads_no_text_and_no_neighbour(spec):
    names = numeric_names(with_families(spec, FAMILIES[:1]))
    assert {"author_messages_1h", "account_age", "domain_authors_1d"} <= set(names)
    assert not [name for name in names if "graph" in name or "copies" in name or "text" in name]


def test_draws_are_the_same_whatever_the_scores():
    rng = np.random.default_rng(2)
    truth, units = rng.random(400) < 0.2, rng.integers(0, 60, 400)
    good, noise = truth + rng.normal(size=400), rng.normal(size=400)
    one, again, other = (drawn(ranks, truth, units, 50) for ranks in (good, good * 3, noise))
    assert one.figure > other.figure
    assert (one.draws == again.draws).all(), "what ranks alike does not differ on any draw"
    assert len(one.draws) == len(other.draws) == 50
    apart = (one.draws - other.draws).std()
    assert apart < np.hypot(one.draws.std(), other.draws.std()), "what makes a draw easy cancels"
