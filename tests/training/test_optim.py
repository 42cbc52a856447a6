"""What the optimizer moves, and how far."""

from pathlib import Path

import pytest
import torch

from fervit.config.training import TrainConfig
from fervit.labels import FER7
from fervit.models import build_model
from fervit.training.optim import averaged, parameter_groups, sam_perturbation


def test_layers_learn_slower_toward_the_input_and_vectors_do_not_decay(weights: Path) -> None:
    model, _ = build_model(weights, FER7, 32)
    groups = parameter_groups(model, TrainConfig(lr=1.0, layer_decay=0.5, weight_decay=0.1))
    by_id = {id(p): group for group in groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert len(by_id) == len(named)
    assert by_id[id(named["classifier.weight"])]["lr"] == 1.0
    assert by_id[id(named["vit.layers.1.mlp.fc1.weight"])]["lr"] == 0.5
    assert by_id[id(named["vit.embeddings.patch_embeddings.projection.weight"])]["lr"] == 0.125
    assert all(by_id[id(p)]["weight_decay"] == 0 for p in named.values() if p.ndim == 1)
    assert by_id[id(named["vit.embeddings.position_embeddings"])]["weight_decay"] == 0
    assert by_id[id(named["classifier.weight"])]["weight_decay"] == 0.1


def test_sharpness_aware_steps_climb_to_rho_and_come_back(weights: Path) -> None:
    model, _ = build_model(weights, FER7, 32)
    model(pixel_values=torch.randn(4, 3, 32, 32)).logits.square().sum().backward()
    learning = [p for p in model.parameters() if p.grad is not None]
    before = [p.detach().clone() for p in learning]
    gradients = torch.cat([p.grad.flatten() for p in learning if p.grad is not None])
    with sam_perturbation(model, 0.05):
        moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(learning, before, strict=True)])
        assert moved.norm().item() == pytest.approx(0.05, rel=1e-2)
        assert torch.nn.functional.cosine_similarity(moved, gradients, dim=0) > 0.99
        assert all(p.grad is None for p in learning)
    for p, b in zip(learning, before, strict=True):
        torch.testing.assert_close(p.detach(), b, atol=1e-6, rtol=0)


def test_the_weight_average_covers_running_statistics() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    assert [tuple(t.shape) for t in averaged(model)] == [(2, 1, 1, 1), (2,), (2,), (2,), (2,), (2,)]
