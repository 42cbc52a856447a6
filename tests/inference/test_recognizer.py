"""The recogniser: from images to predictions, one by one and in streams."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fervit.inference.recognizer
from fervit.errors import ImageError, ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.loading import load, open_classifier
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import ImageResult
from fervit.inference.rows import columns, json_lines, json_rows, table_lines
from fervit.types import Box, Face


class Corners:
    """A detector double: as many 20 px faces as the first pixel's red says."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        return [
            [Face(Box(10 * k, 0, 10 * k + 20, 20), 0.9 - k / 100) for k in range(image[0, 0, 0])] for image in images
        ]


def photo(faces: int, seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image[0, 0, 0] = faces
    return image


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


def test_every_form_of_an_image_is_answered_alike(recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "a photo.png"
    Image.fromarray(photo(1)).save(path)
    expected = recognizer(photo(1))[0].probs
    for form in (path, str(path), path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(recognizer(form)[0].probs, expected)


def test_a_model_whose_name_no_file_can_have_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match=r"cannot read .*too long"):
        load("a" * 300 + ".onnx")


def test_an_unreadable_image_raises(recognizer: Recognizer) -> None:
    with pytest.raises(ImageError, match="not an image"):
        recognizer(b"nonsense, and long enough")


def test_a_stream_gives_the_answers_of_single_calls_in_order(recognizer: Recognizer) -> None:
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
    original = classifier.logits
    monkeypatch.setattr(classifier, "logits", lambda batch: sizes.append(len(batch)) or original(batch))
    list(recognizer.images([photo(1, seed=k) for k in range(20)], batch_size=8))
    assert sizes == [8, 8, 4]


def test_one_bad_image_is_one_error_and_the_run_goes_on(recognizer: Recognizer, tmp_path: Path) -> None:
    sources = [photo(1), tmp_path / "missing.jpg", b"", photo(2)]
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
    [undetected] = load(recognizer.classifier.path, detector="none")(image)
    np.testing.assert_allclose(undetected.probs, prediction.probs)


def test_load_reads_a_file_and_finds_the_astronaut(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    assert len(fervit.load(tiny_onnx)(astronaut)) == 1


def test_a_folder_is_run_by_torch_and_without_it_names_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fervit.models", None)
    with pytest.raises(ModelError, match=r"fervit export .*fervit\[train\]"):
        open_classifier(tmp_path)


def test_rows_tell_faces_no_face_and_errors_apart(recognizer: Recognizer) -> None:
    predictions = recognizer(photo(2))
    rows = json_rows(ImageResult("a.jpg", predictions))
    assert [list(row) for row in rows] == [["source", "box", "face_score", "label", "score", "probs"]] * 2
    assert sum(rows[0]["probs"].values()) == pytest.approx(1, abs=1e-5)
    assert json_rows(ImageResult("b.jpg")) == [{"source": "b.jpg", "faces": 0}]
    assert json_rows(ImageResult("c.jpg", error="cut")) == [{"source": "c.jpg", "error": "cut"}]
    lines = json_lines(ImageResult("ü.jpg", predictions)).splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["ü.jpg", "ü.jpg"]


def test_table_lines_are_aligned_for_wide_and_odd_names(recognizer: Recognizer) -> None:
    predictions = recognizer(photo(2))
    lines = [
        line for name in ("a.jpg", "表情.jpg", "x\n.jpg") for line in table_lines(ImageResult(name, predictions), 12)
    ]
    assert len(lines) == 6
    assert len({columns(line[: line.index(" %")]) for line in lines}) == 1
    assert next(table_lines(ImageResult("none.jpg"), 12)).split() == ["none.jpg", "no", "face"]
    assert "\x1b" not in next(table_lines(ImageResult("e", error="bad \x1b[2J"), 12))


def test_public_names_are_lazy_and_complete() -> None:
    assert set(fervit.__all__) <= set(dir(fervit))
    for name in fervit.__all__:
        if name not in ("Dataset", "load_dataset"):
            assert getattr(fervit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        fervit.lod  # noqa: B018


def test_the_run_half_imports_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, fervit; print('numpy' in sys.modules)\n"
        "fervit.load; fervit.annotate; import fervit.inference.rows\n"
        "print(*(m for m in ('torch', 'transformers', 'cv2', 'onnxruntime') if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["False", ""]
