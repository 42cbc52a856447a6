"""A middling classifier's predictions."""

import numpy as np
import pytest

from fervit.probabilities import softmax
from tests.helpers.reports import Drawn


@pytest.fixture(scope="package")
def drawn() -> Drawn:
    """Return probabilities (500, 7), targets and predictions of a middling classifier."""
    rng = np.random.default_rng(0)
    targets = rng.choice(7, 500, p=[0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])
    logits = rng.normal(size=(500, 7)) + 1.5 * np.eye(7)[targets]
    probs = softmax(2 * logits)
    return probs, targets, probs.argmax(axis=1)
