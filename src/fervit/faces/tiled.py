"""Detection in overlapping tiles, for small faces in large photos."""

from collections.abc import Sequence

import numpy as np

from fervit.faces.base import FaceDetector
from fervit.types import Box, Face, Image

TILE_PX = 640
TILE_EDGE = 0.02  # of a tile: a box that comes so near to its edge may be of a face that goes on beyond
TILE_OVERLAP = 0.25  # of a tile: faces up to 160 px lie wholly in one of them, larger ones are found in the whole
MAX_COVERED = 0.6  # fraction of the smaller box


class Tiled:
    """Searches big images as a whole and tile by tile, for the small faces of group photos.

    Args:
        detector: searches the tiles.
        tile_px: side of a tile; images that are no larger are searched once.
    """

    def __init__(self, detector: FaceDetector, *, tile_px: int = TILE_PX):
        self.detector, self.tile_px = detector, tile_px
        self.parallel = bool(getattr(detector, "parallel", False))
        self.fallback = bool(getattr(detector, "fallback", False))
        self.landmarks = bool(getattr(detector, "landmarks", False))

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        height, width = image.shape[:2]
        [found] = self.detector.detect([image])
        if max(height, width) <= self.tile_px:
            return found
        ranked = [(False, face) for face in found]
        for y in _starts(height, self.tile_px):
            for x in _starts(width, self.tile_px):
                [faces] = self.detector.detect([image[y : y + self.tile_px, x : x + self.tile_px]])
                sides = (x > 0, y > 0, x + self.tile_px < width, y + self.tile_px < height)
                ranked += [(_is_cut(face.box, self.tile_px, sides), _shifted(face, x, y)) for face in faces]
        kept: list[Face] = []
        # Those that a tile's edge may have cut come last: they are part of a whole one, whatever their scores.
        for _, face in sorted(ranked, key=lambda entry: (entry[0], -entry[1].score, -entry[1].box.area)):
            if all(_covered(face.box, other.box) <= MAX_COVERED for other in kept):
                kept.append(face)
        return sorted(kept, key=lambda face: -face.score)


def _starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin, evenly spread, neighbours overlapping by `TILE_OVERLAP` or more."""
    if length <= tile:
        return [0]
    count = -(-(length - tile) // round(tile * (1 - TILE_OVERLAP))) + 1
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def _is_cut(box: Box, tile_px: int, sides: tuple[bool, bool, bool, bool]) -> bool:
    """Return whether a box in a tile reaches one of its `sides` (left, top, right, bottom) within the image."""
    near = TILE_EDGE * tile_px
    reached = (box.x1 <= near, box.y1 <= near, box.x2 >= tile_px - near, box.y2 >= tile_px - near)
    return any(cut and reach for cut, reach in zip(sides, reached, strict=True))


def _shifted(face: Face, x: int, y: int) -> Face:
    box = Box(face.box.x1 + x, face.box.y1 + y, face.box.x2 + x, face.box.y2 + y)
    return Face(box, face.score, None if face.landmarks is None else face.landmarks + np.array([x, y]))


def _covered(box: Box, other: Box) -> float:
    """Return the fraction of the smaller box that lies in the other."""
    overlap = Box(max(box.x1, other.x1), max(box.y1, other.y1), min(box.x2, other.x2), min(box.y2, other.y2))
    inside = overlap.area if overlap.width > 0 and overlap.height > 0 else 0.0
    return inside / max(min(box.area, other.area), 1e-9)
