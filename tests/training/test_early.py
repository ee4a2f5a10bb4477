"""Expected figures: right for scores that mean what they say, with intervals that hold."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.calibrate import apply_all, fit_calibration, redraw_calibrations
from training.early import expect, expected_auc, figures_by_day
from training.report import NightlyReport
from training.report.early import early_lines


def drawn(generator, events=20_000):
    scores = 1 / (1 + np.exp(-generator.normal(-3.0, 2.0, events)))
    return scores, generator.random(events) < scores


def test_they_are_what_turns_out_on_average():
    generator = np.random.default_rng(1)
    scores, _ = drawn(generator)
    made = expect(scores, [("block", 0.7), ("review", 0.2)])
    labels = generator.random((200, len(scores))) < scores
    for one, value in zip(made.at, (0.7, 0.2), strict=True):
        flagged = scores >= value
        precision = labels[:, flagged].mean(1)
        recall = labels[:, flagged].sum(1) / labels.sum(1)
        assert one.flagged == flagged.sum()
        assert one.precision.value == pytest.approx(precision.mean(), abs=0.002)
        assert one.recall.value == pytest.approx(recall.mean(), abs=0.002)
        for found, true in ((one.precision, precision), (one.recall, recall)):
            assert np.mean((found.low <= true) & (true <= found.high)) >= 0.93
            assert found.high - found.low < 1.5 * 2 * 1.96 * true.std()
    aucs = [roc_auc_score(one, scores) for one in labels[:20]]
    assert made.auc == pytest.approx(np.mean(aucs), abs=0.003)
    assert made.abuse == pytest.approx(labels.sum(1).mean(), rel=0.01)


def test_the_auc_counts_pairs():
    scores = np.array([0.9, 0.4, 0.4, 0.1, 0.0])
    above = total = 0.0
    for one, other in itertools.permutations(range(len(scores)), 2):
        chance = scores[one] * (1 - scores[other])
        total += chance
        above += chance * ((scores[one] > scores[other]) + 0.5 * (scores[one] == scores[other]))
    assert expected_auc(scores) == pytest.approx(above / total)


def test_a_moved_mix_is_seen_and_moved_meaning_is_not():
    generator = np.random.default_rng(2)
    scores, truth = drawn(generator)
    # More of the same abuse: events with high scores come ten times as often.
    more = np.concatenate([scores, np.repeat(scores[scores > 0.5], 9)])
    labels = generator.random(len(more)) < more
    made, flagged = expect(more, [("block", 0.5)]).at[0], more >= 0.5
    assert made.recall.low <= labels[flagged].sum() / labels.sum() <= made.recall.high
    # Abuse in other words: half of what scored high scores low now.
    hidden = truth & (generator.random(len(scores)) < 0.5)
    other = np.where(hidden, 0.01, scores)
    made, flagged = expect(other, [("block", 0.5)]).at[0], other >= 0.5
    assert made.recall.low > (truth & flagged).sum() / truth.sum()


def accounts_of(generator, count=60, each=40):
    """Log odds and labels of accounts that are right or wrong together, and whose they are."""
    own = np.repeat(generator.normal(-1.0, 2.0, count), each)
    raw = own + generator.normal(0, 0.3, len(own))
    bad = np.repeat(generator.random(count), each) < 1 / (1 + np.exp(-own))
    return raw, bad.astype(np.int8), np.repeat(np.arange(count), each)


def test_few_accounts_that_calibrate_make_wide_intervals_that_cover():
    """The expected precision under the true curve lies within, which the known curve misses."""
    alone = both = 0
    ratios = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        raw, labels, accounts = accounts_of(generator)
        made = fit_calibration(raw, labels)
        drawn_anew = redraw_calibrations(raw, labels, accounts)
        later, bad, _ = accounts_of(generator, 2000, 5)
        scores = made.apply(later)
        at = [("block", 0.7)]
        flagged = scores >= 0.7
        truth = bad[flagged].mean()
        known = expect(scores, at).at[0].precision
        unsure = expect(scores, at, redrawn=apply_all(drawn_anew, later)).at[0].precision
        assert known.value == unsure.value
        alone += known.low <= truth <= known.high
        both += unsure.low <= truth <= unsure.high
        if seed < 3:
            of_events = redraw_calibrations(raw, labels, None)
            as_events = expect(scores, at, redrawn=apply_all(of_events, later)).at[0].precision
            ratios.append((unsure.high - unsure.low) / (as_events.high - as_events.low))
    assert alone < 40 and both >= 52
    assert min(ratios) > 1.5, "accounts are drawn, not events"


def test_redrawn_calibrations_heed_weights_and_days_get_them():
    generator = np.random.default_rng(3)
    raw, labels, accounts = accounts_of(generator, 400, 10)
    made = fit_calibration(raw, labels)
    heavy = np.where(labels == 1, 9.0, 1.0)
    plain = redraw_calibrations(raw, labels, accounts, np.ones(len(raw)), draws=5)
    weighed = redraw_calibrations(raw, labels, accounts, heavy, draws=5)
    scores, others = made.apply(raw), apply_all(plain, raw)
    assert apply_all(weighed, raw).mean() > others.mean() + 0.1
    for known in (labels, None):
        (day,) = figures_by_day(np.zeros(len(raw), int), scores, known, [("block", 0.5)], others)
        expected = expect(scores, [("block", 0.5)], redrawn=others).at[0].precision
        known_curve = expect(scores, [("block", 0.5)]).at[0].precision
        assert day.expected.at[0].precision.low == pytest.approx(expected.low, rel=1e-9)
        assert expected.low < known_curve.low - 0.01


def test_all_of_a_few_may_turn_out_to_be_abuse():
    """Fifty with .98 each are all abuse more often than not, so 1 lies within the interval."""
    found = expect(np.full(50, 0.98), [("block", 0.5)]).at[0].precision
    assert found.high == 1.0 and 50 * found.low == pytest.approx(round(50 * found.low))


def test_nothing_flagged_nothing_expected_nothing_there():
    made = expect(np.array([0.2, 0.0]), [("block", 0.5)])
    assert made.at[0].flagged == 0 and made.at[0].precision is None
    assert made.at[0].recall.value == 0.0 and made.at[0].recall.low == 0.0
    empty = expect(np.zeros(0), [("block", 0.5)])
    assert (empty.events, empty.auc, empty.at[0].recall) == (0, None, None)
    assert expect(np.ones(3), [("block", 0.5)]).at[0].precision.high == 1.0


@pytest.mark.parametrize("scores", [[1.2], [-0.1], [np.nan]])
def test_log_odds_are_no_shares(scores):
    with pytest.raises(ValueError, match="calibrate them first"):
        expect(np.array(scores), [])


def test_a_matured_day_is_not_young_where_no_action_may_fire_and_all_is_one_class():
    times, scores = np.array([5, 9]), np.array([0.9, 0.2])
    known = figures_by_day(times, scores, np.zeros(2, np.int8), [])
    young = figures_by_day(times, scores, None, [])
    assert [one.young for one in (*known, *young)] == [False, True]
    assert [line.young for line in early_lines((*known, *young))] == [False, True]
    assert not known[0].turned_out and known[0].auc is None


def test_a_report_of_a_build_that_did_not_say_which_days_are_young_is_readable():
    days = figures_by_day(np.array([5]), np.array([0.9]), None, [])
    report = NightlyReport("chat", "", 0, "kept", "", early=days)
    plain = json.loads(report.to_json())
    del plain["early"][0]["young"]
    (read,) = NightlyReport.from_json(json.dumps(plain).encode()).early
    assert read == dataclasses.replace(days[0], young=False)
