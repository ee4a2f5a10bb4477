"""Leases by a clock of our own: each is extended in time, whatever was extended before it."""

import random

import pytest

from pipelines.pubsub.leases import Leases


@pytest.mark.parametrize("lease_s", [10, 30, 600])
def test_a_new_lease_does_not_wait_for_an_older_one(lease_s):
    leases, rng, now = Leases(lease_s), random.Random(lease_s), 0.0
    sizes = {}
    for number in range(2000):
        now += rng.random()
        leases.extended(leases.due(now), now)
        assert not leases.has_ended(now + 1)
        leases.add(str(number), number, now)
        sizes[str(number)] = number
        if rng.random() < 0.5:
            done = rng.sample(sorted(sizes), min(3, len(sizes)))
            leases.end([*done, "of nobody"])
            for one in done:
                del sizes[one]
        assert (len(leases), leases.bytes) == (len(sizes), sum(sizes.values()))
    assert sorted(leases.clear()) == sorted(sizes)
    assert (len(leases), leases.bytes) == (0, 0)


def test_what_could_not_be_extended_stays_due_until_it_has_ended():
    leases = Leases(30)
    leases.add("a", 1, 0.0)
    leases.extended(leases.due(1.0), 1.0)
    leases.add("b", 1, 2.0)
    assert leases.due(16.5) == ["a", "b"] == leases.due(20.0)
    assert not leases.has_ended(11.9)
    assert leases.has_ended(12.0), "a subscription's own deadline may be ten seconds"
    leases.end(["b"])
    assert not leases.has_ended(30.9)
    assert leases.has_ended(31.0)
