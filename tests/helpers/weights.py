"""Random weights of a small ViT in timm's naming."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from fervit.types import Preprocess

Built = tuple[PreTrainedModel, Preprocess]
"""What `build_model` returns."""


def timm_weights(
    *, dinov2: bool = False, width: int = 64, depth: int = 2, patch: int = 8, grid: int = 4, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random weights of a small ViT in timm's naming."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.1

    weights = {
        "cls_token": draw(1, 1, width),
        "pos_embed": draw(1, 1 + grid * grid, width),
        "patch_embed.proj.weight": draw(width, 3, patch, patch),
        "patch_embed.proj.bias": draw(width),
        "norm.weight": 1 + draw(width),
        "norm.bias": draw(width),
    }
    for k in range(depth):
        shapes: dict[str, tuple[int, ...]] = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }
        if dinov2:
            shapes |= {"ls1.gamma": (width,), "ls2.gamma": (width,)}
        weights |= {f"blocks.{k}.{name}": draw(*shape) for name, shape in shapes.items()}
    return weights


def save_timm(path: Path, *, dinov2: bool = False, **sizes: int) -> dict[str, torch.Tensor]:
    """Write such weights as a safetensors file and return them; `sizes` are those of `timm_weights`, and its seed."""
    weights = timm_weights(dinov2=dinov2, **sizes)
    save_file(weights, path)
    return weights
