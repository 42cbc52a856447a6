"""From uint8 images to a model's input, in torch: resize, normalise and back."""

import numpy as np
import torch
from PIL import Image as Pillow
from torch.nn import functional as F

from fervit.media.crops import resized_shape
from fervit.metadata import FILTERS, LUMA
from fervit.types import Preprocess

Tensor = torch.Tensor
ANTIALIASED = ("bilinear", "bicubic")  # the filters that torch has as Pillow has them


def to_input(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Turn `(B, C, H, W)` uint8 crops into `(B, 3, S, S)` float32 input on their device, `(B, 1, S, S)` for grey ones.

    Nearly as `media.crops.preprocess_batch` does, by Pillow: single pixels are off by one level, at some sizes by two.
    """
    if images.device.type == "cpu":  # torch resizes uint8 in steps that are nearly Pillow's
        return normalise(resize(images, preprocess).float() / 255, preprocess)
    x = resize(images.float() / 255, preprocess)
    return normalise((x * 255 + 0.5).floor() / 255, preprocess)  # Pillow rounds to whole levels, halves up


def resize(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Resize `(B, C, H, W)`, uint8 or in 0..1, to the input's pixels with Pillow's filters: `(B, C, S, S)`."""
    size = preprocess.image_size
    shape = resized_shape((x.shape[-2], x.shape[-1]), preprocess)
    if x.shape[-2:] != shape:
        if preprocess.interpolation in ANTIALIASED:
            x = F.interpolate(x, shape, mode=preprocess.interpolation, antialias=True, align_corners=False)
        else:
            x = _resize_by_pillow(x, shape, preprocess.interpolation)
        x = x.clamp(0, 1) if x.is_floating_point() else x  # bicubic overshoots
    return x if shape == (size, size) else _cut_centre(x, size)


def _resize_by_pillow(x: Tensor, shape: tuple[int, int], interpolation: str) -> Tensor:
    """Resize by a filter that torch has not, on the CPU, a channel at a time; floats keep their precision."""
    planes = x.float().cpu().flatten(0, 1).numpy()
    filter_ = Pillow.Resampling(FILTERS[interpolation])
    resized = np.stack([np.asarray(Pillow.fromarray(plane).resize(shape[::-1], filter_)) for plane in planes])
    y: Tensor = torch.from_numpy(resized).view(*x.shape[:2], *shape).to(x.device)
    return y if x.is_floating_point() else (y + 0.5).floor().clamp(0, 255).to(x.dtype)


def _cut_centre(x: Tensor, size: int) -> Tensor:
    """Cut `(B, C, size, size)` out of the centre; what is missing is black."""
    (low, high), (left, right) = ((-(-gap // 2), gap // 2) for gap in (max(size - s, 0) for s in x.shape[-2:]))
    x = F.pad(x, (left, right, low, high))
    top, start = ((side - size) // 2 for side in x.shape[-2:])
    return x[..., top : top + size, start : start + size]


def normalise(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Subtract the mean and divide by the deviation: `(B, 1 or 3, S, S)` in 0..1 -> `(B, 3 or 1, S, S)`."""
    mean, std = _mean_and_std(preprocess, x.device)
    if preprocess.channels == 1 and x.shape[1] == 3:
        x = (x * copy_to_device(torch.tensor(LUMA), x.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
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
