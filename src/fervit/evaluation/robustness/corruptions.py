"""Corruptions of face crops in five severities: light, sharpness, pose, occlusion, and jitter of the detector's box.

They are numpy and OpenCV on uint8 crops, so that every model can be measured, with or without PyTorch. Lengths are
fractions of the crop's side: 48 px faces and 224 px ones are treated alike. The scheme (kinds times five severities)
follows Hendrycks and Dietterich 2019, arXiv 1903.12261; the kinds are those that faces meet.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image as Pillow

from fervit.errors import ConfigError, unknown
from fervit.media.opencv import opencv

cv2 = opencv()

SEVERITIES = (1, 2, 3, 4, 5)
# Where eyes and mouth are, as fractions of the crop's height from the top: the middle of each on the mean face of
# FER2013 (eyes 0.36, mouth 0.80), whose crops are aligned to about 0.05.
EYES_Y, MOUTH_Y = 0.36, 0.80
GREY = 127
FAR_PX = (28, 22, 16, 12, 9)

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""`(H, W, C)` uint8 and a severity 1..5 to the same shape."""


# --- light ------------------------------------------------------------------------------------------------


def brighter(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add light: 10 to 50 % of the full range."""
    return _clip(image.astype(np.float32) + 255 * 0.1 * severity)


def darker(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Scale light down to 75, 60, 45, 30 and 15 %."""
    return _clip(image.astype(np.float32) * (0.9 - 0.15 * severity))


def contrast(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Bring grey levels nearer to their mean: 70, 55, 40, 25 and 10 % of the contrast stays."""
    mean = image.mean(axis=(0, 1), dtype=np.float32)
    return _clip((image - mean) * (0.85 - 0.15 * severity) + mean)


def grayscale(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Take colour away, 20 to 100 % of it; images that are grey stay as they are."""
    if image.shape[2] == 1:
        return image
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    weight = severity / 5
    return _clip(image * (1 - weight) + grey * weight)


# --- sharpness --------------------------------------------------------------------------------------------


def gaussian_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur with a standard deviation of 1 to 5 % of the side."""
    sigma = max(image.shape[:2]) * 0.01 * severity
    return _keep_axes(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), image)


def motion_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Smear along a random direction over 4 to 20 % of the side."""
    length = max(image.shape[:2]) * 0.04 * severity
    angle = rng.uniform(0, np.pi)
    size = 2 * int(np.ceil(length / 2)) + 1
    middle, steps = size // 2, np.linspace(-length / 2, length / 2, 8 * size)
    kernel = np.zeros((size, size), np.float32)
    x = np.rint(middle + steps * np.cos(angle)).astype(int).clip(0, size - 1)
    y = np.rint(middle + steps * np.sin(angle)).astype(int).clip(0, size - 1)
    np.add.at(kernel, (y, x), 1.0)
    blurred = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return _keep_axes(blurred, image)


def low_resolution(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shrink the face to a side of 28, 22, 16, 12 and 9 px and back, as if it had been far away."""
    height, width = image.shape[:2]
    scale = min(1.0, FAR_PX[severity - 1] / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return _keep_axes(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), image)


def jpeg(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Store as JPEG of quality 40, 25, 15, 10 and 6."""
    quality = (40, 25, 15, 10, 6)[severity - 1]
    buffer = io.BytesIO()
    Pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=quality)
    with Pillow.open(buffer) as decoded:
        return _keep_axes(np.asarray(decoded), image)


def noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of 4, 8, 12, 18 and 26 % of the full range."""
    sigma = 255 * (0.04, 0.08, 0.12, 0.18, 0.26)[severity - 1]
    return _clip(image + sigma * rng.standard_normal(image.shape, dtype=np.float32))


# --- pose and occlusion -----------------------------------------------------------------------------------


def rotation(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Turn in the plane by 8 to 40 degrees, to either side; the edge is repeated."""
    angle = 8 * severity * (1 if rng.random() < 0.5 else -1)
    return _warp(image, angle_deg=angle)


def eyes(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cover a band over the eyes, 10 to 34 % of the height."""
    return _band(image, EYES_Y, 0.04 + 0.06 * severity)


def mouth(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cover a band over the mouth, 10 to 34 % of the height."""
    return _band(image, MOUTH_Y, 0.04 + 0.06 * severity)


def left_half(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cover the image's left side, 10 to 50 % of the width."""
    covered = image.copy()
    covered[:, : round(image.shape[1] * 0.1 * severity)] = GREY
    return covered


def right_half(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cover the image's right side, 10 to 50 % of the width."""
    covered = image.copy()
    covered[:, image.shape[1] - round(image.shape[1] * 0.1 * severity) :] = GREY
    return covered


def random_mask(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Cover one square at random, 20 to 60 % of the side."""
    height, width = image.shape[:2]
    side = 0.1 + 0.1 * severity
    rows, columns = round(height * side), round(width * side)
    y, x = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    covered = image.copy()
    covered[y : y + rows, x : x + columns] = GREY
    return covered


# --- the detector's box -----------------------------------------------------------------------------------


def shift(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shift the crop by 3 to 15 % of the side in a random direction; the edge is repeated."""
    angle, reach = rng.uniform(0, 2 * np.pi), 0.03 * severity
    return _warp(image, shift=(reach * np.cos(angle), reach * np.sin(angle)))


def tighter(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Crop 3 to 15 % tighter: the face grows."""
    return _warp(image, scale=1 / (1 - 0.03 * severity))


def looser(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Crop 3 to 15 % looser: the face shrinks; the edge is repeated."""
    return _warp(image, scale=1 / (1 + 0.03 * severity))


CORRUPTIONS: dict[str, Corruption] = {
    "brighter": brighter,
    "darker": darker,
    "contrast": contrast,
    "gaussian-blur": gaussian_blur,
    "motion-blur": motion_blur,
    "noise": noise,
    "jpeg": jpeg,
    "low-resolution": low_resolution,
    "rotation": rotation,
    "eyes": eyes,
    "mouth": mouth,
    "left-half": left_half,
    "right-half": right_half,
    "random-mask": random_mask,
    "grayscale": grayscale,
}
JITTERS: dict[str, Corruption] = {"shift": shift, "tighter": tighter, "looser": looser}


def corrupt(images: np.ndarray, name: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """Return corrupted copies of `(N, H, W, C)` uint8 crops; the same seed gives the same images.

    Raises:
        ConfigError: unknown corruption or severity.
    """
    kinds = {**CORRUPTIONS, **JITTERS}
    if name not in kinds:
        raise ConfigError(unknown("corruption", name, kinds))
    if severity not in SEVERITIES:
        raise ConfigError(f"expected a severity from 1 to 5, got {severity}")
    rng = np.random.default_rng([seed, list(kinds).index(name), severity])
    result = np.empty_like(images)
    for k, image in enumerate(images):
        result[k] = kinds[name](np.asarray(image), severity, rng)
    return result


def _clip(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return result


def _keep_axes(changed: np.ndarray, image: np.ndarray) -> np.ndarray:
    result: np.ndarray = changed.reshape(image.shape)  # OpenCV and Pillow drop a single channel
    return result


def _band(image: np.ndarray, middle: float, fraction: float) -> np.ndarray:
    height = image.shape[0]
    covered = image.copy()
    covered[max(0, round((middle - fraction / 2) * height)) : round((middle + fraction / 2) * height)] = GREY
    return covered


def _warp(
    image: np.ndarray, *, angle_deg: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Rotate and scale about the middle, then shift by fractions of the side; the edge is repeated."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, scale)
    matrix[:, 2] += np.array(shift) * (width, height)
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _keep_axes(warped, image)
