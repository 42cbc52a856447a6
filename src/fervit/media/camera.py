"""Read a camera, always its newest frame; one that is named by its address or its file is connected to again."""

import logging
import queue
import re
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fervit.errors import ConfigError, VideoError, is_count, is_number, quoted, redacted
from fervit.media import images
from fervit.media.opencv import opencv, quiet_opencv
from fervit.types import Frame

if TYPE_CHECKING:
    from cv2 import VideoCapture

FIRST_FRAME_S = 10.0  # some cameras take seconds to wake up
PATIENCE_S = 2.0  # without a frame of a camera of this machine
NETWORK_PATIENCE_S = 10.0  # and of one with an address
RECONNECT_S = 60.0  # a camera that was lost is tried again for so long
PAUSES_S = (0.5, 1.0, 2.0, 5.0)  # before each attempt; the last one again and again
SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt", "tcp")
FILE_ENDINGS = images.EXTENSIONS | {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".wmv", ".mpg", ".mpeg"}
NUMBER, DEVICE = re.compile(r"\d{1,4}"), re.compile(r"/dev/[\w./:-]+")

log = logging.getLogger(__name__)


def is_camera(address: str) -> bool:
    """Return whether `address` may be a camera's: of a known scheme, with a host, and not that of a file on the web."""
    try:
        parts = urlsplit(address)
    except ValueError:  # such as half an IPv6 address
        return False
    is_file = parts.scheme in ("http", "https") and PurePosixPath(parts.path).suffix.lower() in FILE_ENDINGS
    return parts.scheme in SCHEMES and bool(parts.netloc) and not is_file


def camera_name(device: int | str) -> str:
    """Return a printable name of a camera, without the password of an address: as in rows."""
    return redacted(device) if isinstance(device, str) and "://" in device else f"camera {device}"


def read_camera(
    device: int | str = 0, *, patience_s: float | None = None, reconnect_s: float | None = None
) -> Generator[Frame]:
    """Yield a camera's newest frame, whenever the caller asks; frames that come in between are dropped.

    Ends when the camera does, such as when it is unplugged. One that was named by its address or its file is connected
    to again first.

    Args:
        device: the camera's number, from 0, its file such as `/dev/video2`, or the address of a stream (`rtsp://...`).
        patience_s: the camera is lost when no frame came for so long; None takes 2 s, for an address 10 s.
        reconnect_s: for so long it is tried to connect again; None takes a minute for an address or a file, and does
            not try for a number.

    Raises:
        ConfigError: `reconnect_s` is no time.
        VideoError: `device` is none of these, there is no such camera, or it never gives a frame.
    """
    device = check_camera(device)
    if reconnect_s is not None and not is_number(reconnect_s, 0):
        raise ConfigError(f"expected 0 seconds or more to connect again within, got {quoted(reconnect_s)}")
    has_address = isinstance(device, str) and "://" in device
    if patience_s is None:
        patience_s = NETWORK_PATIENCE_S if has_address else PATIENCE_S
    if reconnect_s is None:
        reconnect_s = RECONNECT_S if isinstance(device, str) else 0.0
    start_s = last_s = time.monotonic()
    next_index, attempt, name = 0, 0, camera_name(device)
    while True:
        try:
            with closing(_connection(device, patience_s, next_index, start_s)) as frames:
                for frame in frames:
                    if attempt:
                        log.warning("%s: back after %.0f s", name, time.monotonic() - last_s)
                    next_index, attempt, last_s = frame.index + 1, 0, time.monotonic()
                    yield frame
        except VideoError:
            if not next_index:
                raise
        if not reconnect_s or time.monotonic() - last_s > reconnect_s:
            log.warning("%s: gone%s", name, f", and not back within {reconnect_s:g} s" if reconnect_s else "")
            return
        if not attempt:
            log.warning("%s: lost; connecting again", name)
        time.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1


def check_camera(device: int | str) -> int | str:
    """Return the camera's number, the name of its device, or its address.

    Raises:
        VideoError: it is none of these.
    """
    if isinstance(device, str):
        if NUMBER.fullmatch(device):
            return int(device)
        if DEVICE.fullmatch(device) or is_camera(device):
            return device
    elif is_count(device, least=0):
        return int(device)
    raise VideoError(
        f"expected a camera as its number, /dev/video0 or an address such as rtsp://..., got {quoted(device)}; "
        "for a file, use `fervit predict FILE`"
    )


def _capture(device: int | str) -> "VideoCapture":
    cv2 = opencv()

    quiet_opencv()
    if isinstance(device, str) and "://" in device:
        limit_ms = int(NETWORK_PATIENCE_S * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        address: VideoCapture = cv2.VideoCapture(device, cv2.CAP_FFMPEG, limits)
        return address
    local: VideoCapture = cv2.VideoCapture(device)
    return local


def _connection(device: int | str, patience_s: float, index: int, start_s: float) -> Generator[Frame]:
    """Yield the newest frames until the camera is lost.

    Args:
        device: the camera.
        patience_s: it is lost when no frame came for so long.
        index: of the first frame.
        start_s: when time 0 was, by the monotonic clock.

    Raises:
        VideoError: no such camera, or it never gives a frame.
    """
    capture = _capture(device)
    name = camera_name(device).removeprefix("camera ")
    if not capture.isOpened():
        capture.release()
        if "://" in name:
            raise VideoError(f"no camera at {name}: check the address, the password, and that the camera is on")
        raise VideoError(
            f"no camera at {name}: plug one in, allow access to it, or name another with --device 1; "
            "for a file, use `fervit predict FILE`"
        )
    newest: queue.Queue[Frame | None] = queue.Queue(maxsize=1)
    stop = threading.Event()
    arguments = (capture, newest, stop, index, start_s)
    grabber = threading.Thread(target=_grab, args=arguments, name="fervit-camera", daemon=True)
    grabber.start()
    seen = False
    try:
        while (frame := newest.get(timeout=patience_s if seen else max(patience_s, FIRST_FRAME_S))) is not None:
            seen = True
            yield frame
    except queue.Empty:
        if seen:
            log.warning("no frame from camera %s for %.0f s", name, patience_s)
    finally:
        stop.set()
        grabber.join(timeout=patience_s)
    if not seen:
        raise VideoError(f"the camera at {name} gives no image: is another program using it?")


def _grab(
    capture: "VideoCapture",
    newest: "queue.Queue[Frame | None]",
    stop: threading.Event,
    index: int,
    start_s: float,
) -> None:
    cv2 = opencv()

    while not stop.is_set():
        ok, bgr = capture.read()
        now_s = time.monotonic() - start_s
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
