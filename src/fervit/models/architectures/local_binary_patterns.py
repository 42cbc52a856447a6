"""Local binary patterns (Ojala et al. 2002, doi 10.1109/TPAMI.2002.1017623) of a model's own input, in torch."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from fervit.models.pretrained import HALF

Tensor = torch.Tensor
WHITE = 255  # the largest level of a pixel, and the largest code
# Pillow's convert("L"): (19595 R + 38470 G + 7471 B + 32768) >> 16. All of it fits in the 24 bits that float32
# holds exactly, so every runtime gets the same level, and the codes of a colour photo are those of its grey version.
LUMA_16_BITS, HALF_16_BITS, ONE_16_BITS = (19595, 38470, 7471), 32768, 65536
# (row, column) of the neighbour that sets bit k: counter-clockwise from the right, as in skimage.feature.
NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def to_levels(pixel_values: Tensor, mean: Sequence[float] = HALF, std: Sequence[float] = HALF) -> Tensor:
    """Return the grey levels that Pillow gives a normalised `(B, 3, S, S)` crop: `(B, 1, S, S)` whole 0..255.

    `mean` and `std` are those, one per channel, that the crop was normalised by.

    The pixels are first rounded back to whole levels, which they are in every crop but an augmented one; from there
    on float32 is exact.
    """
    red, green, blue = LUMA_16_BITS
    x = pixel_values.float()
    planes = [x[:, k : k + 1] * (std[k] * WHITE) + mean[k] * WHITE for k in range(3)]  # undo (x / 255 - mean) / std
    r, g, b = (plane.round().clamp(0, WHITE) for plane in planes)
    luma = r * red + g * green + b * blue  # no convolution: those may round
    return ((luma + HALF_16_BITS) / ONE_16_BITS).floor()


def local_binary_patterns(levels: Tensor) -> Tensor:
    """Return the `(B, 1, S, S)` codes 0..255 of grey levels: a bit for each neighbour that is not darker.

    Beyond the border its own pixels repeat, so a constant image has the code 255 everywhere.
    """
    height, width = levels.shape[-2:]
    padded = F.pad(levels, (1, 1, 1, 1), mode="replicate")
    codes = torch.zeros_like(levels)
    for bit, (row, column) in enumerate(NEIGHBOURS):
        neighbour = padded[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]
        codes = codes + (neighbour >= levels).to(levels.dtype) * 2**bit
    return codes
