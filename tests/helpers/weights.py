"""Random weights of a small ViT in timm's naming."""

import torch
from safetensors.torch import save_file


def timm_weights(*, dinov2=False, width=64, depth=2, patch=8, grid=4, seed=0):
    """Random weights of a small ViT in timm's naming."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
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
        shapes = {
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


def save_timm(path, **options):
    weights = timm_weights(**options)
    save_file(weights, path)
    return weights
