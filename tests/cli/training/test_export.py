"""`fervit export`: what it prints; the export itself is tested in `tests/export` and `tests/test_api_training.py`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import ConfigError
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, labels=FER7), tmp_path / "m")
    return tmp_path / "m"


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
