"""Short sound videos in many containers and codecs, by PyAV and OpenCV."""

import random
import tempfile
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.helpers.fuzzing.images import Made

FRAMES = 12
SIZES = ((64, 48), (96, 96), (38, 22))
KINDS = (
    (".mp4", "libx264", "yuv420p"),
    (".mp4", "libx264", "yuv444p"),
    (".mp4", "mpeg4", "yuv420p"),
    (".mp4", "libx265", "yuv420p"),
    (".mov", "mjpeg", "yuvj420p"),
    (".m4v", "libx264", "yuv420p"),
    (".mov", "prores", "yuv422p10le"),
    (".webm", "libvpx", "yuv420p"),
    (".webm", "libvpx-vp9", "yuv420p"),
    (".mkv", "ffv1", "bgr0"),
    (".mkv", "libx264", "yuv420p"),
    (".avi", "mjpeg", "yuvj420p"),
    (".avi", "mpeg4", "yuv420p"),
    (".avi", "huffyuv", "yuv422p"),
    (".ts", "mpeg2video", "yuv420p"),
    (".mts", "libx264", "yuv420p"),
    (".mpg", "mpeg2video", "yuv420p"),
    (".flv", "flv", "yuv420p"),
    (".wmv", "wmv2", "yuv420p"),
    (".3gp", "h263", "yuv420p"),
    (".gif", "gif", "rgb8"),
    (".avi", "opencv", "MJPG"),
    (".webm", "opencv", "VP90"),
)
"""Suffix, encoder and pixel format; or suffix, `opencv` and the four letters of a codec."""


def video(rng: random.Random) -> Made:
    """Return a sound video of any kind in `KINDS`."""
    kind = rng.randrange(len(KINDS))
    size = rng.randrange(len(SIZES))
    shape, turned, paused = rng.choice([None, None, (2, 1), (90, 1)]), rng.random() < 0.2, rng.random() < 0.2
    if not find_spec("av"):
        kind = len(KINDS) - 1 - kind % 2
    if KINDS[kind][1] == "opencv":
        shape, turned, paused = None, False, False
    data = _encoded(kind, size, shape, paused)
    suffix, codec, _ = KINDS[kind]
    what = f"{codec} {suffix} {SIZES[size][0]}x{SIZES[size][1]}"
    if turned and (at := data.find(b"tkhd")) > 0:
        data, what = _with_matrix(rng, data, at + 44), what + " with a matrix"
    return data, suffix, what


def _with_matrix(rng: random.Random, data: bytes, at: int) -> bytes:
    """Return an MP4 whose display matrix (ISO 14496-12, 6.2.2) turns, mirrors or shears."""
    one = 1 << 16
    a, b, c, d = rng.choice([(0, one, -one, 0), (-one, 0, 0, one), (0, one, one, 0), (one, 7, -9, one), (0, 0, 0, 0)])
    matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    return data[:at] + b"".join(value.to_bytes(4, "big", signed=True) for value in matrix) + data[at + 36 :]


@lru_cache(maxsize=256)
def _encoded(kind: int, size: int, shape: tuple[int, int] | None, paused: bool) -> bytes:
    suffix, codec, form = KINDS[kind]
    width, height = SIZES[size]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        if codec == "opencv":
            _write_opencv(path, form, (width, height))
        else:
            _write_pyav(path, codec, form, (width, height), shape, paused)
        return path.read_bytes()


def frames(width: int, height: int) -> list[np.ndarray]:
    """Return frames with a bright square that moves."""
    made = []
    for k in range(FRAMES):
        image = np.add.outer(np.arange(height), np.arange(width))[:, :, None].repeat(3, 2).astype(np.uint8)
        image[5:15, 2 * k : 2 * k + 10] = 230
        made.append(image)
    return made


def _write_pyav(
    path: Path, codec: str, form: str, size: tuple[int, int], shape: tuple[int, int] | None, paused: bool
) -> None:
    import av

    # H.263 has few sizes, and this H.265 encoder corrupts its memory at small ones.
    width, height = {".3gp": (352, 288)}.get(path.suffix, SIZES[0] if codec == "libx265" else size)
    # The header of an .mp4 is at its end, of which a cut leaves nothing; that of an .m4v here is at its start.
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".m4v" else {}) as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=20, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, form
        stream.codec_context.thread_count = 1
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(*shape)
        for k, image in enumerate(frames(width, height)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if paused and path.suffix in (".mp4", ".mkv", ".webm"):
                frame.pts, frame.time_base = k + (100 if k > 6 else 0), Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_opencv(path: Path, codec: str, size: tuple[int, int]) -> None:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 20, size)
    for image in frames(*size):
        writer.write(image)
    writer.release()
