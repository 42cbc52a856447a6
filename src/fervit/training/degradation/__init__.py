"""How photos of faces go bad, batched: what stands before the face, its light, the camera, and how it is stored.

Everything works on the source pixels, `(B, C, H, W)` in 0..1, before they are resampled to the model's input, because
that is where it happens: a block of JPEG is 8 px of the stored image, a sixth of a 48 px face and a thirteenth of one
of 100 px, and noise belongs to a pixel of the sensor. Lengths that belong to the scene (motion, shadows, masks) are
fractions of the face's side. The order is that of a photo: occluders, light, tone and colour; motion (the Gaussian
blur of `training/augment.py` stands for the lens); then the stored pixels. A face far away has few of them, and
noise and JPEG act on those few, before the image is enlarged again. Only the rows that are drawn are
computed, and written into the batch in place.
"""

import torch

from fervit.config.augmentation import AugmentConfig
from fervit.training.degradation.camera import random_iso, random_motion, random_noise
from fervit.training.degradation.light import random_colour, random_dark, random_gamma, random_grey, random_shadow
from fervit.training.degradation.occlusion import random_occluder
from fervit.training.degradation.storage import random_jpeg, random_low_res

Tensor = torch.Tensor


def before_the_lens(x: Tensor, config: AugmentConfig) -> Tensor:
    """Change the scene, its light and its colours, and move, in place; what is off draws no random number."""
    if config.occlude_prob:
        x = random_occluder(x, config.occlude_prob)
    if config.shadow_prob:
        x = random_shadow(x, config.shadow_prob, config.shadow_min)
    if config.dark_prob:
        x = random_dark(x, config.dark_prob, config.dark_min)
    if config.gamma_prob:
        x = random_gamma(x, config.gamma_prob, config.gamma_max)
    if config.colour_prob:
        x = random_colour(x, config.colour_prob, config.saturation, config.white_balance)
    if config.grey_prob:
        x = random_grey(x, config.grey_prob)
    if config.motion_prob:
        x = random_motion(x, config.motion_prob, config.motion_max)
    return x


def behind_the_lens(x: Tensor, config: AugmentConfig) -> Tensor:
    """Add noise and JPEG, for some images on fewer pixels, in place; what is off draws no random number."""

    def stored(pixels: Tensor) -> Tensor:
        if config.iso_prob:
            pixels = random_iso(pixels, config.iso_prob, config.iso_max)
        if config.noise_prob:
            pixels = random_noise(pixels, config.noise_prob, config.noise_max)
        if config.jpeg_prob:
            pixels = random_jpeg(pixels, config.jpeg_prob, config.jpeg_min)
        return pixels

    if not config.low_res_prob:
        return stored(x)
    return random_low_res(x, config.low_res_prob, config.low_res_min, stored)
