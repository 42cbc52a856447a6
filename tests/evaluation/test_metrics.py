"""Figures of merit."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from fervit import probabilities
from fervit.errors import DataError, ModelError
from fervit.evaluation import calibration, intervals, metrics
from tests.helpers.reports import Drawn

Figure = Callable[[np.ndarray, np.ndarray], float]


def test_figures_agree_with_scikit_learn(drawn: Drawn) -> None:
    _, targets, predicted = drawn
    confusion = metrics.confusion_matrix(targets, predicted, 7)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(targets, predicted))
    per_class = (metrics.precision, metrics.recall, metrics.f1, metrics.support)
    theirs = sk.precision_recall_fscore_support(targets, predicted)
    for ours, expected in zip(per_class, theirs, strict=True):
        np.testing.assert_allclose(ours(confusion), expected, atol=1e-9)
    for name, average in (("macro", metrics.macro), ("weighted", metrics.weighted)):
        theirs = sk.precision_recall_fscore_support(targets, predicted, average=name)[:3]
        for ours, expected in zip(per_class[:3], theirs, strict=True):
            assert average(ours(confusion), confusion) == pytest.approx(expected, abs=1e-9)
    assert metrics.macro_f1(confusion) == pytest.approx(sk.f1_score(targets, predicted, average="macro"), abs=1e-9)
    assert metrics.accuracy(confusion) == pytest.approx(sk.accuracy_score(targets, predicted), abs=1e-9)
    expected = sk.balanced_accuracy_score(targets, predicted)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(expected, abs=1e-9)


def test_probability_figures_agree_with_scikit_learn(drawn: Drawn) -> None:
    probs, targets, _ = drawn
    assert metrics.nll(probs, targets) == pytest.approx(sk.log_loss(targets, probs), abs=1e-9)
    expected = ((probs - np.eye(7)[targets]) ** 2).sum(axis=1).mean()
    assert metrics.brier(probs, targets) == pytest.approx(expected, abs=1e-9)
    halved = [sk.brier_score_loss(targets == k, probs[:, k]) for k in range(7)]
    assert metrics.brier(probs, targets) == pytest.approx(sum(halved), abs=1e-9)


def test_ece_of_a_hand_computed_case() -> None:
    # bins are (low, high] of width 1/15: .60 is the upper edge of the 9th, .61 and .64 lie in the 10th
    probs = np.array([[0.60, 0.40], [0.61, 0.39], [0.36, 0.64], [0.95, 0.05]])
    targets = np.array([0, 0, 0, 1])
    counts, confidence, accuracy = metrics.reliability(probs, targets)
    assert counts.tolist() == [0] * 8 + [1, 2, 0, 0, 0, 0, 1]
    assert confidence[9] == pytest.approx(0.625) and accuracy[9] == 0.5
    assert metrics.ece(probs, targets) == pytest.approx((0.40 + 2 * 0.125 + 0.95) / 4, abs=1e-12)


def test_a_certain_answer_falls_into_the_last_bin() -> None:
    counts, _, _ = metrics.reliability(np.eye(2), np.array([0, 1]))
    assert counts.tolist() == [0] * 14 + [2]
    assert metrics.ece(np.eye(2), np.array([0, 1])) == 0
    assert metrics.ece(np.eye(2), np.array([1, 0])) == 1


def test_a_class_that_the_split_lacks_is_left_out_of_the_averages() -> None:
    targets, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    confusion = metrics.confusion_matrix(targets, predicted, 3)
    assert metrics.recall(confusion).tolist() == [0.5, 1, 0]
    assert metrics.balanced_accuracy(confusion) == 0.75
    assert metrics.macro_f1(confusion) == pytest.approx(sk.f1_score(targets, predicted, average="macro"))


def test_a_class_that_is_answered_but_never_true_pulls_macro_f1_down() -> None:
    targets, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    confusion = metrics.confusion_matrix(targets, predicted, 3)
    expected = sk.f1_score(targets, predicted, average="macro", zero_division=0)
    assert metrics.macro_f1(confusion) == pytest.approx(expected)
    assert metrics.balanced_accuracy(confusion) == 0.75


def test_one_picture_has_defined_figures() -> None:
    probs, targets = np.array([[0.2, 0.8]]), np.array([1])
    confusion = metrics.confusion_matrix(targets, probs.argmax(axis=1), 2)
    assert metrics.accuracy(confusion) == metrics.macro_f1(confusion) == metrics.balanced_accuracy(confusion) == 1
    assert metrics.ece(probs, targets) == pytest.approx(0.2)
    assert metrics.nll(probs, targets) == pytest.approx(-np.log(0.8))
    low, high = intervals.wilson_interval(1, 1)
    assert 0.2 < low < 0.21 and high == 1
    assert intervals.bootstrap_interval(metrics.cells(targets, np.array([1]), 2), metrics.macro_f1) == (1, 1)


def test_all_wrong_answers_give_zeros_and_finite_probability_figures() -> None:
    targets = np.array([0, 1, 2])
    probs = np.eye(3)[[1, 2, 0]]
    confusion = metrics.confusion_matrix(targets, probs.argmax(axis=1), 3)
    for figure in (metrics.accuracy, metrics.macro_f1, metrics.balanced_accuracy):
        assert figure(confusion) == 0
    assert metrics.precision(confusion).tolist() == metrics.f1(confusion).tolist() == [0, 0, 0]
    assert metrics.brier(probs, targets) == 2
    assert metrics.nll(probs, targets) == pytest.approx(-np.log(probabilities.SMALLEST_PROB))
    low, high = intervals.wilson_interval(0, 3)
    assert low == 0 and 0 < high < 1


def test_no_pictures_is_an_error_and_an_empty_confusion_gives_zero() -> None:
    with pytest.raises(DataError, match="no pictures"):
        metrics.nll(np.empty((0, 7)), np.empty(0, int))
    with pytest.raises(DataError, match="no images"):
        intervals.bootstrap_interval(np.empty((0, 7, 7)), metrics.macro_f1)
    assert metrics.accuracy(np.zeros((7, 7))) == 0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("figure", [metrics.nll, metrics.ece, metrics.brier, calibration.fit_temperature])
def test_numbers_that_are_not_finite_name_the_row(figure: Figure, broken: float) -> None:
    values = np.full((4, 2), 0.5)
    values[2, 1] = broken
    with pytest.raises(ModelError, match=r"not finite in 1 of 4 rows \(first: row 2\)"):
        figure(values, np.zeros(4, int))
    with pytest.raises(ModelError, match="not finite"):
        probabilities.softmax(values)


def test_logits_in_place_of_probabilities_are_refused() -> None:
    with pytest.raises(ModelError, match="apply softmax"):
        metrics.ece(np.array([[3.0, -1.0]]), np.array([0]))


@pytest.mark.parametrize(
    ("targets", "predicted", "message"),
    [([0, 1], [0], "one length"), ([0, 7], [0, 1], "expected 0..6"), ([0, 1], [-1, 1], "expected 0..6")],
)
def test_indices_that_do_not_fit_are_refused(targets: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.confusion_matrix(np.array(targets), np.array(predicted), 7)


def test_targets_beyond_the_columns_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected 0\.\.1"):
        metrics.nll(np.array([[0.5, 0.5]]), np.array([2]))
