"""Calibration by a temperature, and by a temperature and a bias."""

import numpy as np
import pytest
from scipy.optimize import minimize

from fervit.errors import ModelError
from fervit.evaluation import calibration, metrics
from fervit.evaluation.calibration import calibrate, fit_bcts, fit_checked
from fervit.evaluation.metrics import nll
from fervit.probabilities import softmax
from tests.helpers.reports import Drawn


def drawn_logits(
    count: int = 2000, seed: int = 0, temperature: float = 1.0, bias: float | np.ndarray = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is calibrated after division by `temperature` and adding `bias`."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(count, 5)) * 2
    targets = np.array([rng.choice(5, p=p) for p in softmax(true)])
    return (true - bias) * temperature, targets


def test_it_finds_the_temperature_and_bias_that_were_put_in() -> None:
    bias = np.array([0.8, -0.5, 0.0, 0.2, -0.5])
    temperature, found = fit_bcts(*drawn_logits(20_000, temperature=2.5, bias=bias))
    assert temperature == pytest.approx(2.5, rel=0.05)
    np.testing.assert_allclose(found, bias - bias.mean(), atol=0.1)


def test_it_agrees_with_a_general_optimiser() -> None:
    logits, targets = drawn_logits(500, temperature=0.4, bias=np.arange(5) / 3)
    temperature, bias = fit_bcts(logits, targets)
    best = minimize(lambda p: nll(softmax(logits * p[0] + p[1:]), targets), np.r_[1.0, np.zeros(5)])
    assert nll(softmax(logits / temperature + bias), targets) == pytest.approx(best.fun, abs=1e-5)


def test_one_wrong_answer_and_a_missing_class_stay_finite() -> None:
    temperature, bias = fit_bcts(np.array([[2.0, 0.0, 1.0]]), np.array([1]))
    assert np.isfinite([temperature, *bias]).all()
    temperature, bias = fit_bcts(drawn_logits(100)[0], np.zeros(100, int))
    assert np.isfinite([temperature, *bias]).all() and temperature > 0


def test_nan_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"[Nn]a[Nn]|finite"):
        fit_bcts(np.full((3, 2), np.nan), np.array([0, 1, 0]))


def test_the_fitted_temperature_undoes_a_known_one() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 5)) * 2
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    one = calibration.fit_temperature(logits, targets)
    assert one == pytest.approx(1, abs=0.03)
    assert calibration.fit_temperature(3 * logits, targets) == pytest.approx(3 * one, rel=1e-9)


def test_no_temperature_near_the_fitted_one_is_better(drawn: Drawn) -> None:
    probs, targets, _ = drawn
    logits = np.log(probs)
    best = calibration.fit_temperature(logits, targets)
    at = {t: metrics.nll(softmax(logits / t), targets) for t in (best, best * 0.99, best * 1.01)}
    assert min(at, key=lambda t: at[t]) == best


def test_a_temperature_that_would_be_zero_or_infinite_stays_in_range() -> None:
    logits = 5 * np.eye(3)
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature(logits, np.array([0, 1, 2])) == pytest.approx(low, rel=1e-6)
    assert calibration.fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(high, rel=1e-6)


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits `(count, 7)` that are twice too large, and the classes."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 7, count)
    logits = rng.normal(size=(count, 7))
    logits[np.arange(count), targets] += 1.5
    return 2 * logits, targets


def test_a_bias_per_class_is_not_learnt_by_heart_from_few_images() -> None:
    logits, targets = drawn(19)
    by_heart = np.argmax(logits / (fit := fit_bcts(logits, targets))[0] + fit[1], axis=1)
    assert (by_heart == targets).mean() > (logits.argmax(axis=1) == targets).mean()
    checked = fit_checked(logits, targets, "bcts")
    assert checked.method != "bcts" and not checked.bias.any()
    assert "bcts does not hold on the 19 images" in checked.note and "cross-validation" in checked.note


@pytest.mark.parametrize("method", ["bcts", "temperature"])
def test_enough_images_calibrate_as_asked_and_the_unseen_figures_are_near(method: str) -> None:
    logits, targets = drawn(2000)
    checked = fit_checked(logits, targets, method)
    temperature, bias = calibrate(logits, targets, method)
    assert (checked.method, checked.note, checked.temperature) == (method, "", temperature)
    np.testing.assert_array_equal(checked.bias, bias)
    seen = nll(softmax(logits / temperature + bias), targets)
    assert seen < nll(softmax(checked.unseen), targets) < seen + 0.02


def test_a_handful_of_images_and_none_calibrate_nothing() -> None:
    checked = fit_checked(*drawn(9), "temperature")
    assert (checked.method, checked.temperature) == ("none", 1.0)
    assert "9 images of the validation split (they are fewer than 10): the model is not calibrated" in checked.note
    assert fit_checked(*drawn(9), "none").note == ""
