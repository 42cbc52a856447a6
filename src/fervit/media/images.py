"""Images: decoded safely, turned upright, listed in folders."""

import itertools
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError, features

from fervit.concurrency import Lock
from fervit.errors import ImageError, quoted, reason
from fervit.files import cannot_write
from fervit.media.pixels import decode, from_array, is_wide
from fervit.media.sources import EXPECTED_ARRAY, ImageSource, layout_remedy, openable, path_name
from fervit.types import Image


@dataclass(frozen=True)
class ImageFormat:
    """A format of images.

    Attributes:
        endings: of file names.
        content_types: under which it is sent by HTTP.
        remedy: what to do where this Python cannot read it; empty where any Pillow can.
    """

    endings: tuple[str, ...]
    content_types: tuple[str, ...]
    remedy: str = ""


MAX_PIXELS = 100_000_000  # 300 MB as RGB; larger than a photo from any phone's default mode, smaller than a bomb
# No EPS: Pillow runs a program for it. HEIF is Pillow's by the package pillow-heif only.
FORMATS: dict[str, ImageFormat] = {
    "JPEG": ImageFormat((".jpg", ".jpeg", ".jfif"), ("image/jpeg", "image/jpg", "image/pjpeg")),
    "PNG": ImageFormat((".png", ".apng"), ("image/png", "image/apng")),
    "GIF": ImageFormat((".gif",), ("image/gif",)),
    "BMP": ImageFormat((".bmp",), ("image/bmp", "image/x-ms-bmp")),
    "PPM": ImageFormat((".ppm", ".pgm", ".pbm", ".pnm"), ("image/x-portable-anymap", "image/x-portable-pixmap")),
    "WEBP": ImageFormat((".webp",), ("image/webp",)),
    "TIFF": ImageFormat((".tif", ".tiff"), ("image/tiff",)),
    "AVIF": ImageFormat((".avif",), ("image/avif",), "pip install 'pillow>=11.3'"),
    "HEIF": ImageFormat((".heic", ".heif", ".hif"), ("image/heic", "image/heif"), "pip install 'fervit[heic]'"),
}
"""Every format that is read, by Pillow's name."""

EXTENSIONS = frozenset(ending for format in FORMATS.values() for ending in format.endings)
CONTENT_TYPES = frozenset(kind for format in FORMATS.values() for kind in format.content_types)
SEQUENCES = (b"avis",)
"""Brands of an ISO file that holds an animation."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
LEAST_DURATION_MS = 20  # browsers show a frame of an animation that says less for `USUAL_DURATION_MS`
USUAL_DURATION_MS = 100
# What is decoded in less than a GB of memory: the decoders of these take 16 bytes a pixel, others 4.
HEAVY = {"WEBP": 45_000_000, "AVIF": 45_000_000, "HEIF": 45_000_000}
MAX_TWICE = 75_000_000  # pixels of a progressive JPEG, or with 16 bits a channel: both are in memory twice
MAX_JPEG = 3 * MAX_PIXELS  # bytes that are looked through for scans: no photo is larger than its pixels
MAX_SCANS = 100  # of a JPEG; progressive ones have about 10, and 30 kB can hold seconds of empty ones
MAX_SCANNED = 1_500_000_000  # pixels times scans: a second and a half, and 15 scans of 100 megapixels
JPEG_QUALITY = 92  # of the annotated copies that are written
# What ends entropy-coded data and begins a segment with a length (ITU-T T.81, B.1.1): no stuffing, fill, TEM or RST.
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
SOS, EOI = 0xDA, 0xD9
ImageLike: TypeAlias = ImageSource | Pillow.Image | np.ndarray
HEAD = 64  # bytes that tell an ISO file's brand, and some of those it is compatible with
log = logging.getLogger(__name__)
_opening = Lock()  # Python's warning filters are global, and decoding happens in threads


def read_image(source: ImageSource) -> Image:
    """Decode an image to `(H, W, 3)` uint8 RGB, upright.

    EXIF orientation is applied, transparency is laid on white, and of an animation the first frame is taken. Values of
    16 or 32 bits are scaled to 8: where the file does not say which of them is white, the greatest decides between the
    depths that cameras have, and a warning says what was assumed. The size is checked before anything is decoded.

    Args:
        source: a path, the bytes of a file, or an open binary file.

    Raises:
        ImageError: it is missing, empty, truncated, larger than `MAX_PIXELS`, a JPEG of too many scans, or not an
            image.
    """
    name = source_name(source)
    with opening(source) as opened:
        return decode_first(opened, name)


def decode_first(opened: Pillow.Image, name: str) -> Image:
    """Return the first image of an open file as `read_image` does; a warning says where there are more."""
    if getattr(opened, "is_animated", False) and opened.format != "MPO":  # an MPO's others are views of the first
        hint = "" if opened.format == "TIFF" else "; `fervit predict` and `Recognizer.video` read all"
        log.warning("%s: only the first of %d images in it%s", name, getattr(opened, "n_frames", 0), hint)
    return decode(opened, name)


def read_animation(source: ImageSource) -> Iterator[tuple[float, Image]]:
    """Yield the frames of an animation (GIF, APNG, WebP, AVIF) as `(time_s, image)`, as `read_image` decodes them.

    Raises:
        ImageError: as `read_image`; one that breaks off after its first frame just ends.
    """
    name, time_s = source_name(source), 0.0
    with opening(source) as opened:
        for index in itertools.count():
            try:
                opened.seek(index)
                image = decode(opened, name)
            except EOFError:
                return
            except Exception as error:
                if not index:
                    raise
                log.warning("%s: broken after %.1f s: %s", name, time_s, reason(error))
                return
            yield time_s, image
            duration_ms = opened.info.get("duration") or 0
            time_s += (duration_ms if duration_ms >= LEAST_DURATION_MS else USUAL_DURATION_MS) / 1000


@contextmanager
def opening(source: ImageSource, max_pixels: int = MAX_PIXELS, *, name: str = "") -> Iterator[Pillow.Image]:
    """Open an image with every check but decode nothing; what a decoder raises in the block becomes an `ImageError`.

    Args:
        source: as for `read_image`.
        max_pixels: more are refused.
        name: what messages call it, where it is not its own name.

    Raises:
        ImageError: as `read_image`.
    """
    name = name or source_name(source)
    with _reading(source, name), ExitStack() as stack:
        file = openable(source, name)
        if isinstance(file, str | os.PathLike):
            # Opened here: Pillow maps a file that it opens by name, and then turns no TIFF upright.
            file = stack.enter_context(Path(file).open("rb"))
        yield stack.enter_context(_open(file, name, max_pixels))


@contextmanager
def _reading(source: object, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError`."""
    try:
        yield
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
    """Return any form of image as `(H, W, 3)` uint8 RGB.

    Arrays are `(H, W)`, or `(H, W, C)` of 1 (grey), 3 (RGB) or 4 (RGBA) channels. Those of uint8 are taken as they are;
    of other numbers, floats up to 1 are fractions of white, and others are scaled as `read_image` does.

    Raises:
        ImageError: it cannot be read, or an array has another shape or type.
    """
    if isinstance(source, np.ndarray):
        shaped = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (1, 3, 4))
        if not shaped or source.size == 0 or source.dtype.kind not in "buif":
            raise ImageError(f"{EXPECTED_ARRAY}, got {quoted(source)}{layout_remedy(source)}")
        return from_array(source, source_name(source))
    if isinstance(source, Pillow.Image):
        with _reading(source, "the image"):
            _check_size(source, "the image")
            check_scans(source, "the image")
            return decode(source, "the image")
    return read_image(source)


def source_name(source: object) -> str:
    """Return a printable name of where an image or video comes from, for messages and rows.

    It is short where it can be no file's name, and shows no password of an address.
    """
    if isinstance(source, str | os.PathLike):
        return path_name(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    if isinstance(name, str | os.PathLike) and name:
        return path_name(name)
    return {bytes: "<bytes>", bytearray: "<bytes>", memoryview: "<bytes>", np.ndarray: "<array>"}.get(
        type(source), "<image>"
    )


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
        ImageError: it has too many scans for its size.
    """
    file = getattr(opened, "fp", None)  # None once it is decoded
    if file is None or opened.format not in ("JPEG", "MPO"):
        return
    place = file.tell()
    file.seek(0)
    most = min(MAX_SCANS, MAX_SCANNED // max(1, opened.width * opened.height))
    scans = jpeg_scans(file.read(MAX_JPEG), most + 1)
    file.seek(place)
    if scans > most:
        raise ImageError(f"{name} has too many scans: expected a JPEG of at most {most}")


def list_images(folder: Path) -> list[Path]:
    """Return every image file under `folder`, by extension, sorted by path; hidden files are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _open(file: IO[bytes], name: str, max_pixels: int) -> Pillow.Image:
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of an animation that is none: what matters is raised
            Pillow.preinit()  # or Pillow would load all its plugins for a name that ends in .webp
            opened = Pillow.open(file, formats=_readable(file, name))
    except Pillow.DecompressionBombError:
        raise ImageError(f"{name} is too large: more than {max_pixels / 1e6:.0f} megapixels") from None
    _check_size(opened, name, max_pixels)
    check_scans(opened, name)
    return opened


def _readable(file: IO[bytes], name: str) -> tuple[str, ...]:
    """Return the formats that a file may have, by Pillow's names; those in ISO files need more than any Pillow.

    Raises:
        ImageError: it has one that cannot be read here.
    """
    head = _head(file)
    if head[4:8] != b"ftyp":
        return tuple(format for format in FORMATS if not FORMATS[format].remedy)
    if any(brand in head[8:] for brand in AVIF_BRANDS):
        format, available = "AVIF", "avif" in features.modules and features.check("avif")
    elif head[8:12] in HEIF_BRANDS:
        format, available = "HEIF", find_spec("pillow_heif") is not None
    else:
        raise UnidentifiedImageError
    if not available:
        raise ImageError(f"{name} is in {format}, which needs what is not installed: {FORMATS[format].remedy}")
    if format == "HEIF" and format not in Pillow.OPEN:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return (format,)


def _head(file: IO[bytes]) -> bytes:
    place = file.tell()
    file.seek(0)
    head = file.read(HEAD)
    file.seek(place)
    return head


def _check_size(opened: Pillow.Image, name: str, max_pixels: int = MAX_PIXELS) -> None:
    width, height = opened.size
    kind, most = _limit(opened)
    if width * height > min(most, max_pixels):
        raise ImageError(
            f"{name} is too large: {width} x {height} = {width * height / 1e6:.0f} megapixels, "
            f"more than {min(most, max_pixels) / 1e6:.0f}{kind if most < max_pixels else ''}"
        )
    if not width * height:
        raise ImageError(f"{name} is an empty image: {width} x {height}")


def _limit(opened: Pillow.Image) -> tuple[str, int]:
    """Return the pixels that can be decoded in a GB of memory, and for which kind of file that is."""
    if opened.format in HEAVY:
        return f" for {opened.format}", HEAVY[opened.format]
    if opened.format in ("JPEG", "MPO") and "progressive" in opened.info:
        return " for a progressive JPEG", MAX_TWICE
    if is_wide(opened):
        return " with 16 bits a channel", MAX_TWICE
    return "", MAX_PIXELS


def _not_an_image(source: object, name: str) -> str:
    if isinstance(source, bytes | bytearray | memoryview):
        empty = not len(source)
    else:
        empty = isinstance(source, str | os.PathLike) and not Path(source).stat().st_size
    if empty:
        return f"{name} is empty (0 bytes)"
    return f"{name} is not an image (expected {', '.join(FORMATS)})"
