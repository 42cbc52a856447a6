"""Random numbers of the augmentation: from torch's global generator of the CPU, whatever the training device.

So every device sees the same numbers, a seeded run repeats, and a resumed one continues with those that come next.
"""

import math

import torch

from fervit.models.inputs import copy_to_device

Tensor = torch.Tensor


def uniform(count: int, device: torch.device | str, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw `(count,)` from [low, high)."""
    return copy_to_device(torch.rand(count) * (high - low) + low, device)


def log_uniform(count: int, device: torch.device | str, low: float, high: float) -> Tensor:
    """Draw `(count,)` from [low, high), both above 0, such that equal factors are equally likely."""
    return copy_to_device((torch.rand(count) * (math.log(high) - math.log(low)) + math.log(low)).exp(), device)


def normal_like(x: Tensor) -> Tensor:
    """Draw as many numbers as `x` has from the standard normal distribution, on its device."""
    return copy_to_device(torch.randn(x.shape), x.device)


def chosen_rows(x: Tensor, prob: float) -> Tensor:
    """Draw each row of `x` with probability `prob`; returns their numbers, on its device."""
    return copy_to_device((uniform(len(x), "cpu") < prob).nonzero().flatten(), x.device)


def per_image(values: Tensor) -> Tensor:
    """View `(n,)` as `(n, 1, 1, 1)`, to go with `(n, C, H, W)`."""
    return values.view(-1, 1, 1, 1)
