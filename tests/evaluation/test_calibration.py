import numpy as np
import pytest
from scipy.optimize import minimize

from fervit.errors import ModelError
from fervit.evaluation.calibration import fit_bcts
from fervit.evaluation.metrics import nll
from fervit.probabilities import softmax


def answers(count=2000, seed=0, temperature=1.0, bias=0.0):
    """Logits of a model that is calibrated after division by `temperature` and adding `bias`."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(count, 5)) * 2
    targets = np.array([rng.choice(5, p=p) for p in softmax(true)])
    return (true - bias) * temperature, targets


def test_it_finds_the_temperature_and_bias_that_were_put_in():
    bias = np.array([0.8, -0.5, 0.0, 0.2, -0.5])
    temperature, found = fit_bcts(*answers(20_000, temperature=2.5, bias=bias))
    assert temperature == pytest.approx(2.5, rel=0.05)
    np.testing.assert_allclose(found, bias - bias.mean(), atol=0.1)


def test_it_agrees_with_a_general_optimiser():
    logits, targets = answers(500, temperature=0.4, bias=np.arange(5) / 3)
    temperature, bias = fit_bcts(logits, targets)
    best = minimize(lambda p: nll(softmax(logits * p[0] + p[1:]), targets), np.r_[1.0, np.zeros(5)])
    assert nll(softmax(logits / temperature + bias), targets) == pytest.approx(best.fun, abs=1e-5)


def test_one_wrong_answer_and_a_missing_class_stay_finite():
    temperature, bias = fit_bcts(np.array([[2.0, 0.0, 1.0]]), np.array([1]))
    assert np.isfinite([temperature, *bias]).all()
    temperature, bias = fit_bcts(answers(100)[0], np.zeros(100, int))
    assert np.isfinite([temperature, *bias]).all() and temperature > 0


def test_nan_is_an_error():
    with pytest.raises(ModelError, match=r"[Nn]a[Nn]|finite"):
        fit_bcts(np.full((3, 2), np.nan), np.array([0, 1, 0]))
