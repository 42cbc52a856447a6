"""Contact sheets."""

import numpy as np

from fervit.data import load
from fervit.probabilities import softmax
from fervit.reports import gallery


def test_the_most_confident_errors_come_first_and_a_faultless_model_has_no_sheet_of_them() -> None:
    part = load("synthetic:70").split("train")
    probs = softmax(np.random.default_rng(0).normal(size=(len(part), 7)))
    rows = gallery.most_confident(probs, part.targets, correct=False, count=5)
    assert (probs[rows].argmax(axis=1) != part.targets[rows]).all()
    assert (np.diff(probs[rows].max(axis=1)) <= 0).all()
    turns = gallery.most_confident_of_each(np.eye(7)[part.targets], part.targets, count=14)
    assert np.bincount(part.targets[turns]).tolist() == [2] * 7
    assert list(gallery.sheets(np.eye(7)[part.targets], part)) == ["right"]
