"""Images: decoded safely, turned upright, listed in folders."""

import io
import os
import re
import threading
import warnings
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from fervit.errors import ImageError, reason
from fervit.files import cannot_write
from fervit.types import Image

MAX_PIXELS = 100_000_000  # 300 MB as RGB; larger than a photo from any phone's default mode, smaller than a bomb
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")  # no EPS: Pillow runs a program for it
MAX_JPEG = 3 * MAX_PIXELS  # bytes that are looked through for scans: no photo is larger than its pixels
MAX_SCANS = 100  # of a JPEG; progressive ones have about 10, and 30 kB can hold seconds of empty ones
JPEG_QUALITY = 92  # of the annotated copies that are written
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
ImageLike: TypeAlias = ImageSource | Pillow.Image | np.ndarray
EXPECTED_ARRAY = "expected a (H, W, 3) uint8 array"
_opening = threading.Lock()  # Python's warning filters are global, and decoding happens in threads


def read_image(source: ImageSource) -> Image:
    """Decode an image to `(H, W, 3)` uint8 RGB, upright.

    EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8, and of an animation
    the first frame is taken. The size is checked before anything is decoded.

    Args:
        source: a path, the bytes of a file, or an open binary file.

    Raises:
        ImageError: it is missing, empty, truncated, larger than `MAX_PIXELS`, a JPEG of more than `MAX_SCANS`
            scans, or not an image.
    """
    name = source_name(source)
    try:
        with _open(io.BytesIO(source) if isinstance(source, bytes) else source, name) as opened:
            return _decode(opened)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder, not an image") from None
    except UnidentifiedImageError:
        raise ImageError(_not_an_image(source, name)) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise ImageError(f"{name} cannot be read: {reason(error)}") from error


def write_image(path: Path, image: Image) -> None:
    """Write an image, `(H, W, 3)` uint8 RGB, in the format of the name's ending.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        Pillow.fromarray(image).save(path, quality=JPEG_QUALITY)
    except OSError as error:
        raise cannot_write(path, error) from error


def as_image(source: ImageLike) -> Image:
    """Return any form of image as `(H, W, 3)` uint8 RGB; arrays may also be grey, or RGBA.

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
        _check_size(source, "the image")
        check_scans(source, "the image")
        return _decode(source)
    return read_image(source)


def is_rgb(image: object) -> bool:
    """Return whether `image` is a `(H, W, 3)` uint8 array that is not empty."""
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size > 0
    )


def source_name(source: object) -> str:
    """Return a printable name of where an image comes from, for messages and rows."""
    if isinstance(source, str | os.PathLike):
        return os.fsencode(source).decode("utf-8", "replace")
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name) if name else {bytes: "<bytes>", np.ndarray: "<array>"}.get(type(source), "<image>")


def jpeg_scans(data: bytes, most: int) -> int:
    """Return how many scans a decoder would meet in a JPEG, counting to `most`.

    Every scan, even an empty one, costs as much time as the image has pixels.
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


def check_scans(opened: Pillow.Image, name: str) -> None:
    """Refuse an open, undecoded JPEG that would take a decoder unduly long.

    Raises:
        ImageError: it has more than `MAX_SCANS` scans.
    """
    file = getattr(opened, "fp", None)  # None once it is decoded
    if file is None or opened.format not in ("JPEG", "MPO"):
        return
    place = file.tell()
    file.seek(0)
    scans = jpeg_scans(file.read(MAX_JPEG), MAX_SCANS + 1)
    file.seek(place)
    if scans > MAX_SCANS:
        opened.close()
        raise ImageError(f"{name} has too many scans: expected a JPEG of at most {MAX_SCANS}")


def list_images(folder: Path) -> list[Path]:
    """Return every image file under `folder`, by extension, sorted by path; hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _open(source: str | os.PathLike[str] | IO[bytes], name: str) -> Pillow.Image:
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            Pillow.preinit()  # or Pillow would load all its plugins for a name that ends in .webp
            opened = Pillow.open(source, formats=FORMATS)
    except Pillow.DecompressionBombError:
        raise ImageError(f"{name} is too large: more than {MAX_PIXELS / 1e6:.0f} megapixels") from None
    _check_size(opened, name)
    check_scans(opened, name)
    return opened


def _check_size(opened: Pillow.Image, name: str) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        opened.close()
        raise ImageError(
            f"{name} is too large: {width} x {height} = {width * height / 1e6:.0f} megapixels, "
            f"more than {MAX_PIXELS / 1e6:.0f}"
        )
    if not width * height:
        raise ImageError(f"{name} is an empty image: {width} x {height}")


def _not_an_image(source: ImageSource, name: str) -> str:
    empty = source == b"" or (isinstance(source, str | os.PathLike) and Path(source).stat().st_size == 0)
    if empty:
        return f"{name} is empty (0 bytes)"
    return f"{name} is not an image (expected {', '.join(FORMATS)})"


def _decode(opened: Pillow.Image) -> Image:
    opened.load()  # this comes first: it turns a TIFF, whose orientation reads upright afterwards
    method = UPRIGHT.get(_orientation(opened))
    rgb = _to_rgb(opened)
    if method is not None:
        rgb = np.asarray(Pillow.fromarray(rgb).transpose(method))
    return rgb


def _orientation(opened: Pillow.Image) -> int:
    try:
        return int(opened.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (broken EXIF raises nearly anything; the image itself may be fine)
        return 1


def _to_rgb(opened: Pillow.Image) -> Image:
    opened.load()
    if opened.mode == "RGB" and "transparency" not in opened.info:
        return np.asarray(opened)
    if opened.mode.startswith("I") or opened.mode == "F":
        return np.repeat(_to_8_bits(np.asarray(opened))[:, :, None], 3, axis=2)
    if "A" in opened.mode.upper().replace("LAB", "") or "transparency" in opened.info:
        opened = opened.convert("RGBA")
        white = Pillow.new("RGBA", opened.size, "white")
        opened = Pillow.alpha_composite(white, opened)
    return np.asarray(opened.convert("RGB"))


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scale a deep grey plane to uint8: 16-bit integers by 257, floats from 0..1, else by range."""
    x = np.nan_to_num(values.astype(np.float64))
    low, high = float(x.min()), float(x.max())
    if values.dtype.kind in "ui" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    elif values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.rint((x - low) * (255 / max(high - low, 1e-12))).clip(0, 255).astype(np.uint8)
