"""A photo decoded no larger than it is needed: a JPEG's decoder can leave out what a smaller image does not show."""

from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import JpegImagePlugin

from fervit.media.images import ImageLike, as_image, decode_first, opening, source_name
from fervit.media.pixels import orientation_of
from fervit.types import Box, Face, Image

FACTORS = (8, 4, 2)
"""By which a JPEG is reduced while it is decoded: its blocks of 8 x 8 px become 1, 2 or 4 px wide."""


@dataclass(frozen=True, eq=False)
class ScaledPhoto:
    """A photo, or a reduced copy of it.

    Attributes:
        image: `(h, w, 3)` uint8 RGB, upright.
        size: width and height of the whole photo in px, upright.
        factor: by which it is reduced; 1 is the photo itself.
    """

    image: Image
    size: tuple[int, int]
    factor: int = 1


def scaled_face(face: Face, x: float, y: float, size: tuple[int, int]) -> Face:
    """Return a face with its coordinates times `x` and `y`, cut off at the edge of an image of `size`."""
    (width, height), box = size, face.box
    x1, x2 = (min(v * x, float(width)) for v in (box.x1, box.x2))
    y1, y2 = (min(v * y, float(height)) for v in (box.y1, box.y2))
    return Face(Box(x1, y1, x2, y2), face.score, None if face.landmarks is None else face.landmarks * (x, y))


def read_scaled(source: ImageLike, least_px: int) -> ScaledPhoto:
    """Decode a photo, a JPEG only as large as its longer side needs to have at least `least_px`.

    Whatever cannot be decoded to a smaller size, or only once, is decoded whole.

    Raises:
        ImageError: as `fervit.media.images.read_image`.
    """
    if not isinstance(source, str | bytes | bytearray | memoryview) and not hasattr(source, "__fspath__"):
        return _whole(as_image(source))
    with opening(source) as opened:
        width, height = opened.size
        orientation = orientation_of(opened)
        factor = factor_for((width, height), least_px, whole_pixels=orientation != 1)
        if factor == 1 or not can_be_reduced(opened):
            return _whole(decode_first(opened, source_name(source)))
        size = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
        opened.draft(None, (width // factor, height // factor))
        return ScaledPhoto(decode_first(opened, source_name(source)), size, factor)


def factor_for(size: tuple[int, int], least_px: float, *, whole_pixels: bool = False) -> int:
    """Return the largest factor by which a photo of `size` may be reduced, to have `least_px` on its longer side.

    With `whole_pixels`, both sides are multiples of it: turned upright, a column that lies partly beyond the photo
    could become the first one.
    """
    fitting = (f for f in FACTORS if not whole_pixels or not any(side % f for side in size))
    return next((factor for factor in fitting if max(size) // factor >= least_px), 1)


def can_be_reduced(opened: Pillow.Image) -> bool:
    """Return whether an open image is a JPEG: no other decoder of Pillow's takes less time for a smaller image."""
    return isinstance(opened, JpegImagePlugin.JpegImageFile)


def _whole(image: Image) -> ScaledPhoto:
    return ScaledPhoto(image, (image.shape[1], image.shape[0]))
