"""`fervit export`: what it prints; the export itself is tested in `tests/export` and `tests/test_api_training.py`."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fervit.api import export_onnx
from fervit.cli import app
from fervit.cli.training.export import describe_licences
from fervit.data import Dataset
from fervit.errors import ConfigError, ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.licences import KNOWN, Licence
from fervit.models import build_model, save_checkpoint
from fervit.models.checkpoint import read_checkpoint
from fervit.types import ModelSpec
from tests.helpers import faces, write_onnx
from tests.helpers.licences import learnt_from_raf
from tests.helpers.weights import save_timm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, labels=FER7), tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def faces_of_raf() -> Dataset:
    return replace(faces(), licence="RAF-DB")


@pytest.mark.slow
def test_export_says_how_large_the_file_is_and_how_far_it_is_from_the_folder(folder: Path) -> None:
    out = folder.parent / "m.onnx"
    done = CliRunner().invoke(app, ["export", str(folder), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{out}: ")
    assert f"MB; largest difference in probability from {folder}: " in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8"], "--int8 needs --data"),
        (["--data", "synthetic:70"], "--data and --threads belong to --int8"),
        (["--threads", "1"], "--data and --threads belong to --int8"),
    ],
)
def test_options_of_8_bits_belong_together(folder: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["export", str(folder), "--out", str(folder.parent / "m.onnx"), *options])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


@pytest.mark.slow
def test_for_commercial_use_a_model_of_research_data_is_refused_and_other_data_is_named(folder: Path) -> None:
    model, spec = read_checkpoint(folder)
    trained_on = (KNOWN["ferplus"], Licence("photos"))
    save_checkpoint(model, replace(spec, trained_on=trained_on), folder)
    out = folder.parent / "m.onnx"
    call = ["export", str(folder), "--out", str(out), "--commercial"]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0 and done.output.endswith(
        "trained on FER+: MIT (https://github.com/microsoft/FERPlus)\ntrained on photos: terms unknown\n"
        "the terms of photos are unknown: whether they allow commercial use is for you to find out\n"
    )
    assert OnnxClassifier(out).spec.trained_on == trained_on
    learnt_from_raf(folder)
    done = CliRunner().invoke(app, [*call, "--overwrite"])
    assert isinstance(done.exception, ModelError) and OnnxClassifier(out).spec.trained_on == trained_on
    assert "was trained on RAF-DB: non-commercial research only (http" in str(done.exception)


def test_a_model_whose_data_nobody_noted_is_said_to_be_one() -> None:
    assert describe_licences(()).startswith("what it was trained on was not noted: whether")


def test_8_bits_for_commercial_use_are_not_calibrated_on_research_data(
    tmp_path: Path, tiny_spec: ModelSpec, faces_of_raf: Dataset
) -> None:
    write_onnx(tmp_path / "m.onnx", {"fervit": tiny_spec.to_json()})
    with pytest.raises(ModelError, match=r"m\.onnx in 8 bits was trained on RAF-DB"):
        export_onnx(tmp_path / "m.onnx", tmp_path / "8.onnx", int8=True, data=faces_of_raf, commercial=True)
