"""Read videos: frames with their true times."""

import contextlib
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from fervit.errors import ConfigError, ImageError, VideoError, check_counts, is_count, quoted, reason
from fervit.media import orientation
from fervit.media.images import EXTENSIONS, USUAL_DURATION_MS, opening, read_animation, source_name
from fervit.media.kinds import Kind, kind_of_file
from fervit.media.opencv import opencv, quiet_opencv
from fervit.media.videos.cuts import Decoded, look_of_frame, look_of_image, with_cuts
from fervit.media.videos.opening import Nameless, VideoSource, opened
from fervit.types import Frame, Image

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer
    from cv2 import VideoCapture

FALLBACK_RATE = 25.0  # frames/s where a file has none
CODECS_WITH_MATRIX = ("h264", "hevc", "vvc")  # that can say in the stream itself how it is shown (ITU-T H.264, D.2.27)
FRAME_4K = 4096 * 2160  # pixels
MAX_FRAME = 40_000_000  # pixels; 8K has 33 million, and a header may say anything
MOST_ANIMATED = 50.0  # frames/s of an animated image, as browsers show them
MOST_SQUEEZED = 4  # a pixel's width over its height, or the reverse; beyond, the header must be wrong
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
        rotation_deg: by how much the frames are turned clockwise to be shown, 0..359; None where the header says
            nothing of it.
    """

    width: int
    height: int
    rate: float
    frames: int | None
    duration_s: float | None
    rotation_deg: int | None = None


def probe(source: VideoSource) -> VideoInfo:
    """Read a video's header.

    Args:
        source: a path, the bytes of a file, or an open binary file.

    Raises:
        VideoError: it is missing, empty, a folder, no video, holds sound only, or is of another type.
    """
    if is_animation(source):
        return _probe_animation(source)
    return _probe_pyav(source) if find_spec("av") else _probe_opencv(source)


def read_frames(source: VideoSource, *, every: int = 1, cuts: bool = False, start: int = 0) -> Generator[Frame]:
    """Yield a video's frames in the order of presentation, upright, with their true times.

    Frames are decoded until the data ends, not by the header; broken packets are skipped. Read by PyAV
    where it is installed, else by OpenCV; animated images (GIF, APNG, WebP, AVIF) by Pillow. `time_s` counts from the
    start of the file, `index` from 0.

    Args:
        source: a path, the bytes of a file, or an open binary file.
        every: yield only every so many frames; the others are decoded, not converted.
        cuts: find where shots begin (`Frame.cut`), also in frames that are left out.
        start: begin with the frame of this index. Those before are decoded, not converted, so that times and cuts are
            those of the whole video: few files have times that seeking finds again.

    Raises:
        ConfigError: `every` is no whole number from 1, or `start` none from 0.
        VideoError: it is missing, empty, a folder, no video, holds sound only, has no frame, or is of another type.
    """
    check_counts(every=every)
    if not is_count(start, least=0):
        raise ConfigError(f"expected a whole number from 0 as start, got {quoted(start)}")
    reader = _read_animation if is_animation(source) else _read_pyav if find_spec("av") else _read_opencv
    count = 0
    for frame in with_cuts(reader(source, _Wanted(every, start), cuts)):
        count += 1
        if frame.index >= start:
            yield frame
    if not count:
        raise VideoError(f"{source_name(source)} has no frame that can be decoded")


@dataclass(frozen=True)
class _Wanted:
    """Which frames are yielded, and from which on somebody looks at their images."""

    every: int
    start: int

    def __contains__(self, index: int) -> bool:
        return index % self.every == 0

    def image(self, index: int) -> bool:
        return index in self and index >= self.start


def _unseen(width: int, height: int) -> Image:
    """Return an image that nobody looks at: of the size by which waiting frames are weighed, in one byte."""
    image: Image = np.broadcast_to(np.zeros((), np.uint8), (height, width, 3))
    return image


def is_animation(source: VideoSource) -> bool:
    """Return whether a file is an animated image.

    Raises:
        VideoError: it cannot be read, or is of another type.
    """
    with opened(source, source_name(source)) as file:
        return kind_of_file(file) is Kind.ANIMATION


def _probe_animation(source: VideoSource) -> VideoInfo:
    try:
        with opening(source) as opened:
            rate = 1000 / (opened.info.get("duration") or USUAL_DURATION_MS)
            return VideoInfo(*opened.size, min(rate, MOST_ANIMATED), None, None)
    except ImageError as error:
        raise VideoError(str(error)) from error


def _read_animation(source: VideoSource, wanted: _Wanted, cuts: bool) -> Iterator[Decoded]:
    try:
        for index, (time_s, image) in enumerate(read_animation(source)):
            look = look_of_image(image) if cuts else None
            yield Decoded(time_s, Frame(index, time_s, image) if index in wanted else None, look)
    except ImageError as error:
        raise VideoError(str(error)) from error


def _probe_pyav(source: VideoSource) -> VideoInfo:
    with opened(source, source_name(source)) as file:
        stored = orientation.read_mp4(file)
    turned_deg = None if stored is None else orientation.angle_deg(stored)
    with _open_pyav(source) as (container, stream):
        length = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1_000_000
        rate = float(stream.average_rate or stream.guessed_rate or FALLBACK_RATE)
        frames, length_s = max(stream.frames, 0) or None, max(float(length), 0.0) or None
        return VideoInfo(stream.width, stream.height, rate, frames, length_s, turned_deg)


def _probe_opencv(source: VideoSource) -> VideoInfo:
    cv2 = opencv()

    with _open_opencv(source) as (capture, _):
        width, height, count = (int(capture.get(p)) for p in (3, 4, cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS) or FALLBACK_RATE
        turned_deg = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
    frames = count if count > 0 else None
    return VideoInfo(width, height, rate, frames, frames / rate if frames else None, turned_deg)


@contextmanager
def _open_pyav(source: VideoSource) -> "Iterator[tuple[InputContainer, VideoStream]]":
    import av

    name = source_name(source)
    # An open file instead of its name: a name may hold any bytes, and none is mistaken for a network address.
    with opened(source, name) as file:
        try:
            container = av.open(Nameless(file), metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(f"{name} is not a video that can be read, or truncated: {reason(error)}") from error
        with container:
            streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not streams:  # the cover of an album is a video of one frame, too
                raise VideoError(f"{name} holds sound only: no video stream in it")
            stream = next((stream for stream in streams if stream.codec_context is not None), None)
            if stream is None:
                raise VideoError(f"{name} is not a video that can be read: nothing here decodes its images")
            # Threads that decode a frame each would hold a frame each: too much memory for larger ones than 4K.
            stream.thread_type = "AUTO" if stream.width * stream.height <= FRAME_4K else "SLICE"
            yield container, stream


def _read_pyav(source: VideoSource, wanted: _Wanted, cuts: bool) -> Iterator[Decoded]:
    import av

    index, broken, time_s, offset_s = 0, 0, 0.0, 0.0
    rotation, matrix = math.nan, orientation.AS_STORED  # of the frame before
    with opened(source, source_name(source)) as file:
        stored = orientation.read_mp4(file)
    with _open_pyav(source) as (container, stream):
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
                _check_frame(source_name(source), frame.width, frame.height)
                own_s = index / rate if frame.time is None else max(frame.time - start_s, 0.0)
                if own_s + offset_s < time_s:  # files joined without new times begin again: go on from the last
                    offset_s = time_s + 1 / rate - own_s
                time_s = own_s + offset_s
                image, look = None, look_of_frame(frame) if cuts else None
                if wanted.image(index):
                    if frame.rotation != rotation:  # not of every frame: its own data and it keep each other in memory
                        rotation, matrix = frame.rotation, _matrix(frame, stored, stream.codec_context.name)
                    image = orientation.upright(_square_pixels(frame, shape), matrix)
                elif index in wanted:
                    image = _unseen(_square_width(frame.width, shape), frame.height)
                yield Decoded(time_s, None if image is None else Frame(index, time_s, image), look)
                index += 1
    if broken and index:
        log.warning("%s: %d broken packets skipped; last frame at %.1f s", source_name(source), broken, time_s)


def _square_pixels(frame: "VideoFrame", shape: float) -> Image:
    """Return a decoded frame as RGB, made wider where its pixels are `shape` times as wide as high (DV, DVDs).

    Nobody's face is half as wide as it should be then, neither for the model nor in the annotated copy.
    """
    image: Image = frame.to_ndarray(format="rgb24", width=_square_width(frame.width, shape), height=frame.height)
    return image


def _square_width(width: int, shape: float) -> int:
    return round(width * shape) if 1 / MOST_SQUEEZED <= shape <= MOST_SQUEEZED else width


def _matrix(frame: "VideoFrame", stored: orientation.Matrix | None, codec: str) -> orientation.Matrix:
    """Return how a frame wants to be shown.

    Args:
        frame: as it is decoded.
        stored: what an MP4's header says; None in other files.
        codec: the stream's. A frame's own data are looked at only where they can say more than the header: PyAV 18
            frees the data of others twice where these have a name, such as the colour profile of a PNG.
    """
    turned = orientation.from_angle(-frame.rotation)  # the angle only, without mirroring
    if codec not in CODECS_WITH_MATRIX:
        return stored or turned
    try:
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                return orientation.from_side_data(bytes(data))
    except ValueError:  # PyAV knows no name of another kind beside it
        return stored or turned
    return orientation.AS_STORED


def _read_opencv(source: VideoSource, wanted: _Wanted, cuts: bool) -> Iterator[Decoded]:
    cv2 = opencv()

    with _open_opencv(source) as (capture, path):
        rate = capture.get(cv2.CAP_PROP_FPS) or FALLBACK_RATE
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # it turns by the angle alone and leaves out mirroring
        angle_deg = capture.get(cv2.CAP_PROP_ORIENTATION_META)
        matrix = orientation.of_mp4(path) or orientation.from_angle(angle_deg)
        shape = capture.get(cv2.CAP_PROP_SAR_NUM) / (capture.get(cv2.CAP_PROP_SAR_DEN) or 1) or 1.0
        index, last_s = 0, -1.0
        while capture.grab():
            time_s = max(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0)
            if time_s <= last_s:  # streams without times report 0 throughout
                time_s = last_s + 1 / rate
            frame, look = None, None
            if index in wanted or cuts:
                ok, bgr = capture.retrieve()
                if not ok:
                    break
                look = look_of_image(bgr[:, :, ::-1]) if cuts else None
            if wanted.image(index):
                width = _square_width(bgr.shape[1], shape)
                if width != bgr.shape[1]:
                    bgr = cv2.resize(bgr, (width, bgr.shape[0]), interpolation=cv2.INTER_AREA)
                frame = Frame(index, time_s, orientation.upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), matrix))
            elif index in wanted:
                frame = Frame(index, time_s, _unseen(_square_width(bgr.shape[1], shape), bgr.shape[0]))
            yield Decoded(time_s, frame, look)
            index, last_s = index + 1, time_s


@contextmanager
def _open_opencv(source: VideoSource) -> "Iterator[tuple[VideoCapture, Path]]":
    """Yield OpenCV's reader and the file's path, which is a temporary one for bytes and open files."""
    cv2 = opencv()

    quiet_opencv()
    name = source_name(source)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(source, name))
        path = Path(source).absolute() if isinstance(source, str | os.PathLike) else None
        if path is None or path.suffix.lower() in EXTENSIONS:
            # A name without an ending: as for PyAV, an image's would count for more than the content.
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fervit-"))) / "video"
            _copy_or_link(file, path, place)
            path = place
        if not _is_unicode(path):  # OpenCV crashes the process on such names
            raise VideoError(f"{name}: OpenCV reads no such names: rename it, or pip install 'fervit[video]'")
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        stack.callback(capture.release)
        if not capture.isOpened():
            raise VideoError(f"{name} is not a video that can be read, holds sound only, or is truncated")
        _check_frame(name, int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        yield capture, path


def _check_frame(name: str, width: int, height: int) -> None:
    if width * height > MAX_FRAME:
        raise VideoError(
            f"{name} is too large: frames of {width} x {height} = {width * height / 1e6:.0f} megapixels, "
            f"more than {MAX_FRAME / 1e6:.0f}"
        )


def _copy_or_link(file: IO[bytes], path: Path | None, place: Path) -> None:
    if path is not None:
        try:
            place.symlink_to(path)
            return
        except OSError:  # Windows asks for a right
            pass
    with place.open("wb") as copy:
        shutil.copyfileobj(file, copy)


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
