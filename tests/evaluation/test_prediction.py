"""Predictions for a whole data set, and test-time augmentation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fervit.data.dataset import PUBLIC_TEST
from fervit.evaluation.measurement import evaluate
from fervit.evaluation.prediction import TTA, predict_dataset
from fervit.reports.terminal import report_as_text
from tests.helpers.classifiers import FakeClassifier, labelled_images


def test_flip_averages_a_picture_and_its_mirror_image() -> None:
    dataset = labelled_images([3], [3])
    dataset.images[0, 0, -1, 0] = 50
    plain = predict_dataset(FakeClassifier(), dataset)
    flipped = predict_dataset(FakeClassifier(), dataset, tta="flip")
    assert plain[0, 3] == pytest.approx(0.9)
    assert flipped[0, 3] == flipped[0, 5] == pytest.approx((0.9 + 0.1 / 6) / 2)
    assert evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST, tta="flip").to_dict()["tta"] == "flip"


def test_five_crops_are_the_corners_and_the_centre_at_nine_tenths_of_the_side() -> None:
    picture = np.arange(20 * 40).reshape(1, 20, 40, 1)
    views = TTA["five_crops"](picture)
    assert [view.shape for view in views] == [(1, 18, 36, 1)] * 5
    first = [divmod(int(view[0, 0, 0, 0]), 40) for view in views]
    last = [divmod(int(view[0, -1, -1, 0]), 40) for view in views]
    assert first == [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]
    assert last == [(17, 35), (17, 39), (19, 35), (19, 39), (18, 37)]


def test_flip_five_crops_are_ten_different_views_half_of_them_mirrored() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    views, plain = TTA["flip_five_crops"](picture), TTA["five_crops"](picture)
    assert len({view.tobytes() for view in views}) == 10
    np.testing.assert_array_equal(views[5][:, :, ::-1], plain[1])  # the mirrored left corner was the right one


@pytest.mark.parametrize(("name", "views"), [("flip", 2), ("five_crops", 5), ("flip_five_crops", 10)])
def test_tta_averages_the_views_and_is_named_in_the_report(name: str, views: int) -> None:
    targets = np.arange(7)
    dataset = labelled_images(targets, targets)
    dataset = replace(dataset, images=dataset.images % 70)  # every pixel is an answer of `FakeClassifier`
    asked: list[np.ndarray] = []

    class Recording(FakeClassifier):
        def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
            asked.append(super().probs(crops, batch_size=batch_size))
            return asked[-1]

    probs = predict_dataset(Recording(), dataset, tta=name)
    assert len(asked) == views and np.ptp(asked, axis=0).max() > 0.5
    np.testing.assert_allclose(probs, np.mean(asked, axis=0))
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST, tta=name)
    assert report.tta == name and f"with test-time augmentation ({name})" in report_as_text(report)


def test_progress_ends_at_the_number_of_pictures_and_batches_are_as_asked() -> None:
    dataset, classifier = labelled_images([0] * 10, [0] * 10), FakeClassifier()
    seen: list[tuple[int, int]] = []
    predict_dataset(classifier, dataset, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 10), (10, 10)]
    assert classifier.batches == [(8, 2), (2, 2)]
