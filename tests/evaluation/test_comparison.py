"""Comparing two models on the same images."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.errors import DataError, ModelError
from fervit.evaluation.comparison import Comparison, compare, compare_probs, mcnemar
from fervit.evaluation.intervals import FEWEST, bootstrap_interval
from fervit.evaluation.metrics import accuracy, confusion_matrix


@pytest.fixture(scope="module")
def part() -> Dataset:
    return load("synthetic:420").split("train")


def predictions(part: Dataset, accuracy: float, seed: int) -> np.ndarray:
    """Probabilities that are correct for a fraction of the images."""
    rng = np.random.default_rng(seed)
    wrong = (part.targets + rng.integers(1, 7, len(part))) % 7
    named = np.where(rng.random(len(part)) < accuracy, part.targets, wrong)
    probs: np.ndarray = 0.3 * np.eye(7)[named] + 0.1
    return probs


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 12), (12, 5), (10, 10), (40, 71), (300, 410), (498, 502)])
def test_exact_mcnemar_agrees_with_scipys_binomial_test(b: int, c: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c, exact=True).p == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(5, 12), (40, 71), (600, 700), (1500, 1490)])
def test_corrected_mcnemar_agrees_with_scipys_chi_square(b: int, c: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    test = mcnemar(b, c, exact=False)
    assert test.statistic == pytest.approx((abs(b - c) - 1) ** 2 / (b + c), rel=1e-12)
    assert test.p == pytest.approx(stats.chi2.sf(test.statistic, 1), rel=1e-9)


# statsmodels 0.15.0, statsmodels.stats.contingency_tables.mcnemar([[1000, b], [c, 800]], exact=..., correction=True)
STATSMODELS = [
    (500, 600, True, 500.0, 0.0028195449914364284),
    (500, 600, False, 8.91, 0.0028361326556546836),
    (5, 12, True, 5.0, 0.143463134765625),
    (5, 12, False, 2.1176470588235294, 0.1456100953968629),
    (40, 71, True, 40.0, 0.004195534185394861),
    (40, 71, False, 8.108108108108109, 0.004406769547655545),
]


@pytest.mark.parametrize(("b", "c", "exact", "statistic", "p"), STATSMODELS)
def test_mcnemar_agrees_with_statsmodels(b: int, c: int, exact: bool, statistic: float, p: float) -> None:
    test = mcnemar(b, c, exact=exact)
    assert test.exact == exact
    assert test.statistic == pytest.approx(statistic, rel=1e-12)
    assert test.p == pytest.approx(p, rel=1e-9)


def test_a_tie_is_no_evidence_in_either_form() -> None:
    assert mcnemar(10, 10, exact=True).p == mcnemar(10, 10, exact=False).p == mcnemar(0, 0, exact=False).p == 1


def test_exact_and_corrected_agree_where_one_takes_over_from_the_other() -> None:
    assert mcnemar(470, 530, exact=True).p == pytest.approx(mcnemar(470, 530, exact=False).p, rel=0.01)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(DataError, match="from 0 up"):
        mcnemar(-1, 3)


@pytest.mark.slow
def test_a_model_and_itself_are_not_distinguishable(part: Dataset) -> None:
    probs = predictions(part, 0.7, seed=1)
    result = compare_probs(probs, probs, part, names=("a", "b"))
    assert result.verdict.startswith("not distinguishable")
    assert result.test.p == 1 and result.accuracy_ci95 == (0.0, 0.0) and result.agreement == 1
    assert result.only == (0, 0)


@pytest.mark.slow
def test_equally_good_models_are_not_distinguishable(part: Dataset) -> None:
    result = compare_probs(predictions(part, 0.7, seed=1), predictions(part, 0.7, seed=2), part, names=("a", "b"))
    assert result.only[0] > 20 and result.only[1] > 20
    assert not result.distinguishable


def test_a_better_model_is_named_whichever_comes_first(part: Dataset) -> None:
    good, bad = predictions(part, 0.9, seed=1), predictions(part, 0.6, seed=2)
    assert compare_probs(bad, good, part, names=("bad", "good")).verdict.startswith("good is better than bad")
    assert compare_probs(good, bad, part, names=("good", "bad")).verdict.startswith("good is better than bad")


def test_a_handful_of_pictures_claims_nothing(part: Dataset) -> None:
    few = part.take(np.arange(FEWEST - 1))
    right, wrong = np.eye(7)[few.targets], np.eye(7)[(few.targets + 1) % 7]
    result = compare_probs(wrong, right, few, names=("a", "b"))
    assert result.test.p < 1e-6
    assert "too few" in result.verdict


def test_the_pairing_makes_the_interval_narrower_than_two_separate_ones(part: Dataset) -> None:
    first = predictions(part, 0.7, seed=1)
    second = first.copy()
    fixed = np.flatnonzero(first.argmax(axis=1) != part.targets)[:12]
    second[fixed] = np.eye(7)[part.targets[fixed]]
    low, high = compare_probs(first, second, part, names=("a", "b")).accuracy_ci95
    single = bootstrap_interval((first.argmax(axis=1) == part.targets).astype(float), lambda s: s / len(part))
    assert high - low < (single[1] - single[0]) / 2
    assert low > 0


def test_counts_add_up_and_accuracies_are_those_of_the_confusion_matrix(part: Dataset) -> None:
    first, second = predictions(part, 0.8, seed=1), predictions(part, 0.5, seed=2)
    result = compare_probs(first, second, part, names=("a", "b"))
    assert result.count == len(part)
    for value, probs in zip(result.accuracy, (first, second), strict=True):
        assert value == pytest.approx(accuracy(confusion_matrix(part.targets, probs.argmax(axis=1), 7)))


def test_nan_probabilities_are_a_clear_error(part: Dataset) -> None:
    probs = predictions(part, 0.7, seed=1)
    broken = probs.copy()
    broken[3] = math.nan
    with pytest.raises(ModelError, match="not finite"):
        compare_probs(probs, broken, part, names=("a", "b"))


def test_one_picture_has_a_defined_answer(part: Dataset) -> None:
    one = part.take([0])
    result = compare_probs(np.eye(7)[one.targets], np.eye(7)[one.targets], one, names=("a", "b"))
    assert result.count == 1 and "too few" in result.verdict


def test_compare_asks_both_models_and_counts_progress(tiny_onnx: Path) -> None:
    from fervit.inference.classifier import OnnxClassifier

    classifier = OnnxClassifier(tiny_onnx)
    seen: list[tuple[int, int]] = []
    dataset = load("synthetic:70")
    result = compare(classifier, classifier, dataset, split="train", progress=lambda *done: seen.append(done))
    assert seen[-1] == (98, 98) and result.count == 49
    assert result.names == ("tiny (A)", "tiny (B)")


def test_models_with_other_labels_are_refused(part: Dataset, tiny_onnx: Path) -> None:
    from fervit.inference.classifier import OnnxClassifier

    strange = replace(part, labels=("a", "b", "c", "d", "e", "f", "g"))
    with pytest.raises(ModelError, match="a, b, c"):
        compare(OnnxClassifier(tiny_onnx), OnnxClassifier(tiny_onnx), strange, split="train")


def test_a_comparison_survives_its_json_form(part: Dataset) -> None:
    result = compare_probs(predictions(part, 0.8, seed=1), predictions(part, 0.6, seed=2), part, names=("a", "b"))
    assert Comparison.from_dict(result.to_dict()) == result
