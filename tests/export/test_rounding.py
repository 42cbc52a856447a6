"""Weights are rounded so that outputs stay."""

import numpy as np
import pytest

from fervit.export import rounding
from fervit.export.rounding import round_weights


def case(groups: int, outputs: int, inputs: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, their scales and inputs `(G, N, I)` that go together, as a network's do."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(groups, 500, 3))
    x = causes @ rng.normal(size=(groups, 3, inputs)) + 0.3 * rng.normal(size=(groups, 500, inputs)) + 1
    weights = rng.normal(size=(groups, outputs, inputs))
    return weights, np.abs(weights).max(axis=2) / 64, x


def gram_of(x: np.ndarray) -> np.ndarray:
    gram: np.ndarray = x.swapaxes(1, 2) @ x
    return gram


def error(rounded: np.ndarray, weights: np.ndarray, scales: np.ndarray, x: np.ndarray) -> float:
    return float((((scales[:, :, None] * rounded - weights) @ x.swapaxes(1, 2)) ** 2).mean())


@pytest.mark.parametrize(("shape", "share"), [((1, 20, 40), 0.3), ((12, 1, 9), 0.5), ((3, 4, 150), 0.2)])
def test_outputs_stay_nearer_than_with_each_weight_to_nearest(shape: tuple[int, int, int], share: float) -> None:
    weights, scales, x = case(*shape)
    nearest = np.round(weights / scales[:, :, None])
    rounded = round_weights(weights, scales, gram_of(x), largest=64)
    assert rounded.dtype == np.int8 and np.abs(rounded).max() <= 64
    assert error(rounded, weights, scales, x) < share * error(nearest, weights, scales, x)
    fresh = case(*shape)[2] * np.random.default_rng(1).uniform(0.5, 1.5, (1, 500, 1))  # the same causes, other strength
    assert error(rounded, weights, scales, fresh) < error(nearest, weights, scales, fresh)


def test_weights_that_are_whole_steps_stay() -> None:
    _, scales, x = case(2, 5, 30)
    whole = np.random.default_rng(2).integers(-64, 65, (2, 5, 30))
    assert (round_weights(whole * scales[:, :, None], scales, gram_of(x), largest=64) == whole).all()


def test_inputs_that_have_nothing_in_common_or_are_never_there_round_to_nearest() -> None:
    weights, scales, _ = case(1, 6, 8)
    nearest = np.round(weights / scales[:, :, None])
    for gram in (np.diag(np.arange(8.0))[None], np.zeros((1, 8, 8))):
        assert (round_weights(weights, scales, gram, largest=64) == nearest).all()


def test_what_lies_beyond_the_largest_is_made_up_for_by_the_others() -> None:
    weights, scales, x = np.array([[[10.0, 1.0]]]), np.array([[1.0]]), np.ones((1, 100, 2))
    assert round_weights(weights, scales, gram_of(x), largest=8).tolist() == [[[8, 3]]]


def test_groups_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, scales, x = case(3, 4, 150)
    together = round_weights(weights, scales, gram_of(x), largest=64)
    for k in range(3):
        part = slice(k, k + 1)
        alone = round_weights(weights[part], scales[part], gram_of(x[part]), largest=64)
        assert (alone == together[part]).mean() > 0.999
    monkeypatch.setattr(rounding, "BLOCK", 7)
    assert (round_weights(weights, scales, gram_of(x), largest=64) == together).mean() > 0.999
