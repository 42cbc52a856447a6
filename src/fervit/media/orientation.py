"""The display matrix of a video: how its frames are turned and mirrored before they are shown."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import Image as Pillow

from fervit.types import Image

Matrix: TypeAlias = tuple[float, float, float, float]
"""`(a, b, c, d)`: the pixel at `(x, y)` is shown at `(a x + c y, b x + d y)`, but for a shift (ISO 14496-12, 6.2.2)."""

AS_STORED: Matrix = (1.0, 0.0, 0.0, 1.0)
TOLERANCE_DEG = 1.0  # ffmpeg's: what is nearer to a right angle than this is one
MOST_BOXES = 10_000  # of an MP4 that are looked at; a fragmented film has some thousands
BOX = 8  # bytes of a box's header: its size and its name
FIXED = 1 << 16  # a matrix's numbers have 16 bits before and 16 after the point
MATRIX_AT = {(b"tkhd", 0): 40, (b"tkhd", 1): 52, (b"mvhd", 0): 36, (b"mvhd", 1): 48}
"""Where the matrix begins after a box's header, by the box's name and version."""


def from_side_data(data: bytes) -> Matrix:
    """Return the matrix that ffmpeg hands over with a frame: nine native int32, by rows."""
    return _from_fixed(np.frombuffer(data, np.int32, count=9))


def from_angle(clockwise_deg: float) -> Matrix:
    """Return the matrix of a turn without mirroring."""
    angle = math.radians(clockwise_deg)
    return (math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle))


def angle_deg(matrix: Matrix) -> int:
    """Return by how much a matrix turns an image clockwise, 0..359; a mirrored one, by where its x axis goes."""
    return round(math.degrees(math.atan2(matrix[1], matrix[0]))) % 360


def of_mp4(path: Path) -> Matrix | None:
    """Return `read_mp4` of a file by its path.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return read_mp4(file)


def read_mp4(file: IO[bytes]) -> Matrix | None:
    """Return the matrix of the first video track of an MP4 or MOV, or None where the file is of another kind.

    It is the track's own, followed by the whole film's.

    Raises:
        OSError: the file cannot be read.
    """
    end = file.seek(0, 2)
    film, first = AS_STORED, None
    for name, start, stop in _boxes(file, 0, end):
        if name != b"moov":
            continue
        for inner, inner_start, inner_stop in _boxes(file, start, stop):
            if inner == b"mvhd":
                film = _matrix(file, inner, inner_start)
            elif inner == b"trak" and first is None:
                first = _video_track(file, inner_start, inner_stop)
    return None if first is None else _then(first, film)


def upright(image: Image, matrix: Matrix) -> Image:
    """Return an image, `(H, W, 3)` uint8, as its matrix wants it shown: as ffmpeg's autorotation does.

    Quarter turns and mirrors are exact; by another angle the image is turned within its own size. A matrix's scale is
    not applied.
    """
    a, b, c, d = matrix
    if not a * d - b * c:  # it would show nothing: no writer means this
        return image
    angle = math.degrees(math.atan2(b, a))  # where the x axis goes, clockwise
    if abs(angle - 90 * round(angle / 90)) > TOLERANCE_DEG:
        turned = Pillow.fromarray(image).rotate(-angle, Pillow.Resampling.BILINEAR)
        return np.asarray(turned)
    if abs(a) < abs(b):
        image, across, down = image.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def _from_fixed(numbers: np.ndarray) -> Matrix:
    a, b, _, c, d = (float(number) / FIXED for number in numbers[:5])
    return (a, b, c, d)


def _then(first: Matrix, second: Matrix) -> Matrix:
    product = np.reshape(first, (2, 2)) @ np.reshape(second, (2, 2))
    a, b, c, d = product.ravel().tolist()
    return (a, b, c, d)


def _boxes(file: IO[bytes], start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of every box from `start` to `stop`, and where its content begins and ends."""
    for _ in range(MOST_BOXES):
        if start + BOX > stop:
            return
        file.seek(start)
        head = file.read(BOX)
        if len(head) < BOX:  # the file became shorter
            return
        size, name, begin = int.from_bytes(head[:4]), head[4:], start + BOX
        if size == 1:  # the true size needs 64 bits and follows
            size, begin = int.from_bytes(file.read(8)), begin + 8
        end = stop if size == 0 else start + size
        if end < begin:
            return
        yield name, begin, min(end, stop)
        start = end


def _video_track(file: IO[bytes], start: int, stop: int) -> Matrix | None:
    """Return the matrix of a track, or None where the track is no video."""
    matrix, is_video = None, False
    for name, begin, end in _boxes(file, start, stop):
        if name == b"tkhd":
            matrix = _matrix(file, name, begin)
        elif name == b"mdia":
            for inner, inner_begin, _ in _boxes(file, begin, end):
                if inner == b"hdlr":
                    file.seek(inner_begin + 8)  # version and flags, then 4 bytes that are always 0
                    is_video = file.read(4) == b"vide"
    return matrix if is_video else None


def _matrix(file: IO[bytes], name: bytes, start: int) -> Matrix:
    file.seek(start)
    version = file.read(1)
    at = MATRIX_AT.get((name, version[0] if version else 0))
    if at is None:
        return AS_STORED
    file.seek(start + at)
    data = file.read(36)
    return _from_fixed(np.frombuffer(data, ">i4")) if len(data) == 36 else AS_STORED
