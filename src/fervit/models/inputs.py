"""From uint8 images to a model's input, in torch: resize, normalise and back."""

import torch
from torch.nn import functional as F

from fervit.types import Preprocess

Tensor = torch.Tensor


def to_input(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Turn `(B, C, H, W)` uint8 crops into `(B, 3, S, S)` float32 input on their device.

    Nearly as `media.crops.preprocess_batch` does, by Pillow: single pixels are off by one level, at some sizes by two.
    """
    if images.device.type == "cpu":  # torch resizes uint8 in steps that are nearly Pillow's
        return normalise(resize(images, preprocess).float() / 255, preprocess)
    x = resize(images.float() / 255, preprocess)
    return normalise((x * 255 + 0.5).floor() / 255, preprocess)  # Pillow rounds to whole levels, halves up


def resize(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Resize `(B, C, H, W)`, uint8 or in 0..1, to the input size with Pillow's antialiased filter."""
    size = (preprocess.image_size, preprocess.image_size)
    if x.shape[-2:] == size:
        return x
    x = F.interpolate(x, size, mode=preprocess.interpolation, antialias=True, align_corners=False)
    return x.clamp(0, 1) if x.is_floating_point() else x  # bicubic overshoots


def normalise(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Subtract the mean and divide by the deviation: `(B, 1 or 3, S, S)` in 0..1 -> `(B, 3, S, S)`."""
    mean, std = _mean_and_std(preprocess, x.device)
    return (x - mean) / std  # a single grey channel broadcasts to three


def denormalise(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Undo `normalise`: `(B, 3, S, S)` -> the same in 0..1."""
    mean, std = _mean_and_std(preprocess, x.device)
    return x * std + mean


def _mean_and_std(preprocess: Preprocess, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return both as `(1, 3, 1, 1)` on the device."""
    mean, std = (copy_to_device(torch.tensor(v), device).view(1, -1, 1, 1) for v in (preprocess.mean, preprocess.std))
    return mean, std


def copy_to_device(x: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor of the CPU to a device, on CUDA without waiting for the work that the GPU has still to do.

    The content of `x` has been read when this returns, so that `x` may be changed or freed at once.
    """
    return x.to(device, non_blocking=torch.device(device).type == "cuda")
