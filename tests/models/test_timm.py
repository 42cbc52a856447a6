# mypy: disallow-untyped-calls=False
"""Vision Transformers in timm's naming."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.backbone import backbone_of
from tests.helpers import WEIGHTS
from tests.helpers.weights import save_timm, timm_weights


def plain_forward(weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The ViT of arXiv 2010.11929 written from timm's tensor names: `(B, 3, S, S)` -> `(B, 1 + N, D)`."""
    w = {name: tensor.float() for name, tensor in weights.items()}
    patch = w["patch_embed.proj.weight"].shape[-1]
    tokens = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=patch)
    tokens = tokens.flatten(2).transpose(1, 2)
    tokens = torch.cat([w["cls_token"].expand(len(x), -1, -1), tokens], 1) + w["pos_embed"]
    width = tokens.shape[-1]
    heads = width // 64
    for k in range(1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks."))):
        b = {n.removeprefix(f"blocks.{k}."): t for n, t in w.items() if n.startswith(f"blocks.{k}.")}
        y = F.layer_norm(tokens, (width,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        qkv = F.linear(y, b["attn.qkv.weight"], b["attn.qkv.bias"])
        q, key, v = qkv.reshape(*y.shape[:2], 3, heads, 64).permute(2, 0, 3, 1, 4)
        y = ((q @ key.transpose(-1, -2)) / 8).softmax(-1) @ v
        y = F.linear(y.transpose(1, 2).flatten(2), b["attn.proj.weight"], b["attn.proj.bias"])
        tokens = tokens + y * b.get("ls1.gamma", torch.ones(()))
        y = F.layer_norm(tokens, (width,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        y = F.gelu(F.linear(y, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
        y = F.linear(y, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
        tokens = tokens + y * b.get("ls2.gamma", torch.ones(()))
    return F.layer_norm(tokens, (width,), w["norm.weight"], w["norm.bias"], 1e-6)


@pytest.mark.parametrize("dinov2", [False, True])
def test_conversion_equals_a_plain_forward_from_timm_names(tmp_path: Path, dinov2: bool) -> None:
    path = tmp_path / "w.safetensors"
    weights = save_timm(path, dinov2=dinov2)
    model, preprocess = build_model(path, FER7, 32)
    assert preprocess.mean[0] == (0.485 if dinov2 else 0.5)
    assert model.config.model_type == ("dinov2" if dinov2 else "vit")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = backbone_of(model.eval())(pixel_values=x).last_hidden_state
    torch.testing.assert_close(tokens, plain_forward(weights, x), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_heads_of_a_timm_file_are_those_of_the_known_sizes(tmp_path: Path) -> None:
    save_timm(tmp_path / "huge.safetensors", width=1280, depth=1)
    assert build_model(tmp_path / "huge.safetensors", FER7, 32)[0].config.num_attention_heads == 16
    save_timm(tmp_path / "odd.safetensors", width=1216, depth=1)
    with pytest.raises(ModelError, match="of width 1216, and does not say how many heads"):
        build_model(tmp_path / "odd.safetensors", FER7, 32)


def test_a_timm_file_with_an_odd_shape_is_refused_with_both(tmp_path: Path) -> None:
    weights = save_timm(tmp_path / "w.safetensors", dinov2=True)
    wider = weights | {"blocks.1.mlp.fc1.weight": torch.zeros(300, 64), "blocks.1.mlp.fc1.bias": torch.zeros(300)}
    save_file(wider, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"fc1.bias has the shape \(300,\), and its place \(256,\)"):
        build_model(tmp_path / "w.safetensors", FER7, 32)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("vit_tiny_patch16_224_fp16", 224), ("dinov2_vits14_fp16", 37 * 14)])
def test_real_weights_equal_a_plain_forward(name: str, size: int) -> None:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside the project")
    model, _ = build_model(path, FER7, size)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = backbone_of(model.eval())(pixel_values=x).last_hidden_state
        expected = plain_forward(load_file(path), x)
    torch.testing.assert_close(tokens, expected, atol=2e-3, rtol=1e-3)


def test_a_foreign_tensor_name_is_an_error_that_names_it(tmp_path: Path) -> None:
    save_file(timm_weights() | {"blocks.0.extra": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"blocks\.0\.extra"):
        build_model(tmp_path / "w.safetensors", FER7, 32)
    save_file({"a": torch.zeros(1)}, tmp_path / "no.safetensors")
    with pytest.raises(ModelError, match="timm's naming"):
        build_model(tmp_path / "no.safetensors", FER7, 32)
