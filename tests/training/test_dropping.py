# mypy: disallow-untyped-calls=False
"""Layers and patches left out at random while training."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.backbone import backbone_of
from fervit.training.dropping import add_drop_path, add_patch_drop
from tests.helpers.weights import save_timm


def test_drop_path_drops_while_training_only_and_keeps_the_mean(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    torch.manual_seed(0)
    model, _ = build_model(tmp_path / "w.safetensors", FER7, 32)
    x = torch.randn(1, 3, 32, 32).expand(512, -1, -1, -1)
    with torch.no_grad():
        plain = model.eval()(pixel_values=x[:1]).logits
        hooks = add_drop_path(model, 0.5)
        assert torch.equal(model(pixel_values=x[:1]).logits, plain)
        dropped = model.train()(pixel_values=x).logits
    assert len(dropped.unique(dim=0)) == 2  # the first of two layers never drops
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("dinov2", [False, True])
def test_patch_drop_keeps_the_cls_token_and_some_patches_while_training_only(tmp_path: Path, dinov2: bool) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    model, _ = build_model(tmp_path / "w.safetensors", FER7, 32)
    encoder, x = backbone_of(model), torch.randn(1, 3, 32, 32).expand(64, -1, -1, -1)
    embeddings = encoder.get_submodule("embeddings")
    encoder.eval()
    with torch.no_grad():
        whole = embeddings(x[:1])[0]
        hook = add_patch_drop(model, 0.7)
        assert torch.equal(embeddings(x[:1])[0], whole)
        encoder.train()
        left = embeddings(x)
        assert model(pixel_values=x).logits.shape == (64, len(FER7))
    hook.remove()
    assert left.shape == (64, 1 + round(16 * 0.3), whole.shape[1])
    assert torch.equal(left[:, 0], whole[0].expand(64, -1))
    same = (left[:, 1:, None] == whole[None, None, 1:]).all(dim=-1)  # (64, kept, 16)
    assert (same.sum(dim=2) == 1).all() and (same.sum(dim=1) <= 1).all()  # its own patches, none twice
    assert 0.15 < same.any(dim=1).float().mean(dim=0).min() <= same.any(dim=1).float().mean(dim=0).max() < 0.5


@pytest.mark.parametrize("dinov2", [False, True])
def test_what_is_left_out_at_random_is_drawn_for_the_models_device(tmp_path: Path, dinov2: bool) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    model, _ = build_model(tmp_path / "w.safetensors", FER7, 32)
    nn.Module.to(model, "meta")
    add_drop_path(model.train(), 0.5)
    add_patch_drop(model, 0.5)
    assert model(pixel_values=torch.empty(4, 3, 32, 32, device="meta")).logits.device.type == "meta"
