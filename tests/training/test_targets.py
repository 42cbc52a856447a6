"""Which images a run learns from, and their targets."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fervit.config.training import TrainConfig
from fervit.errors import DataError
from fervit.training import train
from fervit.training.targets import class_frequencies, class_weights, conflicting, make_targets, training_rows
from tests.helpers import faces
from tests.helpers.training import quick_config


def test_targets_are_rows_that_sum_to_one() -> None:
    dataset = faces(14, votes=True)
    assert dataset.votes is not None
    dataset.votes[3] = 0  # nobody voted
    targets = make_targets(dataset, TrainConfig(votes_weight=0.25, label_smoothing=0.07))
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(targets[0, :2], [0.93 * 0.75 + 0.01, 0.93 * 0.25 + 0.01], atol=1e-6)
    np.testing.assert_allclose(targets[3, 3], 0.93 + 0.01, atol=1e-6)
    with pytest.raises(DataError, match="--votes"):
        make_targets(faces(14), TrainConfig(votes_weight=0.25))


def test_rare_classes_weigh_more_by_effective_number() -> None:
    targets = np.array([0] * 90 + [1] * 9 + [2])
    weights = class_weights(targets, 3, 0.9)
    assert weights[targets].mean() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx((1 - 0.9**90) / (1 - 0.9))
    np.testing.assert_array_equal(class_weights(targets, 3, 0.0), 1)
    np.testing.assert_allclose(class_frequencies(targets, 3), [0.9, 0.09, 0.01])


def test_a_teacher_has_its_part_of_the_target_and_must_be_there() -> None:
    dataset = faces(7)
    teacher = np.full((7, 7), 1 / 7)
    targets = make_targets(dataset, TrainConfig(teacher_weight=0.7), teacher)
    np.testing.assert_allclose(targets, 0.3 * np.eye(7) + 0.1, atol=1e-6)
    with pytest.raises(DataError, match="fervit distill TEACHER"):
        make_targets(dataset, TrainConfig(teacher_weight=0.7))


@pytest.mark.slow
def test_images_that_nobody_calls_a_face_are_left_out(tmp_path: Path, weights: Path) -> None:
    dataset = faces(56, votes=True)
    assert dataset.votes is not None
    dataset.votes[:5] = 0
    train(quick_config(epochs=1, drop_not_a_face=True), dataset, tmp_path / "run", init=weights)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["n_train"] == 28 - 5
    with pytest.raises(DataError, match="--votes"):
        train(quick_config(drop_not_a_face=True), faces(), tmp_path / "other", init=weights)


@pytest.mark.slow
def test_images_with_two_labels_are_found_and_left_out(tmp_path: Path, weights: Path) -> None:
    dataset = faces(56)
    dataset.images[7] = dataset.images[0]
    dataset.images[14] = dataset.images[1]
    dataset.targets[7] = 3  # as row 0, which is a 0; row 14 agrees with row 1
    dataset.targets[14] = dataset.targets[1]
    assert set(np.flatnonzero(conflicting(dataset))) == {0, 7}
    train(quick_config(epochs=1, drop_conflicts=True), dataset, tmp_path / "run", init=weights)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["n_train"] == 28 - 2


def test_one_label_is_nothing_to_learn() -> None:
    dataset = faces(14).take(np.arange(14) % 7 == 0)
    alone = dataclasses.replace(dataset, labels=("happy",))
    with pytest.raises(DataError, match="levels has one label, happy, and nothing can be learned"):
        training_rows(alone, TrainConfig())
