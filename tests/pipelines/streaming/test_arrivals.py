"""The arrival log alone: whatever is cut off or changed in it, only what was written is read.

Its records (`records`) as bytes, then the log as files.
"""

import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError, StateError
from pipelines.pubsub.client import RawMessage
from pipelines.streaming import arrivals as module
from pipelines.streaming import records
from pipelines.streaming.arrivals import ArrivalLog, Done, KeptArrivals
from pipelines.streaming.stopping import Stopping

payloads = st.lists(st.binary(min_size=1, max_size=60) | st.just(b"\x00" * 20), max_size=6)


def written(given_payloads, first=7):
    """A segment, and where each record ends."""
    data, ends = records.begin_segment(first), []
    for payload in given_payloads:
        data += records.frame(payload, first, len(data))
        ends.append(len(data))
    return data, ends


@given(payloads, st.data())
def test_of_a_file_that_is_cut_anywhere_the_whole_records_are_read(some, data):
    whole, ends = written(some)
    cut = data.draw(st.integers(0, len(whole)))
    found = records.read_segment(whole[:cut])
    kept = [payload for payload, end in zip(some, ends, strict=True) if end <= cut]
    assert [bytes(one) for one in found.payloads] == kept
    assert (
        found.end
        == ([0] if cut < records.HEAD_BYTES else [records.HEAD_BYTES, *ends])[
            len(kept) if cut >= records.HEAD_BYTES else 0
        ]
    )
    assert (found.first is None) == (cut < records.HEAD_BYTES)


@given(payloads, st.data())
def test_of_a_file_in_which_any_bit_is_flipped_nothing_is_taken_for_whole(some, data):
    whole, ends = written(some)
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    spoilt = bytearray(whole)
    spoilt[at] ^= 1 << bit
    with pytest.raises(records.DamagedError) as raised:
        records.read_segment(bytes(spoilt))
    begins = [0, records.HEAD_BYTES, *ends][:-1] if some else [0]
    assert raised.value.offset == max(one for one in begins if one <= at)
    assert raised.value.expected != raised.value.found


@given(payloads, st.integers(1, 3000))
def test_room_that_was_made_and_never_filled_is_a_torn_end(some, zeros):
    whole, _ = written(some)
    found = records.read_segment(whole + bytes(zeros))
    assert [bytes(one) for one in found.payloads] == some
    assert found.end == len(whole)


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4), st.data())
def test_a_sector_that_never_came_to_disk_tears_the_last_record_only(some, data):
    whole, _ = written([*some, bytes(range(1, 256)) * 8])
    sectors = range(-(-(len(whole) - 2040) // 512) * 512, len(whole), 512)
    hole = data.draw(st.sampled_from(sectors))
    spoilt = whole[:hole] + bytes(min(512, len(whole) - hole)) + whole[hole + 512 :]
    assert [bytes(one) for one in records.read_segment(spoilt).payloads] == some
    followed = spoilt + records.frame(b"after", 7, len(spoilt))
    with pytest.raises(records.DamagedError):
        records.read_segment(followed)


@given(payloads)
def test_a_record_of_another_place_is_not_taken(some):
    data, _ = written(some)
    for first, offset in ((8, len(data)), (7, len(data) + 512)):
        with pytest.raises(records.DamagedError):
            records.read_segment(data + records.frame(b"stale", first, offset))


def message(number):
    data = b"%d" % number
    return RawMessage(f"ack-{number}", f"m{number}", number, data, attributes={"n": str(number)})


def append(log, count, clock_us=0):
    first = log._next
    assert log.append([message(n) for n in range(first, first + count)], clock_us) == first


def numbers(found):
    for one in found:
        for place, got in enumerate(one.messages):
            number = one.first + place
            assert got == RawMessage(
                "", f"m{number}", number, b"%d" % number, attributes={"n": str(number)}
            )
            yield number


def reopened(root, done=None, **more):
    log = ArrivalLog(root, **more)
    return log, list(numbers(log.recover(done or Done())))


def segments(root):
    return [path for _, path in module.list_arrivals(root / "arrivals")]


def test_what_is_not_done_is_read_back_as_it_came(tmp_path):
    log, found = reopened(tmp_path)
    assert found == []
    append(log, 3, clock_us=50)
    append(log, 2, clock_us=60)
    log.close()
    again = ArrivalLog(tmp_path)
    got = again.recover(Done(1, {3}))
    assert [(one.first, one.clock_us, len(one.messages)) for one in got] == [(1, 50, 2), (4, 60, 1)]
    assert list(numbers(got)) == [1, 2, 4]
    append(again, 1)
    again.close()
    assert reopened(tmp_path)[1] == [0, 1, 2, 3, 4, 5]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=8),
    st.integers(1, 200),
    st.data(),
)
def test_a_log_that_is_cut_anywhere_goes_on_from_there(tmp_path_factory, groups, size, data):
    """The last segment is cut at any byte; what is written after it follows without a gap."""
    root = tmp_path_factory.mktemp("log")
    log, _ = reopened(root, segment_bytes=size)
    ends = []
    for count in groups:
        append(log, count)
        ends.append((segments(root)[-1], segments(root)[-1].stat().st_size, log._next))
    log.close()
    last = segments(root)[-1]
    cut = data.draw(st.integers(0, last.stat().st_size))
    os.truncate(last, cut)
    kept = max([end for path, length, end in ends if path != last or length <= cut], default=0)
    again, found = reopened(root, segment_bytes=size)
    assert found == list(range(kept))
    append(again, 2)
    again.close()
    assert reopened(root)[1] == list(range(kept + 2))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 200), st.data())
def test_a_log_with_a_flipped_bit_is_refused_by_name(tmp_path_factory, groups, size, data):
    root = tmp_path_factory.mktemp("log")
    log, _ = reopened(root, segment_bytes=size)
    for count in groups:
        append(log, count)
    log.close()
    path = data.draw(st.sampled_from(segments(root)))
    spoilt = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(spoilt)
    with pytest.raises(
        StateError, match=r"is damaged at byte \d+: its checksum is [0-9a-f]{8}"
    ) as e:
        reopened(root)
    assert str(path) in str(e.value) and "--from-night" in str(e.value)


def test_segments_go_when_all_of_their_messages_are_done(tmp_path):
    log, _ = reopened(tmp_path, segment_bytes=1)
    for _ in range(4):
        append(log, 2)
    log.forget(3)
    assert [path.name for path in segments(tmp_path)] == [
        f"segment-{first:012d}.log" for first in (2, 4, 6)
    ]
    log.forget(8)
    assert len(segments(tmp_path)) == 1, "the newest one says which number comes next"
    log.close()
    again, found = reopened(tmp_path, Done(8))
    assert found == [] and again._next == 8


def test_a_missing_segment_is_refused_by_name(tmp_path):
    log, _ = reopened(tmp_path, segment_bytes=1)
    for _ in range(3):
        append(log, 2)
    log.close()
    one, two, three = segments(tmp_path)
    kept = two.read_bytes()
    two.unlink()
    with pytest.raises(StateError, match=r"segment-0+4\.log begins with message 4.*message 2"):
        reopened(tmp_path)
    two.write_bytes(kept)
    one.unlink()
    with pytest.raises(StateError, match="begins with message 2, and messages from 1 on"):
        reopened(tmp_path, Done(1))
    assert reopened(tmp_path, Done(2))[1] == [2, 3, 4, 5]
    two.unlink()
    three.unlink()
    with pytest.raises(StateError, match="ends before message 0, and message 4 was decided"):
        reopened(tmp_path, Done(2, {4}))


@pytest.mark.parametrize("cuts", [True, False])
def test_what_a_disk_did_not_confirm_is_written_again_to_a_new_segment(tmp_path, monkeypatch, cuts):
    log, _ = reopened(tmp_path)
    append(log, 2)
    with monkeypatch.context() as broken:

        def fails(*given):
            raise OSError(errno.EIO, "Input/output error")

        broken.setattr(module.os, "fdatasync", fails)
        if not cuts:
            broken.setattr(log, "_cut", lambda: log.close())
        with pytest.raises(OSError, match="Input/output"):
            append(log, 2)
    append(log, 3)
    log.close()
    assert len(segments(tmp_path)) == 2
    assert reopened(tmp_path)[1] == [0, 1, 2, 3, 4]


def test_a_full_disk_is_waited_for_and_a_failing_one_ends_it(tmp_path, monkeypatch, caplog):
    kept, errors = KeptArrivals(tmp_path, Stopping()), [errno.ENOSPC, errno.EIO]
    kept.log.recover(Done())
    real = os.fdatasync

    def fails(handle):
        if errors:
            raise OSError(number := errors.pop(0), os.strerror(number))
        real(handle)

    monkeypatch.setattr(module.os, "fdatasync", fails)
    with pytest.raises(
        InputError, match=r"Input/output error.*Nothing of it was acknowledged"
    ) as e:
        kept.append([message(0)], 0)
    assert e.value.exit_code == 4
    assert "free space" in caplog.text and str(tmp_path) in caplog.text
    errors[:] = [errno.ENOSPC]
    assert kept.append([message(0)], 0) == 0
    kept.log.close()
    assert reopened(tmp_path)[1] == [0]


def test_it_is_for_its_owner_alone(tmp_path):
    log, _ = reopened(tmp_path)
    append(log, 1)
    log.close()
    (path,) = segments(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_done_knows_every_number_once():
    one, other = Done(3, {5}), Done(4, {7})
    one.merge(other)
    assert (one.below, one.beyond) == (4, {5, 7})
    one.add([4, 4, 2])
    assert (one.below, one.beyond) == (6, {7})
    copied = one.copy()
    copied.add([6])
    assert (one.below, copied.below) == (6, 8)
