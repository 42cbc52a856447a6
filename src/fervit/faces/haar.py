"""OpenCV's Haar cascade, where nothing better is installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fervit.concurrency import Lock, PerProcess
from fervit.errors import DetectorError
from fervit.faces.base import MAX_SIDE_PX, MIN_FACE_PX, MIN_SCORE, shrink, to_faces
from fervit.media.opencv import opencv
from fervit.types import Box, Face, Image

if TYPE_CHECKING:
    from cv2 import CascadeClassifier

HAAR_FULL_WEIGHT = 6.0  # of the cascade's last stage, which gives confidence 1; true faces gave 5.8 and more


class Haar:
    """OpenCV's frontal-face cascade (Viola and Jones 2001): everywhere available, less exact.

    Args:
        max_side_px: the image's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.
    """

    parallel = True
    shrinks = True
    fallback = False  # whether it stands in for the usual detector

    def __init__(self, *, max_side_px: int = MAX_SIDE_PX, min_face_px: int = MIN_FACE_PX, min_score: float = MIN_SCORE):
        self._cascade, self._turn = PerProcess(_open_cascade), Lock()
        self.max_side_px, self.min_face_px, self.min_score = max_side_px, min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        cv2 = opencv()
        small = shrink(image, self.max_side_px)
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        with self._turn:  # a cascade keeps the image that it searches
            boxes, _, weights = self._cascade.get().detectMultiScale3(
                grey, scaleFactor=1.1, minNeighbors=5, outputRejectLevels=True
            )
        found = [
            Face(Box(x, y, x + w, y + h), float(np.clip(weight / HAAR_FULL_WEIGHT, 0, 1)))
            for (x, y, w, h), weight in zip(np.reshape(boxes, (-1, 4)), np.ravel(weights), strict=True)
        ]
        # OpenCV's threads find them in any order, and many have the score 1.
        found.sort(key=lambda face: (-face.box.area, face.box.x1, face.box.y1))
        return to_faces(found, image, small, self.min_face_px, self.min_score)


def _open_cascade() -> "CascadeClassifier":
    cv2 = opencv()
    file = Path(str(cv2.__file__)).parent / "data" / "haarcascade_frontalface_default.xml"
    if not file.is_file() or not hasattr(cv2, "CascadeClassifier"):
        raise DetectorError(f"OpenCV {cv2.__version__} has no Haar cascades: install OpenCV 4, or choose yunet")
    cascade: CascadeClassifier = cv2.CascadeClassifier(str(file))
    return cascade
