"""Read videos: frames with their true times."""

import logging
import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from fervit.errors import VideoError, reason
from fervit.media import orientation
from fervit.media.images import source_name
from fervit.types import Frame, Image

if TYPE_CHECKING:
    import cv2
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".m2ts", ".3gp", ".ogv"}
)
FALLBACK_RATE = 25.0  # frames/s where a file has none
MOST_SQUEEZED = 4  # a pixel's width over its height, or the reverse; beyond, the header must be wrong
T = TypeVar("T")
VideoSource = str | os.PathLike[str]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoInfo:
    """A file's header, which may be wrong: for progress bars and output rates only.

    Attributes:
        width: px, before rotation.
        height: px, before rotation.
        rate: frames/s on average.
        frames: number of frames, or None.
        duration_s: length in seconds, or None.
    """

    width: int
    height: int
    rate: float
    frames: int | None
    duration_s: float | None


def probe(path: VideoSource) -> VideoInfo:
    """Read a video's header.

    Raises:
        VideoError: it is missing, empty, a folder, no video, or holds sound only.
    """
    return _probe_pyav(path) if find_spec("av") else _probe_opencv(path)


def read_frames(path: VideoSource, *, every: int = 1) -> Generator[Frame]:
    """Yield a video's frames in the order of presentation, upright, with their true times.

    Frames are decoded until the data ends, not by the header; broken packets are skipped. Read by PyAV
    where it is installed, else by OpenCV. `time_s` counts from the start of the file, `index` from 0.

    Args:
        path: the file.
        every: yield only every so many frames; the others are decoded, not converted.

    Raises:
        VideoError: it is missing, empty, a folder, no video, holds sound only, or has no frame.
    """
    reader = _read_pyav if find_spec("av") else _read_opencv
    count = 0
    for frame in reader(path, every):
        count += 1
        yield frame
    if not count:
        raise VideoError(f"{source_name(path)} has no frame that can be decoded")


def ahead(items: Iterable[T], size: int) -> Generator[T]:
    """Yield what `items` yields, computed in a thread at most `size` ahead; its exceptions are raised here."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=size)
    stop = threading.Event()

    def put(item: T | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                put(item)
                if stop.is_set():
                    break
            else:
                put(None, StopIteration())
        except BaseException as error:  # noqa: BLE001  (raised again in the thread that waits)
            put(None, error)
        finally:
            if isinstance(source, Generator):
                source.close()

    worker = threading.Thread(target=work, name="fervit-ahead", daemon=True)
    worker.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # T where there is no error
    finally:
        stop.set()
        worker.join()


def _probe_pyav(path: VideoSource) -> VideoInfo:
    with _open_pyav(path) as (container, stream):
        length = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1_000_000
        rate = float(stream.average_rate or stream.guessed_rate or FALLBACK_RATE)
        return VideoInfo(stream.width, stream.height, rate, stream.frames or None, float(length) or None)


def _probe_opencv(path: VideoSource) -> VideoInfo:
    import cv2

    capture = _open_opencv(path)
    try:
        width, height, count = (int(capture.get(p)) for p in (3, 4, cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS) or FALLBACK_RATE
    finally:
        capture.release()
    frames = count if count > 0 else None
    return VideoInfo(width, height, rate, frames, frames / rate if frames else None)


@contextmanager
def _open_pyav(path: VideoSource) -> "Iterator[tuple[InputContainer, VideoStream]]":
    import av

    name = source_name(path)
    # An open file instead of its name: a name may hold any bytes, and none is mistaken for a network address.
    with _open_file(path, name) as file:
        try:
            container = av.open(file, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"{name} is not a video that can be read, or truncated: {reason(error)}") from error
        with container:
            streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not streams:  # the cover of an album is a video of one frame, too
                raise VideoError(f"{name} holds sound only: no video stream in it")
            stream = streams[0]
            stream.thread_type = "AUTO"
            yield container, stream


def _read_pyav(path: VideoSource, every: int) -> Iterator[Frame]:
    import av

    index, broken, time_s, offset_s = 0, 0, 0.0, 0.0
    with _open_pyav(path) as (container, stream):
        rate = float(stream.average_rate or FALLBACK_RATE)
        start_s = max(container.start_time or 0, 0) / 1_000_000
        shape = float(stream.sample_aspect_ratio or 1)
        packets = container.demux(stream)
        while True:
            try:
                decoded = next(packets, None)
                if decoded is None:
                    break
                frames = decoded.decode()
            except av.EOFError:
                break
            except av.FFmpegError:
                broken += 1
                if broken > 1000:  # a demuxer that does not move on
                    break
                continue
            for frame in frames:
                own_s = index / rate if frame.time is None else max(frame.time - start_s, 0.0)
                if own_s + offset_s < time_s:  # files joined without new times begin again: go on from the last
                    offset_s = time_s + 1 / rate - own_s
                time_s = own_s + offset_s
                if index % every == 0:
                    yield Frame(index, time_s, orientation.upright(_square_pixels(frame, shape), _matrix(frame)))
                index += 1
    if broken and index:
        log.warning("%s: %d broken packets skipped; last frame at %.1f s", source_name(path), broken, time_s)


def _square_pixels(frame: "VideoFrame", shape: float) -> Image:
    """Return a decoded frame as RGB, made wider where its pixels are `shape` times as wide as high (DV, DVDs).

    Nobody's face is half as wide as it should be then, neither for the model nor in the annotated copy.
    """
    image: Image = frame.to_ndarray(format="rgb24", width=_square_width(frame.width, shape), height=frame.height)
    return image


def _square_width(width: int, shape: float) -> int:
    return round(width * shape) if 1 / MOST_SQUEEZED <= shape <= MOST_SQUEEZED else width


def _matrix(frame: "VideoFrame") -> orientation.Matrix:
    """Return how a frame wants to be shown; `frame.rotation` would be the angle only, without mirroring."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return orientation.from_side_data(bytes(data))
    return orientation.AS_STORED


def _read_opencv(path: VideoSource, every: int) -> Iterator[Frame]:
    import cv2

    capture = _open_opencv(path)
    try:
        rate = capture.get(cv2.CAP_PROP_FPS) or FALLBACK_RATE
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # it turns by the angle alone and leaves out mirroring
        angle_deg = capture.get(cv2.CAP_PROP_ORIENTATION_META)
        matrix = orientation.of_mp4(Path(path)) or orientation.from_angle(angle_deg)
        shape = capture.get(cv2.CAP_PROP_SAR_NUM) / (capture.get(cv2.CAP_PROP_SAR_DEN) or 1) or 1.0
        index, last_s = 0, -1.0
        while capture.grab():
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if time_s <= last_s:  # streams without times report 0 throughout
                time_s = last_s + 1 / rate
            if index % every == 0:
                ok, bgr = capture.retrieve()
                if not ok:
                    break
                width = _square_width(bgr.shape[1], shape)
                if width != bgr.shape[1]:
                    bgr = cv2.resize(bgr, (width, bgr.shape[0]), interpolation=cv2.INTER_AREA)
                yield Frame(index, time_s, orientation.upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), matrix))
            index, last_s = index + 1, time_s
    finally:
        capture.release()


def _open_file(path: VideoSource, name: str) -> IO[bytes]:
    try:
        file = Path(path).open("rb")  # noqa: SIM115  (the caller's stack closes it)
        if not file.read(1):
            file.close()
            raise VideoError(f"{name} is empty (0 bytes)")
        file.seek(0)
    except FileNotFoundError:
        raise VideoError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise VideoError(f"{name} is a folder, not a video") from None
    except OSError as error:
        raise VideoError(f"{name} cannot be read: {reason(error)}") from error
    return file


def _open_opencv(path: VideoSource) -> "cv2.VideoCapture":
    import cv2

    name = source_name(path)
    _open_file(path, name).close()
    cv2.utils.logging.setLogLevel(0)  # it prints on stderr what we raise
    if not _is_unicode(path):  # OpenCV crashes the process on such names
        raise VideoError(f"{name}: OpenCV reads no such names: rename it, or pip install 'fervit[video]'")
    capture = cv2.VideoCapture(str(Path(os.fsdecode(path)).absolute()), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise VideoError(f"{name} is not a video that can be read, holds sound only, or is truncated")
    return capture


def _is_unicode(path: VideoSource) -> bool:
    try:
        os.fsdecode(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
