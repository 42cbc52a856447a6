"""From a photo and a box to model input: crop, shrink, resize, normalise."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Pillow

from fervit.types import Box, Image, ModelSpec, Preprocess

WAITING_PX = 1024  # side of a crop that waits for an ensemble: 3 MB
MIN_ROLL_DEG = 12.0  # FER2013 has smaller rolls too, and turning costs sharpness
FILTERS = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}


def crop_face(image: Image, box: Box, preprocess: Preprocess, landmarks: np.ndarray | None = None) -> Image:
    """Cut the square around a face, `(side, side, 3)`, with the checkpoint's margin and offset.

    Where the square leaves the image, the image's edge is repeated.

    Args:
        image: the whole image.
        box: the face.
        preprocess: margin and offset.
        landmarks: `(5, 2)` px; by them a head that is tilted by more than `MIN_ROLL_DEG` is turned upright.
    """
    roll = 0.0 if landmarks is None else roll_deg(landmarks)
    right = 90 * round(roll / 90)
    if abs(roll - right) <= MIN_ROLL_DEG:
        roll = right  # which moves pixels and changes none
    if roll:
        return _crop_upright(image, box, preprocess, roll)
    height, width = image.shape[:2]
    side = max(1, round(max(box.width, box.height) * (1 + 2 * preprocess.crop_margin)))
    x1 = round((box.x1 + box.x2 - side) / 2)
    y1 = round((box.y1 + box.y2 - side) / 2 + preprocess.crop_offset * box.height)
    if x1 >= 0 and y1 >= 0 and x1 + side <= width and y1 + side <= height:
        return image[y1 : y1 + side, x1 : x1 + side]
    rows = image.take(np.arange(y1, y1 + side), axis=0, mode="clip")
    return rows.take(np.arange(x1, x1 + side), axis=1, mode="clip")


def roll_deg(landmarks: np.ndarray) -> float:
    """Return how far a head is tilted, in degrees clockwise as seen in the image, from the eyes to the mouth."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across = landmarks[1] - landmarks[0] + landmarks[4] - landmarks[3]  # person's right to left
    down = mouth - eyes
    # Both agree for a frontal face; together they vary less than the eyes alone.
    x, y = across[0] + 2 * down[1], across[1] - 2 * down[0]
    return math.degrees(math.atan2(y, x))


def _crop_upright(image: Image, box: Box, preprocess: Preprocess, roll: float) -> Image:
    """Cut the face's square after turning the image by `-roll` degrees about the face."""
    # An upright box around a tilted oval is wider than the face, by up to this much.
    angle = math.radians(45.0 - abs(abs(roll) % 90 - 45.0))
    lies = 45.0 < abs(roll) < 135.0  # the box is as wide as the face is high
    side = max(box.width, box.height) * (1 + 2 * preprocess.crop_margin)
    offset = preprocess.crop_offset * (box.width if lies else box.height)
    cut = math.ceil(side * (math.cos(angle) + math.sin(angle)) / 2 + abs(offset)) + 2  # half the side of what is turned
    cx, cy = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    x, y = round(cx), round(cy)
    rows = image.take(np.arange(y - cut, y + cut), axis=0, mode="clip")
    around = rows.take(np.arange(x - cut, x + cut), axis=1, mode="clip")
    turned = Pillow.fromarray(around).rotate(roll, Pillow.Resampling.BILINEAR)
    half = side / 2
    left, top = round(cut - half), round(cut - half + offset)
    size = max(1, round(side))
    return np.asarray(turned)[top : top + size, left : left + size]


def resize_crop(crop: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Resize a uint8 crop to `(S, S, 3)`, or `(S, S)` when it is grey, with Pillow's antialiased filter."""
    size = preprocess.image_size
    if crop.ndim == 3 and crop.shape[2] == 1:
        crop = crop[:, :, 0]
    if crop.shape[:2] == (size, size):
        return crop
    resized = Pillow.fromarray(crop).resize((size, size), FILTERS[preprocess.interpolation])
    return np.asarray(resized)


def shrink_crop(crop: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Make a uint8 crop small while it waits for its batch, without a change to what the model is going to see.

    A crop for a single input size is resized to it. One that the members of an ensemble resize differently stays as it
    is, up to `WAITING_PX`: after two resizings, probabilities change by up to 0.03 (by 0.001 from beyond it).
    """
    if len({(preprocess.image_size, preprocess.interpolation) for preprocess in spec.inputs.values()}) == 1:
        return resize_crop(crop, spec.preprocess)
    most = max(WAITING_PX, *(preprocess.image_size for preprocess in spec.inputs.values()))
    if max(crop.shape[:2]) > most:
        return resize_crop(crop, replace(spec.preprocess, image_size=most))
    return crop.copy()  # a view would keep the whole image in memory


def preprocess_batch(crops: Sequence[np.ndarray] | np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Turn uint8 crops of any sizes into model input `(B, 3, S, S)` float32.

    The same numbers as `AutoImageProcessor`'s Pillow backend: resize, divide by 255, normalise.

    Args:
        crops: B arrays `(H, W, 3)`, `(H, W, 1)` or `(H, W)`; grey ones are repeated to three channels.
        preprocess: size, filter, mean and standard deviation.
    """
    size = preprocess.image_size
    resized = [resize_crop(crop, preprocess) for crop in crops]
    std = np.asarray(preprocess.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32)
    shift = (-np.asarray(preprocess.mean, np.float64) / std).astype(np.float32)
    x = np.empty((len(resized), 3, size, size), np.float32)
    if len({crop.ndim for crop in resized}) > 1:
        resized = [crop if crop.ndim == 3 else np.repeat(crop[:, :, None], 3, axis=2) for crop in resized]
    if not resized:
        return x
    batch = np.stack(resized)
    for channel in range(3):  # (B, S, S[, 3]) -> (B, 3, S, S)
        plane = batch if batch.ndim == 3 else batch[..., channel]
        np.multiply(plane, scale[channel], out=x[:, channel])
        x[:, channel] += shift[channel]
    return x
