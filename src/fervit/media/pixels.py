"""Pixels: any mode, depth and orientation as upright RGB of 8 bits, a band of rows at a time.

A large image is converted without whole copies of it: 100 megapixels take 0.4 GB in Pillow and 0.3 GB as the result.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile

from fervit.media.decoding import netpbm
from fervit.media.decoding.depth import DEPTHS, array_to_8_bits, rows_of, to_8_bits, told_white
from fervit.types import Image

ORIENTATION = 0x0112  # EXIF 2.3, section 4.6.4
# How a decoder is told to give the low bytes of 16-bit channels, where it gives the high ones otherwise.
LOW_BYTES = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
LOW_BYTES |= {f"{mode};16N": f"{mode};16{'B' if sys.byteorder == 'little' else 'L'}" for mode in ("RGB", "RGBA")}
LOW_BYTES |= {"LA;16B": "RGBA"}  # all four bytes of a pixel, as if they were channels
Converter = Callable[[slice], np.ndarray]
"""Returns some rows of an image as `(h, W, 3)` uint8, or as `(h, W, 1)` where it is grey."""


def decode(opened: Pillow.Image, name: str) -> Image:
    """Return an open image as `(H, W, 3)` uint8 RGB, upright.

    EXIF orientation is applied and transparency is laid on white. Where the mode does not say which value is white,
    the values do (`fervit.media.decoding.depth.white_of`), and a warning says what was assumed.

    Args:
        opened: an image of Pillow's, decoded or not.
        name: what messages call it.

    Raises:
        Exception: whatever Pillow raises on broken data.
    """
    values = netpbm.read(opened)
    if values is not None:
        return _repeated(_scaled(*values, name))
    wide = _Wide.of(opened)
    opened.load()  # before its orientation is read: this turns a TIFF, which says afterwards that it is upright
    low = wide.low_bytes() if wide is not None and _is_dim(opened) else None
    if wide is not None and low is not None:
        convert = wide.converter(opened, low, name)
    elif opened.mode.startswith("I") or opened.mode == "F":
        convert = _deep_converter(opened, name)
    else:
        convert = lambda rows: _rgb(_part(opened, rows))  # noqa: E731
    orientation, bands = orientation_of(opened), list(rows_of(*opened.size))
    if len(bands) == 1 and orientation == 1:  # nearly all of a data set
        return _repeated(convert(bands[0]))
    out, stored = _canvas(*opened.size, orientation)
    for rows in bands:
        stored[rows] = convert(rows)
    return out


def from_array(values: np.ndarray, name: str) -> Image:
    """Return an array as `(H, W, 3)` uint8 RGB; transparency is laid on white.

    Args:
        values: `(H, W)`, or `(H, W, C)` with 1 (grey), 3 (RGB) or 4 (RGBA) channels, not empty, of any real numbers. In
            others than uint8 the values say which one is white, as in `decode`.
        name: what messages call it.
    """
    if values.ndim == 2:
        values = values[:, :, None]
    if values.dtype != np.uint8:
        values = array_to_8_bits(values, name)
    if values.shape[2] == 4:
        return decode(Pillow.fromarray(np.ascontiguousarray(values)), name)
    return _repeated(values)


def is_wide(opened: Pillow.Image) -> bool:
    """Return whether an image, not decoded yet, has 16 bits a channel and more than one: it may be decoded twice."""
    return _raw(opened) in LOW_BYTES


def _raw(opened: Pillow.Image) -> object:
    """Return Pillow's name of how the channels of an undecoded image are stored, or None."""
    tiles = getattr(opened, "tile", None)
    args = tiles[0].args if tiles else None
    return args[0] if isinstance(args, tuple) and args else args


def _repeated(values: np.ndarray) -> Image:
    return values if values.shape[2] == 3 else np.repeat(values, 3, axis=2)


def _canvas(width: int, height: int, orientation: int) -> tuple[Image, np.ndarray]:
    """Return an empty upright image, and the view of it that takes `(height, width, 3)` rows as they are stored."""
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    out = np.empty((height, width, 3), np.uint8)
    views: dict[int, Callable[[], np.ndarray]] = {
        2: lambda: out[:, ::-1],
        3: lambda: out[::-1, ::-1],
        4: lambda: out[::-1],
        5: lambda: out.swapaxes(0, 1),
        6: lambda: np.rot90(out, 1),
        7: lambda: out[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(out, -1),
    }
    return out, views.get(orientation, lambda: out)()


def orientation_of(opened: Pillow.Image) -> int:
    """Return how an image is stored by EXIF: 1 is upright, 5 to 8 lie on their side."""
    try:
        orientation = int(opened.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (broken EXIF raises nearly anything; the image itself may be fine)
        return 1
    return orientation if 1 < orientation <= 8 else 1


def _part(image: Pillow.Image, rows: slice) -> Pillow.Image:
    if rows.stop - rows.start == image.height:
        return image
    return image.crop((0, rows.start, image.width, rows.stop))


def _rgb(band: Pillow.Image) -> np.ndarray:
    """Return an image of 8 bits as RGB."""
    if "A" in band.mode.upper().replace("LAB", "") or "transparency" in band.info:
        band = band.convert("RGBA")
        band = Pillow.alpha_composite(Pillow.new("RGBA", band.size, "white"), band)
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"))


def _deep_converter(opened: Pillow.Image, name: str) -> Converter:
    """Return the converter of a grey image with 16 or 32 bits a pixel."""

    def values(rows: slice) -> np.ndarray:
        return np.asarray(_part(opened, rows))

    black, white = told_white(name, map(values, rows_of(*opened.size)))
    return lambda rows: to_8_bits(values(rows), black, white)[:, :, None]


def _scaled(values: np.ndarray, most: int, name: str) -> np.ndarray:
    """Scale `(H, W, C)` integers whose greatest possible value is known; where it is 65535, any depth may be meant."""
    if most == 65535:
        return array_to_8_bits(values, name)
    bands = rows_of(values.shape[1], len(values))
    return np.concatenate([to_8_bits(values[rows], 0.0, float(most)) for rows in bands])


@dataclass(frozen=True)
class _Wide:
    """An image of 16 bits a channel, of which Pillow decodes the high bytes.

    Attributes:
        file: what it is read from.
        format: Pillow's name of its format.
        page: which image of the file it is.
        raw: Pillow's name of how its channels are stored.
    """

    file: IO[bytes]
    format: str
    page: int
    raw: str

    @classmethod
    def of(cls, opened: Pillow.Image) -> "_Wide | None":
        """Return None for an image of another kind, or one that is decoded already."""
        if not isinstance(opened, ImageFile.ImageFile) or opened.fp is None or not is_wide(opened):
            return None
        return cls(opened.fp, str(opened.format), opened.tell(), str(_raw(opened)))

    def low_bytes(self) -> Pillow.Image | None:
        """Decode the low bytes; None where the file is closed by now."""
        if self.file.closed:
            return None
        self.file.seek(0)
        again = Pillow.open(self.file, formats=[self.format])
        assert isinstance(again, ImageFile.ImageFile)
        again.seek(self.page)
        raw = LOW_BYTES[self.raw]
        again.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in again.tile
        ]
        again.load()
        return again

    def converter(self, opened: Pillow.Image, low: Pillow.Image, name: str) -> Converter:
        """Return the converter of an image, given its low bytes too."""

        def values(rows: slice) -> np.ndarray:
            high_bytes, low_bytes = (np.asarray(_part(image, rows)).astype(np.uint16) for image in (opened, low))
            if self.raw == "LA;16B":
                return (low_bytes[:, :, 0::2] << 8 | low_bytes[:, :, 1::2])[:, :, [0, 0, 0, 1]]
            return high_bytes << 8 | low_bytes

        black, white = told_white(name, (values(rows)[:, :, :3] for rows in rows_of(*opened.size)))
        return lambda rows: _rgb(Pillow.fromarray(to_8_bits(values(rows), black, white)))


def _is_dim(opened: Pillow.Image) -> bool:
    """Return whether the high bytes of 16-bit colours are those of values with fewer bits."""
    extrema = cast(tuple[tuple[int, int], ...], opened.getextrema())
    return max(high for _, high in extrema[:3]) < 1 << (DEPTHS[-2] - 8)
