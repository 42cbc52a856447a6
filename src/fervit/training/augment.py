"""Batched augmentation on the training device: uint8 face crops in, normalised model input out.

The geometric changes are one `grid_sample` from the source pixels straight to the input size, so that an
image is interpolated once. Grey images stay one channel until the very end, which saves two thirds of the work.
What imitates bad photos is in `training/degradation/` and acts on the source pixels, before the geometry.
"""

import math

import torch
from torch.nn import functional as F

from fervit.config.augmentation import AugmentConfig
from fervit.models.inputs import copy_to_device, normalise, resize
from fervit.training.degradation import before_the_lens, behind_the_lens
from fervit.training.degradation.draws import chosen_rows, uniform
from fervit.types import Preprocess

Tensor = torch.Tensor


class Augmenter:
    """Turns `(B, C, H, W)` uint8 crops and `(B, K)` targets into augmented model input.

    Random numbers come from torch's global generator of the CPU, so a seeded run repeats and a resumed one
    continues with the numbers that come next.
    """

    def __init__(self, config: AugmentConfig, preprocess: Preprocess):
        self.config = config
        self.preprocess = preprocess
        turns = config.rotate_deg or config.turn_prob
        self._warps = bool(turns or config.shift or config.scale_min != 1 or config.scale_max != 1)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(B, 3, S, S)` float32 input and the `(B, K)` targets that go with it."""
        return self.finish(self.place(images), targets)

    def place(self, images: Tensor) -> Tensor:
        """Return `(B, C, S, S)` float32 in 0..1: what acts on source pixels, and the way to the input's size.

        Images of several sizes are placed size by size, and the rest is done to the whole batch, by `finish`.
        """
        config, size = self.config, self.preprocess.image_size
        x = before_the_lens(images.float() / 255, config)
        if config.blur_prob:
            x = random_blur(x, config.blur_prob, config.blur_sigma)
        x = behind_the_lens(x, config)
        if config.flip_prob:
            flipped = uniform(len(x), x.device) < config.flip_prob
            x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
        return random_affine(x, size, config) if self._warps else resize(x, self.preprocess)

    def finish(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input of a batch that was placed, and its targets: light, erasing, mixing, normalised."""
        config = self.config
        if config.brightness or config.contrast:
            x = random_light(x, config.brightness, config.contrast)
        if config.erase_prob:
            x = random_erase(x, config.erase_prob, config.erase_max)
        if config.mix_prob and torch.rand(()) < config.mix_prob:
            x, targets = mix(x, targets, config.mixup_alpha, config.cutmix_alpha)
        return normalise(x, self.preprocess), targets


def random_affine(x: Tensor, size: int, config: AugmentConfig) -> Tensor:
    """Rotate, scale and shift each image, sampled bilinearly to `(B, C, size, size)`; borders reflect."""
    if min(x.shape[-2:]) > 1.5 * size:  # grid_sample has no antialiasing of its own
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
    count = len(x)
    angle = uniform(count, "cpu", -1, 1) * math.radians(config.rotate_deg)
    if config.turn_prob:
        turned = uniform(count, "cpu") < config.turn_prob
        angle = torch.where(turned, uniform(count, "cpu", -1, 1) * math.radians(config.turn_deg), angle)
    scale = uniform(count, "cpu", config.scale_min, config.scale_max)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = uniform(2 * count, "cpu", -2, 2).view(2, count) * config.shift  # the grid spans -1..1
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    grid = F.affine_grid(copy_to_device(theta, x.device), [count, x.shape[1], size, size], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_light(x: Tensor, brightness: float, contrast: float) -> Tensor:
    """Scale each image about its mean by 1 ± contrast and add ± brightness; clipped to 0..1."""
    count = len(x)
    factor = 1 + contrast * uniform(count, x.device, -1, 1).view(-1, 1, 1, 1)
    offset = brightness * uniform(count, x.device, -1, 1).view(-1, 1, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return ((x - mean) * factor + mean + offset).clamp(0, 1)


def random_blur(x: Tensor, prob: float, sigma_max: float) -> Tensor:
    """Blur each image with probability `prob`, by a Gaussian of a random deviation in source px."""
    chosen = chosen_rows(x, prob)
    if not len(chosen):
        return x
    sigma = uniform(len(chosen), x.device, 0.1, max(0.1, sigma_max))
    radius = max(1, math.ceil(3 * sigma_max))
    radius = min(radius, min(x.shape[-2:]) - 1)  # reflection padding must fit
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)  # (n, 2r + 1)
    part = x[chosen]
    channels = part.shape[1]
    kernel = kernel.repeat_interleave(channels, 0)[:, None]  # (n * C, 1, 2r + 1), one group a channel
    flat = part.reshape(1, -1, *part.shape[-2:])  # (n, C, H, W) -> (1, n * C, H, W)
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="reflect"), kernel[:, :, None], groups=len(kernel))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="reflect"), kernel[..., None], groups=len(kernel))
    return x.index_copy(0, chosen, flat.view_as(part))


def random_erase(x: Tensor, prob: float, area_max: float) -> Tensor:
    """Fill one random rectangle of each image, with probability `prob`, by a random grey; area 2 % to `area_max`."""
    count, _, height, width = x.shape
    area = uniform(count, x.device, 0.02, area_max)
    aspect = torch.exp(uniform(count, x.device, -1, 1) * math.log(3.0))
    h, w = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    top, left = uniform(count, x.device) * (1 - h), uniform(count, x.device) * (1 - w)
    ys = (torch.arange(height, device=x.device) + 0.5) / height
    xs = (torch.arange(width, device=x.device) + 0.5) / width
    rows = (ys >= top[:, None]) & (ys < (top + h)[:, None])
    columns = (xs >= left[:, None]) & (xs < (left + w)[:, None])
    erased = (uniform(count, x.device) < prob)[:, None, None] & rows[:, :, None] & columns[:, None, :]
    return torch.where(erased[:, None], uniform(count, x.device).view(-1, 1, 1, 1), x)


def mix(x: Tensor, targets: Tensor, mixup_alpha: float, cutmix_alpha: float) -> tuple[Tensor, Tensor]:
    """Mix the batch with itself in reverse order by mixup or CutMix; targets mix in the same ratio."""
    cut = cutmix_alpha > 0 and (mixup_alpha <= 0 or torch.rand(()).item() < 0.5)
    alpha = cutmix_alpha if cut else mixup_alpha
    if alpha <= 0:
        return x, targets
    ratio = torch.distributions.Beta(alpha, alpha).sample().item()
    if cut:
        height, width = x.shape[-2:]
        side = math.sqrt(1 - ratio)
        y, left = (int(torch.randint(n + 1, ()).item()) for n in (height, width))
        y1, y2 = (min(max(round(y + d * side * height / 2), 0), height) for d in (-1, 1))
        x1, x2 = (min(max(round(left + d * side * width / 2), 0), width) for d in (-1, 1))
        mixed = x.clone()
        mixed[:, :, y1:y2, x1:x2] = x.flip(0)[:, :, y1:y2, x1:x2]
        x, ratio = mixed, 1 - (y2 - y1) * (x2 - x1) / (height * width)
    else:
        x = ratio * x + (1 - ratio) * x.flip(0)
    return x, ratio * targets + (1 - ratio) * targets.flip(0)
