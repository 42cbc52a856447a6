"""What corruptions do to predictions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.errors import ConfigError, ModelError
from fervit.evaluation.intervals import Proportion
from fervit.evaluation.robustness.corruptions import corrupt
from fervit.evaluation.robustness.measurement import RobustnessPlan, measure_robustness, stratified
from tests.helpers.classifiers import Oracle


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load("synthetic:210")


@pytest.mark.slow
def test_figures_are_those_of_the_corrupted_pictures(dataset: Dataset) -> None:
    model = Oracle(dataset, patience=12)
    result = measure_robustness(model, dataset, split="train", plan=RobustnessPlan(["noise", "shift"], faces=None))
    part = dataset.split("train")
    assert result.clean.count == result.total == len(part) and result.clean.value == 1
    assert [c.kind for c in result.conditions] == ["noise"] * 5 and [c.kind for c in result.jitters] == ["shift"] * 5
    correct = model.probs(corrupt(part.images, "noise", 2)).argmax(axis=1) == part.targets
    assert result.conditions[1].correct == correct.sum()
    assert result.relative(result.conditions[1]) == correct.mean()
    assert result.score == pytest.approx(np.mean([c.accuracy for c in result.conditions]))
    assert result.score is not None and result.score_ci95 is not None
    low, high = result.score_ci95
    assert low <= result.score <= high
    falling = [c.accuracy for c in result.conditions]
    assert falling == sorted(falling, reverse=True) and falling[-1] < falling[0]


def test_a_model_that_sees_no_difference_scores_one(dataset: Dataset) -> None:
    plan = RobustnessPlan(["jpeg"])
    report = measure_robustness(Oracle(dataset, patience=1000), dataset, split="public_test", plan=plan).to_dict()
    assert report["mean_corruption_score"] == 1 and report["mean_corruption_score_ci95"] == [1, 1]
    assert all(row["changed_answers"] == 0 for row in report["conditions"])


def test_a_model_that_is_never_right_has_no_score(dataset: Dataset) -> None:
    wrong = replace(dataset, targets=(dataset.targets + 1) % 7)
    plan = RobustnessPlan(["jpeg"])
    result = measure_robustness(Oracle(dataset, patience=1000), wrong, split="public_test", plan=plan)
    assert result.score is None and result.to_dict()["conditions"][0]["relative_accuracy"] is None
    assert "no corruption was measured" in result.summary


def test_grayscale_of_grey_pictures_is_left_out_of_the_score(dataset: Dataset) -> None:
    model = Oracle(dataset, patience=6)
    both, one = (
        measure_robustness(model, dataset, split="public_test", plan=RobustnessPlan(kinds))
        for kinds in (["grayscale", "darker"], ["darker"])
    )
    assert both.unchanged == ("grayscale",)
    assert both.score == one.score


def test_a_sample_keeps_the_proportions_of_labels_and_repeats() -> None:
    targets = np.repeat([0, 1, 2], [800, 190, 10])
    rows = stratified(targets, 100)
    assert np.bincount(targets[rows]).tolist() == [80, 19, 1]
    np.testing.assert_array_equal(rows, stratified(targets, 100))
    assert np.bincount(targets[stratified(targets, 5)])[2] == 1
    assert len(stratified(targets, 5000)) == len(stratified(targets, None)) == 1000
    with pytest.raises(ConfigError, match="at least one"):
        stratified(targets, 0)


def test_subsets_are_measured_against_the_rest(dataset: Dataset, tmp_path: Path) -> None:
    part = dataset.split("train")
    wrong = replace(dataset, targets=dataset.targets.copy())
    hard = part.rows[:21]
    wrong.targets[hard] = (wrong.targets[hard] + 1) % 7
    path = tmp_path / "hard.csv"
    path.write_text("row\n" + "\n".join(map(str, [*hard, 999_999])) + "\n")
    plan = RobustnessPlan([], subsets={"hard": path})
    result = measure_robustness(Oracle(dataset, patience=0), wrong, split="train", plan=plan)
    (subset,) = result.subsets
    assert subset.inside.accuracy == Proportion(0, 21)
    assert subset.outside is not None and subset.outside.accuracy == Proportion(len(part) - 21, len(part) - 21)
    assert subset.joined == "21 matched, 1 without an image here"


def test_progress_reaches_its_end_exactly(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text(f"row\n{dataset.split('train').rows[0]}\n")
    seen: list[tuple[int, int]] = []
    plan = RobustnessPlan(["jpeg", "shift"], faces=20, subsets={"a": path})
    measure_robustness(Oracle(dataset, 6), dataset, split="train", plan=plan, progress=lambda *done: seen.append(done))
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_summary_names_the_worst(dataset: Dataset) -> None:
    plan = RobustnessPlan(["darker", "jpeg"], faces=30)
    found = measure_robustness(Oracle(dataset, 20), dataset, split="train", plan=plan)
    assert found.mean_relative["darker"] < found.mean_relative["jpeg"]
    assert "Worst: darker" in found.summary


def test_one_picture_has_defined_figures(dataset: Dataset) -> None:
    one = dataset.take([0])
    found = measure_robustness(Oracle(one, patience=6), one, split="train")
    assert found.clean == Proportion(1, 1)
    assert found.score is not None and found.score_ci95 is not None
    assert 0 <= found.score_ci95[0] <= found.score <= 1


def test_answers_that_are_no_numbers_are_a_clear_error(dataset: Dataset) -> None:
    class Broken(Oracle):
        def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
            return np.full((len(crops), 7), np.nan)

    with pytest.raises(ModelError, match="not finite"):
        plan = RobustnessPlan(["jpeg"], faces=5)
        measure_robustness(Broken(dataset, 6), dataset, split="train", plan=plan)
