"""Decode images safely and bring them to one size, straight into a file that is then memory-mapped."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from PIL import Image

from fervit.data.cache import cannot_write
from fervit.errors import DataError, ImageError
from fervit.media import pixels
from fervit.media.images import opening

MAX_PIXELS = 64_000_000  # of one encoded image; a bomb declares more, checked before anything is decoded
MAX_BYTES = 6 * MAX_PIXELS  # of an encoded image: none is larger than 16 bits per channel without compression
SIZE_PX = 224  # largest side that images are kept at: what ViT checkpoints expect
COPY_ROWS = 512  # images per step when a file of images is rewritten
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "F")

Contents = Callable[[], Iterable[bytes]]
"""Gives the encoded images in order, each time it is called; `b""` stands for one that cannot be read."""


@dataclass(frozen=True)
class Shape:
    """Size and channels that all images of a data set are brought to."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Decoded:
    """Decoded images.

    Attributes:
        images: `(N, H, W, C)` uint8, memory-mapped.
        kept: `(N,)` int64 positions in the source.
        failed: position -> reason of those that could not be read.
    """

    images: np.ndarray
    kept: np.ndarray
    failed: dict[int, str]


class ImageArrayFile:
    """An `.npy` file of uint8 images that grows row by row: a set larger than memory can be decoded.

    Rows are written, not memory-mapped: a full disk is then an error and not a crash of the process.
    """

    def __init__(self, path: Path, shape: Shape):
        self.path, self.shape, self.count = path, shape, 0
        self._file: BinaryIO

    def __enter__(self) -> Self:
        try:
            self._file = self.path.open("wb")
            self._header()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _header(self) -> None:
        shape = (self.count, self.shape.height, self.shape.width, self.shape.channels)
        # numpy pads the header so that the first axis can grow in place
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def extend(self, images: np.ndarray) -> None:
        """Append `(n, H, W, C)` uint8.

        Raises:
            DataError: the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(images).data)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.count += len(images)

    def finish(self) -> np.ndarray:
        """Write the final count and return the memory-mapped `(N, H, W, C)` images."""
        try:
            self._file.seek(0)
            self._header()
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        if not self.count:  # an empty file cannot be mapped
            return np.zeros((0, self.shape.height, self.shape.width, self.shape.channels), np.uint8)
        images: np.ndarray = np.load(self.path, mmap_mode="r")
        return images


def decode_all(contents: Contents, store: Path, *, size_px: int | None = None) -> Decoded:
    """Decode every image to one shape, into `store / "images.npy"`; those that cannot be read are left out.

    Images that are all of one size, at most 224 px, keep it (FER2013's 48 px, RAF-DB's 100 px). All others are squashed
    to a square of `size_px` (by default of their longest side, at most 224 px; the aspect ratio is not kept, as Hugging
    Face's ViT image processor does it).
    The result has one channel when every image is grey, whatever mode it is stored in, else three.
    """
    shape = common_shape(contents(), size_px)

    def images() -> Iterator[np.ndarray | ImageError]:
        for data in contents():
            try:
                yield decode(data, shape)
            except ImageError as error:
                yield error

    return store_all(images(), store, shape)


def store_all(images: Iterable[np.ndarray | ImageError], store: Path, shape: Shape) -> Decoded:
    """Write images of one shape to `store / "images.npy"`, with one channel when every one is grey.

    Args:
        images: `(H, W, C)` uint8, or why one could not be read, in the order of the source.
        store: a folder.
        shape: of every image.
    """
    kept: list[int] = []
    failed: dict[int, str] = {}
    colour = False
    with ImageArrayFile(store / "images.npy", shape) as file:
        for position, image in enumerate(images):
            if isinstance(image, ImageError):
                failed[position] = str(image)
                continue
            colour = colour or (shape.channels == 3 and not _is_grey(image))
            file.extend(image[None])
            kept.append(position)
        stored = file.finish()
    if shape.channels == 3 and kept and not colour:
        del stored  # Windows replaces no file that is still mapped
        stored = _drop_colour(store, shape)
    return Decoded(images=stored, kept=np.array(kept, dtype=np.int64), failed=failed)


def common_shape(contents: Iterable[bytes], size_px: int | None) -> Shape:
    """Return the shape that fits all images, from their headers alone; see `decode_all` for the rule."""
    sizes: set[tuple[int, int]] = set()
    grey = True
    for data in contents:
        try:
            with opening(data, MAX_PIXELS, name="it") as image:
                sizes.add(image.size)
                grey = grey and image.mode in GREY_MODES
        except ImageError:  # `decode` reports it by name
            continue
    channels = 1 if grey else 3
    if size_px is None and len(sizes) == 1:
        width, height = next(iter(sizes))
        if max(width, height) <= SIZE_PX:
            return Shape(height, width, channels)
    side = size_px or min(SIZE_PX, max(map(max, sizes), default=SIZE_PX))
    return Shape(side, side, channels)


def decode(data: bytes, shape: Shape) -> np.ndarray:
    """Decode one image, upright, to `(H, W, C)` uint8: the pixels that `fervit predict` shows a model.

    Raises:
        ImageError: it is empty, no image of a format that `fervit predict` reads, truncated, has more than 64 million
            pixels, or is a JPEG of too many scans.
    """
    if not data:
        raise ImageError("empty or unreadable file")
    with opening(data, MAX_PIXELS, name="it") as opened:
        image = pixels.decode(opened, "an image of the data set")
    converted = Image.fromarray(image)
    if shape.channels == 1:
        converted = converted.convert("L")
    if converted.size != (shape.width, shape.height):
        converted = converted.resize((shape.width, shape.height), Image.Resampling.BILINEAR)
    return np.asarray(converted, dtype=np.uint8).reshape(shape.height, shape.width, shape.channels)


def describe_failed(failed: dict[int, str], sources: list[str], where: str) -> tuple[list[str], tuple[str, ...]]:
    """Return in words how many images were skipped and why the first one was; and the names of all of them.

    Args:
        failed: position to reason.
        sources: the name of every image.
        where: the source, for messages.

    Raises:
        DataError: there is no other image.
    """
    if not failed:
        return [], ()
    first = min(failed)
    summary = f"{len(failed)} of {len(sources)} images cannot be read, the first is {sources[first]}: {failed[first]}"
    if len(failed) == len(sources):
        raise DataError(f"{where}: {summary}")
    return [f"{summary}; skipped"], tuple(sources[position] for position in sorted(failed))


def _is_grey(image: np.ndarray) -> bool:
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())


def _drop_colour(store: Path, shape: Shape) -> np.ndarray:
    """Rewrite grey images that were stored as RGB with one channel."""
    path, grey_path = store / "images.npy", store / "grey.npy"
    images = np.load(path, mmap_mode="r")
    with ImageArrayFile(grey_path, Shape(shape.height, shape.width, 1)) as file:
        for start in range(0, len(images), COPY_ROWS):
            file.extend(images[start : start + COPY_ROWS, :, :, :1])
        file.finish()
    del images
    grey_path.replace(path)
    grey: np.ndarray = np.load(path, mmap_mode="r")
    return grey
