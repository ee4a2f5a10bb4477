"""The label model recovers what made the votes, and beats counting them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.label_model import WEIGHT, fit_label_model, majority, source_qualities

RIGHT = np.array([0.95, 0.9, 0.6, 0.55, 0.6, 0.8])
SPEAKS = np.array([0.5, 0.3, 0.9, 0.9, 0.9, 0.4])
NAMES = list("abcdef")


def drawn(count, seed, share=0.5):
    generator = np.random.default_rng(seed)
    truth = generator.random(count) < share
    right = generator.random((count, len(RIGHT))) < RIGHT
    votes = np.where(right, truth[:, None], ~truth[:, None]).astype(np.int8)
    votes[generator.random(votes.shape) >= SPEAKS] = -1
    return votes, truth


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize(("weight", "near"), [(WEIGHT, 0.08), (0.01, 0.02)])
def test_accuracies_are_recovered_and_a_good_minority_beats_a_bad_majority(share, weight, near):
    votes, truth = drawn(6000, 1, share)
    made = fit_label_model(votes, NAMES, prior=share, weight=weight)
    for column, quality in enumerate(made.qualities):
        own = votes[:, column] >= 0
        true = (votes[own, column] == truth[own]).mean()
        assert quality.accuracy == pytest.approx(true, abs=near), quality
        assert quality.votes == own.sum()
    ours = ((made.odds(votes) > 0) == truth).mean()
    counted = ((majority(votes) > 0) == truth).mean()
    assert ours > counted + 0.05
    other, unseen = drawn(3000, 2, share)
    assert ((made.odds(other) > 0) == unseen).mean() == pytest.approx(ours, abs=0.03)


def test_a_liar_among_honest_sources_is_found_out():
    votes, truth = drawn(4000, 3)
    liar = np.where(np.random.default_rng(4).random(4000) < 0.5, ~truth, -1).astype(np.int8)
    made = fit_label_model(np.column_stack([votes, liar]), [*NAMES, "liar"])
    quality = made.qualities[-1]
    assert quality.accuracy < 0.15
    assert made.weights[-1, 1] < 0 < made.weights[-1, 0]  # what it says is taken for the contrary
    assert quality.agreement < 0.5 < made.qualities[0].agreement


def test_sources_of_one_class_do_not_swallow_everything():
    generator = np.random.default_rng(5)
    truth = generator.random(3000) < 0.5
    votes = np.full((3000, 6), -1, np.int8)
    for column in range(3):  # say abuse only, seldom of others
        votes[generator.random(3000) < np.where(truth, 0.5, 0.05), column] = 1
    for column in range(3, 6):
        votes[generator.random(3000) < np.where(truth, 0.1, 0.4), column] = 0
    made = fit_label_model(votes, NAMES)
    some = (votes >= 0).any(1)
    assert ((made.odds(votes) > 0) == truth)[some].mean() > 0.85
    assert min(one.accuracy for one in made.qualities) > 0.65


def test_a_source_that_says_nothing_changes_nothing():
    votes, _ = drawn(500, 6)
    silent = np.column_stack([votes, np.full(500, -1, np.int8)])
    made, plain = fit_label_model(silent, [*NAMES, "none"]), fit_label_model(votes, NAMES)
    assert np.array_equal(made.odds(silent), plain.odds(votes))
    assert made.qualities[-1].accuracy is None and made.qualities[-1].agreement is None
    nothing = fit_label_model(np.zeros((0, 2), np.int8), ["a", "b"])
    assert nothing.odds(np.full((1, 2), -1, np.int8)).tolist() == [0.0]


def test_sources_of_verdicts_are_told_apart_by_what_they_say_of_the_same_events():
    votes, _ = drawn(2000, 8)
    votes[0, 0] = 1
    rows = [
        (time, f"e{event}", bool(votes[event, column]), NAMES[column])
        for time, (event, column) in enumerate(zip(*np.nonzero(votes >= 0), strict=True))
    ]
    rows = [(-1, "e0", True, "a"), *rows, (9_999, "e0", True, "later")]
    columns = dict(
        zip(("event_time", "subject", "positive", "source"), zip(*rows, strict=True), strict=True)
    )
    table = pa.table({"event_id": [str(one) for one in range(len(rows))], **columns})
    found = {one.name: one for one in source_qualities(table, as_of_us=9_000)}
    assert sorted(found) == NAMES, "what is known later is not seen"
    assert found["a"].accuracy > found["f"].accuracy > found["d"].accuracy
    assert found["a"].votes == int((votes[:, 0] >= 0).sum())
    only = table.filter(pa.array([one == "a" for one in columns["source"]]))
    assert source_qualities(only, 9_000) == ()
    assert source_qualities(table.drop_columns("source"), 9_000) == ()


def test_a_late_majority_of_reports_does_not_make_a_source_good_that_others_rank_before():
    generator = np.random.default_rng(8)
    abuse = generator.random(1000) < 0.1
    said = {"person": abuse, "bot": abuse ^ (generator.random(1000) < 0.1)}
    said["report"] = np.where(generator.random(1000) < 0.9, True, abuse)
    columns = {
        "event_id": [f"{name}-{i}" for name in said for i in range(1000)],
        "event_time": list(range(3000)),
        "subject": [f"e{i}" for _ in said for i in range(1000)],
        "positive": np.concatenate(list(said.values())),
        "source": [name for name in said for _ in range(1000)],
    }
    found = source_qualities(pa.table(columns), 5000, ("person",))
    accuracy = {one.name: one.accuracy for one in found}
    assert accuracy["person"] > 0.85 and accuracy["bot"] > 0.85 and accuracy["report"] < 0.4


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="2 names"):
        fit_label_model(np.zeros((3, 3), np.int8), ["a", "b"])
    with pytest.raises(ValueError, match="prior"):
        fit_label_model(np.zeros((3, 1), np.int8), ["a"], prior=1.0)
    with pytest.raises(ValueError, match="expected 1 sources"):
        fit_label_model(np.zeros((3, 1), np.int8), ["a"]).odds(np.zeros((3, 2), np.int8))


@given(st.lists(st.lists(st.integers(-1, 1), min_size=3, max_size=3), min_size=1, max_size=12))
def test_any_votes_give_finite_odds_and_turning_them_turns_the_answer(rows):
    votes = np.array(rows, np.int8)
    turned = np.where(votes < 0, votes, 1 - votes).astype(np.int8)
    odds, other = (fit_label_model(v, ["a", "b", "c"]).odds(v) for v in (votes, turned))
    assert np.isfinite(odds).all()
    assert odds == pytest.approx(-other, abs=1e-5)
