# mypy: disallow-untyped-calls=False
"""The plain Vision Transformer: other sizes, and a mean-pooled head."""

from pathlib import Path

import torch

from fervit.config.architectures import ViTOptions
from fervit.labels import FER7
from fervit.models import build_model, load_checkpoint, save_checkpoint
from fervit.models.backbone import backbone_of, head_of
from fervit.types import ModelSpec
from tests.helpers.weights import Built, save_timm


def test_a_model_of_another_size_predicts(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    model, _ = build_model(tmp_path / "w.safetensors", FER7, 48)
    assert model(pixel_values=torch.zeros(1, 3, 48, 48)).logits.shape == (1, 7)


def test_a_vit_with_a_mean_pooled_head_keeps_its_features_and_is_a_plain_dinov2(small: Built, tmp_path: Path) -> None:
    plain, _ = small
    pooled, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32, options=ViTOptions(pool="cls_mean"))
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = backbone_of(plain.eval())(pixel_values=x).last_hidden_state
        actual = backbone_of(pooled.eval())(pixel_values=x).last_hidden_state
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    assert pooled.config.model_type == "dinov2"
    assert head_of(pooled).in_features == 2 * head_of(plain).in_features
    save_checkpoint(pooled, ModelSpec("dinov2", preprocess), tmp_path / "m")
    again, _ = load_checkpoint(tmp_path / "m")
    torch.testing.assert_close(again(pixel_values=x).logits, pooled(pixel_values=x).logits)
