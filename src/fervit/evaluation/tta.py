"""Test-time augmentation: several views of an image, whose probabilities are averaged."""

from collections.abc import Callable

import numpy as np

CROP_SHARE = 0.9  # of the side, in five_crops: 224 px of 256 (Krizhevsky et al. 2012, section 4.1) is 0.875


def flip(crops: np.ndarray) -> list[np.ndarray]:
    """Return pictures and their mirror images, of `(B, H, W, C)`."""
    return [crops, np.ascontiguousarray(crops[:, :, ::-1])]


def five_crops(crops: np.ndarray) -> list[np.ndarray]:
    """Return the four corners and the centre of pictures, `CROP_SHARE` of their sides, of `(B, H, W, C)`.

    They are smaller, and the model's own resizing scales them up: pictures are interpolated once.
    """
    height, width = crops.shape[1:3]
    tall, wide = max(1, round(CROP_SHARE * height)), max(1, round(CROP_SHARE * width))
    bottom, right = height - tall, width - wide
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [crops[:, y : y + tall, x : x + wide] for y, x in corners]


def flip_five_crops(crops: np.ndarray) -> list[np.ndarray]:
    """Return the five crops of pictures and of their mirror images, of `(B, H, W, C)`."""
    return [view for way in flip(crops) for view in five_crops(way)]


TTA: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {
    "flip": flip,
    "five_crops": five_crops,
    "flip_five_crops": flip_five_crops,
}
"""Test-time augmentation: from pictures to the views whose probabilities are averaged."""
