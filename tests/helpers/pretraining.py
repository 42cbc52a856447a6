"""What tests of pre-training have in common: a quick configuration, and images that a small model can learn."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fervit.config.pretraining import PretrainConfig
from fervit.data import Dataset
from fervit.models.architectures.vit import build_backbone

QUICK_PRETRAINING = {
    "image_size": 32,
    "batch_size": 16,
    "lr": 2e-3,
    "epochs": 2,
    "decoder_depth": 1,
    "decoder_width": 32,
    "decoder_heads": 2,
    "precision": "fp32",
}


def pretrain_config(**values: Any) -> PretrainConfig:
    """Return a configuration for small models and few images."""
    settings: dict[str, Any] = QUICK_PRETRAINING | values
    return PretrainConfig(**settings)


def slopes(count: int = 32, size: int = 16, channels: int = 1, name: str = "slopes") -> Dataset:
    """Images that rise along one of four directions: what is masked follows from what is seen. 3/4 are train."""
    ramp = np.linspace(0, 255, size, dtype=np.uint8)
    rising = np.repeat(ramp[None], size, 0)
    kinds = np.stack([rising, rising[:, ::-1], rising.T, rising.T[::-1]])[..., None].repeat(channels, -1)
    order = np.arange(count) % 4
    return Dataset(
        name=name,
        labels=("unlabelled",),
        images=kinds[order],
        targets=np.zeros(count, np.int64),
        split_ids=(np.arange(count) // 4 % 4 == 3).astype(np.int8) * 2,
        rows=np.arange(count),
        data_hash=f"{count}{size}{channels}",
    )


def features(backbone: torch.nn.Module, size: int = 32) -> torch.Tensor:
    """Return what an encoder computes of two images of noise: `(2, 1 + N, D)`."""
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden: torch.Tensor = backbone.train(False)(pixel_values=x).last_hidden_state
    return hidden


def backbone_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a backbone folder, by name."""
    weights: dict[str, torch.Tensor] = build_backbone(folder, 32)[0].state_dict()
    return weights
