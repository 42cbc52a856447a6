"""Write videos: H.264 or VP9 by PyAV, VP9 by OpenCV."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image as Pillow

from fervit.errors import MissingExtra, VideoError, is_number, quoted, reason
from fervit.files import SURROGATES, as_path
from fervit.media.images import source_name
from fervit.media.opencv import opencv, quiet_opencv
from fervit.media.sources import EXPECTED_ARRAY, is_rgb
from fervit.media.video import FALLBACK_RATE
from fervit.media.videos.opening import VideoSource
from fervit.media.videos.sound import Sound
from fervit.types import Image

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import OutputContainer

TICKS = 90_000  # a second, in written files: MPEG's clock, exact for 24, 25, 30 and 29.97 frames/s
CONTAINERS = {".mp4": "libx264", ".webm": "libvpx-vp9"}
ENCODER_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
}

log = logging.getLogger(__name__)


class VideoWriter:
    """Writes frames as `.mp4` (H.264) or `.webm` (VP9), at their own times; use it in a `with`.

    PyAV writes both and keeps a variable rate; without it OpenCV writes `.webm` at a constant one, without sound.

    Args:
        path: the file to write.
        rate: frames/s on average.
        sound: a video, as a path or the bytes of a file, whose sound is copied; times then count from its beginning,
            else from the first image. Sound that the container does not take as it is becomes AAC or Opus.

    Raises:
        VideoError: the ending is another one, or the file cannot be written.
        MissingExtra: `.mp4` is wanted and PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, rate: float = FALLBACK_RATE, sound: VideoSource | None = None):
        self.path, self.rate, self._sound = as_path(path, "a video to write", VideoError), rate, sound
        if not is_number(rate, 0) or not rate:
            raise VideoError(f"expected the frames in a second as rate, got {quoted(rate)}")
        self._sink: _PyavSink | _OpencvSink | None = None
        suffix = self.path.suffix.lower()
        if suffix not in CONTAINERS:
            raise VideoError(f"cannot write {source_name(path)}: expected a name that ends in .mp4 or .webm")
        if suffix == ".mp4" and not find_spec("av"):
            raise MissingExtra("writing .mp4 (.webm works without)", "video")
        if not self.path.absolute().parent.is_dir():
            raise VideoError(f"cannot write {source_name(path)}: there is no folder {self.path.absolute().parent}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=error is None)

    def write(self, image: Image, time_s: float) -> None:
        """Append an image, `(H, W, 3)` uint8 RGB, that is shown from `time_s` on.

        An image of another size than the first one's, as calls and streams have them, is scaled into it; black bars
        keep its shape.

        Raises:
            VideoError: it is no such image, `time_s` is no time, or the file cannot be written.
        """
        if not is_rgb(image):
            raise VideoError(f"cannot write into {source_name(self.path)}: {EXPECTED_ARRAY}, got {quoted(image)}")
        if not is_number(time_s):
            raise VideoError(f"cannot write {source_name(self.path)}: expected seconds as time_s, got {quoted(time_s)}")
        if self._sink is None:
            self._sink = self._open(image, float(time_s))
        self._sink.write(_fitted(image, self._sink.shape), float(time_s))

    def _open(self, image: Image, start_s: float) -> "_PyavSink | _OpencvSink":
        if find_spec("av"):
            return _PyavSink(self.path, image, float(self.rate), start_s, self._sound)
        if self._sound is not None:
            log.warning("%s: written without sound: pip install 'fervit[video]'", source_name(self.path))
        return _OpencvSink(self.path, image, float(self.rate), start_s)

    def close(self, *, complete: bool = True) -> None:
        """Finish the file; harmless when done twice.

        Args:
            complete: with all the sound that follows the last image; else it ends with that.

        Raises:
            VideoError: the file cannot be written.
        """
        if self._sink is not None:
            self._sink.close(complete=complete)


def _fitted(image: Image, shape: tuple[int, ...]) -> Image:
    """Return an image scaled into the `(height, width)` that `shape` begins with, with black bars where it has none."""
    if image.shape == shape:
        return image
    height, width = shape[:2]
    scale = min(height / image.shape[0], width / image.shape[1])
    rows, columns = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    fitted = np.zeros((height, width, 3), np.uint8)
    scaled = Pillow.fromarray(image).resize((columns, rows), Pillow.Resampling.BILINEAR)
    fitted[top : top + rows, left : left + columns] = np.asarray(scaled)
    return fitted


class _PyavSink:
    def __init__(self, path: Path, image: Image, rate: float, start_s: float, sound: VideoSource | None):
        import av

        self.path, self.shape, self._start_s, self._last = path, image.shape, start_s, -1
        self._sound: Sound | None = None
        height, width = image.shape[:2]
        codec = CONTAINERS[path.suffix.lower()]
        try:
            self._container: OutputContainer | None = av.open(os.fspath(path), "w")
            self._stream: VideoStream = self._container.add_stream(
                codec, rate=Fraction(rate).limit_denominator(1001), options=ENCODER_OPTIONS[codec]
            )
        except (av.FFmpegError, OSError, UnicodeError) as error:
            raise VideoError(f"cannot write {source_name(path)}: {reason(error)}") from error
        # Chroma is stored at half the size, so sides are even.
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        if sound is not None:
            with self._writing():
                self._sound = Sound(sound, self._container, path.suffix.lower().removeprefix("."))
            if self._sound.tracks:
                self._start_s = 0.0

    def write(self, image: Image, time_s: float) -> None:
        import av

        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        # Encoders take each time once only.
        self._last = frame.pts = max(round((time_s - self._start_s) * TICKS), self._last + 1)
        frame.time_base = Fraction(1, TICKS)
        assert self._container is not None, "written to after it was closed"
        with self._writing():
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.until(time_s)

    def close(self, *, complete: bool) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            with self._writing():
                try:
                    if self._sound is not None:
                        self._sound.close(complete=complete)
                    container.mux(self._stream.encode(None))
                finally:
                    container.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
            raise VideoError(f"cannot write {source_name(self.path)}: {reason(error)}") from error


class _OpencvSink:
    """Repeats and drops frames, so that those of a variable rate keep their times."""

    def __init__(self, path: Path, image: Image, rate: float, start_s: float):
        cv2 = opencv()
        quiet_opencv()
        if SURROGATES.search(str(path)):  # OpenCV crashes the process on such names
            raise VideoError(
                f"cannot write {source_name(path)}: OpenCV writes no such names: pip install 'fervit[video]'"
            )
        self.shape, self._rate, self._start_s, self._written = image.shape, rate, start_s, 0
        height, width = image.shape[:2]
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP90"), rate, (width, height))
        if not self._writer.isOpened():
            raise VideoError(f"cannot write {source_name(path)}")

    def write(self, image: Image, time_s: float) -> None:
        cv2 = opencv()
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        while self._written <= (time_s - self._start_s) * self._rate + 0.01:
            self._writer.write(bgr)
            self._written += 1

    def close(self, *, complete: bool) -> None:
        del complete  # there is no sound
        self._writer.release()
