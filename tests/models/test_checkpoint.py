# mypy: disallow-untyped-calls=False
"""Checkpoints: what is kept in a folder, and which folders are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline

from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.types import ModelSpec
from tests.helpers.weights import Built


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_logits_and_spec(small: Built, tmp_path: Path, half: bool) -> None:
    model, preprocess = small
    spec = ModelSpec("vit", preprocess, FER7, 1.5, "demo", "Apache-2.0", "abc", {"public_test": {"accuracy": 0.5}})
    save_checkpoint(model, spec, tmp_path / "m", half=half)
    again, read = load_checkpoint(tmp_path / "m")
    assert read == spec
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, actual = model.eval()(pixel_values=x).logits, again(pixel_values=x).logits
    torch.testing.assert_close(actual, expected, atol=2e-3 if half else 1e-6, rtol=0)


def test_transformers_pipeline_predicts_as_fervit_does(small: Built, tmp_path: Path) -> None:
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7), tmp_path / "m")
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    probs = TorchClassifier(tmp_path / "m").probs(crops)
    classify: Any = pipeline("image-classification", model=str(tmp_path / "m"), top_k=7)
    for crop, row in zip(crops, probs, strict=True):
        named = {item["label"]: item["score"] for item in classify(Image.fromarray(crop))}
        np.testing.assert_allclose([named[name] for name in FER7], row, atol=1e-5)


def write_pickle_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    return folder


def test_bad_weights_are_refused_with_a_reason(tmp_path: Path, small: Built) -> None:
    model, preprocess = small
    with pytest.raises(ModelError, match="no weights at"):
        build_model(tmp_path / "none.safetensors", FER7, 32)
    with pytest.raises(ModelError, match="multiple of the patch size 8; try 32"):
        build_model(tmp_path / "w.safetensors", FER7, 33)
    (tmp_path / "m.pt").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="pickle"):
        build_model(tmp_path / "m.pt", FER7, 32)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="not a readable safetensors"):
        build_model(tmp_path / "cut.safetensors", FER7, 32)
    with pytest.raises(ModelError, match="pickle"):
        load_checkpoint(write_pickle_folder(tmp_path / "pickle"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_checkpoint(tmp_path)
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(tmp_path / "m")


@pytest.mark.parametrize("absent", ["vit.encoder.layer.1.output.dense.weight", "classifier.weight"])
def test_a_folder_that_lacks_weights_is_refused_and_not_filled_with_random_ones(
    tmp_path: Path, small: Built, absent: str
) -> None:
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    state = load_file(path)
    del state[absent]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(ModelError, match="1 of its weights are missing"):
        load_checkpoint(tmp_path / "m")
    if absent == "classifier.weight":  # a start needs no head
        build_model(tmp_path / "m", FER7, 32)
    else:
        with pytest.raises(ModelError, match="1 of its weights are missing"):
            build_model(tmp_path / "m", FER7, 32)
