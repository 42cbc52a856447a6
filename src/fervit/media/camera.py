"""Read a camera, always its newest frame."""

import logging
import queue
import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from fervit.errors import VideoError
from fervit.media.opencv import opencv
from fervit.types import Frame

if TYPE_CHECKING:
    import cv2

FIRST_FRAME_S = 10.0  # some cameras take seconds to wake up

log = logging.getLogger(__name__)


def read_camera(device: int | str = 0, *, patience_s: float = 2.0) -> Generator[Frame]:
    """Yield a camera's newest frame, whenever the caller asks; frames that come in between are dropped.

    Ends when the camera does, such as when it is unplugged.

    Args:
        device: the camera's number, from 0, or the address of a stream.
        patience_s: end when no frame came for so long.

    Raises:
        VideoError: no such camera, or it never gives a frame.
    """
    cv2 = opencv()
    cv2.utils.logging.setLogLevel(0)  # it prints on stderr what we raise
    capture = cv2.VideoCapture(device)
    if not capture.isOpened():
        capture.release()
        raise VideoError(
            f"no camera at {device}: plug one in, allow access to it, or name another with --device 1; "
            "for a file, use `fervit predict FILE`"
        )
    newest: queue.Queue[Frame | None] = queue.Queue(maxsize=1)
    stop = threading.Event()
    grabber = threading.Thread(target=_grab, args=(capture, newest, stop), name="fervit-camera", daemon=True)
    grabber.start()
    seen = False
    try:
        while (frame := newest.get(timeout=patience_s if seen else max(patience_s, FIRST_FRAME_S))) is not None:
            seen = True
            yield frame
    except queue.Empty:
        if seen:
            log.warning("no frame from camera %s for %.0f s", device, patience_s)
    finally:
        stop.set()
        grabber.join(timeout=patience_s)
    if not seen:
        raise VideoError(f"the camera at {device} gives no image: is another program using it?")


def _grab(capture: "cv2.VideoCapture", newest: "queue.Queue[Frame | None]", stop: threading.Event) -> None:
    cv2 = opencv()
    index, start = 0, time.monotonic()
    while not stop.is_set():
        ok, bgr = capture.read()
        now_s = time.monotonic() - start
        _replace(newest, Frame(index, now_s, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)) if ok else None)
        if not ok:
            break
        index += 1
    capture.release()


def _replace(newest: "queue.Queue[Frame | None]", frame: Frame | None) -> None:
    """Put the frame in place of the one that nobody took; the end waits until the last one was taken."""
    if frame is None:
        try:
            newest.put(None, timeout=1.0)
            return
        except queue.Full:
            pass
    while True:
        try:
            newest.put_nowait(frame)
            return
        except queue.Full:
            try:
                newest.get_nowait()
            except queue.Empty:
                continue
