"""What a camera does to a face: motion blur, and the noise of its sensor.

Every function changes each image of `x`, `(B, C, H, W)` in 0..1, with probability `prob`, in place, and returns `x`.
"""

import math

import torch
from torch.nn import functional as F

from fervit.training.degradation.draws import chosen_rows, normal_like, per_image, uniform

Tensor = torch.Tensor
DARKEST = 0.1  # below this value a sensor's noise grows no more: cameras clip it there


def random_motion(x: Tensor, prob: float, length_max: float) -> Tensor:
    """Smear along a random direction over 0 to `length_max` of the side; the edge is reflected."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part, count = x[rows], len(rows)
    longest = length_max * max(x.shape[-2:])
    radius = min(math.ceil(longest / 2), min(x.shape[-2:]) - 1)  # reflection padding must fit
    kernel = motion_kernel(uniform(count, x.device, 0, longest), uniform(count, x.device, 0, math.pi), radius)
    kernel = kernel.repeat_interleave(x.shape[1], 0)[:, None]  # (n * C, 1, 2r + 1, 2r + 1), one group a channel
    flat = F.pad(part.reshape(1, -1, *part.shape[-2:]), (radius,) * 4, mode="reflect")
    return x.index_copy_(0, rows, F.conv2d(flat, kernel, groups=len(kernel)).view_as(part))


def motion_kernel(length: Tensor, angle: Tensor, radius: int) -> Tensor:
    """Return `(n, 2r + 1, 2r + 1)` lines of `(n,)` lengths in px and angles in radians, with soft edges and the sum 1.

    A length of 0 is a single pixel.
    """
    offsets = torch.arange(-radius, radius + 1, device=length.device, dtype=length.dtype)
    x, y = offsets.view(1, 1, -1), offsets.view(1, -1, 1)
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    along, across = (x * cos + y * sin).abs(), (y * cos - x * sin).abs()
    kernel = (1 - across).clamp(min=0) * (length.view(-1, 1, 1) / 2 + 0.5 - along).clamp(0, 1)
    return kernel / kernel.sum((1, 2), keepdim=True)


def random_noise(x: Tensor, prob: float, sigma_max: float) -> Tensor:
    """Add white Gaussian noise of a standard deviation from 0 to `sigma_max`, of its own in each channel."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part = x[rows]
    sigma = per_image(uniform(len(rows), x.device, 0, sigma_max))
    return x.index_copy_(0, rows, (part + sigma * normal_like(part)).clamp(0, 1))


def random_iso(x: Tensor, prob: float, sigma_max: float) -> Tensor:
    """Add the noise of a sensor at a high ISO: shot noise and read noise, seen through the tone curve, and grainy.

    Light L has a shot noise of variance a L and a read noise of variance b. Stored as v = sqrt(L) (a gamma of 2),
    the deviation of v is sqrt(a + b / v²) / 2: even over the light parts, and growing in the dark, as in photos. The
    deviation in white is drawn from 0 to `sigma_max`, read noise from 0 to 0.2 of it. Demosaicing and noise reduction
    leave clumps of pixels: the noise is a random mixture of itself and its mean over 3 x 3 px. Colour images have most
    of it in common over the channels.
    """
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    part, count = x[rows], len(rows)
    white = per_image(uniform(count, x.device, 0, sigma_max))
    read = per_image(uniform(count, x.device, 0, 0.2)) ** 2
    clumped = per_image(uniform(count, x.device))
    sigma = white * ((1 + read / part.clamp(min=DARKEST) ** 2) / (1 + read)).sqrt()
    noise = normal_like(part[:, :1])
    clumps = 3 * F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), mode="replicate"), 3, 1)  # a mean of 9 has a third of it
    # The two are correlated by 1/3 (a pixel is one of its own nine), which the norm of the mixture takes into account.
    norm = (clumped**2 + (1 - clumped) ** 2 + 2 / 3 * clumped * (1 - clumped)).sqrt()
    noise = (clumped * clumps + (1 - clumped) * noise) / norm
    if part.shape[1] == 3:
        noise = 0.9 * noise + 0.436 * normal_like(part)  # 0.9² + 0.436² = 1
    return x.index_copy_(0, rows, (part + sigma * noise).clamp(0, 1))
