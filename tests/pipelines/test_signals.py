"""Signals wait for a pipeline to end, and are never lost."""

import os
import signal

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines import signals
from pipelines.signals import held

NUMBERS = [signal.SIGTERM, signal.SIGINT]


class Ended(BaseException):
    """What the handler of these tests raises."""


@pytest.fixture(autouse=True)
def handler():
    def end(number, frame):
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in NUMBERS}
    yield end
    for number, old in before.items():
        signal.signal(number, old)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_delivered_when_the_block_has_ended(number, handler):
    done = []
    with pytest.raises(Ended) as ended, held():
        signal.raise_signal(number)
        assert signals._held
        done.append("the rest")
    assert done == ["the rest"]
    assert ended.value.args == (number,)
    assert not signals._held
    assert signal.getsignal(number) is handler


def test_a_second_signal_is_delivered_at_once():
    with pytest.raises(Ended), held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was held as well")
    assert not signals._held


def test_a_signal_comes_through_though_the_block_failed():
    with pytest.raises(Ended), held():
        signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("the pipeline's")


def _send(number):
    os.kill(os.getpid(), number)
    return number


@pytest.mark.parametrize("number", NUMBERS)
def test_beam_loses_no_signal(number):
    with pytest.raises(Ended), held():
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            _ = pipeline | beam.Create([int(number)], reshuffle=False) | beam.Map(_send)
        assert signals._held


def test_without_signals_a_block_is_only_a_block(handler):
    with held():
        assert not signals._held
    assert signal.getsignal(signal.SIGTERM) is handler
