"""The recogniser: from images to predictions, one by one and in streams."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fervit.inference.recognizer
import fervit.media.camera
import fervit.media.video
import fervit.media.video_writer
from fervit.errors import ImageError
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.loading import load
from fervit.inference.recognizer import Recognizer
from fervit.media.images import ImageLike
from tests.helpers.photos import Corners, photo


@pytest.fixture
def recognizer(tiny_onnx: Path) -> Recognizer:
    return Recognizer(OnnxClassifier(tiny_onnx, threads=1), Corners())


def test_a_call_gives_one_prediction_for_each_face(recognizer: Recognizer) -> None:
    predictions = recognizer(photo(3))
    assert [p.face.box.x1 for p in predictions] == [0, 10, 20]
    for prediction in predictions:
        assert prediction.labels == recognizer.spec.labels
        assert prediction.probs.sum() == pytest.approx(1)
    assert recognizer(photo(0)) == []


def test_every_form_of_an_image_gives_the_same_prediction(recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "a photo.png"
    Image.fromarray(photo(1)).save(path)
    expected = recognizer(photo(1))[0].probs
    for form in (path, str(path), path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(recognizer(form)[0].probs, expected)


def test_an_unreadable_image_raises(recognizer: Recognizer) -> None:
    with pytest.raises(ImageError, match="not an image"):
        recognizer(b"nonsense, and long enough")


def test_a_stream_gives_the_predictions_of_single_calls_in_order(recognizer: Recognizer) -> None:
    photos = [photo(k % 4, seed=k) for k in range(23)]
    for batch_size in (1, 4, 100):
        results = list(recognizer.images(photos, batch_size=batch_size))
        assert len(results) == len(photos)
        for image, result in zip(photos, results, strict=True):
            expected = recognizer(image)
            assert result.size == (80, 60)
            assert [p.face.box for p in result.predictions] == [p.face.box for p in expected]
            for one, other in zip(result.predictions, expected, strict=True):
                np.testing.assert_allclose(one.probs, other.probs, atol=1e-6)


@pytest.mark.slow
def test_slow_images_do_not_wait_for_a_full_batch(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fervit.inference.recognizer, "MAX_WAIT_S", 0.05)
    given: list[int] = []

    def slowly() -> Iterator[np.ndarray]:
        for k in range(6):
            time.sleep(0.1)
            given.append(k)
            yield photo(1, seed=k)

    lags = [len(given) - number for number, _ in enumerate(recognizer.images(slowly()), start=1)]
    assert max(lags) <= 3


def test_faces_are_batched_across_images(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    classifier = recognizer.classifier
    assert isinstance(classifier, OnnxClassifier)
    original = classifier.logits

    def logits(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return original(batch)

    monkeypatch.setattr(classifier, "logits", logits)
    list(recognizer.images([photo(1, seed=k) for k in range(20)], batch_size=8))
    assert sizes == [8, 8, 4]


def test_one_bad_image_is_one_error_and_the_run_goes_on(recognizer: Recognizer, tmp_path: Path) -> None:
    sources: list[ImageLike] = [photo(1), tmp_path / "missing.jpg", b"", photo(2)]
    results = list(recognizer.images(sources))
    assert [len(result.predictions) for result in results] == [1, 0, 0, 2]
    assert [result.error is None for result in results] == [True, False, False, True]
    assert "does not exist" in str(results[1].error)
    assert results[1].source.endswith("missing.jpg")


def test_sources_are_read_only_a_little_ahead(recognizer: Recognizer) -> None:
    taken = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            taken.append(1)
            yield photo(0)

    results = recognizer.images(endless(), batch_size=4)
    for _ in range(10):
        next(results)
    results.close()
    assert len(taken) < 40


def test_a_crop_is_the_whole_image_without_margin(recognizer: Recognizer) -> None:
    image = photo(2)
    [prediction] = recognizer(image, crop=True)
    assert prediction.face.box.to_list() == [0, 0, 80, 60]
    np.testing.assert_allclose(prediction.probs, recognizer.classifier.probs([image])[0])
    [result] = recognizer.images([image], crop=True)
    np.testing.assert_allclose(result.predictions[0].probs, prediction.probs)
    assert isinstance(recognizer.classifier, OnnxClassifier)
    [undetected] = load(recognizer.classifier.path, detector="none")(image)
    np.testing.assert_allclose(undetected.probs, prediction.probs)


def test_a_photo_shows_five_faces_mostly_happy_and_another_none(media: Path) -> None:
    recognizer = load(threads=2)
    labels = [prediction.label for prediction in recognizer(media / "multi_face.jpg")]
    assert len(labels) == 5
    # All five smile; one with closed lips stands between happy and neutral for this model, at every crop margin.
    assert labels.count("happy") >= 4
    assert recognizer(media / "no-faces.jpg") == []
