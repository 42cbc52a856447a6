"""Figures of a classifier on one split."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, TRAIN
from fervit.errors import ConfigError, DataError, ModelError
from fervit.evaluation import intervals
from fervit.evaluation.measurement import evaluate, measure
from fervit.evaluation.parts import leak_mask, leak_masks
from fervit.evaluation.prediction import predict_dataset
from fervit.labels import FER7, FERPLUS8
from tests.helpers import DATA
from tests.helpers.classifiers import FakeClassifier, labelled_images

KEYS = {
    *("n", "accuracy", "accuracy_ci95", "accuracy_leak_free", "macro_f1", "weighted_precision", "weighted_recall"),
    *("weighted_f1", "balanced_accuracy", "ece", "per_class", "confusion", "split", "model", "seconds"),
    *("nll", "brier", "n_leak_free", "accuracy_leak_free_ci95", "tta", "data_hash", "dataset"),
}


@pytest.fixture
def two_thirds() -> Dataset:
    """Thirty public_test pictures, of which twenty are answered right, and thirty train pictures."""
    targets = np.tile(np.arange(7), 9)[:60]
    answers = targets.copy()
    answers[:10] = (answers[:10] + 1) % 7
    return labelled_images(answers, targets, splits=[1] * 30 + [0] * 30)


def test_a_report_counts_what_was_answered(two_thirds: Dataset) -> None:
    report = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST)
    figures = json.loads(json.dumps(report.to_dict()))
    assert set(figures) >= KEYS
    assert figures["n"] == 30 and figures["split"] == "public_test" and figures["model"] == "fake-7"
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["accuracy_ci95"] == pytest.approx(intervals.wilson_interval(20, 30))
    assert figures["ece"] == pytest.approx(0.9 - 2 / 3)
    assert np.array(figures["confusion"]).sum() == 30
    targets = two_thirds.targets[:30]
    assert [row["support"] for row in figures["per_class"].values()] == np.bincount(targets).tolist()
    low, high = figures["macro_f1_ci95"]
    assert low < figures["macro_f1"] < high
    assert sum(row["count"] for row in figures["reliability"]) == 30


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    report = evaluate(FakeClassifier(), labelled_images([1, 1, 1], [0, 0, 1]), split=PUBLIC_TEST)
    assert report.confusion[0].tolist() == [0, 2, 0, 0, 0, 0, 0]
    assert report.confusion[1].tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_pictures_that_stand_in_train_are_left_out_of_the_leak_free_accuracy(two_thirds: Dataset) -> None:
    two_thirds.images[31:34] = two_thirds.images[:3]  # three wrongly answered ones
    report = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST).to_dict()
    assert report["accuracy"] == pytest.approx(20 / 30)
    assert report["n_leak_free"] == 27 and report["accuracy_leak_free"] == pytest.approx(20 / 27)
    assert report["accuracy_leak_free_ci95"] == pytest.approx(intervals.wilson_interval(20, 27))


@pytest.mark.parametrize("split", [PUBLIC_TEST, TRAIN])
def test_leak_free_is_null_without_another_train_split(two_thirds: Dataset, split: str) -> None:
    dataset = two_thirds.split(split)
    report = evaluate(FakeClassifier(), dataset, split=split).to_dict()
    assert report["n_leak_free"] is None
    assert report["accuracy_leak_free"] is None and report["accuracy_leak_free_ci95"] is None


def test_leak_free_is_null_and_counts_zero_when_every_picture_leaks() -> None:
    dataset = labelled_images([0, 1, 0, 1], [0, 1, 0, 1], splits=[0, 0, 1, 1])
    dataset.images[2:] = dataset.images[:2]
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST).to_dict()
    assert (report["n_leak_free"], report["accuracy_leak_free"], report["accuracy"]) == (0, None, 1.0)


def test_labels_in_another_order_or_spelling_are_matched_by_name(two_thirds: Dataset) -> None:
    order = [6, 5, 4, 3, 2, 1, 0]
    spelt = tuple({"happy": "Happiness", "angry": "anger"}.get(FER7[k], FER7[k]) for k in order)

    class Reordered(FakeClassifier):
        def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
            return super().probs(crops, batch_size=batch_size)[:, order]

    ours = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST)
    theirs = evaluate(Reordered(spelt), two_thirds, split=PUBLIC_TEST)
    np.testing.assert_array_equal(ours.confusion, theirs.confusion)
    assert theirs.labels == FER7 and theirs.dropped_labels == ()


def test_a_label_that_only_the_model_knows_is_dropped_and_its_probability_shared_out() -> None:
    contempt, happy = FERPLUS8.index("contempt"), FERPLUS8.index("happy")
    dataset = labelled_images([contempt, happy], [0, FER7.index("happy")])
    report = evaluate(FakeClassifier(FERPLUS8), dataset, split=PUBLIC_TEST)
    assert report.dropped_labels == ("contempt",)
    probs = predict_dataset(FakeClassifier(FERPLUS8), dataset)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(probs[0], 1 / 7)
    assert probs[1, FER7.index("happy")] == pytest.approx(0.9 / (1 - 0.1 / 7))
    certain = predict_dataset(FakeClassifier(FERPLUS8, confidence=1.0), dataset)
    np.testing.assert_allclose(certain[0], 1 / 7)


def test_a_label_that_the_model_lacks_is_an_error_only_if_it_occurs() -> None:
    model = FakeClassifier(FER7[:6])
    assert evaluate(model, labelled_images([0, 1], [0, 1]), split=PUBLIC_TEST).accuracy.value == 1
    with pytest.raises(ModelError, match=r"cannot predict neutral: .*knows 6 labels \(angry.*data has 7"):
        evaluate(model, labelled_images([0, 1], [0, 6]), split=PUBLIC_TEST, strict_labels=True)
    with pytest.raises(ModelError, match=r"LABEL_0.*angry"):
        evaluate(FakeClassifier([f"LABEL_{k}" for k in range(7)]), labelled_images([0], [0]), split=PUBLIC_TEST)


def test_one_picture_and_a_split_that_lacks_classes_give_defined_figures() -> None:
    report = evaluate(FakeClassifier(), labelled_images([2], [3]), split=PUBLIC_TEST).to_dict()
    assert report["n"] == 1 and report["accuracy"] == report["macro_f1"] == report["balanced_accuracy"] == 0
    assert report["per_class"]["angry"] == {
        **{"precision": None, "recall": None, "recall_ci95": None, "f1": None, "f1_ci95": None, "support": 0}
    }
    assert "NaN" not in json.dumps(report)


def test_answers_that_are_not_numbers_are_an_error(two_thirds: Dataset) -> None:
    class Broken(FakeClassifier):
        def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
            return np.full((len(crops), 7), np.nan)

    with pytest.raises(ModelError, match="not finite in 30 of 30 rows"):
        evaluate(Broken(), two_thirds, split=PUBLIC_TEST)


def test_answers_of_the_wrong_shape_are_an_error(two_thirds: Dataset) -> None:
    class Short(FakeClassifier):
        def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
            return np.full((len(crops), 6), 1 / 6)

    with pytest.raises(ModelError, match=r"shape \(30, 6\), expected \(30, 7\)"):
        evaluate(Short(), two_thirds, split=PUBLIC_TEST)


@pytest.mark.parametrize(
    ("split", "tta", "error", "message"),
    [
        ("publictest", None, DataError, "did you mean 'public_test'"),
        (PRIVATE_TEST, None, DataError, "has no private_test images"),
        (PUBLIC_TEST, "flop", ConfigError, "did you mean 'flip'"),
    ],
)
def test_misspelt_arguments_name_the_choices(
    two_thirds: Dataset, split: str, tta: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(FakeClassifier(), two_thirds, split=split, tta=tta)


def test_votes_add_the_accuracy_against_their_majority() -> None:
    votes = np.zeros((4, 7), np.float32)
    votes[0, :2] = 0.5  # a tie: either is right
    votes[1, 2] = 1
    votes[2, 3] = 1  # the fourth picture has no votes
    dataset = labelled_images([1, 2, 4, 0], [0, 0, 3, 0], votes=votes)
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST).to_dict()
    assert report["accuracy"] == 0.25
    assert report["n_votes"] == 3 and report["accuracy_votes"] == pytest.approx(2 / 3)
    assert report["n_errors_with_votes"] == 3 and report["errors_shared_by_votes"] == pytest.approx(2 / 3)
    assert evaluate(FakeClassifier(), labelled_images([0], [0]), split=PUBLIC_TEST).votes is None


def test_measure_takes_probabilities_that_were_computed_before(two_thirds: Dataset) -> None:
    part = two_thirds.split(PUBLIC_TEST)
    probs = predict_dataset(FakeClassifier(), part)
    again = measure(probs, part, model="fake-7", leaks=leak_masks(two_thirds, PUBLIC_TEST)).to_dict()
    first = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST).to_dict()
    assert again | {"seconds": 0} == first | {"seconds": 0}


# --- command line -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_split_of_fer2013_has_its_known_leaks() -> None:
    data = DATA / "fer2013.parquet"
    if not data.is_file():
        pytest.skip(f"no FER2013 at {data}")
    from fervit.data import load

    dataset = load(data)
    # counted on the csv: 280 PublicTest and 288 PrivateTest pictures also stand in Training
    masks = [leak_mask(dataset, split) for split in (PUBLIC_TEST, PRIVATE_TEST)]
    assert [int(mask.sum()) for mask in masks if mask is not None] == [280, 288]
