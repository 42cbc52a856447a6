"""From a photo and a box to model input: crop, shrink, resize, normalise."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Pillow

from fervit.errors import ImageError
from fervit.metadata import FILTERS
from fervit.types import Box, Image, ModelSpec, Preprocess

WAITING_PX = 1024  # side of a crop that waits for an ensemble: 3 MB
MAX_ASPECT = 20  # of an image whose shortest edge is resized: 40 times the memory of the input
MIN_ROLL_DEG = 12.0  # FER2013 has smaller rolls too, and turning costs sharpness


def crop_face(image: Image, box: Box, preprocess: Preprocess, landmarks: np.ndarray | None = None) -> Image:
    """Cut the square around a face, `(side, side, 3)`, with the checkpoint's margin and offset.

    Where the square leaves the image, the image's edge is repeated.

    Args:
        image: the whole image.
        box: the face.
        preprocess: margin and offset.
        landmarks: `(5, 2)` px; by them a head that is tilted by more than `MIN_ROLL_DEG` is turned upright.
    """
    roll = turn_deg(landmarks)
    if roll:
        return _crop_upright(image, box, preprocess, roll)
    x1, y1, side = crop_square(box, preprocess)
    return _window(image, x1, y1, x1 + side, y1 + side)


def crop_square(box: Box, preprocess: Preprocess) -> tuple[int, int, int]:
    """Return left, top and side in px of the square that is cut around an upright face; it may leave the image."""
    side = max(1, round(max(box.width, box.height) * (1 + 2 * preprocess.crop_margin)))
    x1 = round((box.x1 + box.x2 - side) / 2)
    return x1, round((box.y1 + box.y2 - side) / 2 + preprocess.crop_offset * box.height), side


def crop_reduced(image: Image, factor: int, box: Box, preprocess: Preprocess) -> Image:
    """Cut the square of an upright face out of a reduced copy of its photo, resized to the model's input.

    It is the square that `crop_face` cuts out of the photo, to a fraction of the copy's pixel.

    Args:
        image: the copy, `(h, w, 3)` uint8 RGB.
        factor: how many px of the photo one of the copy's is wide.
        box: the face, in the photo's pixels.
        preprocess: the model's, whose input has one size (`resize_to` is None).
    """
    left, top, side = crop_square(box, preprocess)
    x1, y1, x2, y2 = (v / factor for v in (left, top, left + side, top + side))
    x0, y0 = math.floor(x1), math.floor(y1)
    around = Pillow.fromarray(np.ascontiguousarray(_window(image, x0, y0, math.ceil(x2), math.ceil(y2))))
    if preprocess.channels == 1:
        around = around.convert("L")
    size = (preprocess.image_size, preprocess.image_size)
    filter_ = Pillow.Resampling(FILTERS[preprocess.interpolation])
    return np.asarray(around.resize(size, filter_, box=(x1 - x0, y1 - y0, x2 - x0, y2 - y0)))


def turn_deg(landmarks: np.ndarray | None) -> float:
    """Return by how much `crop_face` turns a head upright, in degrees clockwise; 0 where it stays as it is."""
    roll = 0.0 if landmarks is None else roll_deg(landmarks)
    right = 90 * round(roll / 90)
    if abs(roll - right) <= MIN_ROLL_DEG:
        return right  # which moves pixels and changes none
    return roll


def _window(image: Image, x1: int, y1: int, x2: int, y2: int) -> Image:
    """Return a rectangle of an image; where it leaves the image, the image's edge is repeated."""
    height, width = image.shape[:2]
    if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:
        return image[y1:y2, x1:x2]
    rows = image.take(np.arange(y1, y2), axis=0, mode="clip")
    return rows.take(np.arange(x1, x2), axis=1, mode="clip")


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
    """Resize a uint8 crop to the input's pixels: `(S, S, 3)`, or `(S, S)` where it or the input is grey.

    With Pillow's antialiased filters, as the checkpoint says; where that resizes to something else than the input's
    square (`Preprocess.resize_to`), the input is cut out of the centre.
    """
    size = preprocess.image_size
    if crop.ndim == 3 and crop.shape[2] == 1:
        crop = crop[:, :, 0]
    if preprocess.channels == 1 and crop.ndim == 3:
        crop = np.asarray(Pillow.fromarray(crop).convert("L"))  # by ITU-R 601 luma
    shape = resized_shape(crop.shape[:2], preprocess)
    if crop.shape[:2] != shape:
        filter_ = Pillow.Resampling(FILTERS[preprocess.interpolation])
        crop = np.asarray(Pillow.fromarray(crop).resize(shape[::-1], filter_))
    return crop if shape == (size, size) else _cut_centre(crop, size)


def resized_shape(shape: tuple[int, int], preprocess: Preprocess) -> tuple[int, int]:
    """Return the height and width that a crop of height and width `shape` is resized to, in px.

    Raises:
        ImageError: the crop is so narrow that it would not fit into memory.
    """
    if preprocess.resize_to is None:
        return preprocess.image_size, preprocess.image_size
    if len(preprocess.resize_to) == 0:
        return shape
    if len(preprocess.resize_to) == 2:
        return preprocess.resize_to[0], preprocess.resize_to[1]
    edge, (height, width) = preprocess.resize_to[0], shape
    if max(shape) > MAX_ASPECT * min(shape):
        raise ImageError(
            f"an image of {width} x {height} px cannot be resized to a shortest edge of {edge} px as the model wants; "
            f"expected sides of at most 1 : {MAX_ASPECT}"
        )
    # Rounded down, as transformers does.
    return (edge, int(edge * width / height)) if height < width else (int(edge * height / width), edge)


def _cut_centre(crop: np.ndarray, size: int) -> np.ndarray:
    """Cut `size` x `size` px out of the centre; what is missing is black. To the pixel as transformers does."""
    missing = [max(size - side, 0) for side in crop.shape[:2]]
    if any(missing):
        around = [((gap + 1) // 2, gap // 2) for gap in missing]
        crop = np.pad(crop, [*around, (0, 0)][: crop.ndim])
    top, left = ((side - size) // 2 for side in crop.shape[:2])
    return crop[top : top + size, left : left + size]


def before_cut(preprocess: Preprocess) -> Preprocess:
    """Return how square crops look before the input is cut out of them: the same where nothing is cut."""
    if not preprocess.resize_to:
        return preprocess
    return replace(preprocess, image_size=preprocess.resize_to[0], resize_to=None)


def has_one_input(spec: ModelSpec) -> bool:
    """Return whether all that a model sees of a face is its crop at one size, resized in one step."""
    return len({preprocess.geometry for preprocess in spec.inputs.values()}) == 1 and spec.preprocess.resize_to is None


def shrink_crop(crop: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Make a uint8 crop small while it waits for its batch, without a change to what the model is going to see.

    A crop for a single input size is resized to it. One that the members of an ensemble resize differently, or whose
    centre is cut out after it was resized, stays as it is, up to `WAITING_PX`: after two resizings, probabilities
    change by up to 0.03 (by 0.001 from beyond it).
    """
    inputs = list(spec.inputs.values())
    if has_one_input(spec):
        return resize_crop(crop, spec.preprocess)
    if any(preprocess.resize_to == () for preprocess in inputs):
        return crop.copy()  # its size matters
    most = max(WAITING_PX, *(max((preprocess.image_size, *(preprocess.resize_to or ()))) for preprocess in inputs))
    if max(crop.shape[:2]) > most:
        return resize_crop(crop, replace(spec.preprocess, image_size=most, resize_to=None))
    return crop.copy()  # a view would keep the whole image in memory


def preprocess_batch(crops: Sequence[np.ndarray] | np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Turn uint8 crops of any sizes into model input `(B, C, S, S)` float32, C the channels of `preprocess`.

    The same numbers as `AutoImageProcessor`'s Pillow backend: resize, cut, divide by 255, normalise.

    Args:
        crops: B arrays `(H, W, 3)`, `(H, W, 1)` or `(H, W)`; grey ones are repeated to three channels.
        preprocess: size, filter, mean and standard deviation.

    Raises:
        ImageError: see `resized_shape`.
    """
    size, channels = preprocess.image_size, preprocess.channels
    resized = [resize_crop(crop, preprocess) for crop in crops]
    std = np.asarray(preprocess.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32)
    shift = (-np.asarray(preprocess.mean, np.float64) / std).astype(np.float32)
    x = np.empty((len(resized), channels, size, size), np.float32)
    if len({crop.ndim for crop in resized}) > 1:
        resized = [crop if crop.ndim == 3 else np.repeat(crop[:, :, None], 3, axis=2) for crop in resized]
    if not resized:
        return x
    batch = np.stack(resized)
    for channel in range(channels):  # (B, S, S[, 3]) -> (B, C, S, S)
        plane = batch if batch.ndim == 3 else batch[..., channel]
        np.multiply(plane, scale[channel], out=x[:, channel])
        x[:, channel] += shift[channel]
    return x
