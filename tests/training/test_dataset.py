"""The slices of a run: they tile the span, in order, and refuse what cannot teach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigError, EvidenceError
from configs.schema import Training
from training.dataset import LabelCounts, TimeRange, require_both_classes, slices

DAY = 86_400_000_000


@given(
    st.integers(2, 60),
    st.integers(0, 30),
    st.integers(1, 59),
    st.floats(0.05, 0.9),
    st.integers(0, 20_000),
)
def test_slices_tile_the_span_and_end_before_the_delay(span, delay, gate, share, as_of):
    training = Training(span * DAY, delay * DAY, gate * DAY, share)
    if gate >= span:
        with pytest.raises(ConfigError, match="leaves a slice of no length"):
            slices(training, as_of * DAY)
        return
    cut = slices(training, as_of * DAY)
    assert cut.fit.start_us == cut.span.start_us
    assert cut.fit.end_us == cut.validation.start_us
    assert cut.validation.end_us == cut.gate.start_us
    assert cut.gate.end_us == cut.span.end_us == (as_of - delay) * DAY
    assert cut.span.end_us - cut.span.start_us == span * DAY
    assert cut.gate.end_us - cut.gate.start_us == gate * DAY
    before = cut.gate.start_us - cut.span.start_us
    assert abs((cut.validation.end_us - cut.validation.start_us) / before - share) < 1e-9


def test_a_range_is_half_open():
    times = np.array([9, 10, 19, 20])
    assert TimeRange(10, 20).mask(times).tolist() == [False, True, True, False]
    assert str(TimeRange(10**30, 10**31)) == f"{10**30} µs to {10**31} µs"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "no labels at all: the fit slice (1970-01-01 00:00 to 1970-01-02 00:00) has 0 pos"),
        ([-1, -1], "0 negatives and 2 unlabelled"),
        ([0, 0, -1], "only one class in the labels: the fit slice"),
        ([1], "has 1 positives, 0 negatives"),
    ],
)
def test_a_slice_with_one_class_is_refused_in_words(labels, words):
    with pytest.raises(EvidenceError) as refusal:
        require_both_classes("fit", TimeRange(0, DAY), np.array(labels, np.int8))
    assert words in str(refusal.value)
    assert "choose a later --as-of" in str(refusal.value)


def test_fewest_asks_for_more_than_one():
    labels = np.array([1, 1, 0, 0, 0, -1], np.int8)
    counts = require_both_classes("gate", TimeRange(0, DAY), labels, fewest=2)
    assert counts == LabelCounts(2, 3, 1)
    with pytest.raises(EvidenceError, match="fewer than 3 labels of a class"):
        require_both_classes("gate", TimeRange(0, DAY), labels, fewest=3)
