"""OpenCV's readers of videos and cameras, kept quiet."""

import os

QUIET = "-8"  # AV_LOG_QUIET


def quiet_opencv() -> None:
    """Keep OpenCV and its FFmpeg from printing on stderr; call it before a reader is opened.

    It may be an address with its password that they print; what went wrong is raised in one line of ours.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", QUIET)  # read when the first reader is opened
    import cv2

    cv2.utils.logging.setLogLevel(0)
