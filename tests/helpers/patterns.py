"""Images of few levels, and images as the input of a model that computes their local binary patterns."""

import numpy as np
import torch

from fervit.models.inputs import to_input
from fervit.types import Preprocess

HALVES = Preprocess(48, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def as_input(images: np.ndarray) -> torch.Tensor:
    """`(B, S, S, 1 or 3)` uint8 images as the model's input."""
    tensor = torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2)
    return to_input(tensor, Preprocess(tensor.shape[-1], HALVES.mean, HALVES.std))


def blocky(count: int = 4, side: int = 48, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Images of flat blocks of few levels: nearly every comparison of neighbours is a tie."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, side // 4, side // 4, channels), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)
