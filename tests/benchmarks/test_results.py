"""docs/results.md, reproduced: published benchmarks by configuration alone."""

import pytest

from benchmarks.comments import comments_mcc
from benchmarks.results import LADDER, PUBLISHED, card_fraud, leak_ladder, main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_handbooks_logistic_regression_is_reproduced(shared_data):
    figures = card_fraud("card_fraud_handbook", shared_data)
    for ours, theirs in zip(figures, PUBLISHED["logistic regression"], strict=True):
        assert abs(ours - theirs) <= 0.005


def test_our_configuration_beats_every_published_row(shared_data):
    auc, precision, cards = card_fraud("card_fraud", shared_data)
    assert auc > max(0.884, *(row[0] for row in PUBLISHED.values()))
    assert precision > max(0.687, *(row[1] for row in PUBLISHED.values()))
    assert cards > max(row[2] for row in PUBLISHED.values())


def test_the_leak_ladder_rises_and_its_lowest_rung_is_ours(shared_data):
    ladder = leak_ladder(shared_data, trees=60)
    assert ladder["7d"][1] < ladder["1d"][1] < ladder["0d"][1]
    for ours, theirs in zip(ladder["7d"], LADDER["7d"], strict=True):
        assert abs(ours - theirs) < 0.02


def test_comments_reach_the_published_mean(shared_data):
    found = comments_mcc(shared_data / "youtube-spam" / "labelled")
    assert len(found) == 5
    assert sum(found.values()) / 5 >= 0.904


def test_words_split_at_punctuation_are_far_better_where_characters_are_not_seen(shared_data):
    folder = shared_data / "youtube-spam" / "labelled"
    spaces, words = (
        sum(comments_mcc(folder, char_ngrams=None, tokens=tokens).values()) / 5
        for tokens in ("spaces", "words")
    )
    assert spaces < 0.8 and words > spaces + 0.08


def test_without_the_data_one_line_says_where_it_was_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOCKSTEP_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["results"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert str(tmp_path) in said.err and "LOCKSTEP_DATA" in said.err
