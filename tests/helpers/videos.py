"""Small videos with one moving square, and a detector double that finds it."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fervit.media.video_writer import VideoWriter
from fervit.types import Box, Face

SIZE = (64, 96)


class Square:
    """A detector double: the bright 20 px square, where there is one."""

    calls = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        self.calls += 1
        return [self._find(image) for image in images]

    def _find(self, image: np.ndarray) -> list[Face]:
        rows, columns = np.nonzero(image[:, :, 0] > 160)
        if not len(rows):
            return []
        return [Face(Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), 0.9)]


class Ending(Square):
    """A detector double that ends its process, as the system does when memory is full, at the first square."""

    name = "Square"  # a run goes on only with the same detector

    def _find(self, image: np.ndarray) -> list[Face]:
        if image.max() > 160:
            os.kill(os.getpid(), signal.SIGKILL)
        return []


def moving(count: int, *, away: Sequence[int] = (), rate: float = 20.0) -> list[tuple[np.ndarray, float]]:
    """Frames with a bright square that moves right by one px a frame, and is away in some."""
    frames = []
    for k in range(count):
        image = np.full((*SIZE, 3), 40, np.uint8)
        if k not in away:
            image[20:40, 10 + k % 60 : 30 + k % 60] = 220
        frames.append((image, k / rate))
    return frames


def write_video(path: Path, frames: Sequence[tuple[np.ndarray, float]]) -> Path:
    """Write `(image, time_s)` pairs as a video of 20 frames/s."""
    with VideoWriter(path, rate=20) as sink:
        for image, time_s in frames:
            sink.write(image, time_s)
    return path


def write_faceless_video(path: Path) -> Path:
    """Write a video of three frames without a face."""
    return write_video(path, [(np.full((48, 64, 3), 60 * k, np.uint8), k / 20) for k in range(3)])


def set_matrix(path: Path, matrix: tuple[int, int, int, int], *, box: bytes = b"tkhd") -> None:
    """Write `(a, b, c, d)` of ISO 14496-12, 6.2.2, into the header of an MP4's first track, or of the whole film."""
    a, b, c, d = (value * 65536 for value in matrix)
    data = bytearray(path.read_bytes())
    at = data.index(box) + {b"tkhd": 44, b"mvhd": 40}[box]
    numbers = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(data)


def scene(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture of 40 rectangles, twice as wide as a frame so that a camera can pan over it."""
    rng = np.random.default_rng(seed)
    height, width = size[0], 2 * size[1]
    image = np.full((height, width, 3), rng.integers(30, 100), np.uint8)
    for _ in range(40):
        y, x = rng.integers(height), rng.integers(width)
        image[y : y + rng.integers(6, height // 2), x : x + rng.integers(6, width // 4)] = rng.integers(0, 120, 3)
    return image


def view(picture: np.ndarray, x: int = 20) -> np.ndarray:
    """Return the frame that a camera sees of a picture from column `x` on."""
    return picture[:, x : x + picture.shape[1] // 2]
