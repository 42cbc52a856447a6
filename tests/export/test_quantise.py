"""8-bit models pass a gate, or are not written."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.data import Dataset
from fervit.errors import ConfigError, DataError, MissingExtra, ModelError
from fervit.export import quantise
from fervit.export.quantise import Int8Report
from fervit.inference.classifier import OnnxClassifier
from fervit.licences import Licence
from fervit.runtime import sessions
from fervit.types import ModelSpec
from tests.helpers import write_mlp, write_onnx
from tests.helpers.licences import RAF

KINDS = pytest.mark.parametrize("kind", ["onnx", "xml"])


def need(kind: str) -> None:
    pytest.importorskip("onnx")
    if kind == "xml":
        pytest.importorskip("openvino")


def test_the_gate_names_both_figures_and_what_is_wrong() -> None:
    Int8Report(0.700, 0.698, 1.3).check()
    with pytest.raises(ModelError, match=r"more than 0\.3 points: public_test accuracy 70\.00 -> 69\.60 %.* 2\.00x"):
        Int8Report(0.700, 0.696, 2.0).check()
    with pytest.raises(ModelError, match=r"less than 1\.2x as fast here: .* 70\.00 -> 70\.10 %.* 1\.10x"):
        Int8Report(0.700, 0.701, 1.1).check()
    with pytest.raises(ModelError, match=r"0\.3 points and it is less than 1\.2x"):
        Int8Report(0.700, 0.600, 0.9).check()


@KINDS
def test_the_8_bit_model_is_close_and_carries_the_spec(
    kind: str, model: Path, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(kind)
    monkeypatch.setattr(quantise, "_speedup", lambda exact, small: 2.0)
    monkeypatch.setattr(quantise, "MAX_LOSS", 1.0)  # noise is hard to tell apart
    out = tmp_path / f"int8.{kind}"
    spec = OnnxClassifier(model, threads=1).spec
    model = tmp_path / "exact" / "exact.onnx"
    model.parent.mkdir()
    write_mlp(model, dataclasses.replace(spec, trained_on=(RAF,)))
    faces = dataclasses.replace(faces, licence="MIT")
    report = quantise.quantise(model, out, faces, threads=1)
    assert (report.accuracy, report.n) == (1, 40)
    exact, small = OnnxClassifier(model, threads=1), OnnxClassifier(out, threads=1)
    assert small.spec == dataclasses.replace(exact.spec, metrics={}, trained_on=(RAF, Licence("noise", "MIT")))
    difference = np.abs(small.probs(faces.images) - exact.probs(faces.images))
    assert 0 < difference.mean() < 0.1
    expected = {"int8.onnx"} if kind == "onnx" else {"int8.xml", "int8.bin"}
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == expected


@KINDS
def test_a_refused_model_leaves_nothing_behind_and_the_old_file_alone(
    kind: str, model: Path, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(kind)
    monkeypatch.setattr(quantise, "_speedup", lambda exact, small: 1.0)
    out = tmp_path / f"int8.{kind}"
    out.write_text("mine")
    with pytest.raises(ModelError, match=r"int8 refused, .*nothing was written"):
        quantise.quantise(model, out, faces, threads=1)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "mine"


def test_an_8_bit_onnx_file_stays_with_onnx_runtime_by_default(
    model: Path, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr(Int8Report, "check", lambda self: None)
    quantise.quantise(model, tmp_path / "int8.onnx", faces, threads=1)
    monkeypatch.setattr(sessions, "find_spec", lambda name: name)
    assert sessions.choose_runtime("auto", tmp_path / "int8.onnx") == "onnxruntime"
    assert sessions.choose_runtime("auto", model) == "openvino"
    assert sessions.choose_runtime("openvino", tmp_path / "int8.onnx") == "openvino"


def test_calibration_faces_come_from_all_over_the_training_part(
    model: Path, faces: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "preprocess_batch", lambda pictures, preprocess: np.stack(pictures))
    monkeypatch.setattr(quantise, "CALIBRATION", 7)
    monkeypatch.setattr(quantise, "CALIBRATION_BATCH", 3)
    training = faces.split("train")
    batches = quantise.calibration_batches(OnnxClassifier(model, threads=1).spec, training)
    assert [len(batch["pixel_values"]) for batch in batches] == [3, 3]  # of one size, so the seventh is left out
    seen = np.concatenate([batch["pixel_values"] for batch in batches])
    rows = [int((training.images == face).all(axis=(1, 2, 3)).argmax()) for face in seen]
    assert len(set(rows)) == 6
    assert rows != [0, 1, 2, 3, 4, 5]  # a folder's pictures come class by class


def test_no_face_of_another_part_calibrates(
    model: Path, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def stop(model: Path, out: Path, spec: ModelSpec, batches: list[dict[str, np.ndarray]]) -> None:
        seen.extend(batch["pixel_values"] for batch in batches)
        raise ModelError("far enough")

    monkeypatch.setattr(quantise, "preprocess_batch", lambda pictures, preprocess: np.stack(pictures))
    monkeypatch.setattr(quantise, "write_int8", stop)
    with pytest.raises(ModelError, match="far enough"):
        quantise.quantise(model, tmp_path / "int8.onnx", faces)
    rows = [int((faces.images == face).all(axis=(1, 2, 3)).argmax()) for face in np.concatenate(seen)]
    assert len(set(rows)) == quantise.CALIBRATION_BATCH and max(rows) < 20  # the training part, in one whole batch


def test_an_8_bit_model_is_not_quantised_again(
    model: Path, faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr(Int8Report, "check", lambda self: None)
    quantise.quantise(model, tmp_path / "int8.onnx", faces, threads=1)
    with pytest.raises(ModelError, match="in 8 bits already"):
        quantise.quantise(tmp_path / "int8.onnx", tmp_path / "again.onnx", faces, threads=1)
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]


def test_mistakes_are_told(
    model: Path, faces: Dataset, tmp_path: Path, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"\.onnx .* or \.xml"):
        quantise.quantise(model, tmp_path / "int8.bin", faces)
    with pytest.raises(DataError, match="public_test"):
        quantise.quantise(model, tmp_path / "int8.onnx", faces.split("train"))
    write_onnx(tmp_path / "cnn.onnx", {"fervit": tiny_spec.to_json()})
    with pytest.raises(ModelError, match="no products with weights"):
        quantise.quantise(tmp_path / "cnn.onnx", tmp_path / "int8.onnx", faces)
    monkeypatch.setattr(quantise, "find_spec", lambda name: None if name == "openvino" else name)
    with pytest.raises(MissingExtra, match=r"fervit\[openvino\]"):
        quantise.quantise(model, tmp_path / "int8.xml", faces)
    monkeypatch.setattr(quantise, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"fervit\[train\]"):
        quantise.quantise(model, tmp_path / "int8.onnx", faces)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8"], "needs --data"),
        (["--data", "synthetic:70"], "belong to --int8"),
        (["--int8", "--data", "none.csv"], "no data set at none.csv"),
        (["--int8", "--data", "synthetic:70", "--out", "m.pt"], ".onnx"),
    ],
)
def test_the_command_line_refuses_before_it_works(
    model: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["export", str(model), "--out", str(tmp_path / "m.onnx"), *arguments])
    assert result.exception is not None
    assert message in str(result.exception) + result.output
    assert not list(tmp_path.iterdir())


def test_the_exact_model_is_never_replaced_by_its_quantised_self(tiny_onnx: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_onnx.read_bytes())
    arguments = ["export", str(model), "--out", str(model), "--int8", "--data", "synthetic:70", "--overwrite"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError) and "is the model itself" in str(result.exception)
    assert model.read_bytes() == tiny_onnx.read_bytes()


def test_the_command_line_prints_what_it_cost_and_brought(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr(Int8Report, "check", lambda self: None)
    out = tmp_path / "new" / "int8.onnx"
    arguments = ["export", str(model), "--out", str(out), "--int8", "--data", "synthetic:140", "--threads", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "public_test accuracy" in result.stdout and "x as fast on onnxruntime" in result.stdout
    assert [path.name for path in out.parent.iterdir()] == ["int8.onnx"]
    result = CliRunner().invoke(app, arguments)
    assert "--overwrite" in str(result.exception) + result.output
