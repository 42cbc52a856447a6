"""ONNX models: their metadata, their shapes and their probabilities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.media.crops import preprocess_batch
from fervit.probabilities import softmax
from fervit.types import ModelSpec
from tests.helpers import write_onnx


def crops(n: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (30 + k % 5, 40, 3), dtype=np.uint8) for k in range(n)]


def test_the_spec_travels_in_the_file(tiny_onnx: Path, tiny_spec: ModelSpec) -> None:
    assert OnnxClassifier(tiny_onnx).spec == tiny_spec


def test_probabilities_are_the_softmax_of_the_logits(tiny_onnx: Path, tiny_spec: ModelSpec) -> None:
    classifier = OnnxClassifier(tiny_onnx, threads=1)
    logits = classifier.logits(preprocess_batch(crops(5), tiny_spec.preprocess))
    assert logits.shape == (5, 7)
    assert logits.dtype == np.float32
    probs = classifier.probs(crops(5))
    np.testing.assert_allclose(probs, softmax(logits), atol=1e-9)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert np.ptp(probs, axis=0).max() > 1e-4


def test_the_batch_size_changes_nothing(tiny_onnx: Path) -> None:
    classifier = OnnxClassifier(tiny_onnx)
    whole = classifier.probs(crops(7), batch_size=32)
    np.testing.assert_allclose(classifier.probs(crops(7), batch_size=3), whole, atol=1e-6)
    assert classifier.probs([]).shape == (0, 7)


def test_softmax_survives_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]], np.float32)), [[1, 0]])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model at .*absent\.onnx"):
        OnnxClassifier(tmp_path / "absent.onnx")


def test_broken_files_are_model_errors(tmp_path: Path, tiny_onnx: Path) -> None:
    data = tiny_onnx.read_bytes()
    broken = tmp_path / "broken.onnx"
    for content, reason in (
        (b"", "empty"),
        (b"hello world", "not a readable"),
        (data[: len(data) // 2], "truncated"),
    ):
        broken.write_bytes(content)
        with pytest.raises(ModelError, match=reason):
            OnnxClassifier(broken)


def test_an_onnx_file_of_elsewhere_is_sent_to_export(tmp_path: Path) -> None:
    write_onnx(tmp_path / "plain.onnx", {})
    with pytest.raises(ModelError, match="fervit export"):
        OnnxClassifier(tmp_path / "plain.onnx")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"arch": "vit"}', "3"])
def test_unreadable_metadata_is_a_model_error(tmp_path: Path, text: str) -> None:
    write_onnx(tmp_path / "odd.onnx", {"fervit": text})
    with pytest.raises(ModelError, match="export it again"):
        OnnxClassifier(tmp_path / "odd.onnx")


def test_metadata_that_does_not_fit_the_graph_is_refused(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    path = tmp_path / "misfit.onnx"
    write_onnx(path, {"fervit": tiny_spec.to_json()}, classes=8)
    with pytest.raises(ModelError, match="logits has shape"):
        OnnxClassifier(path)
    write_onnx(path, {"fervit": tiny_spec.to_json()}, size=48)
    with pytest.raises(ModelError, match="pixel_values has shape"):
        OnnxClassifier(path)


def test_a_temperature_in_the_spec_is_not_applied_twice(tmp_path: Path, tiny_spec: ModelSpec, tiny_onnx: Path) -> None:
    write_onnx(tmp_path / "hot.onnx", {"fervit": replace(tiny_spec, temperature=3.0).to_json()})
    np.testing.assert_allclose(
        OnnxClassifier(tmp_path / "hot.onnx").probs(crops(2)), OnnxClassifier(tiny_onnx).probs(crops(2))
    )


def test_a_file_with_fewer_inputs_than_its_metadata_says_is_refused(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    spec = replace(tiny_spec, extra_inputs=(tiny_spec.preprocess,))
    write_onnx(tmp_path / "one.onnx", {"fervit": spec.to_json()})
    with pytest.raises(ModelError, match="expected pixel_values, pixel_values_1 -> logits, got pixel_values -> logits"):
        OnnxClassifier(tmp_path / "one.onnx")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_threads_that_share_a_batch_predict_as_one_does(tiny_onnx: Path, count: int) -> None:
    faces = crops(count)
    one, three = (OnnxClassifier(tiny_onnx, threads=threads) for threads in (1, 3))
    np.testing.assert_allclose(three.probs(faces), one.probs(faces), atol=1e-6)
    assert three.probs(faces).shape == (count, 7)
