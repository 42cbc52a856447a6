"""Pictures: decoded safely, cropped to faces, turned into model input by the one preprocessing function."""

import io
import math
import os
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from fervit.errors import ImageError
from fervit.types import Box, Image, ModelSpec, Preprocess

MAX_PIXELS = 100_000_000  # 300 MB as RGB; larger than a photo from any phone's default mode, smaller than a bomb
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")  # no EPS: Pillow runs a program for it
MAX_JPEG = 3 * MAX_PIXELS  # bytes that are looked through for scans: no photo is larger than its pixels
MAX_SCANS = 100  # of a JPEG; progressive ones have about 10, and 30 kB can hold seconds of empty ones
WAITING_PX = 1024  # side of a crop that waits for an ensemble: 3 MB
MIN_ROLL_DEG = 12.0  # what lies below stands in FER2013 too, and turning costs sharpness
FILTERS = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}

ORIENTATION = 0x0112  # EXIF 2.3, section 4.6.4
UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}

# What ends entropy-coded data and begins a segment with a length (ITU-T T.81, B.1.1): no stuffing, fill, TEM or RST.
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
SOS, EOI = 0xDA, 0xD9

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]

_opening = threading.Lock()  # Python's warning filters are global, and decoding happens in threads


def read_image(source: ImageSource) -> Image:
    """Decode a picture to `(H, W, 3)` uint8 RGB, upright.

    EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8, and of an animation
    the first frame is taken. The size is checked before anything is decoded.

    Args:
        source: a path, the bytes of a file, or an open binary file.

    Raises:
        ImageError: it is missing, empty, truncated, larger than `MAX_PIXELS`, a JPEG of more than `MAX_SCANS`
            scans, or not a picture.
    """
    name = source_name(source)
    stream: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with _open(stream, name) as picture:
            return _decode(picture)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder, not a picture") from None
    except UnidentifiedImageError:
        raise ImageError(_not_a_picture(source, name)) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ImageError(f"{name} cannot be read: {reason}") from error


def as_image(source: ImageSource | Pillow.Image | np.ndarray) -> Image:
    """Return any form of picture as `(H, W, 3)` uint8 RGB; arrays may also be grey, or RGBA.

    Raises:
        ImageError: it cannot be read, or an array has another shape or type.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.size == 0 or source.ndim not in (2, 3):
            raise ImageError(f"expected a (H, W, 3) uint8 array, got {source.shape} {source.dtype}")
        channels = 1 if source.ndim == 2 else source.shape[2]
        if channels == 3:
            return source
        if channels == 1:
            return np.repeat(source.reshape(*source.shape[:2], 1), 3, axis=2)
        if channels == 4:
            return _to_rgb(Pillow.fromarray(source))
        raise ImageError(f"expected a (H, W, 3) uint8 array, got {source.shape}")
    if isinstance(source, Pillow.Image):
        _check_size(source, "the picture")
        check_scans(source, "the picture")
        return _decode(source)
    return read_image(source)


def source_name(source: Any) -> str:
    """Return a printable name of where a picture comes from, for messages and rows."""
    if isinstance(source, str | os.PathLike):
        return os.fsencode(source).decode("utf-8", "replace")
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name) if name else {bytes: "<bytes>", np.ndarray: "<array>"}.get(type(source), "<picture>")


def crop_face(image: Image, box: Box, preprocess: Preprocess, landmarks: np.ndarray | None = None) -> Image:
    """Cut the square around a face, `(side, side, 3)`, with the checkpoint's margin and offset.

    Where the square leaves the picture, the picture's edge is repeated.

    Args:
        image: the whole picture.
        box: the face.
        preprocess: margin and offset.
        landmarks: `(5, 2)` px; by them a head that is tilted by more than `MIN_ROLL_DEG` is turned upright.
    """
    roll = 0.0 if landmarks is None else roll_deg(landmarks)
    if abs(roll) > MIN_ROLL_DEG:
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
    """Return how far a head is tilted, in degrees clockwise as seen in the picture, from the eyes to the mouth."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across = landmarks[1] - landmarks[0] + landmarks[4] - landmarks[3]  # person's right to left
    down = mouth - eyes
    # Both say the same of a frontal face; together they are steadier than the eyes alone.
    x, y = across[0] + 2 * down[1], across[1] - 2 * down[0]
    return math.degrees(math.atan2(y, x))


def _crop_upright(image: Image, box: Box, preprocess: Preprocess, roll: float) -> Image:
    """Cut the face's square after turning the picture by `-roll` degrees about the face."""
    # An upright box around a tilted oval is wider than the face, by up to this much.
    angle = math.radians(min(abs(roll), 45.0))
    side = max(box.width, box.height) * (1 + 2 * preprocess.crop_margin)
    offset = preprocess.crop_offset * box.height
    cut = math.ceil(side * (math.cos(angle) + math.sin(angle)) / 2 + abs(offset)) + 2  # half of what is turned
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

    One that goes to a single size is resized to it. One that members of an ensemble resize in different ways stays
    as it is, up to `WAITING_PX`: resized twice, probabilities move by up to 0.03 (by 0.001 from beyond it).
    """
    if len({(way.image_size, way.interpolation) for way in spec.inputs.values()}) == 1:
        return resize_crop(crop, spec.preprocess)
    most = max(WAITING_PX, *(way.image_size for way in spec.inputs.values()))
    if max(crop.shape[:2]) > most:
        return resize_crop(crop, replace(spec.preprocess, image_size=most))
    return crop.copy()  # a view would keep the whole picture in memory


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


def jpeg_scans(data: bytes, most: int) -> int:
    """Return how many scans a decoder would meet in a JPEG, counting to `most`.

    Every scan, even an empty one, costs as much time as the picture has pixels.
    """
    at, scans = 2, 0
    while scans < most:
        # Between segments, too, libjpeg skips what is no marker.
        found = MARKER.search(data, at)
        if found is None or data[found.end() - 1] == EOI:
            break
        at = found.end()
        scans += data[at - 1] == SOS
        at += int.from_bytes(data[at : at + 2])
    return scans


def check_scans(picture: Pillow.Image, name: str) -> None:
    """Refuse an open, undecoded JPEG that would take a decoder unduly long.

    Raises:
        ImageError: it has more than `MAX_SCANS` scans.
    """
    file = getattr(picture, "fp", None)  # None once it is decoded
    if file is None or picture.format not in ("JPEG", "MPO"):
        return
    place = file.tell()
    file.seek(0)
    scans = jpeg_scans(file.read(MAX_JPEG), MAX_SCANS + 1)
    file.seek(place)
    if scans > MAX_SCANS:
        picture.close()
        raise ImageError(f"{name} has too many scans: expected a JPEG of at most {MAX_SCANS}")


def list_images(folder: Path) -> list[Path]:
    """Return every picture file under `folder`, by extension, sorted by path; hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _open(stream: Any, name: str) -> Pillow.Image:
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            Pillow.preinit()  # or Pillow would load all its plugins for a name that ends in .webp
            picture = Pillow.open(stream, formats=FORMATS)
    except Pillow.DecompressionBombError:
        raise ImageError(f"{name} is too large: more than {MAX_PIXELS / 1e6:.0f} megapixels") from None
    _check_size(picture, name)
    check_scans(picture, name)
    return picture


def _check_size(picture: Pillow.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise ImageError(
            f"{name} is too large: {width} x {height} = {width * height / 1e6:.0f} megapixels, "
            f"more than {MAX_PIXELS / 1e6:.0f}"
        )
    if not width * height:
        raise ImageError(f"{name} is an empty picture: {width} x {height}")


def _not_a_picture(source: ImageSource, name: str) -> str:
    empty = source == b"" or (isinstance(source, str | os.PathLike) and Path(source).stat().st_size == 0)
    if empty:
        return f"{name} is empty (0 bytes)"
    return f"{name} is not a picture (expected {', '.join(FORMATS)})"


def _decode(picture: Pillow.Image) -> Image:
    picture.load()  # first: a TIFF is turned by that, and says afterwards that it is upright
    method = UPRIGHT.get(_orientation(picture))
    rgb = _to_rgb(picture)
    if method is not None:
        rgb = np.asarray(Pillow.fromarray(rgb).transpose(method))
    return rgb


def _orientation(picture: Pillow.Image) -> int:
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (broken EXIF raises nearly anything; the picture itself may be fine)
        return 1


def _to_rgb(picture: Pillow.Image) -> Image:
    picture.load()
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return np.asarray(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(_to_8_bits(np.asarray(picture))[:, :, None], 3, axis=2)
    if "A" in picture.mode.upper().replace("LAB", "") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB"))


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scale a deep grey plane to uint8: 16-bit integers by 257, floats from 0..1, else by range."""
    x = np.nan_to_num(values.astype(np.float64))
    low, high = float(x.min()), float(x.max())
    if values.dtype.kind in "ui" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    elif values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.rint((x - low) * (255 / max(high - low, 1e-12))).clip(0, 255).astype(np.uint8)
