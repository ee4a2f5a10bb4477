import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.duplicates import RecentIds, hash_ids

HORIZON = 100

events = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 500)), max_size=60)


def take(recent, drawn):
    ids = pa.array([name for name, _ in drawn], pa.string())
    times = np.array([time for _, time in drawn], np.int64)
    return recent.take(*hash_ids(ids), times).tolist()


def oracle(drawn, horizon=HORIZON):
    accepted = []
    kept = []
    for name, time in drawn:
        new = not any(name == other and abs(time - then) <= horizon for other, then in accepted)
        kept.append(new)
        if new:
            accepted.append((name, time))
    return kept


def test_the_first_one_wins_within_the_horizon_both_ends_included():
    drawn = [("a", 0), ("a", 100), ("a", 101), ("b", 101), ("a", 150), ("a", 202)]
    assert take(RecentIds(HORIZON), drawn) == [True, False, True, True, False, True]


def test_a_duplicate_does_not_prolong_the_memory():
    drawn = [("a", 0), ("a", 90), ("a", 110)]
    assert take(RecentIds(HORIZON), drawn) == [True, False, True]


def test_a_late_event_is_measured_in_event_time():
    assert take(RecentIds(HORIZON), [("a", 500), ("a", 450), ("a", 300)]) == [True, False, True]


@given(events)
def test_the_rule_in_any_order(drawn):
    assert take(RecentIds(HORIZON), drawn) == oracle(drawn)


@given(events, st.lists(st.integers(1, 9)))
def test_any_cut_gives_the_same(drawn, sizes):
    recent, kept, at = RecentIds(HORIZON), [], 0
    for size in [*sizes, len(drawn)]:
        kept += take(recent, drawn[at : at + size])
        at += size
    assert kept == oracle(drawn)


@given(events, st.integers(0, 60))
def test_through_a_table_and_back(drawn, cut):
    drawn = sorted(drawn, key=lambda one: one[1])
    first, second = drawn[:cut], drawn[cut:]
    recent = RecentIds(HORIZON)
    kept = take(recent, first)
    if second:
        recent.prune(second[0][1])
    restored = RecentIds.from_table(recent.to_table(), HORIZON)
    assert restored.to_table().equals(recent.to_table())
    assert kept + take(restored, second) == oracle(drawn)


@given(events)
def test_what_is_forgotten_could_not_be_repeated(drawn):
    drawn = sorted(drawn, key=lambda one: one[1])
    recent, kept = RecentIds(HORIZON), []
    for one in drawn:
        recent.prune(one[1])
        kept += take(recent, [one])
    assert kept == oracle(drawn)
    assert len(recent) <= sum(time >= drawn[-1][1] - HORIZON for _, time in drawn if drawn)


def test_a_late_id_is_kept_for_the_horizon_from_when_it_was_taken():
    recent = RecentIds(HORIZON)
    recent.reach(1000)
    assert take(recent, [("late", 5)]) == [True]
    plain = recent.to_table()
    recent.prune(1100)
    assert take(recent.copy(), [("late", 5)]) == [False]
    take(recent, [(f"id{n}", 1100) for n in range(5000)])  # it grows
    assert take(recent, [("late", 5)]) == [False]
    recent.prune(1101)
    assert take(recent, [("late", 5)]) == [True]
    assert plain.column("time").to_pylist() == [5], "the table has the event's time"


def test_equal_contents_are_equal_tables():
    one, other = RecentIds(HORIZON), RecentIds(HORIZON)
    drawn = [(f"id{i}", i % 7) for i in range(5000)]
    take(one, drawn)
    for event in reversed(drawn):
        take(other, [event])
    assert one.to_table().equals(other.to_table())


def test_memory_is_bounded_by_the_horizon():
    recent = RecentIds(HORIZON)
    sizes = []
    for start in range(0, 200_000, 1000):
        take(recent, [(f"id{i}", i) for i in range(start, start + 1000)])
        recent.watermark(start + 1000)
        sizes.append(len(recent))
    assert max(sizes) == max(sizes[:20]) <= 4 * 1024


def test_ids_that_differ_hash_differently():
    ids = pa.array([f"event-{i}" for i in range(100_000)])
    one, two = hash_ids(ids)
    assert len(np.unique(one)) == len(np.unique(two)) == 100_000


def test_events_dropped_for_one_of_another_kind_are_counted():
    recent = RecentIds(HORIZON)
    ids = hash_ids(pa.array(["a", "a", "a", "b"]))
    times, kinds = np.arange(4), np.array([0, 0, 1, 1], np.int16)
    assert recent.take(*ids, times, kinds).tolist() == [True, False, False, True]
    assert recent.other_kind == 1
    recent.prune(50)  # the table is made anew
    twice = recent.copy()
    assert twice.take(*(one[:1] for one in ids), times[:1], kinds[2:3]).tolist() == [False]
    assert (recent.other_kind, twice.other_kind) == (1, 2)
    stored = RecentIds.from_table(recent.to_table(), HORIZON)
    assert stored.take(*(one[:1] for one in ids), times[:1], kinds[2:3]).tolist() == [False]
    assert stored.other_kind == 0, "the stored state has no kinds"
