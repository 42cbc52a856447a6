"""How often each image is drawn: by the weight of its data set and by its class."""

from dataclasses import replace

import numpy as np
import pytest

from fervit.data.mixtures.mixture import Mixture
from fervit.training.mixed.sampler import multiplicities, sampler_for
from tests.helpers import faces


def unequal(weights: tuple[float, float] = (1.0, 1.0)) -> Mixture:
    """Two parts: 60, 20 and 10 images of three classes; 30 of the second class."""
    first = replace(faces(90), targets=np.array([0] * 60 + [1] * 20 + [2] * 10))
    second = replace(faces(30), name="second", targets=np.full(30, 1))
    return Mixture((first, second), weights)


def test_images_of_one_weight_are_shuffled_as_ever() -> None:
    assert sampler_for(unequal(), "natural", seed=0) is None
    assert multiplicities(unequal((2.0, 2.0)), "natural") is not None


def test_an_epoch_is_as_long_as_the_weighted_images() -> None:
    sampler = sampler_for(unequal((0.5, 2.0)), "natural", seed=0)
    assert sampler is not None
    rows = np.array(list(sampler))
    assert len(sampler) == len(rows) == 45 + 60
    assert (rows < 90).sum() == 45
    assert np.bincount(rows[rows >= 90]).max() == 2
    assert np.bincount(rows[rows < 90]).max() == 1  # none is drawn twice before all were drawn once


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [("natural", [60, 50, 10]), ("square_root", [51.7, 47.2, 21.1]), ("balanced", [40, 40, 40])],
)  # 120 * sqrt(n) / (sqrt(60) + sqrt(50) + sqrt(10)) for the square root
def test_classes_are_drawn_in_the_wanted_proportion(sampling: str, expected: list[float]) -> None:
    mixture = unequal()
    drawn = multiplicities(mixture, sampling)
    weights = np.ones(len(mixture)) if drawn is None else drawn
    np.testing.assert_allclose([weights[mixture.targets == k].sum() for k in range(3)], expected, atol=0.6)
    sampler = sampler_for(mixture, sampling, seed=0)
    if sampler is not None:
        counts = np.bincount(mixture.targets[list(sampler)], minlength=7)[:3]
        np.testing.assert_allclose(counts, expected, atol=2)


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    one, same, other = (sampler_for(unequal(), "balanced", seed=seed) for seed in (0, 0, 1))
    assert one is not None and same is not None and other is not None
    first = list(one)
    assert first == list(same)
    assert first != list(other)
    one.set_epoch(1)
    assert list(one) != first
    one.set_epoch(0)
    assert list(one) == first
