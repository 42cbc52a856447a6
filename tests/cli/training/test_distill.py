"""`fervit distill`: a student from an exported file, and from a model folder that teaches live."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.inference.model_files import model_hash
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.training import teachers
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm


@pytest.mark.slow
def test_distill_trains_a_student_and_names_its_teacher(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_timm(tmp_path / "w.safetensors")
    monkeypatch.setattr(teachers, "STEP", 7)  # several steps, so that the bar moves
    command = [
        "distill",
        str(tiny_onnx),
        "--data",
        "synthetic:140",
        "--recipe",
        "paper",
        "--out",
        str(tmp_path / "run"),
    ]
    settings = ["image_size=32", "epochs=1", "batch_size=16", "teacher_views=2"]
    command += ["--init", str(tmp_path / "w.safetensors"), *(word for s in settings for word in ("--set", s))]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["teacher"] == {"name": "tiny.onnx", "hash": model_hash(tiny_onnx)}
    assert run["config"]["teacher_weight"] == 0.5
    with monkeypatch.context() as patch:  # a folder that is in the way is reported before the teacher predicts
        patch.setattr(teachers, "cached_soft_targets", None)
        result = CliRunner().invoke(app, command)
    assert "is not empty: --resume goes on with it" in str(result.exception)
    (tmp_path / "own.toml").write_text("teacher_weight = 0.0\n")  # a recipe's own value is not replaced
    result = CliRunner().invoke(app, [*command, "--recipe", str(tmp_path / "own.toml")])
    assert "the teacher would teach nothing" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--set", "teacher_weight=0"])
    assert "the teacher would teach nothing" in str(result.exception)


@pytest.mark.slow
def test_a_folder_teaches_live_and_an_exported_file_cannot(tmp_path: Path, tiny_onnx: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, labels=FER7), tmp_path / "teacher")
    settings = ["image_size=16", "epochs=1", "batch_size=16", "teacher_views=0"]
    rest = ["--data", "synthetic:140", "--recipe", "paper", "--out", str(tmp_path / "run")]
    rest += ["--init", str(tmp_path / "w.safetensors"), *(word for s in settings for word in ("--set", s))]
    result = CliRunner().invoke(app, ["distill", str(tiny_onnx), *rest])
    assert "tiny.onnx must be a model folder" in str(result.exception)
    result = CliRunner().invoke(app, ["distill", "mobilenet_int8", *rest])
    assert "a model folder is needed" in str(result.exception)
    result = CliRunner().invoke(app, ["distill", str(tmp_path / "teacher"), *rest], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["teacher"] == {"name": "teacher", "hash": model_hash(tmp_path / "teacher")}
    assert run["config"]["teacher_views"] == 0
