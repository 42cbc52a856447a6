"""The grid of a ViT's patches, and the positions learnt for it."""

import torch
from torch.nn import functional as F

from fervit.errors import ModelError


def patch_grid(image_size: int, patch: int) -> int:
    """Return how many patches of side `patch` fit a side of `image_size` px; ModelError where they do not."""
    if image_size % patch:
        near = round(image_size / patch) * patch or patch
        raise ModelError(f"image_size {image_size} is no multiple of the patch size {patch}; try {near}")
    return image_size // patch


def resize_positions(positions: torch.Tensor, grid: int) -> torch.Tensor:
    """Interpolate `(1, 1 + g * g, D)` positions (CLS first) bicubically to `(1, 1 + grid * grid, D)`."""
    cls, patches = positions[:, :1], positions[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    if side * side != patches.shape[1]:
        raise ModelError(f"the weights hold {patches.shape[1]} patch positions, which is no square grid")
    if side == grid:
        return positions
    patches = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, g*g, D) -> (1, D, g, g)
    patches = F.interpolate(patches.float(), (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([cls, patches.flatten(2).transpose(1, 2).to(cls.dtype)], dim=1)
