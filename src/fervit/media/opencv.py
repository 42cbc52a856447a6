"""OpenCV, whichever of its four packages is installed: imported late, and missed with a clear message."""

import functools
import logging
import os
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from fervit.errors import MissingPackage, reason

HEADLESS = "opencv-python-headless"
WITH_WINDOWS = ("opencv-python", "opencv-contrib-python")
QUIET = "-8"  # AV_LOG_QUIET

log = logging.getLogger(__name__)


@functools.cache
def opencv() -> ModuleType:
    """Return the module `cv2`.

    It shrinks photos for the detector 6 to 9 times as fast as Pillow does (11 ms instead of 68 for 12 megapixels,
    `benchmarks/shrinking.py`), so it is no optional part. The first call warns where a package with windows is
    installed but the one without has replaced its files, since `cv2.imshow` then fails in the user's own programs.

    Raises:
        MissingPackage: it is not installed, or cannot be loaded.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage(
            f"OpenCV cannot be imported ({reason(error)}): pip install {HEADLESS}, or another package of OpenCV 4, "
            f"such as {WITH_WINDOWS[0]}"
        ) from error
    module: ModuleType = cv2
    replaced = [name for name in WITH_WINDOWS if _version(name)]
    if replaced and _version(HEADLESS) and not has_windows(module):
        log.warning(
            "%s has replaced the files of %s, so that cv2.imshow fails; to have both work: pip uninstall -y %s && "
            "pip install --force-reinstall --no-deps %s (fervit needs either of the two)",
            *(HEADLESS, replaced[0], HEADLESS, f"{replaced[0]}=={_version(replaced[0])}"),
        )
    return module


def has_windows(module: ModuleType) -> bool:
    """Return whether a build of OpenCV can show windows."""
    lines = [line.split() for line in str(module.getBuildInformation()).splitlines()]
    return not any(words[:2] == ["GUI:", "NONE"] for words in lines)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def quiet_opencv() -> None:
    """Keep OpenCV and its FFmpeg from printing on stderr; call it before a reader is opened.

    It may be an address with its password that they print; what went wrong is raised in one line of ours.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", QUIET)  # read when the first reader is opened
    module = opencv()
    getattr(module.utils, "logging", module).setLogLevel(0)  # where it stands depends on the version
