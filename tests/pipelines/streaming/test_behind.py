"""Jobs behind the loop: in order, waited for, and none left out by a failure."""

import threading

import pytest

from pipelines.streaming.behind import Behind


def test_jobs_are_done_in_order_and_no_more_than_so_many_wait():
    works, gate, did = Behind(most=2), threading.Event(), []
    works.put(gate.wait, lambda: did.append(0))
    for number in (1, 2):  # returns, though none is done
        works.put(lambda number=number: did.append(number))
    assert did == []
    opener = threading.Timer(0.05, gate.set)
    opener.start()
    works.put(lambda: did.append(3))  # waits for the first
    assert did[:1] == [0]
    works.settle(1)
    assert did[:3] == [0, 1, 2]
    works.settle()
    assert did == [0, 1, 2, 3]
    works.close()


def test_a_failure_is_raised_where_it_is_waited_for_and_the_job_goes_on_where_it_failed():
    works, did, fails = Behind(), [], [OSError("full"), None]

    def second():
        failure = fails.pop(0)
        if failure is not None:
            raise failure
        did.append("second")

    works.put(lambda: did.append("first"), second, lambda: did.append("third"))
    for wait in (works.settle, lambda: works.settle(9), lambda: works.put(print)):
        with pytest.raises(OSError, match="full"):
            wait_until_failed(works, wait)
    assert did == ["first"]
    works.resume()
    works.settle()
    assert did == ["first", "second", "third"]
    works.close()


def test_closed_after_a_failure_it_does_nothing_more():
    works, did = Behind(), []
    works.put(lambda: 1 / 0, lambda: did.append(1))
    with pytest.raises(ZeroDivisionError):
        works.settle()
    works.close()
    works.resume()
    assert did == [] and works._thread is not None and not works._thread.is_alive()


def wait_until_failed(works, wait):
    """The failure is there once all is waited for."""
    with pytest.raises(OSError):
        works.settle()
    wait()
