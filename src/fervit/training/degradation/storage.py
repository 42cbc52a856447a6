"""How an image is stored: with how few pixels, and as JPEG.

`random_low_res` and `random_jpeg` change images of `x`, `(B, C, H, W)` in 0..1, in place, and return `x`.
"""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from fervit.models.inputs import copy_to_device
from fervit.training.degradation.draws import chosen_rows, log_uniform, uniform

Tensor = torch.Tensor
QUALITY_MAX = 95  # what cameras write, and the largest that Pillow recommends
BLOCK = 8

# The tables of Annex K of the JPEG standard (ITU-T T.81, K.1 and K.2), which libjpeg scales by the quality.
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# JFIF's YCbCr, without the offset of 128 of Cb and Cr, and its inverse.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def random_low_res(x: Tensor, prob: float, side_min: int, stored: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Shrink to a side of `side_min` px up to the source's, by area, and back, bilinearly.

    Args:
        x: the images.
        prob: the probability per image.
        side_min: the smallest side in px; where the source is smaller, nothing changes.
        stored: what happens to the small pixels before they are enlarged, such as JPEG.
    """
    rows = chosen_rows(x, prob)
    largest = max(x.shape[-2:])
    if not len(rows) or side_min >= largest:
        return x
    sides = log_uniform(len(rows), "cpu", side_min, largest).round()
    limit = int(sides.max())  # of this call: an image with a smaller side repeats its last pixels up to there
    sides = copy_to_device(sides, x.device)
    lengths = [(_scaled(sides, length, largest), length, limit) for length in x.shape[-2:]]
    small = _resampled(x[rows], *(_area_weights(*numbers) for numbers in lengths))
    small = stored(small) if stored else small
    return x.index_copy_(0, rows, _resampled(small, *(_bilinear_weights(*numbers) for numbers in lengths)))


def _resampled(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return `(n, C, h, w)` from `(n, C, H, W)` by `(n, h, H)` weights down the columns and `(n, w, W)` along the rows.

    The channels lie side by side, so that each image is one product of matrices for each direction.
    """
    count, channels, height, width = x.shape
    x = down @ x.transpose(1, 2).reshape(count, height, channels * width)
    x = x.view(count, -1, width) @ across.mT
    return x.view(count, down.shape[1], channels, across.shape[1]).transpose(1, 2).contiguous()


def _scaled(sides: Tensor, length: int, largest: int) -> Tensor:
    """Return how many px of `length` are left where the largest side becomes `sides`; at least 1."""
    return (sides * (length / largest)).round().clamp(min=1)


def _area_weights(sides: Tensor, length: int, limit: int) -> Tensor:
    """Return `(n, limit, length)`: each of the `(n,)` sides' pixels is the mean of the source pixels that it covers."""
    step = (length / sides).view(-1, 1, 1)
    low = torch.minimum(torch.arange(limit, device=sides.device).view(1, -1, 1), sides.view(-1, 1, 1) - 1) * step
    pixel = torch.arange(length, device=sides.device).view(1, 1, -1)
    return (torch.minimum(low + step, pixel + 1) - torch.maximum(low, pixel)).clamp(min=0) / step


def _bilinear_weights(sides: Tensor, length: int, limit: int) -> Tensor:
    """Return `(n, length, limit)`: each pixel of the source's grid from the two nearest of the `(n,)` sides' pixels."""
    side = sides.view(-1, 1, 1)
    at = (torch.arange(length, device=sides.device).view(1, -1, 1) + 0.5) * side / length - 0.5
    at = torch.minimum(at.clamp(min=0), side - 1)
    return (1 - (at - torch.arange(limit, device=sides.device).view(1, 1, -1)).abs()).clamp(min=0)


def random_jpeg(x: Tensor, prob: float, quality_min: int) -> Tensor:
    """Store as JPEG of a quality from `quality_min` to 95; the blocks start somewhere, as in a crop from a photo."""
    rows = chosen_rows(x, prob)
    if not len(rows):
        return x
    quality = uniform(len(rows), x.device, quality_min, QUALITY_MAX)
    cell = BLOCK if x.shape[1] == 1 else 2 * BLOCK
    top, left = (int(n) for n in torch.randint(cell, (2,)))
    return x.index_copy_(0, rows, jpeg(x[rows], quality, (top, left)))


def jpeg(x: Tensor, quality: Tensor, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """Compress `(n, C, H, W)` in 0..1 as JPEG and decode it, as libjpeg does by default, colour at half resolution.

    Args:
        x: the images.
        quality: `(n,)`, 1 to 100.
        offset: how many px above and left of the images their first block begins.
    """
    height, width = x.shape[-2:]
    colour = x.shape[1] == 3
    cell = 2 * BLOCK if colour else BLOCK
    top, left = offset
    pads = (left, -(left + width) % cell, top, -(top + height) % cell)
    planes = F.pad((x * 255).round(), pads, mode="replicate")
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None]
    luminance, chrominance = (_scaled_table(table, scale) for table in (LUMINANCE, CHROMINANCE))
    if colour:
        planes = _mixed(planes, TO_YCC).round()
        small = F.avg_pool2d(planes[:, 1:], 2).round()
        small = F.interpolate(
            _quantised(small, chrominance).round(), scale_factor=2, mode="bilinear", align_corners=False
        )
        planes = _mixed(torch.cat([_quantised(planes[:, :1] - 128, luminance) + 128, small], 1), TO_RGB)
    else:
        planes = _quantised(planes - 128, luminance) + 128
    return planes[..., top : top + height, left : left + width].round().clamp(0, 255) / 255


def _scaled_table(table: tuple[int, ...], scale: Tensor) -> Tensor:
    """Return `(n, 1, 64)` steps of the coefficients, for `(n, 1)` percentages of the standard's."""
    steps = copy_to_device(torch.tensor(table, dtype=torch.float32), scale.device)
    return ((steps * scale + 50) / 100).floor().clamp(1, 255)[:, None]


def _mixed(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return `(n, 3, H, W)` planes that are sums of three planes, by a 3 x 3 matrix."""
    weights = copy_to_device(torch.tensor(matrix), planes.device)
    return (weights @ planes.flatten(2)).view_as(planes)


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine coefficients of all 8 x 8 blocks of `(n, C, H, W)` planes to `(n, 1, 64)` steps, and go back."""
    count, channels, height, width = planes.shape
    grid = (count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = planes.view(grid).permute(0, 1, 2, 4, 3, 5).reshape(count, -1, BLOCK * BLOCK)
    basis = copy_to_device(_cosines(), planes.device)
    coefficients = (blocks @ basis.T / steps).round() * steps
    blocks = (coefficients @ basis).view(count, channels, height // BLOCK, width // BLOCK, BLOCK, BLOCK)
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(planes.shape)


def _cosines() -> Tensor:
    """Return the `(64, 64)` orthonormal basis of the cosine transform of a flattened 8 x 8 block, a row each."""
    k = torch.arange(BLOCK, dtype=torch.float64)
    one = torch.cos((2 * k + 1) * k[:, None] * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    one[0] /= math.sqrt(2)
    return torch.kron(one, one).float()
