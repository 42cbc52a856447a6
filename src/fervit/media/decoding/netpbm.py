"""PGM and PPM of other than 8 bits, or written in digits; Pillow reads them value by value, a second a megapixel."""

import re

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile

MOST_BYTES = 16  # of text for each value: five digits, and blanks or comments between
COMMENT = re.compile(rb"#[^\n\r]*")


def read(opened: Pillow.Image) -> tuple[np.ndarray, int] | None:
    """Return an undecoded file's values as `(H, W, 1)` or `(H, W, 3)` integers, and the greatest that it may hold.

    None for other files, which Pillow reads well.

    Raises:
        OSError: it is truncated, or has something else than numbers.
    """
    if not isinstance(opened, ImageFile.ImageFile) or opened.format != "PPM" or not opened.tile or opened.fp is None:
        return None
    tile = opened.tile[0]
    if tile.codec_name not in ("ppm", "ppm_plain") or not isinstance(tile.args, tuple):
        return None
    most, shape = int(tile.args[1]), (opened.height, opened.width, 3 if tile.args[0] == "RGB" else 1)
    count = int(np.prod(shape))
    opened.fp.seek(tile.offset)
    if tile.codec_name == "ppm":
        kind = np.dtype(np.uint8 if most < 256 else ">u2")
        data = opened.fp.read(count * kind.itemsize)
        values = np.frombuffer(data, kind, count=min(count, len(data) // kind.itemsize))
    else:
        values = _numbers(opened.fp.read(MOST_BYTES * count), count)
    if len(values) < count:
        raise OSError(f"the file is truncated: {len(values)} of {count} values")
    return values.reshape(shape), most


def _numbers(text: bytes, count: int) -> np.ndarray:
    """Return the first `count` numbers of a text, or fewer where it ends before, as uint16."""
    try:
        values = np.fromstring(COMMENT.sub(b" ", text), np.int64, sep=" ")[:count]
    except ValueError:
        raise OSError("it has something else than numbers") from None
    if len(values) and not 0 <= values.min() <= values.max() <= 65535:
        raise OSError("it has numbers that are not from 0 to 65535")
    return values.astype(np.uint16)
