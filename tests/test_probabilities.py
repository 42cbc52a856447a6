"""Probabilities in numpy."""

import numpy as np

from fervit import probabilities


def test_softmax_stands_any_size_of_logit() -> None:
    np.testing.assert_allclose(probabilities.softmax(np.array([[1e4, 0, -1e4]])), [[1, 0, 0]])
    np.testing.assert_allclose(probabilities.softmax(np.array([1e6, 1e6])), [0.5, 0.5])
