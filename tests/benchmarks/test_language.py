"""How disguises move the scores of a text model, on published comments."""

from benchmarks.language import comments, plain_fold, read, score_drift


def test_the_chain_holds_the_scores_of_disguised_spam(shared_data):
    said = comments(shared_data / "youtube-spam" / "labelled")
    with_chain, without = score_drift(*said, read), score_drift(*said, plain_fold)
    for letters in (1, 3, 8):
        caught, moved = with_chain[letters]
        assert abs(moved) < 0.1
        assert without[letters][1] < 3 * -abs(moved)
        assert caught >= with_chain[0][0] - 0.01
    assert without[0] == (without[0][0], 0.0)
