"""Splits and figures of protocols, against definitions written out and scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from configs.errors import EvidenceError, InputError
from configs.metrics import Metric
from configs.protocol import ProtocolSplit
from training.curve import make_curve, redraw_curves, true_positive_rate
from training.protocol import Figure, ProtocolRows, mean_figures, measure, split_rows


def rows(labels, files=None, order=None, accounts=None, names=("a.csv", "b.csv")):
    count = len(labels)
    return ProtocolRows(
        np.zeros(count, np.int64) if files is None else np.array(files),
        names,
        np.arange(count) if order is None else np.array(order),
        pa.array([f"e{one}" for one in range(count)]),
        np.array(labels, np.int8),
        None if accounts is None else pa.array(accounts, pa.string()),
    )


def places(mask):
    return np.flatnonzero(mask).tolist()


def test_the_first_share_is_by_file_order_not_by_time():
    # In order of time, as rows are; in their file, the later ones stand first.
    given_rows = rows([1, 0, 1, 0, 1, 0, 1, 0], order=[7, 6, 5, 4, 3, 2, 1, 0])
    (fold,) = split_rows(ProtocolSplit("order", first=0.5, of_each=("label",)), given_rows)
    assert places(fold.train) == [4, 5, 6, 7] and places(fold.test) == [0, 1, 2, 3]


def test_the_first_share_of_each_file_and_label():
    labels, files = [1, 1, 0, 0, 1, 1, 0, 0, -1], [0, 0, 0, 0, 1, 1, 1, 1, 1]
    (fold,) = split_rows(
        ProtocolSplit("order", first=0.5, of_each=("file", "label")), rows(labels, files)
    )
    assert places(fold.train) == [0, 2, 4, 6] and places(fold.test) == [1, 3, 5, 7]
    (whole,) = split_rows(ProtocolSplit("order", first=0.5, of_each=()), rows([1, 0, 1, 0]))
    assert places(whole.train) == [0, 1]


def test_by_file_and_by_id_leave_out_what_nobody_named():
    made = rows([1, 0, 1, 0, 1, 0, -1], files=[0, 0, 1, 1, 2, 2, 0], names=["a", "b", "c"])
    (fold,) = split_rows(ProtocolSplit("file", train=("a",), test=("b*",)), made)
    assert places(fold.train) == [0, 1] and places(fold.test) == [2, 3]
    (fold,) = split_rows(ProtocolSplit("id"), made, ({"e0", "e1", "e6"}, {"e4", "e5", "none"}))
    assert places(fold.train) == [0, 1] and places(fold.test) == [4, 5]


def test_what_trains_and_tests_is_refused_and_so_is_one_class():
    with pytest.raises(EvidenceError, match="2 rows train and test"):
        split_rows(
            ProtocolSplit("file", train=("*",), test=("b*",)), rows([1, 0, 1, 0], [0, 0, 1, 1])
        )
    with pytest.raises(EvidenceError, match="test has 2 positives and 0 negatives"):
        split_rows(
            ProtocolSplit("file", train=("a*",), test=("b*",)), rows([1, 0, 1, 1], [0, 0, 1, 1])
        )
    with pytest.raises(EvidenceError, match=r"train has 0 positives and 0 negatives"):
        split_rows(ProtocolSplit("id"), rows([1, 0, 1, 0]), (set(), {"e1"}))


def test_a_pattern_that_matches_no_file_is_refused_although_others_do():
    split = ProtocolSplit("file", train=("a*", "x*"), test=("b*",))
    with pytest.raises(InputError, match=r"no file .* matches 'x\*'; it has a.csv, b.csv$"):
        split_rows(split, rows([1, 0, 1, 0], [0, 0, 1, 1]))


def test_folds_keep_accounts_whole_and_test_each_row_once():
    generator = np.random.default_rng(0)
    accounts = [None if one == 0 else f"w{one}" for one in generator.integers(0, 40, 600)]
    made = rows(generator.integers(0, 2, 600), accounts=accounts)
    folds = split_rows(ProtocolSplit("account", folds=4, column="who"), made)
    assert len(folds) == 4
    assert (sum(fold.test.astype(int) for fold in folds) == 1).all()
    for fold in folds:
        assert (fold.train ^ fold.test).all()
        known = [{accounts[at] for at in places(mask)} - {None} for mask in (fold.train, fold.test)]
        assert not known[0] & known[1]
    other = split_rows(ProtocolSplit("account", folds=4, column="who", seed=1), made)
    assert places(other[0].test) != places(folds[0].test)


EVERY = [Metric("auc"), Metric("average_precision"), Metric("accuracy"), Metric("mcc")]
EVERY.append(Metric("tpr_at_fpr", 0.1))


def test_figures_are_scikit_learns():
    generator = np.random.default_rng(1)
    labels = generator.integers(-1, 2, 500).astype(np.int8)
    raw = np.round(generator.normal(labels, 1.0), 1)
    found = measure(EVERY, raw, labels, None)
    known = labels >= 0
    truth, said = labels[known], raw[known]
    rate, recall, _ = oracle.roc_curve(truth, said, drop_intermediate=False)
    expected = {
        "auc": oracle.roc_auc_score(truth, said),
        "average_precision": oracle.average_precision_score(truth, said),
        "accuracy": oracle.accuracy_score(truth, said >= 0),
        "mcc": oracle.matthews_corrcoef(truth, said >= 0),
        "tpr_at_fpr(0.1)": recall[rate <= 0.1].max(),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
        assert found[name].low < value < found[name].high


def test_intervals_are_wider_where_accounts_are_not_independent():
    generator = np.random.default_rng(2)
    account = np.repeat(np.arange(30), 20)
    labels = (account % 2).astype(np.int8)
    raw = np.repeat(generator.normal(labels[::20], 1.0), 20)
    alone, whole = (measure([Metric("auc")], raw, labels, c)["auc"] for c in (None, account))
    assert whole.high - whole.low > 2 * (alone.high - alone.low)


def test_one_class_has_no_ranking_and_no_interval():
    found = measure(EVERY, np.array([1.0, 2.0]), np.ones(2, np.int8), None)
    assert found["auc"] == Figure(None) and found["accuracy"] == Figure(1.0)
    assert mean_figures([found, found])["auc"].value is None
    assert mean_figures([]) == {}


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_a_redrawn_curve_is_that_of_the_rows_it_repeats(drawn):
    ranks = np.array([float(one) for one, _ in drawn])
    hits = np.array([one for _, one in drawn])
    for seed, curve in enumerate(redraw_curves(ranks, hits, None, 3, seed=0)):
        assert seed < 3 and curve.events == len(drawn)
        again = make_curve(
            np.repeat(curve.values, np.diff(curve.flagged, prepend=0)),
            np.concatenate(
                [
                    [1] * good + [0] * (some - good)
                    for some, good in zip(
                        np.diff(curve.flagged, prepend=0),
                        np.diff(curve.positives, prepend=0),
                        strict=True,
                    )
                ]
            ).astype(np.int8),
        )
        assert true_positive_rate(again, 0.3) == true_positive_rate(curve, 0.3)


def test_rows_of_one_account_have_no_interval():
    raw, labels = np.arange(40.0), (np.arange(40) > 19).astype(np.int8)
    one = measure([Metric("auc")], raw, labels, np.zeros(40, np.int64))["auc"]
    assert (one.value, one.low, one.high) == (1.0, None, None)
    many = measure([Metric("auc")], raw, labels, np.arange(40) // 2)["auc"]
    assert many.low is not None
