"""What an image or a video comes from: which forms are taken, and what is said of every other."""

import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from fervit.errors import ImageError, quoted, redacted, shortened
from fervit.files import LONGEST_NAME, name_of

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
EXPECTED_ARRAY = "expected a (H, W, 3) uint8 array"
LONGEST_PATH = 1024  # characters; Linux takes 4,096, but nobody reads them
ADDRESS = re.compile(r"data:|[a-z][a-z0-9+.-]+:/{1,2}", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Return whether `text` is an address of the web or of a stream, and not the name of a file that exists."""
    return ADDRESS.match(text) is not None and (text.startswith("data:") or not Path(text).exists())


def path_name(path: str | os.PathLike[str]) -> str:
    """Return a printable name of a path: cut where it can be no file's, and without the password of an address."""
    try:
        text = os.fsdecode(path)
    except TypeError:  # a PathLike that returns something else; reading it tells what
        return f"<{type(path).__name__}>"
    text = name_of(text)
    if ADDRESS.match(text):
        text = redacted(text)
    longest = max(map(len, (part.encode() for part in re.split(r"[/\\]", text))))
    return text if len(text) <= LONGEST_PATH and longest <= LONGEST_NAME else shortened(text)


def openable(source: ImageSource, name: str) -> str | os.PathLike[str] | IO[bytes]:
    """Return what an image can be opened by: a path, or an open file that can be read again from its beginning.

    Args:
        source: what a user gave, of whatever type.
        name: how messages call it.

    Raises:
        ImageError: it is of another type, an address, or no file, such as a pipe that would be waited for.
        OSError: the path cannot be looked at.
    """
    if isinstance(source, str | os.PathLike):
        _check_path(source, name)
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if not callable(getattr(source, "read", None)):
        several = isinstance(source, list | tuple | set | Iterator)
        remedy = ": `images` takes several" if several else layout_remedy(source)
        raise ImageError(f"expected an image as a path, bytes, open file or array, got {quoted(source)}{remedy}")
    if callable(getattr(source, "seekable", None)) and source.seekable() and isinstance(source.read(0), bytes):
        return source
    data = source.read()
    if not isinstance(data, bytes):
        raise ImageError(f"expected a file that is open for bytes (mode rb), got one whose content is {quoted(data)}")
    return io.BytesIO(data)


def _check_path(source: str | os.PathLike[str], name: str) -> None:
    path: object = os.fspath(source)
    if not isinstance(path, str):
        raise ImageError(f"expected a path of text, got {quoted(path)}: os.fsdecode makes one of it")
    if not path:
        raise ImageError("expected the path of an image, got ''")
    if is_address(path):
        remedy = "pass its bytes, base64.b64decode(...)" if path.startswith("data:") else "download it first"
        raise ImageError(f"{quoted(path)} is an address, not a path: {remedy}")
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ImageError(f"{name} is a pipe or a device, not a file")


def layout_remedy(array: object) -> str:
    """Return how to turn an array or a tensor of another layout into an image, to end a message with."""
    shape, kind = tuple(getattr(array, "shape", ())), str(getattr(array, "dtype", ""))
    if 0 in shape:
        return ": it is empty"
    if len(shape) == 4:
        return ": `images` takes several"
    if len(shape) not in (2, 3):
        return ""
    value = text = "numpy.asarray(x)"
    if "float" in kind:
        text = f"({value} * 255).astype('uint8')"
    elif kind.rpartition(".")[2] != "uint8":
        text = f"{value}.astype('uint8')"
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        text += ".transpose(1, 2, 0)"
    if text == value and isinstance(array, np.ndarray):
        return ""
    return f": pass {text}" + (", of values from 0 to 1" if "float" in kind else "")


def is_one(sources: object) -> bool:
    """Return whether what should be several images is one: a path, bytes, an open file, or an array of one image."""
    if isinstance(sources, np.ndarray):
        return sources.ndim < 3 or (sources.ndim == 3 and sources.shape[2] in (3, 4))
    is_file = callable(getattr(sources, "read", None))
    return is_file or isinstance(sources, str | bytes | os.PathLike | bytearray | memoryview)


def check_crops(crops: object) -> None:
    """Refuse what are no uint8 images, grey `(H, W)` or `(H, W, 1)`, or RGB `(H, W, 3)`.

    Raises:
        ImageError: one is none, or `crops` is one image instead of several.
    """
    if isinstance(crops, str | bytes | bytearray) or not isinstance(crops, Sequence | np.ndarray):
        raise ImageError(f"expected uint8 crops, got {quoted(crops)}")
    if isinstance(crops, np.ndarray) and crops.ndim < 3:
        raise ImageError(f"expected uint8 crops (N, H, W, 3) or (N, H, W), got {quoted(crops)}")
    # Of an array, all crops are as its first one.
    for crop in crops[:1] if isinstance(crops, np.ndarray) else crops:
        is_image = isinstance(crop, np.ndarray) and crop.dtype == np.uint8 and crop.size > 0
        if not is_image or not (crop.ndim == 2 or (crop.ndim == 3 and crop.shape[2] in (1, 3))):
            raise ImageError(f"expected crops of (H, W, 3) or (H, W) uint8, got {quoted(crop)}{layout_remedy(crop)}")


def is_rgb(image: object) -> bool:
    """Return whether `image` is a `(H, W, 3)` uint8 array that is not empty."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return False
    return image.ndim == 3 and image.shape[2] == 3 and image.size > 0
