"""The battery of hostile records: each gets its reason, none harms a neighbour, memory is flat."""

import itertools
import random
import resource

import pytest
from hostile import HOSTILE, fine_event, hostile_records

from configs.loader import load, shipped
from transforms.catalog import CATALOG
from transforms.dead_letter import Stage
from transforms.decode import decode_json

CHAT = load(shipped("chat"), CATALOG)


def check(pairs, first):
    """Decodes some records and compares every fate with the one that is due."""
    decoded = decode_json(CHAT, [record for _, record in pairs], "sub", first)
    due = {first + i: reason for i, (reason, _) in enumerate(pairs) if reason is not None}
    got = {letter.position: letter.reason for letter in decoded.dead}
    assert got == due
    assert len(decoded.dead) == len(got)
    lived = [first + i for i, (reason, _) in enumerate(pairs) if reason is None]
    assert decoded.positions.tolist() == lived
    decoded.batch.validate(full=True)
    return decoded


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_each_gets_its_reason_alone_and_among_others(index):
    reason, make = HOSTILE[index]
    record = make(random.Random(index), fine_event(index))
    alone = check([(reason, record)], 0)
    fine = [
        (None, next(r for due, r in hostile_records(50, seed=i) if due is None)) for i in (1, 2)
    ]
    among = check([fine[0], (reason, record), fine[1]], 0)
    if reason is None:
        assert among.batch.slice(1, 1).equals(alone.batch)
    else:
        assert [one.reason for one in among.dead] == [reason]


def test_tens_of_thousands():
    pairs = list(hostile_records(30_000, seed=3))
    for start in range(0, len(pairs), 997):
        check(pairs[start : start + 997], start)


def test_a_batch_does_not_change_a_record():
    pairs = list(hostile_records(600, seed=4))
    whole = check(pairs, 0)
    for size in (1, 7, 64):
        cut = [
            decode_json(CHAT, [r for _, r in pairs[i : i + size]], "sub", i)
            for i in range(0, len(pairs), size)
        ]
        assert [letter for part in cut for letter in part.dead] == list(whole.dead)
        rows = [row for part in cut for row in part.batch.to_pylist()]
        assert rows == whole.batch.to_pylist()


def test_no_dead_letter_holds_what_was_sent():
    pairs = list(hostile_records(5000, seed=5))
    decoded = check(pairs, 0)
    known = {"", *CHAT.columns, "event_id", "event_time", "kind"}
    for letter in decoded.dead:
        assert letter.stage is Stage.DECODE
        assert letter.source == "sub"
        assert (letter.column or "") in known
        for sent in ("many", "perhaps", "yesterday", "u1", "https", "Message"):
            assert sent not in letter.detail


@pytest.mark.soak
def test_a_million_in_flat_memory():
    peaks = []
    stream = hostile_records(1_000_000, seed=6)
    position = 0
    while pairs := list(itertools.islice(stream, 2000)):
        check(pairs, position)
        position += len(pairs)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert position == 1_000_000
    assert peaks[-1] - peaks[len(peaks) // 5] < 64 * 1024  # KiB
