"""Export of model folders to ONNX."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import fervit
from fervit.errors import ConfigError, ModelError
from fervit.export.onnx import export
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, save_checkpoint
from fervit.models.backbone import head_of
from fervit.models.checkpoint import read_checkpoint
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm


def save_small(root: Path, *, dinov2: bool = False) -> Path:
    """Write a small model into a new folder below `root`."""
    save_timm(root / "w.safetensors", dinov2=dinov2)
    model, preprocess = build_model(root / "w.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec(model.config.model_type, preprocess, name="m", data_hash="abc"), root / "m")
    return root / "m"


@pytest.fixture(scope="module", params=[False, True], ids=["vit", "dinov2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("export"), dinov2=request.param)


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    export(folder, path)
    return path


@pytest.mark.slow
def test_onnx_predicts_as_torch_does_for_any_batch_size_and_has_the_spec(folder: Path, exported: Path) -> None:
    ours, theirs = OnnxClassifier(exported), TorchClassifier(folder)
    assert ours.spec == theirs.spec
    crops = np.random.default_rng(0).integers(0, 256, (9, 48, 48, 1), dtype=np.uint8)
    for count in (1, 2, 9):
        expected = theirs.probs(crops[:count])
        np.testing.assert_allclose(ours.probs(list(crops[:count])), expected, atol=1e-5)


@pytest.mark.slow
def test_no_path_of_this_machine_is_in_the_file(exported: Path) -> None:
    assert str(Path(fervit.__file__).parent).encode() not in exported.read_bytes()
    assert b"site-packages" not in exported.read_bytes()


def test_an_existing_file_stays_without_overwrite(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        export(folder, out)
    assert out.read_text() == "mine"
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export(folder, tmp_path / "m.bin")


@pytest.mark.slow
def test_a_model_that_predicts_differently_is_not_written(
    folder: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fervit.export.onnx._to_onnx", lambda model, spec, path: shutil.copy(exported, path))
    monkeypatch.setattr("fervit.export.onnx._parity", lambda *_: 0.5)
    with pytest.raises(ModelError, match="predicts differently"):
        export(folder, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_model_that_predicts_no_number_is_not_written(tmp_path: Path) -> None:
    model, spec = read_checkpoint(save_small(tmp_path))
    with torch.no_grad():
        head_of(model).bias[0] = float("nan")
    save_checkpoint(model, spec, tmp_path / "broken")
    with pytest.raises(ModelError, match="predicts differently"):
        export(tmp_path / "broken", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
