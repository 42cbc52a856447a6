import numpy as np
import pytest
from sklearn import metrics as sk

from fervit import probabilities
from fervit.errors import DataError, ModelError
from fervit.evaluation import calibration, intervals, metrics


@pytest.fixture(scope="module")
def drawn():
    """Return probabilities (500, 7), targets and predictions of a middling classifier."""
    rng = np.random.default_rng(0)
    targets = rng.choice(7, 500, p=[0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])
    logits = rng.normal(size=(500, 7)) + 1.5 * np.eye(7)[targets]
    probs = probabilities.softmax(2 * logits)
    return probs, targets, probs.argmax(axis=1)


def test_figures_agree_with_scikit_learn(drawn):
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


def test_probability_figures_agree_with_scikit_learn(drawn):
    probs, targets, _ = drawn
    assert metrics.nll(probs, targets) == pytest.approx(sk.log_loss(targets, probs), abs=1e-9)
    expected = ((probs - np.eye(7)[targets]) ** 2).sum(axis=1).mean()
    assert metrics.brier(probs, targets) == pytest.approx(expected, abs=1e-9)
    halved = [sk.brier_score_loss(targets == k, probs[:, k]) for k in range(7)]
    assert metrics.brier(probs, targets) == pytest.approx(sum(halved), abs=1e-9)


def test_ece_of_a_hand_computed_case():
    # bins are (low, high] of width 1/15: .60 is the upper edge of the 9th, .61 and .64 lie in the 10th
    probs = np.array([[0.60, 0.40], [0.61, 0.39], [0.36, 0.64], [0.95, 0.05]])
    targets = np.array([0, 0, 0, 1])
    counts, confidence, accuracy = metrics.reliability(probs, targets)
    assert counts.tolist() == [0] * 8 + [1, 2, 0, 0, 0, 0, 1]
    assert confidence[9] == pytest.approx(0.625) and accuracy[9] == 0.5
    assert metrics.ece(probs, targets) == pytest.approx((0.40 + 2 * 0.125 + 0.95) / 4, abs=1e-12)


def test_a_certain_answer_falls_into_the_last_bin():
    counts, _, _ = metrics.reliability(np.eye(2), np.array([0, 1]))
    assert counts.tolist() == [0] * 14 + [2]
    assert metrics.ece(np.eye(2), np.array([0, 1])) == 0
    assert metrics.ece(np.eye(2), np.array([1, 0])) == 1


def test_a_class_that_the_split_lacks_is_left_out_of_the_averages():
    targets, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    confusion = metrics.confusion_matrix(targets, predicted, 3)
    assert metrics.recall(confusion).tolist() == [0.5, 1, 0]
    assert metrics.balanced_accuracy(confusion) == 0.75
    assert metrics.macro_f1(confusion) == pytest.approx(sk.f1_score(targets, predicted, average="macro"))


def test_a_class_that_is_answered_but_never_true_pulls_macro_f1_down():
    targets, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    confusion = metrics.confusion_matrix(targets, predicted, 3)
    expected = sk.f1_score(targets, predicted, average="macro", zero_division=0)
    assert metrics.macro_f1(confusion) == pytest.approx(expected)
    assert metrics.balanced_accuracy(confusion) == 0.75


def test_one_picture_has_defined_figures():
    probs, targets = np.array([[0.2, 0.8]]), np.array([1])
    confusion = metrics.confusion_matrix(targets, probs.argmax(axis=1), 2)
    assert metrics.accuracy(confusion) == metrics.macro_f1(confusion) == metrics.balanced_accuracy(confusion) == 1
    assert metrics.ece(probs, targets) == pytest.approx(0.2)
    assert metrics.nll(probs, targets) == pytest.approx(-np.log(0.8))
    low, high = intervals.wilson_interval(1, 1)
    assert 0.2 < low < 0.21 and high == 1
    assert intervals.bootstrap_interval(metrics.cells(targets, np.array([1]), 2), metrics.macro_f1) == (1, 1)


def test_all_wrong_answers_give_zeros_and_finite_probability_figures():
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


def test_no_pictures_is_an_error_and_an_empty_confusion_gives_zero():
    with pytest.raises(DataError, match="no pictures"):
        metrics.nll(np.empty((0, 7)), np.empty(0, int))
    with pytest.raises(DataError, match="no pictures"):
        intervals.bootstrap_interval(np.empty((0, 7, 7)), metrics.macro_f1)
    assert metrics.accuracy(np.zeros((7, 7))) == 0


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("figure", [metrics.nll, metrics.ece, metrics.brier, calibration.fit_temperature])
def test_numbers_that_are_not_finite_name_the_row(figure, broken):
    values = np.full((4, 2), 0.5)
    values[2, 1] = broken
    with pytest.raises(ModelError, match=r"not finite in 1 of 4 rows \(first: row 2\)"):
        figure(values, np.zeros(4, int))
    with pytest.raises(ModelError, match="not finite"):
        probabilities.softmax(values)


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ModelError, match="apply softmax"):
        metrics.ece(np.array([[3.0, -1.0]]), np.array([0]))


@pytest.mark.parametrize(
    ("targets", "predicted", "message"),
    [([0, 1], [0], "one length"), ([0, 7], [0, 1], "expected 0..6"), ([0, 1], [-1, 1], "expected 0..6")],
)
def test_indices_that_do_not_fit_are_refused(targets, predicted, message):
    with pytest.raises(DataError, match=message):
        metrics.confusion_matrix(np.array(targets), np.array(predicted), 7)


def test_targets_beyond_the_columns_are_refused():
    with pytest.raises(DataError, match=r"expected 0\.\.1"):
        metrics.nll(np.array([[0.5, 0.5]]), np.array([2]))


def test_softmax_stands_any_size_of_logit():
    np.testing.assert_allclose(probabilities.softmax(np.array([[1e4, 0, -1e4]])), [[1, 0, 0]])
    np.testing.assert_allclose(probabilities.softmax(np.array([1e6, 1e6])), [0.5, 0.5])


def test_the_fitted_temperature_undoes_a_known_one():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 5)) * 2
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    one = calibration.fit_temperature(logits, targets)
    assert one == pytest.approx(1, abs=0.03)
    assert calibration.fit_temperature(3 * logits, targets) == pytest.approx(3 * one, rel=1e-9)


def test_no_temperature_near_the_fitted_one_is_better(drawn):
    probs, targets, _ = drawn
    logits = np.log(probs)
    best = calibration.fit_temperature(logits, targets)
    at = {t: metrics.nll(probabilities.softmax(logits / t), targets) for t in (best, best * 0.99, best * 1.01)}
    assert min(at, key=at.get) == best


def test_a_temperature_that_would_be_zero_or_infinite_stays_in_range():
    logits = 5 * np.eye(3)
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature(logits, np.array([0, 1, 2])) == pytest.approx(low, rel=1e-6)
    assert calibration.fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(high, rel=1e-6)


def test_wilson_interval_of_a_published_case():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263 gives .2553 to .3662
    assert intervals.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    with pytest.raises(DataError, match="right <= count"):
        intervals.wilson_interval(3, 2)


def test_bootstrap_is_seeded_and_agrees_with_wilson(drawn):
    _, targets, predicted = drawn
    hits = (targets == predicted).astype(float)
    ours = intervals.bootstrap_interval(hits, lambda sums: sums / len(hits), seed=3)
    assert ours == intervals.bootstrap_interval(hits, lambda sums: sums / len(hits), seed=3)
    assert ours != intervals.bootstrap_interval(hits, lambda sums: sums / len(hits), seed=4)
    assert ours == pytest.approx(intervals.wilson_interval(int(hits.sum()), len(hits)), abs=0.01)


def test_bootstrap_in_chunks_measures_whole_confusion_matrices(drawn, monkeypatch):
    _, targets, predicted = drawn
    monkeypatch.setattr(intervals, "CHUNK", 500 * 30)
    shapes = []

    def figure(confusions):
        shapes.append(confusions.shape)
        assert (confusions.sum(axis=(1, 2)) == len(targets)).all()
        return metrics.macro_f1(confusions)

    low, high = intervals.bootstrap_interval(metrics.cells(targets, predicted, 7), figure, resamples=100)
    assert shapes == [(30, 7, 7)] * 3 + [(10, 7, 7)]
    assert low < metrics.macro_f1(metrics.confusion_matrix(targets, predicted, 7)) < high


def test_intervals_of_several_figures_are_those_of_each_alone():
    rng = np.random.default_rng(0)
    rows = metrics.cells(rng.integers(0, 3, 90), rng.integers(0, 3, 90), 3)
    together = intervals.bootstrap_intervals(rows, metrics.f1)
    assert together.shape == (2, 3)
    for k in range(3):
        alone = intervals.bootstrap_interval(rows, lambda sums, k=k: metrics.f1(sums)[:, k])
        assert alone == pytest.approx(tuple(together[:, k]), abs=1e-12)
