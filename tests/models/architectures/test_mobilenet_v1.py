# mypy: disallow-untyped-calls=False
"""MobileNet v1: what is its own beside the contract in test_contract.py."""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MobileNetV1ForImageClassification

from fervit.config.architectures import MobileNetV1Options
from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.models.backbone import backbone_of
from fervit.models.checkpoint import read_checkpoint
from fervit.types import ModelSpec, Preprocess
from tests.helpers import SCRIPTS

SCRIPT = SCRIPTS / "make_faceres.py"


def new(
    init: str | Path = "scratch", labels: Sequence[str] = FER7, image_size: int = 48, **options: float
) -> tuple[MobileNetV1ForImageClassification, Preprocess]:
    torch.manual_seed(0)
    chosen = MobileNetV1Options(**options)
    model, preprocess = build_model(init, labels, image_size, arch="mobilenet_v1", options=chosen)
    assert isinstance(model, MobileNetV1ForImageClassification)
    return model, preprocess


def test_dropout_and_the_momentum_of_norms_are_ours_not_transformers_defaults() -> None:
    model, _ = new(dropout=0.3)
    assert model.dropout.p == 0.3  # transformers': 0.999
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}  # theirs: 0.9997


def test_a_folder_keeps_its_features_at_another_size_and_with_other_labels(tmp_path: Path) -> None:
    model, preprocess = new()
    save_checkpoint(model, ModelSpec("mobilenet_v1", preprocess, FER7, name="m"), tmp_path / "m")
    other, preprocess = new(tmp_path / "m", ("no", "yes"), 80)
    assert preprocess.image_size == other.config.image_size == 80 and other.classifier.out_features == 2
    x = torch.randn(2, 3, 48, 48)
    features = [m.eval().mobilenet_v1(x).pooler_output for m in (model, other)]
    assert torch.equal(*features)


@pytest.mark.parametrize(
    ("init", "image_size", "message"),
    [
        ("scratch", 32, "too small for a mobilenet_v1"),
        ("no such folder", 48, r"no weights at no such folder \(expected a model folder or a Hub id"),
        ("vit", 48, "is a 'vit'; this architecture fine-tunes: mobilenet_v1; for these weights set arch=vit"),
    ],
)
def test_other_weights_and_small_images_are_refused(init: str, image_size: int, message: str, vit_folder: Path) -> None:
    with pytest.raises(ModelError, match=message):
        new(vit_folder if init == "vit" else init, image_size=image_size)


@pytest.mark.slow
def test_weights_for_tensorflow_js_become_a_folder_that_predicts_as_they_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of the published one's form with random weights, computed step by step, beside the folder's."""
    rng = np.random.default_rng(0)
    template, _ = new()
    layers = [template.mobilenet_v1.conv_stem, *template.mobilenet_v1.layer]
    names = ["conv1", *(f"conv_{kind}_{k}" for k in range(1, 14) for kind in ("dw", "pw"))]
    tensors = {}
    for layer, name in zip(layers, names, strict=True):
        outputs, inputs, side, _ = layer.convolution.weight.shape
        kernel = rng.normal(0, (2 / (inputs * side**2)) ** 0.5, (side, side, inputs, outputs)).astype(np.float32)
        if name == "conv1":
            kernel /= 100  # its pixels are levels
        if "_dw_" in name:
            tensors[f"{name}/depthwise_kernel"] = kernel.transpose(0, 1, 3, 2)
            tensors[f"{name}_bn/batchnorm_1/mul"] = rng.uniform(0.8, 1.2, outputs).astype(np.float32)
        else:
            tensors[f"{name}/convolution/merged_input"] = kernel
        tensors[f"{name}_bn/batchnorm_1/sub"] = rng.uniform(0, 0.5, outputs).astype(np.float32)
    entries = [{"name": name, "shape": list(t.shape), "dtype": "float32"} for name, t in tensors.items()]
    (tmp_path / "m.bin").write_bytes(b"".join(np.ascontiguousarray(t).tobytes() for t in tensors.values()))
    (tmp_path / "m.json").write_text(json.dumps({"weightsManifest": [{"paths": ["m.bin"], "weights": entries}]}))
    monkeypatch.syspath_prepend(SCRIPT.parent)
    arguments = [str(tmp_path / "m.json"), "--data", "synthetic:40", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *arguments])
    importlib.import_module(SCRIPT.stem).main()
    model, spec = read_checkpoint(tmp_path / "out")

    levels = torch.from_numpy(rng.uniform(0, 255, (2, 1, 96, 96)).astype(np.float32)).expand(-1, 3, -1, -1)
    x = torch.nn.functional.pad(levels, (0, 1, 0, 1), value=127.5)  # our 0; theirs is the mean
    x = x - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    for name, layer in zip(names, layers, strict=True):
        stride, groups = layer.convolution.stride, layer.convolution.groups
        if "_dw_" in name:
            kernel = tensors[f"{name}/depthwise_kernel"].transpose(2, 3, 0, 1)
            kernel = kernel * tensors[f"{name}_bn/batchnorm_1/mul"][:, None, None, None]
        else:
            kernel = tensors[f"{name}/convolution/merged_input"].transpose(3, 2, 0, 1)
        if "_dw_" in name:  # TensorFlow's SAME: what is missing is added behind first
            missing = 1 if stride[0] == 2 and x.shape[2] % 2 == 0 else 2
            x = torch.nn.functional.pad(x, (missing // 2, missing - missing // 2) * 2)
        x = torch.nn.functional.conv2d(x, torch.from_numpy(np.ascontiguousarray(kernel)), stride=stride, groups=groups)
        x = (x + torch.from_numpy(tensors[f"{name}_bn/batchnorm_1/sub"])[:, None, None]).clamp(0, 6)
    with torch.no_grad():
        features = backbone_of(model)(levels / 127.5 - 1).pooler_output
    assert spec.preprocess.image_size == 96 and features.std() > 0.01
    torch.testing.assert_close(features, x.mean((2, 3)), rtol=1e-3, atol=1e-4)
