"""Weights of an ensemble's members: fitted, selected greedily, and cross-fitted."""

import itertools

import numpy as np
import pytest

from fervit.ensemble.weights import Weighting, cross_fitted, fit_weights, mix, select_greedily
from fervit.evaluation import metrics
from tests.helpers.ensembles import draw_probs


@pytest.mark.parametrize("seed", range(3))
def test_fitted_weights_are_the_best_of_a_fine_grid(seed: int) -> None:
    targets = np.random.default_rng(9).integers(0, 4, 200)
    probs = draw_probs(3, 200, 4, seed=seed, targets=targets, skill=(0.9, 0.8, 0.3 * seed))
    steps = 100
    grid = [(a, b, steps - a - b) for a, b in itertools.product(range(steps + 1), repeat=2) if a + b <= steps]
    losses = {cell: metrics.nll(mix(probs, np.array(cell) / steps), targets) for cell in grid}
    best = min(losses, key=lambda cell: losses[cell])
    weights = fit_weights(probs, targets)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert metrics.nll(mix(probs, weights), targets) <= losses[best] + 1e-6
    np.testing.assert_allclose(weights, np.array(best) / steps, atol=2 / steps)


def test_fitted_weights_fulfil_the_conditions_of_the_optimum() -> None:
    targets = np.arange(300) % 5
    probs = draw_probs(6, 300, 5, targets=targets, skill=(1, 0.5, 1, 0, -1, 2))
    weights = fit_weights(probs, targets)
    truth = probs[:, np.arange(300), targets]
    gains = (truth / (weights @ truth)).mean(axis=1)
    assert gains.max() <= 1 + 2e-6  # no member wants more than it has ...
    np.testing.assert_allclose(
        gains[weights > 0.01], 1, atol=1e-3
    )  # ... and each member with a weight has what it wants
    assert weights[4] < 1e-6


def test_a_member_that_is_certain_and_wrong_breaks_nothing() -> None:
    targets = np.zeros(20, int)
    certain = np.tile([0.0, 1.0], (20, 1))
    weights = fit_weights(np.stack([certain, 1 - certain]), targets)
    assert weights[1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(select_greedily(np.stack([certain, 1 - certain]), targets), [0, 1])


def test_greedy_selection_repeats_members_and_leaves_out_the_useless() -> None:
    # likelihoods of the truth on two faces; c is worse than both. One a and one b are worse than a alone, which
    # is where stopping at the first step that does not help would stay
    truth = np.array([[0.9, 0.4], [0.2, 0.8], [0.1, 0.1]])
    probs = np.stack([truth, 1 - truth], axis=2)
    weights = select_greedily(probs, np.zeros(2, int))
    assert weights[2] == 0
    losses = {
        (a, b): -np.log((a * truth[0] + b * truth[1]) / (a + b)).mean()
        for a, b in itertools.product(range(1, 30), repeat=2)
    }
    reached = -np.log(weights @ truth).mean()
    assert reached == pytest.approx(min(losses.values()), abs=2e-3)
    assert reached < -np.log(truth[0]).mean()
    assert weights[0] > weights[1] > 0


def test_greedy_selection_with_fitted_weights_weighs_only_what_was_selected() -> None:
    targets = np.arange(210) % 7
    probs = draw_probs(4, 210, 7, targets=targets, skill=(1, 0.9, -3, -3))
    counted, fitted = (Weighting(weights, "greedy").fit(probs, targets) for weights in (None, "fitted"))
    assert (counted > 0).tolist() == [True, True, False, False]
    assert fitted[2:].tolist() == [0, 0] and fitted.sum() == pytest.approx(1)
    assert metrics.nll(mix(probs, fitted), targets) <= metrics.nll(mix(probs, counted), targets) + 1e-6
    np.testing.assert_allclose(Weighting("uniform", "greedy").fit(probs, targets), [0.5, 0.5, 0, 0])


def test_a_cross_fitted_ensemble_never_uses_the_face_itself() -> None:
    targets = np.arange(23) % 3
    probs = draw_probs(2, 23, 3)
    probs[:, :, 0] += np.arange(23)  # a mark by which each face is recognised
    seen: list[set[int]] = []

    def choose(part: np.ndarray, part_targets: np.ndarray) -> np.ndarray:
        assert len(part_targets) == part.shape[1]
        seen.append({int(mark) for mark in part[0, :, 0]})
        return np.array([0.25, 0.75])

    cross_fitted(probs / probs.sum(axis=2, keepdims=True) * (1 + np.arange(23))[:, None], targets, choose)
    assert len(seen) == 5 and all(17 < len(faces) < 20 for faces in seen)


@pytest.mark.parametrize(
    ("weighting", "text", "uses_data"),
    [
        (Weighting(), "soft vote (fitted weights)", True),
        (Weighting("uniform"), "soft vote (uniform weights)", False),
        (Weighting(select="greedy"), "soft vote (greedy selection, counted weights)", True),
        (Weighting("uniform", "greedy"), "soft vote (greedy selection, uniform weights)", True),
    ],
)
def test_a_weighting_says_what_it_is_and_whether_it_uses_the_data(
    weighting: Weighting, text: str, uses_data: bool
) -> None:
    assert (str(weighting), weighting.uses_data) == (text, uses_data)
