"""ONNX models: reading them, refusing what is unsafe or foreign, and their probabilities."""

import pickle
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import ModelError
from fervit.inference import model_files
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import default_model, find_folder, find_model, shipped_checkpoint, starting_weights
from fervit.media.crops import preprocess_batch
from fervit.probabilities import softmax
from fervit.runtime.sessions import OnnxSession
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


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin", "model.pkl", "model.onnx"])
def test_pickles_are_refused_whatever_their_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for protocol in (2, 4, 5):
        path.write_bytes(pickle.dumps({"a": 1}, protocol))
        with pytest.raises(ModelError, match="pickle, which can run code"):
            OnnxClassifier(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x")
    with pytest.raises(ModelError, match="pickle, which can run code"):
        OnnxClassifier(path)


def test_a_model_folder_is_sent_to_export_or_to_the_extra(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fervit export .*fervit\[train\]"):
        OnnxClassifier(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"12345678")
    with pytest.raises(ModelError, match="name its folder"):
        OnnxClassifier(weights)


def test_an_installation_without_a_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "ASSETS", tmp_path)
    for find in (default_model, shipped_checkpoint):
        with pytest.raises(ModelError, match="has no model"):
            find()
    (tmp_path / "mobilenet.onnx").touch()
    assert default_model() == tmp_path / "mobilenet.onnx"


def test_a_name_stands_for_a_shipped_model_unless_a_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_files, "ASSETS", tmp_path / "assets")
    with pytest.raises(ModelError, match="has no model"):
        find_model("mobilenet")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "mobilenet.onnx").touch()
    assert find_model("mobilenet") == find_model(Path("mobilenet")) == tmp_path / "assets" / "mobilenet.onnx"
    assert find_model("./mobilenet") == Path("mobilenet")  # a Path forgets the dot
    (tmp_path / "mobilenet").mkdir()
    assert find_model("mobilenet") == Path("mobilenet")
    with pytest.raises(ModelError, match="cannot read"):
        find_model("x" * 5000)


def test_where_a_folder_is_needed_a_name_stands_for_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_folder("tiny") == find_folder(Path("tiny")) == shipped_checkpoint() == starting_weights("tiny")
    for find in (find_folder, starting_weights):
        with pytest.raises(ModelError, match="mobilenet comes with the package as an ONNX file only"):
            find("mobilenet")
    assert find_folder("runs/tiny") == Path("runs/tiny")
    assert starting_weights("owner/name") == "owner/name"  # on the Hub
    (tmp_path / "tiny").mkdir()
    assert find_folder("tiny") == Path("tiny")


def test_a_wrong_name_names_the_right_ones() -> None:
    with pytest.raises(ModelError, match="no model at mobilnet; by name there are mobilenet, tiny"):
        OnnxClassifier(find_model("mobilnet"))
    with pytest.raises(ModelError, match=r"no model at mobilenet\.onnx$"):
        OnnxClassifier(find_model("mobilenet.onnx"))


def test_a_temperature_in_the_spec_is_not_applied_twice(tmp_path: Path, tiny_spec: ModelSpec, tiny_onnx: Path) -> None:
    write_onnx(tmp_path / "hot.onnx", {"fervit": replace(tiny_spec, temperature=3.0).to_json()})
    np.testing.assert_allclose(
        OnnxClassifier(tmp_path / "hot.onnx").probs(crops(2)), OnnxClassifier(tiny_onnx).probs(crops(2))
    )


def test_old_metadata_without_further_inputs_stays_readable_and_is_still_written(tiny_spec: ModelSpec) -> None:
    assert "extra_inputs" not in tiny_spec.to_json()  # single models' files are what they were
    assert ModelSpec.from_json(tiny_spec.to_json()) == tiny_spec
    assert list(tiny_spec.inputs) == ["pixel_values"]
    two = replace(tiny_spec, extra_inputs=(replace(tiny_spec.preprocess, image_size=64),))
    assert ModelSpec.from_json(two.to_json()) == two
    assert {name: way.image_size for name, way in two.inputs.items()} == {"pixel_values": 32, "pixel_values_1": 64}


def test_a_file_with_fewer_inputs_than_its_metadata_says_is_refused(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    spec = replace(tiny_spec, extra_inputs=(tiny_spec.preprocess,))
    write_onnx(tmp_path / "one.onnx", {"fervit": spec.to_json()})
    with pytest.raises(ModelError, match="expected pixel_values, pixel_values_1 -> logits, got pixel_values -> logits"):
        OnnxClassifier(tmp_path / "one.onnx")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_threads_that_share_a_batch_answer_as_one_does(tiny_onnx: Path, count: int) -> None:
    faces = crops(count)
    one, three = (OnnxClassifier(tiny_onnx, threads=threads) for threads in (1, 3))
    np.testing.assert_allclose(three.probs(faces), one.probs(faces), atol=1e-6)
    assert three.probs(faces).shape == (count, 7)


def test_every_thread_takes_a_share_and_an_error_arrives(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = OnnxSession(tiny_onnx, threads=2)
    seen: list[tuple[str, int]] = []

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        seen.append((threading.current_thread().name, len(batch["pixel_values"])))
        if len(seen) > 2:
            raise ValueError("no memory")
        return batch["pixel_values"].mean(axis=(2, 3))

    monkeypatch.setattr(session, "_run", run)
    batch = np.arange(5, dtype=np.float32).repeat(3 * 4).reshape(5, 3, 2, 2)
    assert session.run({"pixel_values": batch})[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert sorted(size for _, size in seen) == [2, 3]
    assert all(name.startswith("fervit-chunk") for name, _ in seen)
    with pytest.raises(ValueError, match="no memory"):
        session.run({"pixel_values": batch})
